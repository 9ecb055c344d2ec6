"""Runs: the first event first, one terminal event last, and in between the events of the agent, in its order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing

import actors
from actors import Run
from actors.runs.run import RESERVED, TERMINAL
from actors.stores.memory import MemoryStore
from tests.runs.emitting import (
    LIMITS,
    STARTED,
    Emitted,
    cancelled,
    emitted,
    failed,
    fill,
    opened,
    raises_inside,
    settled,
    stalled,
)
from tests.stores.waiting import WaitingStore

# --- the first and the last event -------------------------------------------------------


async def test_events_of_a_run() -> None:
    """``agent_started`` comes first, ``agent_completed`` last, and between them what the agent said, in its order."""
    async with opened() as runtime:
        async with runtime.thread("t1").run("bot", run_id="r1") as run:
            await run.thinking("hm")
            async with run.tool("search", {"q": "trio"}) as tool:
                tool.result = ["found"]
            await run.emit("note", {"n": 1})
            run.delta("an")
            run.delta("swer")
        assert await emitted(runtime, "r1") == [
            STARTED,
            ("agent_thinking", {"text": "hm"}),
            ("tool_executing", {"tool_name": "search", "tool_call_id": "call_1", "arguments": {"q": "trio"}}),
            ("tool_completed", {"tool_name": "search", "tool_call_id": "call_1", "ok": True, "result": ["found"]}),
            ("note", {"n": 1}),
            ("agent_delta", {"text": "answer"}),
            ("agent_completed", {}),
        ]
        assert run.outcome == "agent_completed"
        assert len(runtime.failures) == 0


async def test_a_result_is_told() -> None:
    """``run.result`` goes into ``agent_completed``."""
    async with opened() as runtime:
        async with runtime.thread("t1").run("bot") as run:
            run.result = {"answer": 42}
        assert (await emitted(runtime))[-1] == ("agent_completed", {"result": {"answer": 42}})


async def test_a_run_before_its_thread_is_bound() -> None:
    """The events of a run in a thread without an owner follow when it has one, all of them."""
    async with actors.open_runtime() as runtime:
        async with runtime.thread("t1").run("bot"):
            pass
        assert [kind for kind, _ in await emitted(runtime)] == ["agent_started", "agent_completed"]


async def test_an_exception_is_told_and_comes_out() -> None:
    """``agent_failed`` says type and message; the traceback is in ``runtime.failures``, once; the host has it all."""
    async with opened() as runtime:
        with pytest.raises(LookupError, match="no such page"):
            async with runtime.thread("t1").run("bot", run_id="r1"):
                raise LookupError("no such page")
        assert await emitted(runtime) == [STARTED, failed("LookupError", "no such page")]
        (failure,) = runtime.failures
        assert (failure.path, failure.handling) == ("runs/r1", "thread t1")
        assert failure.error == "LookupError: no such page"
        assert "test_an_exception_is_told" in failure.traceback


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("error", "type_", "message"),
    [
        (ExceptionGroup("tasks", [KeyError("k")]), "KeyError", "'k'"),
        (BaseExceptionGroup("a", [ExceptionGroup("b", [ValueError("deep")])]), "ValueError", "deep"),
        (ExceptionGroup("tasks", [KeyError("k"), ValueError("v")]), "ExceptionGroup", "tasks (2 sub-exceptions)"),
        (ValueError("x" * 2_000), "ValueError", "x" * 2_000),
        (ValueError("x" * 2_001), "ValueError", "x" * 1_999 + "…"),
        (ValueError("\N{CHESTNUT}" * 3_000), "ValueError", "\N{CHESTNUT}" * 1_999 + "…"),
        (ValueError("\0" * 3_000), "ValueError", "\0" * 1_999 + "…"),
        (Unspeakable(), "Unspeakable", ""),
        (ValueError("a\ud800b"), "ValueError", "a?b"),
        (ValueError(), "ValueError", ""),
        (ValueError("two\nlines"), "ValueError", "two\nlines"),
    ],
)
async def test_what_is_said_of_an_exception(error: BaseException, type_: str, message: str) -> None:
    """A group of one is about its member; texts are bounded, and none is too strange to be emitted and recorded."""
    async with opened() as runtime:
        with pytest.raises(type(error)) as raised:
            async with runtime.thread("t1").run("bot", run_id="r1"):
                raise error
        assert raised.value is error
        assert await emitted(runtime) == [STARTED, failed(type_, message)]
        assert [failure.path for failure in runtime.failures] == ["runs/r1"]
        assert runtime.failures[0].error.startswith(type_)


async def test_an_exception_too_long_for_an_event() -> None:
    """Where events are so small that the text of an exception does not fit, the event has none."""
    async with opened(limits=actors.Limits(event_bytes=2_048)) as runtime:
        with raises_inside(ValueError):
            async with runtime.thread("t1").run("bot"):
                raise ValueError("\0" * 2_000)
        assert await emitted(runtime) == [STARTED, failed("ValueError", "")]
        assert len(runtime.failures) == 1


@pytest.mark.parametrize("error", [SystemExit("now"), asyncio.CancelledError("now"), GeneratorExit("now")], ids=repr)
async def test_an_exception_that_is_no_exception(error: BaseException) -> None:
    """What is no Exception ends a run of the application's as others do, is recorded, and comes out."""
    async with opened() as runtime:
        with pytest.raises(type(error)):
            async with runtime.thread("t1").run("bot"):
                raise error
        assert await emitted(runtime) == [STARTED, failed(type(error).__name__, "now")]
        assert [failure.error for failure in runtime.failures] == [f"{type(error).__name__}: now"]


