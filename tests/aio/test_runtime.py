"""The runtime from asyncio: what an application calls, what it is called for, and how it ends."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import trio

import actors
from actors import (
    ForeignLoop,
    IdempotencyConflict,
    Limits,
    NotTheOwner,
    RestartsExhausted,
    RuntimeClosed,
    Stage,
    Unanswered,
    Unencodable,
    aio,
)
from actors.client import connect
from tests.aio.support import device, events_of, payloads_of, run, served, types_of, until


async def echo(run: aio.Run, message: actors.Message) -> dict[str, Any]:
    """Answer with what came."""
    run.delta(str(message.payload["text"]))
    return {"length": len(str(message.payload["text"]))}


def test_a_message_is_answered_by_a_coroutine_of_the_host() -> None:
    """A device sees its message, the run's events in order, and the result, under the function's own name."""

    async def main() -> None:
        async with served(on_message=echo) as (runtime, alice):
            await alice.send({"text": "hello"}, "t1")
            assert await alice.saw("agent_completed") == {"result": {"length": 5}}
            assert alice.types == ["user_message", "agent_started", "agent_delta", "agent_completed"]
            assert (await alice.saw("agent_started"))["agent_name"] == "echo"
            assert await runtime.failures() == ()

    run(main)


def test_errors_of_an_emit_are_those_of_the_runtime() -> None:
    """A call that is wrong raises here what it raises under Trio, and is not delivered."""

    async def main() -> None:
        async with aio.open_runtime() as runtime:
            thread = runtime.thread("t1")
            await runtime.bind("t1", "alice")
            first = await thread.emit("x", {"n": 1}, event_id="e1")
            again = await thread.emit("x", {"n": 1}, event_id="e1")
            assert first == again
            with pytest.raises(IdempotencyConflict):
                await thread.emit("x", {"n": 2}, event_id="e1")
            with pytest.raises(NotTheOwner):
                await thread.emit("x", {}, user_id="bob")
            with pytest.raises(NotTheOwner):
                await runtime.bind("t1", "bob")
            with pytest.raises(Unencodable, match=r"payload\.a"):
                await thread.emit("x", {"a": object()})
            with pytest.raises(Unencodable):
                runtime.thread("")
            assert await types_of(runtime) == ["x"]
            await runtime.rebind("t1", "bob")
            assert await runtime.owner("t1") == "bob"
            await runtime.unbind("t1")
            assert await runtime.owner("t1") is None
            with pytest.raises(ValueError, match="quarantined"):
                await runtime.release("threads/t1")
            assert await runtime.revoke("bob") == 0
            assert await runtime.dead_letters() == ()

    run(main)


@pytest.mark.parametrize("turns", range(8))
def test_a_cancelled_emit_is_there_once_when_it_is_repeated_under_its_id(turns: int) -> None:
    """Cancelled at any moment and emitted again, an event is delivered exactly once."""

    async def main() -> None:
        async with aio.open_runtime(limits=Limits(mailbox_messages=1)) as runtime:
            await runtime.bind("t1", "alice")
            thread = runtime.thread("t1")
            for n in range(20):
                task = asyncio.create_task(thread.emit("n", {"n": n}, event_id=f"e{n}"))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
                await thread.emit("n", {"n": n}, event_id=f"e{n}")
            assert [one["n"] for one in await payloads_of(runtime, "t1", "n")] == list(range(20))

    run(main)


def test_emits_of_many_tasks_keep_the_order_of_their_calls() -> None:
    """What tasks emit in one turn is placed in the order in which they did, with and without room."""

    async def main() -> None:
        async with aio.open_runtime() as runtime:
            await runtime.bind("t1", "alice")
            thread = runtime.thread("t1")
            await asyncio.gather(*(thread.emit("n", {"n": n}) for n in range(500)))
            assert [one["n"] for one in await payloads_of(runtime, "t1", "n")] == list(range(500))

    run(main)


def test_a_question_is_answered_by_a_device() -> None:
    """``ask`` returns the first answer; without a device it says why; cancelled, it is withdrawn."""

    async def main() -> None:
        async def approve(run: aio.Run, message: actors.Message) -> Any:
            return (await run.ask("approval", {"question": "Deploy?"}, timeout=30)).payload

        async with served(on_message=approve) as (runtime, alice):
            await alice.send({"text": "go"}, "t1")
            await until(lambda: any(type(one).__name__ == "Ask" for one in alice.items))
            (ask,) = [one for one in alice.items if type(one).__name__ == "Ask"]
            await alice.session.answer(ask.id, {"choice": "yes"})  # type: ignore[union-attr]
            assert await alice.saw("agent_completed") == {"result": {"choice": "yes"}}
            with pytest.raises(Unanswered, match="no owner"):
                await runtime.thread("t2").ask("approval", {}, timeout=0.01)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await runtime.thread("t1").ask("approval", {}, timeout=60)
            await until(lambda: any(getattr(one, "reason", "") == "withdrawn" for one in alice.items))

    run(main)


def test_a_message_of_the_host_is_answered_as_a_device_s_is() -> None:
    """``send`` places it once for each id, and its run's result is there."""

    async def main() -> None:
        async with served(on_message=echo) as (runtime, alice):
            thread = runtime.thread("t1")
            first = await thread.send({"text": "hook"}, user_id="alice", message_id="m1")
            assert await thread.send({"text": "hook"}, user_id="alice", message_id="m1") == first
            assert await alice.saw("agent_completed") == {"result": {"length": 4}}
            assert alice.types.count("user_message") == 1

    run(main)


