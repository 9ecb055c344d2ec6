"""The endpoint: a run, a thread that is followed, the end of a run; and clients that leave, retry, or are hostile."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import actors
from actors.agui import open_endpoint
from tests.agui.calling import Caller, asked, opened
from tests.support.agui_client import AguiClient


async def talk(run: actors.Run, message: actors.Message) -> dict[str, Any]:
    for word in ("one ", "two ", "three"):
        run.delta(word)
        await trio.sleep(1)
    return {"said": message.payload["text"]}


async def ask(run: actors.Run, message: actors.Message) -> dict[str, Any]:
    run.delta("May I? ")
    answer = await run.ask("approval", {"question": "Deploy?"}, timeout=60)
    run.delta("I did.")
    return answer.payload


async def test_a_run(autojump_clock: MockClock) -> None:
    """Its stream is one that a client takes: the prelude, the text, the end, under the client's own name."""
    async with opened(on_message=talk) as server:
        caller = await server.answered(server.post())
        assert (caller.status, caller.headers[b"content-type"]) == (200, b"text/event-stream")
        client = AguiClient().take(caller.events)
        assert [one["content"] for one in client.messages] == ["hi", "one two three"]
        assert client.ends == [caller.events[-1]]
        assert caller.events[-1]["result"] == {"said": "hi"}
        assert {one["runId"] for one in caller.events if "runId" in one} == {"mine"}


async def test_the_same_request_again_is_the_same_run(autojump_clock: MockClock) -> None:
    """A proxy's retry, in the middle of the run and after it: one message, one run, the whole text."""
    async with opened(on_message=talk) as server:
        first = server.post()
        await first.until("TEXT_MESSAGE_CONTENT")
        second = await server.answered(server.post())
        third = await server.answered(server.post())
        for caller in (await server.answered(first), second, third):
            assert AguiClient().take(caller.events).messages[-1]["content"] == "one two three"
        events = (await server.runtime.read("t1")).events
        assert [one.type for one in events if one.type in {"user_message", "agent_started"}] == [
            "user_message",
            "agent_started",
        ]


async def test_a_client_that_leaves_ends_its_stream_alone(autojump_clock: MockClock) -> None:
    """The run goes on to its end, and no device of the client is left."""
    async with opened(on_message=talk) as server:
        caller = server.post()
        await caller.until("TEXT_MESSAGE_CONTENT")
        assert server.runtime.devices("alice") == 1
        caller.leave()
        await server.answered(caller)
        assert server.runtime.devices("alice") == 0
        await trio.sleep(10)
        assert (await server.runtime.read("t1")).events[-1].type == "agent_completed"


async def test_a_question_and_its_answer(autojump_clock: MockClock) -> None:
    """The stream ends with the interrupt; the next request resumes it, and again, when its answer was lost."""
    async with opened(on_message=ask) as server:
        caller = await server.answered(server.post())
        client = AguiClient().take(caller.events)
        (interrupt,) = client.pending
        assert interrupt["expiresAt"].endswith("Z")
        resume = [{"interruptId": interrupt["id"], "status": "resolved", "payload": {"yes": True}}]
        body = asked(runId="next", resume=resume)
        for _ in range(2):
            again = await server.answered(server.post(body))
            assert again.events[-1]["result"] == {"yes": True}
            assert AguiClient(client.messages).take(again.events).messages[-1]["content"] == "May I? I did."


@pytest.mark.parametrize(
    ("status", "payload", "result"),
    [
        ("cancelled", None, {"cancelled": True}),
        ("resolved", "yes", {"answer": "yes"}),
        ("resolved", None, {"answer": None}),
    ],
)
async def test_an_answer_is_always_an_object(
    autojump_clock: MockClock, status: str, payload: Any, result: dict[str, Any]
) -> None:
    """What is no object is put into one, and to decline is to say so."""
    async with opened(on_message=ask) as server:
        (interrupt,) = AguiClient().take((await server.answered(server.post())).events).pending
        entry = {"interruptId": interrupt["id"], "status": status} | ({} if payload is None else {"payload": payload})
        caller = await server.answered(server.post(asked(runId="next", resume=[entry])))
        assert caller.events[-1]["result"] == result


async def test_an_expired_question_lets_the_user_go_on(autojump_clock: MockClock) -> None:
    """The run that has asked has failed; a new message beside the answer that comes too late begins the next one."""
    async with opened(on_message=ask) as server:
        (interrupt,) = AguiClient().take((await server.answered(server.post())).events).pending
        await trio.sleep(100)
        entry = {"interruptId": interrupt["id"], "status": "cancelled"}
        late = await server.answered(server.post(asked(runId="late", resume=[entry])))
        assert late.events[-1]["code"] == "Unanswered"
        caller = await server.answered(server.post(asked("again", runId="new", resume=[entry])))
        assert AguiClient().take(caller.events).pending != []