async def test_an_interrupt_ends_the_run() -> None:
    """An interrupt from the keyboard ends the run, and propagates; it is not reported as a failure."""
    async with opened() as runtime:
        with pytest.raises(KeyboardInterrupt):
            async with runtime.thread("t1").run("bot"):
                raise KeyboardInterrupt("now")
        assert await emitted(runtime) == [STARTED, failed("KeyboardInterrupt", "now")]
        assert len(runtime.failures) == 0


async def test_an_exception_beside_a_cancellation_is_a_failure() -> None:
    """When one task of a run raises while the others are cancelled from outside, the run has failed; it is recorded."""

    async def raise_late() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("in the cleanup")

    async def work(runtime: actors.Runtime) -> None:
        async with runtime.thread("t1").run("bot", run_id="r1"), trio.open_nursery() as nursery:
            nursery.start_soon(raise_late)
            nursery.start_soon(trio.sleep_forever)

    async with opened() as runtime:
        with raises_inside(ValueError), trio.CancelScope() as scope:
            async with trio.open_nursery() as host:
                host.start_soon(work, runtime)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        assert await emitted(runtime) == [STARTED, failed("ValueError", "in the cleanup")]
        assert [failure.error for failure in runtime.failures] == ["ValueError: in the cleanup"]


# --- what cannot be encoded -------------------------------------------------------------


async def test_a_result_that_cannot_be_encoded() -> None:
    """A result that JSON cannot carry raises in the host, naming the place, and the run has failed with that."""
    async with opened() as runtime:
        with raises_inside(actors.Unencodable) as raised:
            async with runtime.thread("t1").run("bot", run_id="r1") as run:
                run.delta("almost")
                run.result = {"when": object()}
        assert "payload.result.when" in str(raised)
        events = await emitted(runtime)
        assert [kind for kind, _ in events] == ["agent_started", "agent_delta", "agent_failed"]
        assert events[-1][1]["error"]["type"] == "Unencodable"
        assert [failure.path for failure in runtime.failures] == ["runs/r1"]


async def test_numbers_that_would_be_rounded() -> None:
    """A number that a browser would round is refused in what an agent returns, and in what a tool gives it."""
    large = 2512292042121000001
    async with opened() as runtime:
        with raises_inside(actors.Unencodable):
            async with runtime.thread("t1").run("bot") as run:
                run.result = [{"order_id": large}]
        with raises_inside(actors.Unencodable):
            async with runtime.thread("t1").run("bot") as run, run.tool("orders") as tool:
                tool.result = {"id": large}
        errors = [payload["error"]["message"] for _, payload in await emitted(runtime) if "error" in payload]
        paths = [text.partition(": ")[0] for text in errors]
        assert paths == ["payload.result[0].order_id", "payload.result.id", "payload.result.id"]
        assert all(text.endswith(f"got {large}") for text in errors)


@pytest.mark.parametrize("name", ["", "x" * 257, 7, "\ud800"])
@pytest.mark.parametrize("field", ["agent_name", "run_id", "reason"])
async def test_names_that_cannot_be_names(field: str, name: Any) -> None:
    """What can be no id raises in the caller, before anything is emitted; a reason leaves the run as it is."""
    async with opened() as runtime:
        options: dict[str, Any] = {"agent_name": "bot", "run_id": "r1"}
        with pytest.raises(actors.Unencodable, match=field):
            async with runtime.thread("t1").run(**(options | ({} if field == "reason" else {field: name}))) as run:
                run.cancel(name)
        if field == "reason":
            assert (await emitted(runtime))[-1][0] == "agent_failed"
        else:
            assert await emitted(runtime) == []
        assert not runtime.tree.runs.registry.active


