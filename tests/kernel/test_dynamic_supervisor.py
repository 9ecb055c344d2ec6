"""Supervision by key: a budget for each actor, a quarantine that nobody else notices, an end for all at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.environment import Environment
from actors.errors import Quarantined, RuntimeClosed
from actors.kernel.dynamic_supervisor import DynamicSupervisor
from actors.kernel.failures import Failure, Failures
from actors.kernel.mailbox import Dispatcher, Ended
from actors.kernel.restarts import Backoff, Budget, Intensity

AT_ONCE = Backoff(first_seconds=0.0, factor=1.0, longest_seconds=0.0)


class Boom(Exception):
    """The crash of the actors in these tests."""


class Even(random.Random):
    """Jitter that always takes away half of the pause."""

    def random(self) -> float:
        return 0.0


class Player:
    """Does what a message says: crashes, leaves something to settle that the troupe knows, or just takes it."""

    def __init__(self, name: str, troupe: Harness) -> None:
        self._name = name
        self._troupe = troupe
        self._left: list[str] = []

    def handle(self, message: str) -> bool | None:
        if message == "crash":
            raise self._troupe.crash("in a handler")
        self._troupe.say(f"{self._name}:{message}")
        if message not in self._troupe.acts:
            return None
        self._left.append(message)
        return True

    async def settle(self) -> None:
        left, self._left = self._left, []
        for message in left:
            await self._troupe.acts[message]()


@attrs.define
class Harness:
    """A supervisor, its actors, and what became of them; ``alice#2`` is the second actor built for alice."""

    acts: dict[str, Callable[[], Awaitable[None]]] = attrs.field(factory=dict)
    """Settle a message as its name says."""
    said: list[str] = attrs.field(factory=list)
    built: dict[str, int] = attrs.field(factory=dict)
    dead_letters: list[tuple[str, Ended]] = attrs.field(factory=list)
    out_of_service: list[tuple[str, Failure]] = attrs.field(factory=list)
    failures: Failures = attrs.field(factory=lambda: Failures(100, lambda: 7.0))
    crash: type[BaseException] = Boom

    def say(self, text: str) -> None:
        self.said.append(f"{text}@{trio.current_time():g}")

    def heard(self) -> str:
        """Everything said since the last call, in one line."""
        text = " ".join(self.said)
        self.said.clear()
        return text

    def build(self, key: str) -> Player:
        self.built[key] = self.built.get(key, 0) + 1
        self.say(f"+{key}#{self.built[key]}")
        return Player(f"{key}#{self.built[key]}", self)

    def dead_letter(self, message: str, ended: Ended) -> None:
        self.dead_letters.append((message, ended))

    async def settled(self) -> None:
        await trio.lowlevel.checkpoint()

    def quarantined(self, key: str, failure: Failure) -> None:
        self.out_of_service.append((key, failure))

    def supervisor(
        self, restarts: int = 3, period: float = 60.0, backoff: Backoff = AT_ONCE, shutdown: float = 5.0
    ) -> DynamicSupervisor[str]:
        return DynamicSupervisor(
            "users",
            self,
            dispatcher=Dispatcher(16, 16),
            budget=Budget(
                intensity=Intensity(restarts, period), backoff=backoff, shutdown_seconds=shutdown, remembered=100
            ),
            environment=Environment(wall_clock=lambda: 7.0, random=Even()),
            failures=self.failures,
        )

    def reports(self) -> list[str]:
        return [f"{failure.path} [{failure.handling}] {failure.error}" for failure in self.failures]


@pytest.fixture
async def troupe() -> Harness:
    return Harness()


async def crash(supervisor: DynamicSupervisor[str], key: str, times: int = 1) -> None:
    """Have an actor crash, and see it restarted before it does so again; no time passes."""
    for _ in range(times):
        supervisor.mailbox(key).tell("crash")
        await wait_all_tasks_blocked()


async def tell_busy(supervisor: DynamicSupervisor[str], key: str, first: str, *queued: str) -> None:
    """Give an actor something to do that takes time, and then more."""
    supervisor.mailbox(key).tell(first)
    await wait_all_tasks_blocked()
    for message in queued:
        supervisor.mailbox(key).tell(message)


async def finished(supervisor: DynamicSupervisor[str], troupe: Harness) -> None:
    """Run a supervisor to its end, and say when that was."""
    await supervisor.run()
    troupe.say("end")


# --- one actor ------------------------------------------------------------------


