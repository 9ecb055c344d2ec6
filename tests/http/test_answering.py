"""Answering: a run whose code is a program elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from starlette.responses import Response, StreamingResponse

import actors
from actors.http.answering import Answering
from actors.http.leases import Leases
from actors.http.schemas import RunEnd
from tests.http.receiver import Receiver, Reply, always, receiver, reply_with, webhook
from tests.http.serving import until

LINES = "application/x-ndjson"


@asynccontextmanager
async def answered(reply: Reply, **patience: float) -> AsyncIterator[tuple[Receiver, actors.Runtime, Leases]]:
    """A runtime of which a program answers the messages."""
    with trio.fail_after(60):
        async with receiver(reply) as program, webhook(program.url, **patience) as hook:
            answering = Answering(hook)
            async with (
                actors.open_runtime(on_message=answering.on_message, limits=actors.Limits(cancel_seconds=1)) as runtime,
                trio.open_nursery() as nursery,
            ):
                leases = Leases(runtime, nursery)
                answering.begin(leases)
                yield program, runtime, leases
                nursery.cancel_scope.cancel()


async def told(runtime: actors.Runtime, text: str = "hi") -> list[tuple[str, dict[str, Any]]]:
    """Say something; the events of the run that answers, once it has ended."""
    sent = await runtime.thread("t1").send({"text": text}, user_id="alice", message_id="m1")
    assert sent.run_id is not None
    await until(lambda: not runtime.tree.runs.registry.active)
    events = (await runtime.read("t1")).events
    return [(event.type, event.payload) for event in events if event.run_id == sent.run_id][1:]


async def test_an_answer_of_one_object() -> None:
    """Its text, its event and its result are the run's; the program was told who said what, and where."""
    reply = reply_with({"text": "hello", "type": "chart", "payload": {"n": 1}, "result": {"ok": True}})
    async with answered(always(reply)) as (program, runtime, _):
        assert await told(runtime) == [
            ("agent_delta", {"text": "hello"}),
            ("chart", {"n": 1}),
            ("agent_completed", {"result": {"ok": True}}),
        ]
    (came,) = program.came
    assert came.pop("run_id").startswith("run_")
    assert came == {
        "thread_id": "t1", "user_id": "alice", "event_id": "m1", "type": "user_message", "payload": {"text": "hi"},
    }  # fmt: skip
    assert program.ids[0].startswith("msg_")


async def test_an_answer_as_it_is_said() -> None:
    """Each line of a stream is told when it comes, before the next one is there."""
    go_on = trio.Event()

    async def lines() -> AsyncIterator[bytes]:
        yield b'{"text":"one "}\n\n{"type":"mid","payload":{}}\n'
        await go_on.wait()
        yield b'{"text":"two"}\n{"result":[1'
        yield b"]}"

    async def reply(body: Any) -> Response:
        return StreamingResponse(lines(), media_type=LINES)

    async with answered(reply) as (_, runtime, _), trio.open_nursery() as nursery:
        found: list[Any] = []

        async def ask() -> None:
            found.extend(await told(runtime))

        nursery.start_soon(ask)
        await runtime.thread("t1").emit("awaited", {})
        while (await runtime.read("t1")).head_seq < 5:
            await trio.lowlevel.checkpoint()
        go_on.set()
        await until(lambda: found)
        assert found == [
            ("agent_delta", {"text": "one "}),
            ("mid", {}),
            ("agent_delta", {"text": "two"}),
            ("agent_completed", {"result": [1]}),
        ]