async def test_only_the_run_begins_and_ends_itself() -> None:
    """The types that begin and end a run are refused from the run's user, and from others under its id."""
    async with opened() as runtime:
        thread = runtime.thread("t1")
        async with thread.run("bot", run_id="r1") as run:
            for kind in RESERVED:
                with pytest.raises(actors.Unencodable, match="which the run emits itself"):
                    await run.emit(kind, {})
                with pytest.raises(actors.Unencodable, match="r1"):
                    await thread.emit(kind, {}, run_id="r1")
                with pytest.raises(actors.Unencodable, match="r1"):
                    thread.emit_nowait(kind, {}, run_id="r1")
            await thread.emit("note", {}, run_id="r1")
            await thread.emit("agent_completed", {}, run_id="a run of somebody else")
        assert [kind for kind, _ in await emitted(runtime, "r1")] == ["agent_started", "note", "agent_completed"]


async def test_one_active_run_of_an_id() -> None:
    """A second run with the id of one that is active raises and emits nothing; later the id is free again."""
    async with opened() as runtime:
        thread = runtime.thread("t1")
        async with thread.run("bot", run_id="r1") as run:
            with pytest.raises(actors.IdempotencyConflict, match="r1"):
                async with thread.run("other", run_id="r1"):
                    pytest.fail("it has begun")
            with pytest.raises(actors.IdempotencyConflict, match="r1"):
                async with run.run("other", run_id="r1"):
                    pytest.fail("it has begun")
            assert runtime.tree.runs.registry.active == {"r1": run}
        async with thread.run("bot", run_id="r1"):
            pass
        assert [kind for kind, _ in await emitted(runtime)] == ["agent_started", "agent_completed"] * 2


async def test_two_runs_cannot_begin_with_one_id(autojump_clock: trio.testing.MockClock) -> None:
    """Also while the first event of the one waits for room, the id is taken."""
    async with stalled() as (runtime, store):
        await fill(runtime)

        async def work() -> None:
            async with runtime.thread("t1").run("bot", run_id="r1"):
                pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(actors.IdempotencyConflict):
                async with runtime.thread("t1").run("bot", run_id="r1"):
                    pytest.fail("it has begun")
            store.gate.set()
        assert [kind for kind, _ in await settled(runtime, store)] == ["agent_started", "agent_completed"]


# --- tools ------------------------------------------------------------------------------


async def test_a_tool_that_raises() -> None:
    """``tool_completed`` says that it failed and how, and the exception goes on."""
    async with opened() as runtime:
        async with runtime.thread("t1").run("bot") as run:
            with pytest.raises(OSError, match="disk"):
                async with run.tool("search"):
                    raise OSError("disk")
        assert (await emitted(runtime))[1:3] == [
            ("tool_executing", {"tool_name": "search", "tool_call_id": "call_1", "arguments": {}}),
            (
                "tool_completed",
                {
                    "tool_name": "search",
                    "tool_call_id": "call_1",
                    "ok": False,
                    "error": {"type": "OSError", "message": "disk"},
                },
            ),
        ]


async def test_a_tools_result_that_cannot_be_encoded() -> None:
    """A result that JSON cannot carry is the tool's failure, and raises."""
    async with opened() as runtime:
        async with runtime.thread("t1").run("bot") as run:
            with pytest.raises(actors.Unencodable, match=r"payload\.result"):
                async with run.tool("search") as tool:
                    tool.result = object()
        kind, payload = (await emitted(runtime))[2]
        assert (kind, payload["ok"], payload["error"]["type"]) == ("tool_completed", False, "Unencodable")


async def test_arguments_that_cannot_be_encoded() -> None:
    """Arguments that JSON cannot carry raise before ``tool_executing``: there is no call then."""
    async with opened() as runtime:
        async with runtime.thread("t1").run("bot") as run:
            with pytest.raises(actors.Unencodable, match=r"payload\.arguments\.q"):
                async with run.tool("search", {"q": object()}):
                    pytest.fail("it was called")
        assert [kind for kind, _ in await emitted(runtime)] == ["agent_started", "agent_completed"]