async def test_an_actor_is_built_when_it_is_first_named(autojump_clock: MockClock, troupe: Harness) -> None:
    """Naming an actor builds it, once; from then on its key is the same mailbox."""
    supervisor = troupe.supervisor()
    mailbox = supervisor.mailbox("alice")
    mailbox.tell("a")
    assert supervisor.mailbox("alice") is mailbox
    assert supervisor.mailbox("bob") is not mailbox
    assert troupe.heard() == "+alice#1@0 alice#1:a@0 +bob#1@0"


async def test_a_crash_restarts_after_a_pause(autojump_clock: MockClock, troupe: Harness) -> None:
    """Each crash within the period is mended by a new actor, after a pause twice as long as the last one."""
    supervisor = troupe.supervisor(backoff=Backoff(first_seconds=2.0, factor=2.0, longest_seconds=60.0))
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        for _ in range(3):
            supervisor.mailbox("alice").tell("crash")
            await trio.sleep(10)
        assert troupe.heard() == "+alice#1@0 +alice#2@1 +alice#3@12 +alice#4@24"
        nursery.cancel_scope.cancel()


async def test_an_actor_about_to_be_started_again(autojump_clock: MockClock, troupe: Harness) -> None:
    """Between a crash and the new actor the supervisor knows the failure, and not before or after that."""
    supervisor = troupe.supervisor(backoff=Backoff(first_seconds=2.0, factor=2.0, longest_seconds=60.0))
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        supervisor.mailbox("alice").tell("crash")
        assert supervisor.restarting == {}
        await trio.sleep(0.5)
        assert supervisor.restarting == {"alice": troupe.failures[0]}
        await trio.sleep(10)
        assert supervisor.restarting == {}
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("message", "handling"), [("crash", "str"), ("spill", "settle")])
async def test_a_crash_is_reported_once(
    autojump_clock: MockClock, troupe: Harness, message: str, handling: str
) -> None:
    """A crash in a handler or in settling is one failure: with the actor's path, its traceback and the time."""
    spilled = 0

    async def spill() -> None:
        nonlocal spilled
        spilled += 1
        if spilled == 1:
            raise Boom("in settling")

    troupe.acts["spill"] = spill
    supervisor = troupe.supervisor()
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        supervisor.mailbox("alice").tell(message)
        await wait_all_tasks_blocked()
        (failure,) = troupe.failures
        assert (failure.path, failure.handling, failure.at) == ("users/alice", handling, 7.0)
        assert failure.error.startswith("Boom: in ")
        assert "Traceback" in failure.traceback
        assert troupe.failures.total == 1
        nursery.cancel_scope.cancel()


async def test_the_queue_survives_a_crash(autojump_clock: MockClock, troupe: Harness) -> None:
    """Messages behind the one that crashed an actor are handled by the next actor, in order."""
    troupe.acts["slow"] = partial(trio.sleep, 1)
    supervisor = troupe.supervisor()
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        await tell_busy(supervisor, "alice", "slow", "a", "crash", "b", "c")
        await trio.sleep(2)
        assert troupe.heard() == "+alice#1@0 alice#1:slow@0 alice#1:a@1 +alice#2@1 alice#2:b@1 alice#2:c@1"
        assert troupe.dead_letters == [("crash", Ended.CRASHED)]
        nursery.cancel_scope.cancel()


async def test_told_during_the_pause(autojump_clock: MockClock, troupe: Harness) -> None:
    """A message to an actor whose restart is pending waits for the next actor, and is not lost."""
    supervisor = troupe.supervisor(backoff=Backoff(first_seconds=2.0, factor=2.0, longest_seconds=60.0))
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        await crash(supervisor, "alice")
        supervisor.mailbox("alice").tell("a")
        await trio.sleep(5)
        assert troupe.heard() == "+alice#1@0 +alice#2@1 alice#2:a@1"
        nursery.cancel_scope.cancel()


# --- the budget -----------------------------------------------------------------


