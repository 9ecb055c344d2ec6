"""Mailboxes: at once when idle, in order always, a crash for nobody but the actor."""

from __future__ import annotations

import contextvars
import gc
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress

import pytest
import trio
import trio.testing
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actors.errors import ForeignThread, Quarantined
from actors.kernel.failures import Failure, failure_of
from actors.kernel.mailbox import Actor, Crashed, Dispatcher, Ended, Mailbox

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nobody's")


class Recorder:
    """An actor that writes down what it handles, and does what it was given to do with it."""

    def __init__(self, act: Callable[[str], bool | None] | None = None) -> None:
        self.handled: list[str] = []
        self.settled: list[list[str]] = []
        self.settling = trio.Event()
        self.may_settle: trio.Event | None = None
        self._act = act

    def handle(self, message: str) -> bool | None:
        self.handled.append(message)
        return None if self._act is None else self._act(message)

    async def settle(self) -> None:
        self.settling.set()
        if self.may_settle is not None:
            await self.may_settle.wait()
        self.settled.append(list(self.handled))


class Keeper:
    """The least that owns a mailbox: runs its tasks, restarts its actor at once, keeps what happened."""

    def __init__(self, nursery: trio.Nursery, restart_with: Actor[str] | None = None) -> None:
        self.dead_letters: list[tuple[str, Ended]] = []
        self.crashes: list[str] = []
        self.tasks = 0
        self._nursery = nursery
        self._restart_with = restart_with

    def schedule(self, mailbox: Mailbox[str]) -> None:
        self.tasks += 1
        self._nursery.start_soon(self._tend, mailbox)

    async def _tend(self, mailbox: Mailbox[str]) -> None:
        while True:
            try:
                await mailbox.run()
                return
            except Crashed as crash:
                self.crashes.append(crash.failure.traceback)
            except ValueError as error:
                self.crashes.append(failure_of("", "", error, 0.0).traceback)
            mailbox.restart(self._restart_with or mailbox.actor)

    def dead_letter(self, message: str, ended: Ended) -> None:
        self.dead_letters.append((message, ended))

    def failure_of(self, key: str, handling: str, error: BaseException) -> Failure:
        return failure_of(f"keeper/{key}", handling, error, 0.0)

    def path(self, key: str) -> str:
        return f"keeper/{key}"


def mailbox_of(actor: Actor[str], keeper: Keeper, capacity: int = 8, nesting: int = 16) -> Mailbox[str]:
    return Mailbox("a", actor, parent=keeper, dispatcher=Dispatcher(capacity, nesting))


async def test_idle_is_a_record(nursery: trio.Nursery) -> None:
    """A message to an idle actor is handled before ``tell`` returns, and no task is started for it."""
    actor, keeper = Recorder(), Keeper(nursery)
    mailbox = mailbox_of(actor, keeper)
    mailbox.tell("one")
    assert actor.handled == ["one"]
    assert keeper.tasks == 0
    assert mailbox.idle


async def test_settled_once_for_all(nursery: trio.Nursery) -> None:
    """Messages that gather while the actor waits are handled in order and settled together."""
    actor, keeper = Recorder(lambda _: True), Keeper(nursery)
    actor.may_settle = trio.Event()
    mailbox = mailbox_of(actor, keeper)
    mailbox.tell("one")
    await actor.settling.wait()
    for message in ("two", "three"):
        mailbox.tell(message)
    assert actor.handled == ["one"]
    actor.may_settle.set()
    await trio.testing.wait_all_tasks_blocked()
    assert actor.settled == [["one"], ["one", "two", "three"]]
    assert keeper.tasks == 1
    assert mailbox.idle


async def test_reentrant_messages_keep_their_order(nursery: trio.Nursery) -> None:
    """A message told from a handler is handled next, and none told later overtakes it."""
    keeper = Keeper(nursery)

    def act(message: str) -> None:
        if message == "one":
            mailbox.tell("from within")

    actor = Recorder(act)
    mailbox = mailbox_of(actor, keeper)
    mailbox.tell("one")
    mailbox.tell("two")
    await trio.testing.wait_all_tasks_blocked()
    mailbox.tell("three")
    assert actor.handled == ["one", "from within", "two", "three"]