async def test_a_tool_cancelled_in_the_middle() -> None:
    """A cancellation ends the tool first, then the run; the events say no more of the program than that."""
    async with opened() as runtime:
        async with runtime.thread("t1").run("bot") as run, run.tool("search"):
            run.cancel()
            await trio.sleep_forever()
        kind, payload = (await emitted(runtime))[2]
        assert (kind, payload["ok"]) == ("tool_completed", False)
        assert payload["error"] == {"type": "Cancelled", "message": "cancelled"}
        assert (await emitted(runtime))[3:] == [cancelled("application")]


async def test_two_tools_at_once() -> None:
    """Calls that overlap have different ids."""
    async with opened() as runtime:
        async with runtime.thread("t1").run("bot") as run, run.tool("a") as a, run.tool("b") as b:
            assert a.call_id != b.call_id
        calls = [payload["tool_call_id"] for kind, payload in await emitted(runtime) if kind.startswith("tool")]
        assert calls == [a.call_id, b.call_id, b.call_id, a.call_id]


# --- cancellation -----------------------------------------------------------------------


async def test_cancelled_by_the_host() -> None:
    """A cancellation from outside is emitted, with the reason ``host``, and propagates."""
    async with opened() as runtime:
        with trio.CancelScope() as scope:
            async with runtime.thread("t1").run("bot") as run:
                run.delta("half a sen")
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert await emitted(runtime) == [STARTED, ("agent_delta", {"text": "half a sen"}), cancelled("host")]
        assert len(runtime.failures) == 0


@pytest.mark.parametrize("reason", [None, "tired"])
async def test_cancelled_by_itself(reason: str | None) -> None:
    """``run.cancel`` ends the block, and nothing behind it."""
    async with opened() as runtime:
        async with runtime.thread("t1").run("bot") as run:
            run.cancel(*([] if reason is None else [reason]))
            run.cancel("again")
            await trio.sleep_forever()
        run.cancel()
        await trio.lowlevel.checkpoint()
        assert await emitted(runtime) == [STARTED, cancelled(reason or "application")]


async def test_a_group_of_cancellations_is_a_cancellation() -> None:
    """Tasks of the run that are all cancelled are no failure."""
    async with opened() as runtime:
        async with runtime.thread("t1").run("bot") as run, trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(trio.sleep_forever)
            run.cancel()
        assert await emitted(runtime) == [STARTED, cancelled("application")]
        assert len(runtime.failures) == 0


async def test_a_run_that_finishes_all_the_same() -> None:
    """A run that was cancelled and returned without noticing, or took no notice, was cancelled."""
    async with opened() as runtime:
        async with runtime.thread("t1").run("bot", run_id="r1") as run:
            run.cancel()
        async with runtime.thread("t1").run("bot", run_id="r2") as run:
            run.cancel()
            with suppress(trio.Cancelled):
                await trio.sleep_forever()
        assert [kind for kind, _ in await emitted(runtime)] == ["agent_started", "agent_cancelled"] * 2


async def test_cancelled_by_the_runtime() -> None:
    """``runtime.cancel`` ends a run, and says so when it has; one that ended before has ended, a stranger is nobody."""
    async with opened(limits=actors.Limits(cancel_hold_seconds=0)) as runtime, trio.open_nursery() as nursery:

        async def work() -> None:
            async with runtime.thread("t1").run("bot", run_id="r1"):
                await trio.sleep_forever()

        nursery.start_soon(work)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(2):
            assert await runtime.cancel("r1", reason="enough") == actors.Cancellation(("r1",), ())
        assert await runtime.cancel("r2") == actors.Cancellation((), ())
        assert await emitted(runtime) == [STARTED, cancelled("enough")]