async def test_each_actor_has_a_budget_of_its_own(autojump_clock: MockClock, troupe: Harness) -> None:
    """An actor that spent its budget takes nothing from another one's."""
    supervisor = troupe.supervisor(restarts=2)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        await crash(supervisor, "bob", 2)
        await crash(supervisor, "alice", 3)
        assert [key for key, _ in troupe.out_of_service] == ["alice"]
        assert supervisor.quarantined("bob") is None
        troupe.heard()
        supervisor.mailbox("bob").tell("a")
        assert troupe.heard() == "bob#3:a@0"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("times", "spent"),
    [
        ((0.0, 0.0), False),
        ((0.0, 0.0, 0.0), True),
        ((0.0, 4.0, 10.0), True),  # the first crash is exactly one period old, and counts
        ((0.0, 4.0, 10.25), False),
        ((0.0, 4.0, 10.25, 14.0), True),
        ((0.0, 4.0, 10.25, 14.25), False),
    ],
)
async def test_one_restart_too_many_is_quarantine(
    autojump_clock: MockClock, troupe: Harness, times: tuple[float, ...], spent: bool
) -> None:
    """Two crashes within ten seconds are mended, a third takes the actor out of service: at the edge, not beyond."""
    supervisor = troupe.supervisor(restarts=2, period=10.0)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        start = trio.current_time()
        for at in times:
            assert troupe.out_of_service == []
            await trio.sleep_until(start + at)
            await crash(supervisor, "alice")
        assert (supervisor.quarantined("alice") is not None) is spent
        assert len(troupe.failures) == len(times)
        nursery.cancel_scope.cancel()


async def test_a_quarantined_mailbox_refuses(autojump_clock: MockClock, troupe: Harness) -> None:
    """A quarantined actor takes nothing, says why, buries what it had, and its quarantine is announced once."""
    troupe.acts["slow"] = partial(trio.sleep, 1)
    supervisor = troupe.supervisor(restarts=0, period=5.0)
    mailbox = supervisor.mailbox("alice")
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        await tell_busy(supervisor, "alice", "slow", "crash", "a", "b")
        await trio.sleep(2)
        expected = "users/alice crashed more than 0 times within 5 s and is out of service; the last time: Boom: in a"
        for _ in range(2):
            with pytest.raises(Quarantined, match=expected):
                mailbox.tell("c")
        with pytest.raises(Quarantined):
            await mailbox.send("d")
        assert troupe.out_of_service == [("alice", troupe.failures[0])]
        assert supervisor.quarantined("alice") is troupe.failures[0]
        assert troupe.dead_letters == [("crash", Ended.CRASHED), ("a", Ended.QUARANTINED), ("b", Ended.QUARANTINED)]
        assert troupe.built == {"alice": 1}
        nursery.cancel_scope.cancel()


async def test_what_can_never_be_settled_is_not_tried_for_ever(autojump_clock: MockClock, troupe: Harness) -> None:
    """A message whose settling fails is given to each next actor, until the budget is spent and it is a dead letter."""

    async def spill() -> None:
        raise Boom("in settling")

    troupe.acts["spill"] = spill
    supervisor = troupe.supervisor(restarts=1)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        supervisor.mailbox("alice").tell("spill")
        await wait_all_tasks_blocked()
        assert troupe.heard() == "+alice#1@0 alice#1:spill@0 +alice#2@0 alice#2:spill@0"
        assert troupe.reports() == ["users/alice [settle] Boom: in settling"] * 2
        assert troupe.dead_letters == [("spill", Ended.QUARANTINED)]
        nursery.cancel_scope.cancel()


async def test_release(autojump_clock: MockClock, troupe: Harness) -> None:
    """A released actor is a new one behind the same mailbox, with a whole budget."""
    supervisor = troupe.supervisor(restarts=1)
    mailbox = supervisor.mailbox("alice")
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        await crash(supervisor, "alice", 2)
        supervisor.release("alice")
        assert supervisor.quarantined("alice") is None
        troupe.heard()
        mailbox.tell("a")
        assert troupe.heard() == "alice#3:a@0"
        await crash(supervisor, "alice")
        assert supervisor.quarantined("alice") is None
        await crash(supervisor, "alice")
        assert supervisor.quarantined("alice") is troupe.failures[-1]
        assert [key for key, _ in troupe.out_of_service] == ["alice", "alice"]
        nursery.cancel_scope.cancel()


# --- who is long unused ---------------------------------------------------------


async def test_retired(autojump_clock: MockClock, troupe: Harness) -> None:
    """An idle actor is forgotten when it was not named between two retirements, and built again when it is."""
    supervisor = troupe.supervisor()
    for key in ("alice", "bob"):
        supervisor.mailbox(key).tell("a")
    supervisor.retire()
    supervisor.mailbox("bob").tell("b")
    supervisor.retire()
    troupe.heard()
    for key in ("alice", "bob"):
        supervisor.mailbox(key).tell("c")
    assert troupe.heard() == "+alice#2@0 alice#2:c@0 bob#1:c@0"