async def test_a_thread_is_followed_across_its_runs(autojump_clock: MockClock) -> None:
    """A page that opens before anything was said hears of each run, also of one that the server has begun."""
    async with opened(on_message=talk) as server:
        caller = server.get()
        await server.answered(server.post())
        async with server.runtime.thread("t1").run("proactive") as run:
            run.delta("by myself")
        await caller.until("RUN_FINISHED", 2)
        client = AguiClient().take(caller.events)
        assert [one["content"] for one in client.messages] == ["hi", "one two three", "by myself"]


async def test_another_user_hears_nothing(autojump_clock: MockClock) -> None:
    """A thread of somebody else looks as one that is not there: it cannot be read, written, or cancelled."""
    async with opened(on_message=talk) as server:
        first = server.post()
        await first.until("TEXT_MESSAGE_CONTENT")
        eavesdropper = server.get(token="bob")
        assert (await server.answered(server.post(token="bob"))).error == "unknown_thread"
        assert (await server.ask("DELETE", query="threadId=t1&runId=mine", token="bob")).error == "unknown_run"
        assert (await server.ask("DELETE", query="threadId=t1", token="bob")).error == "unknown_run"
        await server.answered(first)
        assert eavesdropper.events == []


async def test_cancel(autojump_clock: MockClock) -> None:
    """By the client's name for the run, also that of a request which resumed it; by its thread alone; and twice."""
    async with opened(on_message=ask) as server:
        for query in ("threadId=t1&runId=next", "threadId=t1"):
            (interrupt,) = AguiClient().take((await server.answered(server.post(asked(runId=query)))).events).pending
            follower = server.get()
            await follower.until("RUN_FINISHED")
            server.runtime.tree.asks.answer("none", {}, "alice", "r")
            if "next" in query:
                break_off = server.post(asked(runId="next", resume=[{"interruptId": "a_other", "status": "cancelled"}]))
                await server.answered(break_off)
            answer = await server.ask("DELETE", query=query)
            assert answer.status == 200
            assert len(answer.text) > 0
            assert interrupt["id"]
            assert (await server.runtime.read("t1")).events[-1].type == "agent_cancelled"
            follower.leave()
            await server.answered(follower)


async def test_silence_is_broken(autojump_clock: MockClock) -> None:
    """Every 15 s without an event a comment says that the stream is there."""
    async with opened() as server:
        caller = server.get()
        await trio.sleep(50)
        assert caller.text == b":\n\n" * 4
        assert caller.status == 200


async def test_going_away(autojump_clock: MockClock) -> None:
    """A server that shuts down ends its streams, and says that coming back may help; new requests are refused so."""
    async with opened(on_message=talk) as server:
        caller = server.get()
        await trio.sleep(1)
        await server.runtime.drain(5)
        await server.answered(caller)
        (end,) = caller.events
        assert (end["type"], end["code"], end["metadata"]["trio-actors"]) == (
            "RUN_ERROR",
            "shutting_down",
            {"temporary": True},
        )
        refused = await server.answered(server.post())
        assert (refused.status, refused.error, refused.headers[b"retry-after"]) == (503, "shutting_down", b"1")


async def test_a_revoked_user(autojump_clock: MockClock) -> None:
    """A stream of a user whose credentials were revoked ends for good."""
    async with opened() as server:
        caller = server.get()
        await trio.sleep(1)
        server.runtime.revoke("alice")
        await server.answered(caller)
        assert caller.events[-1]["metadata"]["trio-actors"] == {"temporary": False}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 100_000,
        b'{"threadId": "t1"}',
        asked(None),
        asked(threadId=7),
        asked(threadId=""),
        asked(runId="x" * 300),
        asked(messages=[{"id": "u", "role": "user", "content": 5}]),
        asked(messages=[{"role": "user", "content": "x"}]),
        asked(messages=[{"id": "a", "role": "assistant", "content": "x"}]),
        asked(messages=["x"]),
        asked(resume=[{"interruptId": 3}]),
        asked(forwardedProps={"n": 2**70}),
    ],
    ids=range(17),
)
async def test_what_is_no_request(autojump_clock: MockClock, body: bytes) -> None:
    """Anything but a RunAgentInput is refused with what was expected, and nothing is placed."""
    async with opened(on_message=talk) as server:
        caller = await server.answered(server.post(body or b" "))
        assert (caller.status, caller.error) == (400, "bad_request")
        assert server.runtime.owner("t1") is None