async def test_a_run_that_does_not_stop(autojump_clock: trio.testing.MockClock) -> None:
    """A cancel of a run that shields itself returns, after ``cancel_seconds``, that it is still running, as often as
    that is asked. The run is closed then, each one of its family reported once, and its id free when its code ends."""
    async with opened() as runtime, trio.open_nursery() as nursery:

        async def work() -> None:
            async with runtime.thread("t1").run("bot", run_id="r1") as run, run.run("child", run_id="r2"):
                with trio.CancelScope(shield=True):
                    await trio.sleep(60)
                run.result = "too late"

        nursery.start_soon(work)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(2):
            asked = trio.current_time()
            assert await runtime.cancel("r1") == actors.Cancellation((), ("r1", "r2"))
            assert trio.current_time() == asked + LIMITS.cancel_seconds
        assert await ends(runtime) == {"r1": "agent_cancelled", "r2": "agent_cancelled"}
        assert (await emitted(runtime))[-1] == cancelled("application")
        reported = [(failure.path, failure.handling) for failure in runtime.failures]
        assert reported == [("runs/r1", "its cancellation"), ("runs/r2", "its cancellation")]
        assert all("in work" in failure.traceback for failure in runtime.failures)
        with pytest.raises(actors.IdempotencyConflict, match="code goes on"):
            async with runtime.thread("t1").run("bot", run_id="r1"):
                pytest.fail("it has begun")
        await trio.sleep(60)
        assert await runtime.cancel("r1") == actors.Cancellation(("r1",), ())
        async with runtime.thread("t1").run("bot", run_id="r1"):
            pass
        assert len(runtime.failures) == 2


@pytest.mark.parametrize("by", ["the run", "its parent", "the parent's close"])
async def test_a_child_that_does_not_stop(by: str, autojump_clock: trio.testing.MockClock) -> None:
    """A child is closed like any run, alone or with its parent; its parent goes on unless it was cancelled, too."""
    async with opened() as runtime, trio.open_nursery() as nursery:

        async def work(parent: Run) -> None:
            async with parent.run("child", run_id="a"):
                with trio.CancelScope(shield=True):
                    await trio.sleep(60)

        async with runtime.thread("t1").run("bot", run_id="r1") as run:
            nursery.start_soon(work, run)
            await trio.testing.wait_all_tasks_blocked()
            await runtime.cancel("a" if by == "the run" else "r1") if by != "the parent's close" else None
        if by == "the parent's close":
            assert [(one.path, one.error) for one in runtime.failures] == []
        else:
            await trio.sleep(LIMITS.cancel_seconds + 1)
            assert [one.path for one in runtime.failures] == ["runs/a"]
        parents = "agent_cancelled" if by == "its parent" else "agent_completed"
        assert await ends(runtime) == {"a": "agent_cancelled", "r1": parents}


async def test_cancelled_from_inside(autojump_clock: trio.testing.MockClock) -> None:
    """A run that cancels itself, by its id or by its parent's, ends at that call."""
    async with opened() as runtime:
        for run_id in ("a", "r1"):
            async with runtime.thread("t1").run("bot", run_id="r1") as run, run.run("child", run_id="a"):
                await runtime.cancel(run_id)
                pytest.fail("it goes on") if run_id == "r1" else None
        assert trio.current_time() == 0


async def test_cancelled_while_the_first_event_waits(autojump_clock: trio.testing.MockClock) -> None:
    """A host that is cancelled before its run could begin has no run: nothing was emitted, nothing is remembered."""
    async with stalled() as (runtime, store):
        await fill(runtime)
        with trio.move_on_after(1) as scope:
            async with runtime.thread("t1").run("bot", run_id="r1"):
                pytest.fail("it has begun")
        assert scope.cancelled_caught
        assert not runtime.tree.runs.registry.active
        assert await settled(runtime, store) == []


# --- the runtime's end ------------------------------------------------------------------


async def test_the_runtime_ends_a_run_of_the_host(autojump_clock: trio.testing.MockClock) -> None:
    """A run that is open in a task of the host is cancelled when the runtime closes, and none begins any more."""
    refused: list[type[BaseException]] = []
    async with trio.open_nursery() as nursery:
        async with opened() as runtime:

            async def work() -> None:
                async with runtime.thread("t1").run("bot", run_id="r1"):
                    await trio.sleep_forever()
                try:
                    async with runtime.thread("t1").run("bot"):
                        await trio.sleep_forever()
                except actors.RuntimeClosed as error:
                    refused.append(type(error))

            nursery.start_soon(work)
            await trio.testing.wait_all_tasks_blocked()
            ended = trio.current_time()
        assert trio.current_time() - ended < LIMITS.shutdown_seconds
        assert await emitted(runtime) == [STARTED, cancelled("shutdown")]
        await trio.testing.wait_all_tasks_blocked()
    assert refused == [actors.RuntimeClosed]
    assert len(runtime.failures) == 0