async def test_a_queued_message_is_not_overtaken(nursery: trio.Nursery) -> None:
    """A message told the moment the task is woken waits behind those that are queued."""
    actor, keeper = Recorder(lambda message: message == "slow"), Keeper(nursery)
    actor.may_settle = trio.Event()
    mailbox = mailbox_of(actor, keeper)
    mailbox.tell("slow")
    await actor.settling.wait()
    mailbox.tell("queued")
    actor.may_settle.set()
    mailbox.tell("later")
    await trio.testing.wait_all_tasks_blocked()
    assert actor.handled == ["slow", "queued", "later"]


async def test_crash_is_the_actors_own(nursery: trio.Nursery) -> None:
    """A handler's exception does not reach the sender; it surfaces in the actor's task, once."""

    def act(message: str) -> None:
        if message == "bad":
            raise ValueError("cannot")

    actor, keeper = Recorder(act), Keeper(nursery)
    mailbox = mailbox_of(actor, keeper)
    mailbox.tell("bad")
    mailbox.tell("good")
    assert keeper.crashes == []
    await trio.testing.wait_all_tasks_blocked()
    assert len(keeper.crashes) == 1
    assert "ValueError: cannot" in keeper.crashes[0]
    assert keeper.dead_letters == [("bad", Ended.CRASHED)]
    assert actor.handled == ["bad", "good"]


async def test_message_in_hand_is_buried_and_the_queue_survives(nursery: trio.Nursery) -> None:
    """Of a burst, exactly the message in the crashed handler's hand is lost; the rest go to the next actor in order."""

    def act(message: str) -> bool:
        if message == "3":
            raise ValueError("cannot")
        return True

    first, second = Recorder(act), Recorder()
    first.may_settle = trio.Event()
    keeper = Keeper(nursery, restart_with=second)
    mailbox = mailbox_of(first, keeper)
    mailbox.tell("1")
    await first.settling.wait()
    for message in ("2", "3", "4", "5"):
        mailbox.tell(message)
    first.may_settle.set()
    await trio.testing.wait_all_tasks_blocked()
    assert keeper.dead_letters == [("3", Ended.CRASHED)]
    assert second.handled == ["2", "4", "5"], "2 was not settled when 3 crashed: it is handled again, first"


async def test_crash_while_settling_gives_the_messages_back(nursery: trio.Nursery) -> None:
    """Messages whose work was not settled are handled again by the next actor, before anything queued."""

    class Failing(Recorder):
        async def settle(self) -> None:
            await super().settle()
            raise ValueError("the store is gone")

    first, second = Failing(lambda _: True), Recorder()
    first.may_settle = trio.Event()
    keeper = Keeper(nursery, restart_with=second)
    mailbox = mailbox_of(first, keeper)
    mailbox.tell("1")
    await first.settling.wait()
    mailbox.tell("2")
    first.may_settle.set()
    await trio.testing.wait_all_tasks_blocked()
    assert second.handled == ["1", "2"]
    assert keeper.dead_letters == []


async def test_senders_frames_are_not_kept(nursery: trio.Nursery) -> None:
    """After a crash nothing keeps the sender's locals alive, and its own exception is not in the report."""

    class Luggage:
        pass

    def act(_: str) -> None:
        raise ValueError("cannot")

    keeper = Keeper(nursery)
    mailbox = mailbox_of(Recorder(act), keeper)

    def send() -> weakref.ref[Luggage]:
        luggage = Luggage()
        try:
            raise KeyError("the sender's own trouble")
        except KeyError:
            mailbox.tell("bad")
        return weakref.ref(luggage)

    remembered = send()
    gc.collect()
    assert remembered() is None
    await trio.testing.wait_all_tasks_blocked()
    assert "the sender's own trouble" not in keeper.crashes[0]