def test_a_handler_that_blocks_its_loop_delays_no_heartbeat() -> None:
    """A device that is silent is pinged and answered while the host's loop is stuck: its connection stays."""

    async def main() -> None:
        async def stuck(run: aio.Run, message: actors.Message) -> str:
            time.sleep(0.6)  # noqa: ASYNC251 - that is the mistake
            return "late"

        limits = Limits(ping_seconds=0.05, pong_seconds=0.15, sweep_seconds=0.02)
        async with aio.open_runtime(on_message=stuck, limits=limits) as runtime:
            await runtime.bind("t1", "alice")
            address = await runtime.serve()
            async with device(address) as alice:
                await alice.send({"text": "x"}, "t1")
                assert await alice.saw("agent_completed") == {"result": "late"}
                assert alice.session.state.failures == 0
                assert [one for one in alice.items if type(one).__name__ == "CaughtUp"][1:] == []

    run(main)


# --- the end --------------------------------------------------------------------


def test_a_drain_goes_away_in_good_order() -> None:
    """The run finishes, its device gets everything, and the report has nothing undelivered."""

    async def main() -> None:
        begun = asyncio.Event()

        async def slow(run: aio.Run, message: actors.Message) -> str:
            begun.set()
            await asyncio.sleep(0.05)
            return "finished"

        async with served(on_message=slow) as (runtime, alice):
            await alice.send({"text": "x"}, "t1")
            await begun.wait()
            report = await runtime.drain(5)
            assert report.undelivered == ()
            assert report.cancelled == ()
            assert await alice.saw("agent_completed") == {"result": "finished"}
            with pytest.raises(RuntimeClosed):
                await runtime.thread("t1").emit("x", {})

    run(main)


def test_a_drain_from_inside_of_what_it_ends_is_refused() -> None:
    """In a handler, a run's block and ``authenticate`` it raises at once, without effect; a task of its own may."""

    async def main() -> None:
        refused: list[str] = []

        async def stop(run: aio.Run, message: actors.Message) -> str:
            with pytest.raises(RuntimeError, match="create_task"):
                await runtime.drain(5)
            refused.append("handler")
            draining.append(asyncio.create_task(runtime.drain(5)))
            return "last"

        async def who(credentials: actors.Credentials) -> str:
            with pytest.raises(RuntimeError, match="create_task"):
                await runtime.drain(5)
            refused.append("authenticate")
            return credentials.token

        draining: list[asyncio.Task[Any]] = []
        async with aio.open_runtime(on_message=stop, authenticate=who) as runtime:
            async with runtime.thread("t9").run("indexer"):
                with pytest.raises(RuntimeError, match="create_task"):
                    await runtime.drain(5)
            async with device(await runtime.serve()) as alice:
                await alice.send({"text": "x"})
                assert await alice.saw("agent_completed") == {"result": "last"}
                await draining[0]
            assert refused[:2] == ["authenticate", "handler"]

    run(main)