async def test_only_the_idle_retire(autojump_clock: MockClock, troupe: Harness) -> None:
    """An actor with work left, waiting for its restart, or out of service keeps its mailbox, however long unused."""
    troupe.acts["slow"] = partial(trio.sleep, 100)
    supervisor = troupe.supervisor(restarts=1, backoff=Backoff(first_seconds=100.0, factor=1.0, longest_seconds=100.0))
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        await tell_busy(supervisor, "alice", "slow", "a")
        await tell_busy(supervisor, "bob", "crash", "b")
        await tell_busy(supervisor, "carol", "crash", "crash")
        await trio.sleep(55)
        for _ in range(5):
            supervisor.retire()
        assert supervisor.quarantined("carol") is not None
        with pytest.raises(Quarantined):
            supervisor.mailbox("carol").tell("c")
        await trio.sleep(100)
        assert troupe.built == {"alice": 1, "bob": 2, "carol": 2}
        assert "alice#1:a@100" in troupe.said
        assert "bob#2:b@50" in troupe.said
        nursery.cancel_scope.cancel()


# --- the end --------------------------------------------------------------------


async def test_stop_lets_actors_finish(autojump_clock: MockClock, troupe: Harness) -> None:
    """Asked to stop, a supervisor waits until all that its actors were told is done; then it takes nothing more."""
    troupe.acts |= {"slow": partial(trio.sleep, 3), "slower": partial(trio.sleep, 5)}
    supervisor = troupe.supervisor()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(finished, supervisor, troupe)
        await wait_all_tasks_blocked()
        await tell_busy(supervisor, "alice", "slow", "a")
        supervisor.mailbox("bob").tell("slower")
        troupe.heard()
        supervisor.stop()
    assert troupe.heard() == "alice#1:a@3 end@5"
    assert troupe.dead_letters == []
    assert troupe.reports() == []
    for key in ("alice", "bob"):
        with pytest.raises(RuntimeClosed, match="expected an open runtime"):
            supervisor.mailbox(key).tell("too late")