async def test_a_handlers_own_causes_are_reported(nursery: trio.Nursery) -> None:
    """The exception that the handler itself was handling when it raised is part of the report."""

    def act(_: str) -> None:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("outer") from error

    keeper = Keeper(nursery)
    mailbox = mailbox_of(Recorder(act), keeper)
    try:
        raise KeyError("the sender's own trouble")
    except KeyError:
        mailbox.tell("bad")
    await trio.testing.wait_all_tasks_blocked()
    assert "inner" in keeper.crashes[0]
    assert "the sender's own trouble" not in keeper.crashes[0]


async def test_context_is_the_runtimes(nursery: trio.Nursery) -> None:
    """Handlers and their tasks see the runtime's context variables, never a sender's."""
    seen: list[str] = []

    class Looking(Recorder):
        async def settle(self) -> None:
            seen.append(variable.get())

    def act(_: str) -> bool:
        seen.append(variable.get())
        return True

    mailbox = mailbox_of(Looking(act), Keeper(nursery))

    async def send() -> None:
        variable.set("the sender's")
        mailbox.tell("one")
        assert variable.get() == "the sender's"

    async with trio.open_nursery() as senders:
        senders.start_soon(send)
    await trio.testing.wait_all_tasks_blocked()
    assert seen == ["nobody's", "nobody's"]


async def test_nesting_is_bounded(nursery: trio.Nursery) -> None:
    """A chain of a hundred idle actors is worked off without a deep stack, and nobody is left out."""
    keeper, lane = Keeper(nursery), Dispatcher(8, 16)
    depths: list[int] = []
    chain: list[Mailbox[str]] = []

    class Link(Recorder):
        def __init__(self, position: int) -> None:
            super().__init__()
            self._position = position

        def handle(self, message: str) -> bool | None:
            depths.append(lane.depth)
            if self._position + 1 < len(chain):
                chain[self._position + 1].tell(message)
            return super().handle(message)

    chain.extend(Mailbox(str(position), Link(position), parent=keeper, dispatcher=lane) for position in range(100))
    chain[0].tell("pass on")
    await trio.testing.wait_all_tasks_blocked()
    assert len(depths) == 100
    assert max(depths) == 16


async def test_foreign_threads_are_refused(nursery: trio.Nursery) -> None:
    """A call from another operating system thread raises and hands over nothing."""
    actor = Recorder()
    mailbox = mailbox_of(actor, Keeper(nursery))

    def call() -> None:
        with pytest.raises(ForeignThread, match="emit_from_thread"):
            mailbox.tell("one")

    thread = threading.Thread(target=call)
    thread.start()
    await trio.to_thread.run_sync(thread.join)
    assert actor.handled == []


async def test_handlers_are_not_interrupted(nursery: trio.Nursery) -> None:
    """Ctrl-C cannot strike in the middle of a handler."""
    protected: list[bool] = []

    def act(_: str) -> None:
        protected.append(trio.lowlevel.currently_ki_protected())

    mailbox_of(Recorder(act), Keeper(nursery)).tell("one")
    assert protected == [True]


async def test_full_queue_makes_the_sender_wait(nursery: trio.Nursery) -> None:
    """A full queue refuses ``tell`` and makes ``send`` wait, which is counted by path; order is that of the senders."""
    actor, keeper = Recorder(lambda _: True), Keeper(nursery)
    actor.may_settle = trio.Event()
    mailbox = mailbox_of(actor, keeper, capacity=2)
    mailbox.tell("1")
    await actor.settling.wait()
    mailbox.tell("2")
    mailbox.tell("3")
    with pytest.raises(trio.WouldBlock):
        mailbox.tell("4")
    nursery.start_soon(mailbox.send, "4")
    await trio.testing.wait_all_tasks_blocked()
    assert actor.handled == ["1"]
    assert mailbox._dispatcher.waiting == {"keeper/a": 1}
    actor.may_settle.set()
    await trio.testing.wait_all_tasks_blocked()
    assert actor.handled == ["1", "2", "3", "4"]
    assert mailbox._dispatcher.waiting == {}
    assert mailbox.idle


