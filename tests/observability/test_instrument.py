"""Instruments: each fact is told once, in its step, and an instrument that fails costs itself alone."""

from __future__ import annotations

import inspect
import socket
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import actors
from actors import DeadLetter, Failure, Instrument, Limits, OwnerChange, Receipt, Run, Stage
from actors.kernel.failures import Failures
from actors.observability.instrument import HOOKS, Instruments
from tests.support.raw import Peer
from tests.support.served import served


class Recorder(Instrument):
    """Keeps every fact, as its name and what came with it."""

    def __init__(self) -> None:
        self.facts: list[tuple[Any, ...]] = []

    def named(self, *names: str) -> list[tuple[Any, ...]]:
        return [fact for fact in self.facts if fact[0] in names]


def _keeping(hook: str) -> Any:
    def keep(self: Recorder, *facts: object) -> None:
        self.facts.append((hook, *facts))

    return keep


for _hook in HOOKS:
    setattr(Recorder, _hook, _keeping(_hook))


async def test_the_way_of_an_event(autojump_clock: MockClock) -> None:
    """An event is offered, placed and accepted in the call's own step; written and acked are told by range."""
    recorder = Recorder()
    async with served() as server, server.peer() as peer:
        server.runtime.instruments.add(recorder)
        await peer.attach("alice")
        receipt = await server.runtime.thread("t").emit("step", {}, user_id="alice")
        position = receipt.position
        assert position is not None
        assert [fact[0] for fact in recorder.named("offered", "bound", "placed", "accepted")] == [
            "offered",
            "bound",
            "placed",
            "accepted",
        ]
        assert recorder.named("placed") == [("placed", receipt, "alice", position.epoch, 1)]
        await peer.next_event()
        await peer.ack(1)
        await receipt.reached(Stage.ACKED)
    assert recorder.named("written", "acked") == [
        ("written", "alice", position.epoch, 1, 1),
        ("acked", "alice", position.epoch, 1, 1, 1),
    ]


async def test_refusals_and_repetitions() -> None:
    """An emit that raises is refused with its error; one that repeats an id has the first receipt's fate."""
    recorder = Recorder()
    async with actors.open_runtime() as runtime:
        runtime.instruments.add(recorder)
        thread = runtime.thread("t")
        first = await thread.emit("step", {}, event_id="e", user_id="alice")
        assert thread.emit_nowait("step", {}, event_id="e") is first
        with pytest.raises(actors.IdempotencyConflict) as caught:
            await thread.emit("step", {"other": 1}, event_id="e")
    repetition, refused = recorder.named("deduplicated"), recorder.named("refused")
    assert [fact[2] for fact in repetition] == [first]
    assert [fact[2] for fact in refused] == [caught.value]
    assert [fact[3] for fact in recorder.named("accepted")] == [True, True]


async def test_held_bound_and_dropped() -> None:
    """Events of a thread without an owner are held; a bind says how many it placed; a drop comes with its cause."""
    recorder = Recorder()
    async with actors.open_runtime(limits=Limits(unbound_events=2, retained_events=2)) as runtime:
        runtime.instruments.add(recorder)
        for _ in range(3):
            await runtime.thread("t").emit("step", {})
        await runtime.bind("t", "alice")
        await runtime.thread("t").emit("step", {})
    letters: list[DeadLetter] = [fact[1] for fact in recorder.named("dropped")]
    assert len(recorder.named("held")) == 3
    assert recorder.named("bound") == [("bound", "t", "alice", 3)]
    assert [(letter.cause, letter.count) for letter in letters] == [
        ("unbound_overflow", 1),
        ("retention", 1),
        ("retention", 1),
        ("shutdown", 2),
    ]


async def test_changes_of_owner() -> None:
    """A call that changes an owner is told when it begins and when it ends, with its error."""
    recorder = Recorder()
    async with actors.open_runtime() as runtime:
        runtime.instruments.add(recorder)
        await runtime.bind("t", "alice")
        with pytest.raises(actors.NotTheOwner):
            await runtime.bind("t", "bob")
        await runtime.unbind("t")
    begun = [fact[1] for fact in recorder.named("owner_changing")]
    ended = [fact[1:] for fact in recorder.named("owner_changed")]
    assert [change for change, _ in ended] == begun
    assert [(change.act, change.user_id) for change in begun] == [("bind", "alice"), ("bind", "bob"), ("unbind", None)]
    assert [type(error) for _, error in ended] == [type(None), actors.NotTheOwner, type(None)]
    assert all(isinstance(change, OwnerChange) for change in begun)