async def test_who_it_is(autojump_clock: MockClock) -> None:
    """Without credentials, with empty ones, or on an address that others reach while tokens are not checked: 401."""
    async with opened(on_message=talk) as server:
        assert (await server.answered(server.post(token=None))).status == 401
        assert (await server.answered(server.post(token=""))).status == 401
        exposed = Caller(server.endpoint, "GET", query="threadId=t1")
        exposed.scope["server"] = ("10.0.0.1", 80)
        await exposed.call()
        assert exposed.status == 401
    async with opened(on_message=talk, authenticate=_nobody) as server:
        assert (await server.answered(server.post())).status == 401
    async with opened(on_message=talk, authenticate=_broken) as server:
        assert (await server.answered(server.post())).status == 503
        assert server.runtime.failures.total == 1


async def _nobody(credentials: actors.Credentials) -> str | None:
    return None


async def _broken(credentials: actors.Credentials) -> str | None:
    raise ValueError("the table of users is gone")


async def test_other_requests(autojump_clock: MockClock) -> None:
    """A form, which any page may send, another method, a thread that is none: refused, each with its row."""
    async with opened(on_message=talk) as server:
        form = Caller(server.endpoint, "POST")
        form.scope["headers"][0] = (b"content-type", b"text/plain")
        await form.call()
        assert (form.status, form.error) == (400, "bad_request")
        other = await server.ask("PUT")
        assert (other.status, other.headers[b"allow"]) == (405, b"GET, POST, DELETE")
        assert (await server.ask("GET")).error == "bad_request"
        assert (await server.ask("DELETE", query="threadId=" + "x" * 300)).error == "bad_request"
        assert (await server.ask("DELETE", query="threadId=t9&runId=r")).error == "unknown_run"
        with pytest.raises(RuntimeError, match="expected an HTTP request, got websocket"):
            await server.endpoint({"type": "websocket"}, None, None)  # type: ignore[arg-type]


async def test_the_same_name_for_another_message(autojump_clock: MockClock) -> None:
    """Another message under the name of an earlier run is a conflict, and a resume of nothing has no run."""
    async with opened(on_message=talk) as server:
        await server.answered(server.post())
        assert (await server.answered(server.post(asked("other")))).status == 409
        nothing = asked(threadId="t2", resume=[{"interruptId": "a_1", "status": "cancelled"}], messages=[])
        assert (await server.answered(server.post(nothing))).error == "unknown_run"


async def test_a_body_that_is_too_long_or_ends_too_soon(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is kept, nor waited for."""
    monkeypatch.setattr("actors.agui.exchange.MOST_BYTES", 1000)
    async with opened(on_message=talk) as server:
        assert (await server.answered(server.post(asked("x" * 1000)))).status == 413
        half = Caller(server.endpoint, "POST")
        half.body(b"{", more=True)
        half.leave()
        await half.call()
        assert half.error == "bad_request"


async def test_a_server_without_agents(autojump_clock: MockClock) -> None:
    """Nothing would ever answer, so that the request is refused."""
    async with opened() as server:
        caller = await server.answered(server.post())
        assert "no on_message" in caller.text.decode()


async def test_what_the_agent_gets(autojump_clock: MockClock) -> None:
    """The text, the client's id of the message, and what else the client gave: parts, context, state."""
    got: list[dict[str, Any]] = []

    async def keep(run: actors.Run, message: actors.Message) -> None:
        got.append(message.payload)

    parts = [{"type": "text", "text": "look "}, {"type": "text", "text": "here"}]
    context = [{"description": "page", "value": "cart"}]
    async with opened(on_message=keep) as server:
        await server.answered(server.post())
        body = asked(
            runId="2", messages=[{"id": "u2", "role": "user", "content": parts}], context=context, state={"n": 1}
        )
        await server.answered(server.post(body))
    assert got == [
        {"text": "hi", "id": "u-hi"},
        {"text": "look here", "id": "u2", "content": parts, "context": context, "state": {"n": 1}},
    ]


async def test_it_shows_what_it_is(autojump_clock: MockClock) -> None:
    """The endpoint names its runtime."""
    async with actors.open_runtime() as runtime, open_endpoint(runtime) as endpoint:
        assert repr(endpoint).startswith("<Endpoint of <Runtime")


async def test_a_question_without_an_end_waits(autojump_clock: MockClock) -> None:
    """A question that has no time says of none when it ends."""

    async def wait(run: actors.Run, message: actors.Message) -> None:
        await run.ask("approval", {}, timeout=math.inf)

    async with opened(on_message=wait) as server:
        (interrupt,) = AguiClient().take((await server.answered(server.post())).events).pending
        assert "expiresAt" not in interrupt