async def test_cancelled_sender_sent_nothing(nursery: trio.Nursery) -> None:
    """A ``send`` that was cancelled while it waited for room is never delivered."""
    actor = Recorder(lambda _: True)
    actor.may_settle = trio.Event()
    mailbox = mailbox_of(actor, Keeper(nursery), capacity=1)
    mailbox.tell("1")
    await actor.settling.wait()
    mailbox.tell("2")
    with trio.move_on_after(0) as scope:
        await mailbox.send("3")
    assert scope.cancelled_caught
    actor.may_settle.set()
    await trio.testing.wait_all_tasks_blocked()
    assert actor.handled == ["1", "2"]


async def test_cancelled_while_settling_leaves_the_queue() -> None:
    """An actor cancelled in ``settle`` leaves what it had and what was queued, to be dead letters with the cause."""
    actor = Recorder(lambda _: True)
    actor.may_settle = trio.Event()
    async with trio.open_nursery() as nursery:
        keeper = Keeper(nursery)
        mailbox = mailbox_of(actor, keeper)
        mailbox.tell("1")
        await actor.settling.wait()
        mailbox.tell("2")
        nursery.cancel_scope.cancel()
    mailbox.close(lambda: Quarantined("closed"), Ended.CLOSED)
    assert keeper.dead_letters == [("1", Ended.CLOSED), ("2", Ended.CLOSED)]


async def test_close_refuses_whoever_waits(nursery: trio.Nursery) -> None:
    """Closing gives the refusal to those who wait for room: their messages were never handed over."""
    actor, keeper = Recorder(lambda _: True), Keeper(nursery)
    actor.may_settle = trio.Event()
    mailbox = mailbox_of(actor, keeper, capacity=1)
    mailbox.tell("1")
    await actor.settling.wait()
    mailbox.tell("2")
    refused: list[str] = []

    async def send() -> None:
        with pytest.raises(Quarantined):
            await mailbox.send("3")
        refused.append("3")

    nursery.start_soon(send)
    await trio.testing.wait_all_tasks_blocked()
    mailbox.close(lambda: Quarantined("out of service"), Ended.QUARANTINED)
    await trio.testing.wait_all_tasks_blocked()
    assert refused == ["3"]
    assert keeper.dead_letters == [("1", Ended.QUARANTINED), ("2", Ended.QUARANTINED)]
    with pytest.raises(Quarantined, match="out of service"):
        mailbox.tell("4")
    nursery.cancel_scope.cancel()


async def test_reopened_mailbox_takes_messages() -> None:
    """A closed mailbox that is reopened serves its next actor."""
    async with trio.open_nursery() as nursery:
        mailbox = mailbox_of(Recorder(), Keeper(nursery))
        mailbox.close(lambda: Quarantined("out of service"), Ended.QUARANTINED)
        actor = Recorder()
        mailbox.reopen(actor)
        mailbox.tell("one")
        assert actor.handled == ["one"]


# --- reserved places ----------------------------------------------------------------


async def test_a_reserved_message_is_taken_by_a_full_queue(nursery: trio.Nursery) -> None:
    """It is handled after all that was queued before it, and before all that comes later, waiting senders included."""
    actor, keeper = Recorder(lambda _: True), Keeper(nursery)
    actor.may_settle = trio.Event()
    mailbox = mailbox_of(actor, keeper, capacity=2)
    for message in ("in hand", "1", "2"):
        mailbox.tell(message)
        await actor.settling.wait()
    nursery.start_soon(mailbox.send, "waited")
    await trio.testing.wait_all_tasks_blocked()
    mailbox.tell_reserved("last")
    mailbox.tell_reserved("very last")
    with pytest.raises(trio.WouldBlock):
        mailbox.tell("3")
    actor.may_settle.set()
    await trio.testing.wait_all_tasks_blocked()
    assert actor.handled == ["in hand", "1", "2", "last", "very last", "waited"]
    assert mailbox.idle


async def test_a_reserved_message_to_an_idle_actor_is_handled_at_once(nursery: trio.Nursery) -> None:
    """Where there is room, a reserved place makes no difference."""
    actor, keeper = Recorder(), Keeper(nursery)
    mailbox = mailbox_of(actor, keeper)
    mailbox.tell_reserved("one")
    assert (actor.handled, keeper.tasks) == (["one"], 0)