async def test_the_life_of_a_connection() -> None:
    """A connection is opened, told where it begins, and closed by a row of the closing table."""
    recorder = Recorder()
    async with served() as server:
        server.runtime.instruments.add(recorder)
        async with server.peer() as peer:
            await peer.attach("alice")
            await peer.say({"op": "read", "id": 1, "thread_id": "nobody's"})
            await peer.say({"op": "juggle", "id": 2})
            while len(recorder.named("request_answered")) < 2:  # noqa: ASYNC110 - the recorder has nothing to wait for
                await trio.sleep(0.001)
            await peer.leave()
        while not recorder.named("connection_closed"):  # noqa: ASYNC110 - as above
            await trio.sleep(0.001)
    label = recorder.named("connection_opened")[0][1]
    path = f"users/alice/connections/{label}"
    assert recorder.named("resumed") == [("resumed", path, "fresh")]
    assert sorted(recorder.named("request_answered")) == [
        ("request_answered", "", "unknown_op"),
        ("request_answered", "read", "unknown_thread"),
    ]
    assert recorder.named("connection_closed") == [("connection_closed", label, path, "left")]


async def test_runs() -> None:
    """A run and its child begin and end, each with its outcome."""
    recorder = Recorder()
    async with actors.open_runtime() as runtime:
        runtime.instruments.add(recorder)
        with pytest.raises(ValueError, match="no"):
            async with runtime.thread("t").run("writer", run_id="r") as run, run.run("reader"):
                raise ValueError("no")
        with pytest.raises(actors.NotTheOwner):
            await _emit_for_another_user(runtime)
    assert recorder.named("run_began", "run_ended") == [
        ("run_began", "t", "r", "writer", None),
        ("run_began", "t", "r.1", "reader", "r"),
        ("run_ended", "t", "r.1", "agent_failed"),
        ("run_ended", "t", "r", "agent_failed"),
    ]


async def _emit_for_another_user(runtime: actors.Runtime) -> None:
    await runtime.bind("t", "alice")
    await runtime.thread("t").emit("step", {}, user_id="bob")