async def test_a_run_that_shields_itself_is_closed(autojump_clock: trio.testing.MockClock) -> None:
    """A run that does not stop is reported and closed; what it emits afterwards is refused."""
    refused: list[str] = []
    async with trio.open_nursery() as nursery:
        async with opened() as runtime:

            async def work() -> None:
                async with runtime.thread("t1").run("bot", run_id="r1") as run:
                    with trio.CancelScope(shield=True):
                        await trio.sleep(60)
                    try:
                        run.delta("late")
                    except actors.RunEnded as error:
                        refused.append(str(error))

            nursery.start_soon(work)
            await trio.testing.wait_all_tasks_blocked()
        assert await emitted(runtime) == [STARTED, cancelled("shutdown")]
        assert [(failure.path, failure.handling) for failure in runtime.failures] == [("runs/r1", "its shutdown")]
    assert len(refused) == 1


async def test_closed_while_the_first_event_waits(autojump_clock: trio.testing.MockClock) -> None:
    """A run that waits for room with its first event when the runtime closes has begun and ended, or never was."""
    ended: list[type[BaseException]] = []
    async with trio.open_nursery() as nursery, stalled() as (runtime, store):
        await fill(runtime)

        async def work() -> None:
            try:
                async with runtime.thread("t1").run("bot"):
                    await trio.sleep_forever()
            except actors.ActorsError as error:
                ended.append(type(error))

        nursery.start_soon(work)
        await trio.testing.wait_all_tasks_blocked()
        runtime.tree.runs.endings.cancel_all("shutdown")
        assert await runtime.tree.runs.endings.close("shutdown", 1.0) != ()
        await trio.testing.wait_all_tasks_blocked()
        assert ended == [actors.RunEnded]
        assert await settled(runtime, store) == []
    assert len(runtime.failures) == 0