async def test_stop_lets_a_crashed_actor_recover(autojump_clock: MockClock, troupe: Harness) -> None:
    """An actor that crashes while its supervisor stops is restarted, and finishes what it was told."""
    troupe.acts["slow"] = partial(trio.sleep, 3)
    supervisor = troupe.supervisor(backoff=Backoff(first_seconds=2.0, factor=2.0, longest_seconds=60.0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(finished, supervisor, troupe)
        await wait_all_tasks_blocked()
        await tell_busy(supervisor, "alice", "slow", "crash", "a")
        supervisor.stop()
    assert troupe.heard() == "+alice#1@0 alice#1:slow@0 +alice#2@4 alice#2:a@4 end@4"


async def test_stop_of_the_idle_is_immediate(autojump_clock: MockClock, troupe: Harness) -> None:
    """With nothing left to do, a supervisor that is asked to stop returns at once."""
    supervisor = troupe.supervisor()
    supervisor.mailbox("alice").tell("a")
    supervisor.stop()
    await finished(supervisor, troupe)
    assert troupe.heard() == "+alice#1@0 alice#1:a@0 end@0"


async def test_a_mailbox_may_be_kept(autojump_clock: MockClock, troupe: Harness) -> None:
    """What a mailbox is told that was retired meanwhile reaches the actor that has its key now, in order, however it is
    told, and what that one refuses is refused."""
    supervisor = troupe.supervisor()
    kept = supervisor.mailbox("alice")
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        kept.tell("a")
        supervisor.retire()
        supervisor.retire()
        supervisor.mailbox("alice").tell("b")
        kept.tell("c")
        assert supervisor.forget("alice")
        kept.tell_reserved("d")
        supervisor.mailbox("alice").tell("e")
        await kept.send("f")
        heard = "+alice#1@0 alice#1:a@0 +alice#2@0 alice#2:b@0 alice#2:c@0 +alice#3@0 alice#3:d@0 alice#3:e@0"
        assert troupe.heard() == f"{heard} alice#3:f@0"
        await crash(supervisor, "alice", 4)
        with pytest.raises(Quarantined):
            kept.tell("g")
        nursery.cancel_scope.cancel()


async def test_a_mailbox_may_be_kept_while_its_actor_is_busy(autojump_clock: MockClock, troupe: Harness) -> None:
    """A full queue behind a retired mailbox is as full as seen from the one in its place."""
    troupe.acts["slow"] = partial(trio.sleep, 1)
    supervisor = troupe.supervisor()
    kept = supervisor.mailbox("alice")
    supervisor.retire()
    supervisor.retire()
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        await tell_busy(supervisor, "alice", "slow", *"abcdefghijklmnop")
        with pytest.raises(trio.WouldBlock):
            kept.tell("q")
        kept.tell_reserved("r")
        await kept.send("s")
        assert trio.current_time() == 1
        await wait_all_tasks_blocked()
        order = [said.split(":")[1].split("@")[0] for said in troupe.heard().split() if ":" in said]
        assert order == ["slow", *"abcdefghijklmnop", "r", "s"]
        nursery.cancel_scope.cancel()


async def test_a_kept_mailbox_outlives_a_restart_of_the_supervisor(troupe: Harness) -> None:
    """After a supervisor was ended and started anew, a mailbox of its former run is told of the present one's actor."""
    supervisor = troupe.supervisor()
    kept = supervisor.mailbox("alice")
    for _ in range(2):
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            kept.tell("a")
            nursery.cancel_scope.cancel()
        with pytest.raises(RuntimeClosed):
            kept.tell("too late")
    assert [said.split("@")[0] for said in troupe.said] == ["+alice#1", "alice#1:a", "+alice#2", "alice#2:a"]


async def test_a_quarantine_ends_with_the_run_of_the_supervisor(autojump_clock: MockClock, troupe: Harness) -> None:
    """A supervisor that was started anew says of no actor that it is out of service which takes messages again."""
    supervisor = troupe.supervisor(restarts=0)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        await crash(supervisor, "alice")
        assert supervisor.quarantined("alice") is not None
        nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        supervisor.mailbox("alice").tell("a")
        assert "alice#2:a" in troupe.heard()
        assert supervisor.quarantined("alice") is None
        nursery.cancel_scope.cancel()


async def test_the_long_unused_are_closed_too(autojump_clock: MockClock, troupe: Harness) -> None:
    """At the end every mailbox is closed, those that were about to be retired among them."""
    supervisor = troupe.supervisor()
    mailbox = supervisor.mailbox("alice")
    supervisor.retire()
    supervisor.stop()
    await supervisor.run()
    with pytest.raises(RuntimeClosed):
        mailbox.tell("too late")


async def test_cancelled_buries_what_was_queued(autojump_clock: MockClock, troupe: Harness) -> None:
    """Cancelled, a supervisor buries what its actors had in hand, queued, or wait to try again; and refuses."""
    troupe.acts["slow"] = trio.sleep_forever
    supervisor = troupe.supervisor(backoff=Backoff(first_seconds=60.0, factor=1.0, longest_seconds=60.0))
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        await tell_busy(supervisor, "alice", "slow", "a")
        await tell_busy(supervisor, "bob", "crash", "b")
        nursery.cancel_scope.cancel()
    assert troupe.dead_letters == [
        ("crash", Ended.CRASHED),
        ("slow", Ended.CLOSED),
        ("a", Ended.CLOSED),
        ("b", Ended.CLOSED),
    ]
    for key in ("alice", "bob"):
        with pytest.raises(RuntimeClosed):
            supervisor.mailbox(key).tell("too late")


async def test_cancelled_while_stopping(autojump_clock: MockClock, troupe: Harness) -> None:
    """Patience with a supervisor that stops may end: cancelled then, it buries what is left."""
    troupe.acts["slow"] = trio.sleep_forever
    supervisor = troupe.supervisor()
    with trio.move_on_after(3):
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            supervisor.mailbox("alice").tell("slow")
            supervisor.stop()
    assert trio.current_time() == 3
    assert troupe.dead_letters == [("slow", Ended.CLOSED)]


async def test_all_are_cancelled_at_once(autojump_clock: MockClock, troupe: Harness) -> None:
    """Cancelled actors tidy up beside each other: three that need two seconds each take two together."""

    async def tidy() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(2)
                troupe.say("tidy")

    troupe.acts["work"] = tidy
    supervisor = troupe.supervisor(shutdown=5.0)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        for key in ("alice", "bob", "carol"):
            supervisor.mailbox(key).tell("work")
        await wait_all_tasks_blocked()
        troupe.heard()
        nursery.cancel_scope.cancel()
    assert troupe.heard() == "tidy@2 tidy@2 tidy@2"
    assert trio.current_time() == 2
    assert troupe.reports() == []


async def test_who_shields_himself_is_reported(autojump_clock: MockClock, troupe: Harness) -> None:
    """An actor that ignores cancellation is a failure once its time is up, says where it waits, and is waited for."""

    async def stubborn() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(9)

    troupe.acts |= {"work": stubborn, "slow": trio.sleep_forever}
    supervisor = troupe.supervisor(shutdown=5.0)

    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        supervisor.mailbox("alice").tell("work")
        supervisor.mailbox("bob").tell("slow")
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.sleep_until(4.75)
            assert troupe.reports() == []
            await trio.sleep_until(5.25)
            text = "shields itself from cancellation, or waits for a thread, 5 s after it was cancelled"
            assert troupe.reports() == [f"users/alice [its shutdown] {text}"]
            assert "in stubborn" in troupe.failures[0].traceback
    assert trio.current_time() == 9
    assert len(troupe.failures) == 1


@pytest.mark.parametrize("error", [SystemExit, asyncio.CancelledError, GeneratorExit])
@pytest.mark.parametrize("act", ["handle", "settle"])
async def test_an_exit_is_a_crash(
    autojump_clock: MockClock, troupe: Harness, act: str, error: type[BaseException]
) -> None:
    """A BaseException is a crash like any other: reported, mended by a new actor, and no other actor notices."""
    times = 0

    async def once() -> None:
        nonlocal times
        times += 1
        if times == 1:
            raise error

    troupe.acts["spill"] = once
    troupe.crash = error
    supervisor = troupe.supervisor()
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        supervisor.mailbox("bob").tell("a")
        supervisor.mailbox("alice").tell("crash" if act == "handle" else "spill")
        await wait_all_tasks_blocked()
        assert [failure.error.partition(":")[0] for failure in troupe.failures] == [error.__name__]
        assert troupe.built == {"alice": 2, "bob": 1}
        nursery.cancel_scope.cancel()


async def test_a_keyboard_interrupt_is_nobodys_crash(autojump_clock: MockClock, troupe: Harness) -> None:
    """Ctrl-C in an actor's work ends the supervisor, restarts nobody and is no failure of the actor."""

    async def interrupted() -> None:
        raise KeyboardInterrupt

    troupe.acts |= {"work": interrupted, "slow": trio.sleep_forever}
    supervisor = troupe.supervisor()
    caught: list[BaseException] = []

    async def run(task_status: trio.TaskStatus[None]) -> None:
        try:
            await supervisor.run(task_status)
        except BaseExceptionGroup as group:
            caught.extend(group.exceptions)

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        supervisor.mailbox("bob").tell("slow")
        supervisor.mailbox("alice").tell("work")
    assert [type(error) for error in caught] == [KeyboardInterrupt]
    assert troupe.reports() == []
    assert troupe.built == {"alice": 1, "bob": 1}
    assert sorted(troupe.dead_letters, key=lambda one: one[0]) == [("slow", Ended.CLOSED), ("work", Ended.CLOSED)]


async def test_an_actor_that_cannot_be_built_is_quarantined_alone(autojump_clock: MockClock, troupe: Harness) -> None:
    """An actor whose restart fails has crashed again; when its budget is spent, others go on as they were."""
    supervisor = troupe.supervisor(restarts=2)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        supervisor.mailbox("bob").tell("a")
        mailbox = supervisor.mailbox("alice")
        troupe.built = {"alice": "not a number"}  # type: ignore[dict-item] # what breaks `build`
        mailbox.tell("crash")
        await wait_all_tasks_blocked()
        assert len(troupe.failures) == 3
        assert [key for key, _ in troupe.out_of_service] == ["alice"]
        supervisor.mailbox("bob").tell("b")
        assert "bob#1:b@0" in troupe.heard()
        nursery.cancel_scope.cancel()


async def test_after_the_end_nobody_is_served(autojump_clock: MockClock, troupe: Harness) -> None:
    """A supervisor that has ended refuses also those who were never named before; run again, it serves them."""
    supervisor = troupe.supervisor()
    with trio.move_on_after(1):
        await supervisor.run()
    with pytest.raises(RuntimeClosed):
        supervisor.mailbox("alice").tell("a")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run)
        await wait_all_tasks_blocked()
        supervisor.mailbox("alice").tell("b")
        assert "alice#2:b@1" in troupe.heard()
        nursery.cancel_scope.cancel()