async def test_a_program_that_goes_on_by_itself() -> None:
    """With 202 the run is under a lease, also where the program is quicker than its answer."""

    async def reply(body: Any) -> Response:
        await leases.emit("t1", "x", {}, run_id=body["run_id"], event_id=None, user_id=None)
        ends.start_soon(leases.end, body["run_id"], RunEnd(outcome="completed"))
        return Response(status_code=202)

    async with answered(reply) as (_, runtime, leases), trio.open_nursery() as ends:
        assert await told(runtime) == [("x", {}), ("agent_completed", {})]
    assert repr(leases) == "<Leases of 0 runs>"


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (reply_with({"error": {"type": "OutOfTokens", "message": "tomorrow"}}), "OutOfTokens"),
        (reply_with({"txet": "hi"}), "BadAnswer"),
        (Response(b"hi", media_type="text/plain"), "BadAnswer"),
        (Response(b"{", media_type="application/json"), "BadAnswer"),
        (Response(b"\xff\n", media_type=LINES), "BadAnswer"),
        (Response(b"x" * (2 << 20), media_type=LINES), "BadAnswer"),
        (Response((b"[" * 999 + b"\n") * 2_000, media_type="application/json"), "BadAnswer"),
        (Response(b"{}", media_type=LINES, headers={"content-encoding": "gzip"}), "BadAnswer"),
        (reply_with({"type": "agent_completed"}), "Unencodable"),
        (Response(status_code=404), "WebhookFailed"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
async def test_an_answer_that_is_none(response: Response, kind: str) -> None:
    """The run fails, its user sees of what, and the next message is asked of the program all the same."""
    async with answered(always(response)) as (_, runtime, _):
        ((last, payload),) = await told(runtime)
        assert (last, payload["error"]["type"]) == ("agent_failed", kind)
        assert len(runtime.failures) == 1


async def test_an_empty_answer() -> None:
    """The run is completed."""
    async with answered(always(Response(status_code=204))) as (_, runtime, _):
        assert await told(runtime) == [("agent_completed", {})]


async def test_an_answer_that_breaks_off() -> None:
    """What was told stays, and the run fails."""

    async def lines() -> AsyncIterator[bytes]:
        yield b'{"text":"one "}\n{"te'
        raise OSError("a broken program")

    async def reply(body: Any) -> Response:
        return StreamingResponse(lines(), media_type=LINES)

    async with answered(reply) as (_, runtime, _):
        first, last = await told(runtime)
        assert (first, last[0]) == (("agent_delta", {"text": "one "}), "agent_failed")
        assert last[1]["error"]["type"] == "BadAnswer"


async def test_its_user_stops_it() -> None:
    """The request is broken off, and the run has ended at once."""

    async def reply(body: Any) -> Response:
        await trio.sleep_forever()
        raise AssertionError

    async with answered(reply) as (program, runtime, _):
        sent = await runtime.thread("t1").send({}, user_id="alice")
        await until(lambda: program.came)
        assert sent.run_id is not None
        done = await runtime.cancel(sent.run_id)
        assert done.stopped == (sent.run_id,)
        await program.gone.wait()


async def test_a_program_that_hangs_holds_nobody_else() -> None:
    """While it does not answer hundreds of users, another one is answered."""

    async def reply(body: Any) -> Response:
        if body["user_id"] != "quick":
            await trio.sleep_forever()
        return reply_with({"result": 1})

    async with answered(reply) as (program, runtime, _):
        for number in range(150):
            await runtime.thread(f"slow{number}").send({}, user_id=f"user{number}")
        await until(lambda: len(program.came) == 150)
        sent = await runtime.thread("quick").send({}, user_id="quick")
        await until(lambda: sent.run_id not in runtime.tree.runs.registry.active)
        assert (await runtime.read("quick")).events[-1].payload == {"result": 1}


async def test_the_trace_of_a_run() -> None:
    """The program is told the trace that the run is in, so that it goes on there; and none where there is none."""
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with answered(always(reply_with({"text": "hello"}))) as (program, runtime, _):
        for given in (trace, None):
            await runtime.thread("t1").send({"text": "hi"}, user_id="alice", traceparent=given)
            await until(lambda: not runtime.tree.runs.registry.active)
    assert program.traces == [trace, None]