def test_leaving_cancels_the_runs_and_tells_the_devices() -> None:
    """A handler that is there when the host leaves is cancelled by the shutdown, and has unwound."""
    steps: list[str] = []

    async def main() -> None:
        begun = asyncio.Event()

        async def wait(run: aio.Run, message: actors.Message) -> None:
            begun.set()
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.01)
                steps.append("unwound")

        async with served(on_message=wait) as (_, alice):
            await alice.send({"text": "x"}, "t1")
            await begun.wait()

    run(main)
    assert steps == ["unwound"]


def test_a_handler_that_does_not_stop_is_left_behind_and_reported() -> None:
    """The end of the runtime waits ``shutdown_seconds`` for it, and no longer."""

    async def main() -> None:
        begun, free = asyncio.Event(), asyncio.Event()

        async def deaf(run: aio.Run, message: actors.Message) -> None:
            begun.set()
            while not free.is_set():
                try:
                    await free.wait()
                except asyncio.CancelledError:
                    continue

        limits = Limits(shutdown_seconds=0.05, close_seconds=0.05)
        try:
            async with served(on_message=deaf, limits=limits) as (runtime, alice):
                await alice.send({"text": "x"}, "t1")
                await begun.wait()
            failures = await runtime.failures()
            assert failures[0].path.startswith("runs/")
        finally:
            free.set()

    run(main)


def test_restarts_that_are_exhausted_end_the_block() -> None:
    """The host's task is cancelled, and RestartsExhausted comes out of the ``async with``."""

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        with pytest.raises(RestartsExhausted):  # noqa: PT012 - the whole block is what is tested
            async with aio.open_runtime(limits=Limits(restarts=0, sweep_seconds=0.01)) as runtime:

                def crash(now: float) -> None:
                    raise LookupError("a static child that crashes")

                runtime.runtime.tree.runs.sweep = crash  # type: ignore[method-assign]
                await asyncio.sleep(60)
        assert task.cancelling() == 0

    run(main)


def test_ctrl_c_ends_the_program_at_once() -> None:
    """An ``asyncio.run`` that is interrupted raises KeyboardInterrupt, with its runs ended and its thread gone."""
    program = Path(__file__).with_name("interrupted.py")
    process = subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "began\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert out.splitlines() == ["handler CancelledError", "body CancelledError", "threads []", "KeyboardInterrupt"]
    assert err == ""
    assert process.returncode == 0


# --- the wrong door -------------------------------------------------------------


def test_the_doors_of_the_other_loop_say_which_one_to_use() -> None:
    """Trio's ``open_runtime`` and ``connect`` under asyncio name those of this package, and the other way round."""

    async def in_asyncio() -> None:
        with pytest.raises(ForeignLoop, match=r"got asyncio; .*actors\.aio\.open_runtime"):
            async with actors.open_runtime():
                pytest.fail("it is asyncio")
        with pytest.raises(ForeignLoop, match=r"got asyncio; .*actors\.aio\.connect"):
            async with connect("ws://127.0.0.1:9/ws"):
                pytest.fail("it is asyncio")

    async def in_trio() -> None:
        with pytest.raises(ForeignLoop, match=r"got Trio; .*actors\.open_runtime"):
            async with aio.open_runtime():
                pytest.fail("it is Trio")
        with pytest.raises(ForeignLoop, match=r"got Trio; .*actors\.client\.connect"):
            async with aio.connect("ws://127.0.0.1:9/ws"):
                pytest.fail("it is Trio")

    run(in_asyncio)
    trio.run(in_trio)


def test_emit_from_thread_does_not_block_a_loop_of_asyncios() -> None:
    """In a coroutine it is refused with what to use; in a plain thread it works."""

    async def main() -> None:
        async with aio.open_runtime() as runtime:
            with pytest.raises(ForeignLoop, match=r"actors\.aio, or await asyncio\.to_thread"):
                runtime.runtime.emit_from_thread("t1", "x", {})
            await asyncio.to_thread(runtime.runtime.emit_from_thread, "t1", "x", {}, user_id="alice")
            assert await types_of(runtime) == ["x"]

    run(main)