async def test_crashes_restarts_and_a_quarantine(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each crash of an actor is told, each new life, and that it is out of service."""
    recorder = Recorder()

    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    async with actors.open_runtime(limits=Limits(restarts=1)) as runtime:
        runtime.instruments.add(recorder)
        monkeypatch.setattr("actors.threads.actor.ThreadActor.handle", fail)
        for _ in range(2):
            await runtime.thread("t").emit("step", {})
            await trio.sleep(1)
        monkeypatch.undo()
    facts = recorder.named("crashed", "restarted", "quarantined")
    assert [fact[0] for fact in facts] == ["crashed", "restarted", "crashed", "quarantined"]
    assert [fact[1] for fact in recorder.named("restarted", "quarantined")] == ["threads/t", "threads/t"]
    assert all(isinstance(fact[-1], Failure) for fact in recorder.named("crashed", "quarantined"))


async def test_an_agent_that_fails_is_a_crash() -> None:
    """The application's own failures are facts like the runtime's: whatever is recorded is told."""
    recorder = Recorder()
    done = trio.Event()

    async def agent(run: Run, message: actors.Message) -> None:
        done.set()
        raise RuntimeError("a bug of the agent's")

    async with served(on_message=agent) as server, server.peer() as peer:
        server.runtime.instruments.add(recorder)
        await peer.attach("alice")
        await peer.say({"op": "send", "id": 1, "type": "user_message", "payload": {}})
        await done.wait()
        while not recorder.named("run_ended"):  # noqa: ASYNC110 - the recorder has nothing to wait for
            await trio.sleep(0.001)
    assert [str(fact[1]) for fact in recorder.named("crashed")] == [str(server.runtime.failures[-1])]


class Failing(Recorder):
    """Raises at one fact."""

    def placed(self, receipt: Receipt, user_id: str, epoch: str, offset: int) -> None:
        raise RuntimeError("a bug of the instrument's")


async def test_an_instrument_that_raises_is_called_no_more() -> None:
    """It is reported once and removed; the event goes on, and the other instruments are told of it."""
    failing, recorder = Failing(), Recorder()
    async with actors.open_runtime() as runtime:
        runtime.instruments.add(failing)
        runtime.instruments.add(recorder)
        for _ in range(3):
            await runtime.thread("t").emit("step", {}, user_id="alice")
        assert failing not in runtime.instruments
        assert [(failure.path, failure.handling) for failure in runtime.failures] == [("instruments/Failing", "placed")]
        assert runtime.audit().balanced
    assert len(recorder.named("placed")) == 3
    assert [fact[0] for fact in failing.facts] == ["offered", "bound"]


def test_where_nothing_listens_there_is_nothing_to_call() -> None:
    """A hook is None until an instrument has it, and again when that is gone."""
    instruments = Instruments(Failures(10, lambda: 0.0))

    class OfDrops(Instrument):
        def dropped(self, letter: DeadLetter) -> None:
            pass

    of_drops = OfDrops()
    assert [hook for hook in HOOKS if getattr(instruments, hook) is not None] == []
    instruments.add(of_drops)
    instruments.add(of_drops)
    assert [hook for hook in HOOKS if getattr(instruments, hook) is not None] == ["dropped"]
    assert repr(instruments) == "<Instruments OfDrops>"
    instruments.remove(of_drops)
    assert [hook for hook in HOOKS if getattr(instruments, hook) is not None] == []


def test_what_is_no_instrument_is_refused() -> None:
    """A class in place of an instance is the likely mistake; the error says what was expected."""
    with pytest.raises(TypeError, match=r"expected an instance of actors\.observability\.instrument\.Instrument"):
        Instruments(Failures(10, lambda: 0.0)).add(Recorder)  # type: ignore[arg-type]


def test_hooks_take_what_the_methods_take() -> None:
    """Each fact stands in both classes, with as many values of the same types."""
    hints = inspect.get_annotations(Instruments)
    assert tuple(hints) == HOOKS
    for hook in HOOKS:
        taken = [one.annotation for one in list(inspect.signature(getattr(Instrument, hook)).parameters.values())[1:]]
        assert hints[hook] == f"Callable[[{', '.join(taken)}], None] | None", hook


async def test_a_connection_that_the_host_cancels_is_closed_too() -> None:
    """Connections that are opened and closed balance, however one ends: a gauge of both does not drift."""
    recorder = Recorder()
    ours, theirs = socket.socketpair()
    async with actors.open_runtime() as runtime, trio.open_nursery() as nursery:
        runtime.instruments.add(recorder)
        nursery.start_soon(runtime.handle, trio.SocketStream(trio.socket.from_stdlib_socket(ours)))
        peer = Peer(trio.SocketStream(trio.socket.from_stdlib_socket(theirs)))
        await peer.attach("alice")
        nursery.cancel_scope.cancel()
    await peer.stream.aclose()
    label, path = recorder.named("connection_opened")[0][1], recorder.named("resumed")[0][1]
    assert recorder.named("connection_closed") == [("connection_closed", label, path, "vanished")]


async def test_a_drop_has_the_time_of_people() -> None:
    """A dead letter that an instrument takes is the one that ``dead_letters`` keeps, wall clock and all."""
    recorder = Recorder()
    async with actors.open_runtime(limits=Limits(unbound_events=1)) as runtime:
        runtime.instruments.add(recorder)
        for _ in range(2):
            await runtime.thread("t").emit("step", {})
        assert [fact[1] for fact in recorder.named("dropped")] == list(runtime.dead_letters)


async def test_questions(autojump_clock: MockClock) -> None:
    """A question is opened and closed once each, with its end: answered, expired, or withdrawn by its run."""
    recorder = Recorder()
    async with actors.open_runtime() as runtime:
        runtime.instruments.add(recorder)
        await runtime.bind("t", "alice")
        with pytest.raises(actors.Unanswered):
            await runtime.thread("t").ask("confirm", {}, timeout=1)
        with trio.move_on_after(1):
            async with runtime.thread("t").run("writer", run_id="r") as run:
                await run.ask("confirm", {}, timeout=10)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(runtime.thread("t").ask, "confirm", {}, timeout=10))
            await trio.testing.wait_all_tasks_blocked()
            assert runtime.statistics().asks_open == 1
            (ask,) = runtime.tree.asks.in_thread("t")
            runtime.tree.asks.answer(ask.ask_id, {}, "alice", "1")
        now = runtime.statistics()
    opened, closed = recorder.named("ask_opened"), recorder.named("ask_closed")
    assert [fact[1:4:2] for fact in opened] == [("t", None), ("t", "r"), ("t", None)]
    assert [fact[2] for fact in closed] == [fact[2] for fact in opened]
    assert [fact[3] for fact in closed] == ["expired", "withdrawn", "answered"]
    assert (now.asks_open, now.asks_closed) == (0, {"expired": 1, "withdrawn": 1, "answered": 1})