async def test_a_closed_mailbox_has_no_reserved_places() -> None:
    """Messages beyond a full queue are dead letters with the rest, last; afterwards a reserved one is refused as
    well."""
    async with trio.open_nursery() as nursery:
        actor, keeper = Recorder(lambda _: True), Keeper(nursery)
        actor.may_settle = trio.Event()
        mailbox = mailbox_of(actor, keeper, capacity=1)
        mailbox.tell("in hand")
        await actor.settling.wait()
        mailbox.tell("1")
        mailbox.tell_reserved("last")
        nursery.cancel_scope.cancel()
    mailbox.close(lambda: Quarantined("out of service"), Ended.QUARANTINED)
    assert [message for message, _ in keeper.dead_letters] == ["in hand", "1", "last"]
    with pytest.raises(Quarantined):
        mailbox.tell_reserved("too late")


@settings(deadline=None)
@given(capacity=st.integers(1, 4), steps=st.lists(st.sampled_from(["tell", "reserved", "send", "settle"]), max_size=40))
def test_reserved_messages_keep_the_order(capacity: int, steps: list[str]) -> None:
    """Told, sent or reserved, in any mixture: each message is handled once, in the order in which it was handed over.

    One that waits for room is handed over when it gets it: it may be
    overtaken by those that wait for nothing, and by no other.
    """

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            actor = Recorder(lambda _: True)
            mailbox = mailbox_of(actor, Keeper(nursery), capacity=capacity)
            handed: list[str] = []
            parked: list[str] = []
            for number, step in enumerate(steps):
                message = f"{step} {number}"
                if step == "settle":
                    may_settle, actor.may_settle = actor.may_settle, trio.Event()
                    if may_settle is not None:
                        may_settle.set()
                elif step == "send":
                    parked.append(message)
                    nursery.start_soon(mailbox.send, message)
                elif step == "reserved":
                    mailbox.tell_reserved(message)
                    handed.append(message)
                else:
                    with suppress(trio.WouldBlock):
                        mailbox.tell(message)
                        handed.append(message)
                await trio.testing.wait_all_tasks_blocked()
            may_settle, actor.may_settle = actor.may_settle, None
            if may_settle is not None:
                may_settle.set()
            await trio.testing.wait_all_tasks_blocked()
            assert [message for message in actor.handled if message in handed] == handed
            assert [message for message in actor.handled if message in parked] == parked
            assert len(actor.handled) == len(handed) + len(parked)
            assert mailbox.idle

    trio.run(main)


@settings(deadline=None)
@given(capacity=st.integers(1, 4), steps=st.lists(st.sampled_from(["tell", "reserved", "settle"]), max_size=40))
@example(capacity=1, steps=["settle", "tell", "tell", "reserved", "reserved", "settle", "tell"])
def test_dead_letters_keep_the_order(capacity: int, steps: list[str]) -> None:
    """Closed at any moment, what is left is given back in the order in which it would have been handled: an answer
    noted after a later one would not be believed."""

    async def main() -> None:
        handed: list[str] = []
        async with trio.open_nursery() as nursery:
            actor, keeper = Recorder(lambda _: True), Keeper(nursery)
            mailbox = mailbox_of(actor, keeper, capacity=capacity)
            for number, step in enumerate(steps):
                message = f"{step} {number}"
                if step == "settle":
                    may_settle, actor.may_settle = actor.may_settle, trio.Event()
                    if may_settle is not None:
                        may_settle.set()
                else:
                    with suppress(trio.WouldBlock):
                        (mailbox.tell_reserved if step == "reserved" else mailbox.tell)(message)
                        handed.append(message)
                await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        settled = len(actor.handled)
        mailbox.close(lambda: Quarantined("out of service"), Ended.QUARANTINED)
        left = [message for message, _ in keeper.dead_letters]
        assert left == handed[len(handed) - len(left) :]
        assert handed[:settled] == actor.handled

    trio.run(main)