@pytest.mark.parametrize(
    "options",
    [
        {"on_message": lambda run: None},
        {"authenticate": print},
        {"authorize": 1},
        {"on_undelivered": "x"},
        {"concurrency": "none"},
        {"limits": 1},
        {"pages": 1},
        {"store": object()},
        {"environment": 1},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, Any]) -> None:
    """The error is that of ``actors.open_runtime``, and nothing was started."""

    async def main() -> None:
        with pytest.raises((TypeError, ValueError), match=next(iter(options))):
            async with aio.open_runtime(**options):
                pytest.fail("it is not open")

    run(main)


def test_it_listens_where_it_is_told(tmp_path: Path) -> None:
    """``serve`` returns the address of a port or of a Unix socket, and raises what cannot be bound."""

    async def main() -> None:
        async with aio.open_runtime() as runtime:
            host, port = await runtime.serve("127.0.0.1", 0)
            assert host == "127.0.0.1"
            assert await runtime.serve(path=tmp_path / "s") == os.fspath(tmp_path / "s")
            with pytest.raises(OSError, match="in use"):
                await runtime.serve("127.0.0.1", port)
            with pytest.raises(ValueError, match="loopback"):
                await runtime.serve("0.0.0.0")  # noqa: S104 - that is refused

    run(main)


def test_a_store_on_disk_outlives_it(tmp_path: Path) -> None:
    """A second runtime over the same file goes on."""

    async def main(expected: list[str]) -> None:
        async with aio.open_runtime(store=actors.SQLiteStore(tmp_path / "events.db")) as runtime:
            receipt = await runtime.thread("t1").emit("x", {}, user_id="alice")
            await receipt.reached(Stage.STORED)
            assert await types_of(runtime) == expected

    run(lambda: main(["x"]))
    run(lambda: main(["x", "x"]))


def test_several_runtimes_in_one_program() -> None:
    """Each has its own thread; their events do not mix."""

    async def main() -> None:
        async with aio.open_runtime() as one, aio.open_runtime() as other:
            await one.thread("t1").emit("a", {}, user_id="alice")
            await other.thread("t1").emit("b", {}, user_id="alice")
            assert [one.type for one in await events_of(one)] == ["a"]
            assert [one.type for one in await events_of(other)] == ["b"]
            assert {thread.name for thread in threading.enumerate()} >= {"actors"}

    run(main)


# --- parity ---------------------------------------------------------------------

ONLY_IN_TRIO = {
    "Runtime": {
        "emit_from_thread": "for threads without a loop; this is for asyncio",
        "environment": "of the inner runtime",
        "handle": "takes streams of Trio's; through the bridge",
        "instruments": "called in the runtime's own steps; of the inner runtime",
        "tree": "the parts, of the inner runtime",
    },
    "Thread": {"emit_nowait": "room is known only over there; ``emit`` takes no longer than it must"},
    "Run": {
        "abandon": "for the supervisor",
        "beginning": "for the supervisor",
        "block": "for the supervisor",
        "children": "for the supervisor",
        "closed": "an event of Trio's",
        "decline": "for the supervisor",
        "emit_nowait": "room is known only over there",
        "family": "for the supervisor",
        "forget": "for the supervisor",
        "open": "for the supervisor",
        "output": "for the supervisor",
        "over": "an event of Trio's",
    },
}
"""What an application has under Trio alone, by class, with the reason."""


@pytest.mark.parametrize(
    ("theirs", "ours"), [(actors.Runtime, aio.Runtime), (actors.Thread, aio.Thread), (actors.Run, aio.Run)]
)
def test_what_there_is_under_trio_there_is_here(theirs: type, ours: type) -> None:
    """Each public method has its like with the same parameters, unless the list above has the reason."""
    known = ONLY_IN_TRIO[theirs.__name__]
    for name, member in vars(theirs).items():
        if name.startswith("_") or name in known:
            continue
        assert hasattr(ours, name), name
        if inspect.isfunction(member):
            expected = list(inspect.signature(member).parameters)
            found = list(inspect.signature(getattr(ours, name)).parameters)
            assert found == [one for one in expected if one != "task_status"], name


def test_the_options_are_those_of_trios() -> None:
    """``open_runtime`` and ``connect`` take the same, with the same defaults."""
    for theirs, ours in ((actors.open_runtime, aio.open_runtime), (connect, aio.connect)):
        expected, found = inspect.signature(theirs).parameters, inspect.signature(ours).parameters
        assert list(found) == list(expected)
        for name, parameter in expected.items():
            if name != "on_state":
                assert found[name].default == parameter.default, name