async def test_closed_at_any_step_of_its_beginning(autojump_clock: trio.testing.MockClock) -> None:
    """Whenever a run is closed while its first event finds room: it has begun and ended, or never was."""
    seen = set()
    for steps in range(24):
        async with trio.open_nursery() as nursery, stalled(delta_window_ms=0) as (runtime, store):
            await fill(runtime)

            async def work(runtime: actors.Runtime) -> None:
                with suppress(actors.RunEnded):
                    async with runtime.thread("t1").run("bot", run_id="r1"):
                        await trio.sleep_forever()

            nursery.start_soon(work, runtime)
            await trio.testing.wait_all_tasks_blocked()
            (run,) = runtime.tree.runs.registry.active.values()
            if steps:
                store.gate.set()
                await trio.sleep(0.01)
            for _ in range(steps // 4):
                await trio.lowlevel.checkpoint()
            run.abandon("tired")
            seen.add(story := tuple(kind for kind, _ in await settled(runtime, store)))
            assert story in {(), ("agent_started", "agent_cancelled")}
    assert len(seen) == 2


async def test_nothing_can_be_said_any_more() -> None:
    """A run whose last event cannot be emitted, because nothing is taken any more, has ended all the same, once."""
    async with opened() as runtime:
        with raises_inside(ValueError):
            async with runtime.thread("t1").run("bot") as run:
                runtime.tree.emitter.closed = True
                raise ValueError("x")
        assert run.outcome == "agent_failed"
        assert len(runtime.failures) == 1
        runtime.tree.emitter.closed = False
        async with runtime.thread("t1").run("bot") as run:
            runtime.tree.emitter.closed = True
            run.abandon("tired")
            assert run.outcome == "agent_cancelled"
            assert not runtime.tree.runs.registry.active
            runtime.tree.emitter.closed = False


# --- child runs -------------------------------------------------------------------------


async def test_a_child_begins_after_its_parent_s_words() -> None:
    """What the parent has said when it opens a child stands before the child's first event."""
    async with opened() as runtime:
        async with runtime.thread("t1").run("bot", run_id="r1") as run:
            run.delta("I ask the reader.")
            async with run.run("reader"):
                pass
        assert [type_ for type_, _ in await emitted(runtime)] == [
            "agent_started",
            "agent_delta",
            "agent_started",
            "agent_completed",
            "agent_completed",
        ]


async def test_a_child_run() -> None:
    """A run in a run names its parent, by default has its parent's id with a number, and ends before it."""
    async with opened() as runtime:
        async with runtime.thread("t1").run("bot", run_id="r1") as run:
            async with run.run("reader") as child:
                assert run.children == [child]
            async with run.run("writer", run_id="mine"):
                pass
        assert run.children == []
        history = await runtime.read("t1")
        assert [(event.run_id, event.type, event.payload) for event in history.events] == [
            ("r1", "agent_started", {"agent_name": "bot"}),
            ("r1.1", "agent_started", {"agent_name": "reader", "parent_run_id": "r1"}),
            ("r1.1", "agent_completed", {}),
            ("mine", "agent_started", {"agent_name": "writer", "parent_run_id": "r1"}),
            ("mine", "agent_completed", {}),
            ("r1", "agent_completed", {}),
        ]


async def nested(runtime: actors.Runtime, act: Callable[[Run, Run], Awaitable[None]]) -> None:
    """A run with two children at once; what is done in the first."""

    async def work(run: Run, child_id: str) -> None:
        async with run.run("child", run_id=child_id) as child:
            if child_id == "a":
                await trio.testing.wait_all_tasks_blocked()
                await act(run, child)
            await trio.sleep_forever()

    async with runtime.thread("t1").run("bot", run_id="r1") as run, trio.open_nursery() as nursery:
        nursery.start_soon(work, run, "a")
        nursery.start_soon(work, run, "b")


async def ends(runtime: actors.Runtime) -> dict[str | None, str]:
    """How the runs of a thread ended, in that order."""
    return {event.run_id: event.type for event in (await runtime.read("t1")).events if event.type in TERMINAL}


async def test_cancelling_a_parent_cancels_its_children() -> None:
    """What cancels a run reaches its children, with the reason; they end first."""

    async def cancel(run: Run, _: Run) -> None:
        run.cancel("enough")

    async with opened() as runtime:
        await nested(runtime, cancel)
        assert list((await ends(runtime)).items())[-1] == ("r1", "agent_cancelled")
        assert (await emitted(runtime))[-3:] == [cancelled("enough")] * 3


async def test_a_host_that_is_cancelled_takes_all_along() -> None:
    """A cancellation from outside ends children and parent, the parent last."""

    async with opened() as runtime:
        with trio.CancelScope() as scope:

            async def cancel(_: Run, __: Run) -> None:
                scope.cancel()

            await nested(runtime, cancel)
        assert list((await ends(runtime)).items())[-1] == ("r1", "agent_cancelled")
        assert (await emitted(runtime))[-3:] == [cancelled("host")] * 3


async def test_cancelling_a_child_ends_nobody_else() -> None:
    """A child that is cancelled ends its own block; parent and siblings go on."""
    async with opened() as runtime:
        async with runtime.thread("t1").run("bot", run_id="r1") as run:
            async with run.run("child", run_id="a") as child:
                child.cancel()
                await trio.sleep_forever()
            await run.thinking("on")
        assert await ends(runtime) == {"a": "agent_cancelled", "r1": "agent_completed"}


async def test_a_childs_exception_is_recorded_once() -> None:
    """An exception that comes out of a child, through groups, and out of its parents ends them all: one failure."""

    async def nested_in(run: Run) -> None:
        async with trio.open_nursery() as nursery, run.run("child", run_id="a"):
            nursery.start_soon(trio.sleep_forever)
            raise LookupError("lost")

    async with opened() as runtime:
        with raises_inside(LookupError):
            async with runtime.thread("t1").run("bot", run_id="r0") as run, run.run("bot", run_id="r1") as middle:
                await nested_in(middle)
        assert await ends(runtime) == dict.fromkeys(["a", "r1", "r0"], "agent_failed")
        assert [failure.path for failure in runtime.failures] == ["runs/a"]


async def test_two_childrens_exceptions_are_two_failures() -> None:
    """Children that fail together are a failure each, and their parent is none of its own."""

    async def work(run: Run, child_id: str) -> None:
        async with run.run("child", run_id=child_id):
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError(child_id)

    async with opened() as runtime:
        with raises_inside(ExceptionGroup):
            async with runtime.thread("t1").run("bot", run_id="r1") as run, trio.open_nursery() as nursery:
                nursery.start_soon(work, run, "a")
                nursery.start_soon(work, run, "b")
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
        assert sorted(failure.path for failure in runtime.failures) == ["runs/a", "runs/b"]
        assert (await ends(runtime))["r1"] == "agent_failed"


async def test_a_parent_that_goes_on_after_a_child() -> None:
    """A parent that catches its child's exception completes; one that then raises another has failed by itself."""
    async with opened() as runtime:
        with raises_inside(KeyError):
            async with runtime.thread("t1").run("bot", run_id="r1") as run:
                with suppress(ValueError):
                    async with run.run("child", run_id="a"):
                        raise ValueError("x")
                raise KeyError("y")
        assert [failure.path for failure in runtime.failures] == ["runs/a", "runs/r1"]


async def test_a_child_that_outlives_its_parents_block() -> None:
    """A child in a task that its parent's block does not contain ends before the parent, and its code is cancelled."""
    async with opened() as runtime, trio.open_nursery() as nursery:

        async def work(run: Run) -> None:
            async with run.run("child", run_id="a"):
                await trio.sleep_forever()

        async with runtime.thread("t1").run("bot", run_id="r1") as run:
            nursery.start_soon(work, run)
            await trio.testing.wait_all_tasks_blocked()
        assert list((await ends(runtime)).items()) == [("a", "agent_cancelled"), ("r1", "agent_completed")]


async def test_a_child_of_a_cancelled_parent() -> None:
    """A child that begins, elsewhere, after its parent was cancelled is cancelled with it, for its reason."""
    async with opened() as runtime, trio.open_nursery() as nursery:

        async def work(run: Run) -> None:
            async with run.run("child", run_id="a"):
                await trio.sleep_forever()

        async with runtime.thread("t1").run("bot", run_id="r1") as run:
            run.cancel("enough")
            nursery.start_soon(work, run)
            with trio.CancelScope(shield=True):
                await trio.testing.wait_all_tasks_blocked()
        assert (await emitted(runtime, "a"))[-1] == cancelled("enough")
        assert await ends(runtime) == {"a": "agent_cancelled", "r1": "agent_cancelled"}


# --- cancelled at any step --------------------------------------------------------------


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope when the task in it is about to take its ``step``-th step."""

    def __init__(self, step: int) -> None:
        self.scope = trio.CancelScope()
        self.task: trio.lowlevel.Task | None = None
        self._left = step

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            self._left -= 1
            if self._left == 0:
                self.scope.cancel()


async def script(run: Run) -> None:
    """Something of everything that a run can do."""
    await run.thinking("hm")
    async with run.tool("search", {"q": 1}) as tool:
        run.delta("one ")
        await trio.sleep(0.02)
        tool.result = 1
    run.delta("two ")
    async with run.run("child") as child:
        child.delta("a child's")
        await child.emit("note", {})
    await trio.sleep(0.05)
    for _ in range(6):
        run.delta("three ")
        await run.emit("note", {})
    run.delta("end")


@pytest.mark.parametrize("store_class", [MemoryStore, WaitingStore])
async def test_cancelled_at_any_step(
    store_class: type[MemoryStore | WaitingStore], autojump_clock: trio.testing.MockClock
) -> None:
    """Whenever a run is cancelled: nothing at all, or one first event and one last; tools paired, text a prefix."""
    step, finished = 0, False
    while not finished:
        step += 1
        finished = await _cancelled_at(store_class, step)
    assert step > 12


async def _cancelled_at(store_class: type[MemoryStore | WaitingStore], step: int) -> bool:
    limits = actors.Limits(mailbox_messages=2)
    instrument = CancelAtStep(step)

    async def work(runtime: actors.Runtime) -> None:
        instrument.task = trio.lowlevel.current_task()
        with instrument.scope:
            async with runtime.thread("t1").run("bot", run_id="r1") as run:
                await script(run)

    trio.lowlevel.add_instrument(instrument)
    try:
        async with opened(limits=limits, store=store_class()) as runtime:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(work, runtime)
            await trio.sleep(1)
            _check_story(await emitted(runtime, "r1"), cancelled=instrument.scope.cancelled_caught)
            _check_story(await emitted(runtime, "r1.1"), cancelled=instrument.scope.cancelled_caught)
            assert not runtime.tree.runs.registry.active
            assert not runtime.tree.runs.admission._turns
            assert len(runtime.failures) == 0
    finally:
        trio.lowlevel.remove_instrument(instrument)
    return not instrument.scope.cancelled_caught


def _check_story(story: Emitted, *, cancelled: bool) -> None:
    kinds = [kind for kind, _ in story]
    assert story or cancelled
    if not story:
        return
    assert kinds[0] == "agent_started"
    assert kinds[-1] in TERMINAL
    assert sum(kind in RESERVED for kind in kinds) == 2
    assert kinds.count("tool_executing") == kinds.count("tool_completed")
    text = "".join(payload["text"] for kind, payload in story if kind == "agent_delta")
    whole = "a child's" if "parent_run_id" in story[0][1] else "one two " + "three " * 6 + "end"
    assert whole.startswith(text)
    assert cancelled or text == whole
