"""Messages over HTTP: placed once, answered by one run."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import actors
from tests.http.serving import KEYS, MAIL, door, until

MESSAGE = {"user_id": "alice", "id": "m1", "payload": {"text": "hi"}}
PATH = "/v1/threads/t1/messages"


async def answer(run: actors.Run, message: actors.Message) -> dict[str, Any]:
    """Say who said what."""
    return {"to": message.user_id, "text": message.payload["text"]}


async def test_a_message_is_answered_by_a_run() -> None:
    """It is an event of the thread, and its run is named; said again, it is the same, and starts nothing."""
    async with door(on_message=answer) as api:
        status, told = await api.ask("POST", PATH, MESSAGE)
        assert (status, told["seq"], told["event_id"]) == (200, 1, "m1")
        assert await api.ask("POST", PATH, MESSAGE) == (status, told)
        await until(lambda: not api.runtime.tree.runs.registry.active)
        history = await api.runtime.read("t1")
        assert [event.type for event in history.events] == ["user_message", "agent_started", "agent_completed"]
        assert history.events[2].payload == {"result": {"to": "alice", "text": "hi"}}
        assert {event.run_id for event in history.events[1:]} == {told["run_id"]}


async def test_the_run_may_be_named() -> None:
    """A program that names the run can cancel it."""

    async def forever(run: actors.Run, message: actors.Message) -> None:
        await trio.sleep_forever()

    async with door(on_message=forever) as api:
        _, told = await api.ask("POST", PATH, MESSAGE | {"run_id": "r1"})
        assert told["run_id"] == "r1"
        status, done = await api.ask("POST", "/v1/runs/r1/cancel", {"reason": "enough"})
        assert (status, done) == (200, {"run_id": "r1", "stopped": ["r1"], "running": []})
        history = await api.runtime.read("t1")
        assert history.events[-1].payload == {"reason": "enough"}


async def test_without_an_agent() -> None:
    """It is placed all the same, and no run is named."""
    async with door() as api:
        _, told = await api.ask("POST", PATH, MESSAGE)
        assert told["run_id"] is None


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({"payload": {"text": "ho"}}, (409, "conflict")),
        ({"id": "m2", "user_id": "bob"}, (409, "not_the_owner")),
        ({"id": "m2", "type": "agent_started"}, (400, "bad_request")),
        ({"id": ""}, (400, "bad_request")),
        ({"payload": "text"}, (400, "bad_request")),
    ],
)
async def test_a_message_that_is_not_taken(change: dict[str, Any], refused: tuple[int, str]) -> None:
    """It is refused for what it is, and nothing is placed."""
    async with door(on_message=answer) as api:
        await api.ask("POST", PATH, MESSAGE)
        assert await api.refusal("POST", PATH, MESSAGE | change) == refused
        history = await api.runtime.read("t1")
        assert [event.type for event in history.events].count("user_message") == 1


async def test_so_many_that_no_other_is_taken() -> None:
    """It is told when to try again."""

    async def forever(run: actors.Run, message: actors.Message) -> None:
        await trio.sleep_forever()

    async with door(on_message=forever, limits=actors.Limits(runs_per_thread=1)) as api:
        await api.ask("POST", PATH, MESSAGE)
        refused = await api.client.post(PATH, json=MESSAGE | {"id": "m2"})
        assert (refused.status_code, refused.json()["error"]["name"]) == (429, "busy")
        assert refused.headers["retry-after"] == "2"


async def test_a_key_of_some_users_speaks_for_those() -> None:
    """For another one it is refused."""
    async with door(keys=KEYS, key=MAIL) as api:
        assert await api.refusal("POST", PATH, MESSAGE) == (403, "forbidden")
        assert (await api.ask("POST", PATH, MESSAGE | {"user_id": "team-a/eve"}))[0] == 200


async def test_the_trace_of_a_request() -> None:
    """The message carries it, and the run that answers begins with it."""
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with door(on_message=answer) as api:
        assert (await api.ask("POST", PATH, MESSAGE, headers={"traceparent": trace}))[0] == 200
        assert (await api.ask("POST", PATH, MESSAGE, headers={"traceparent": f"{trace[:-2]}00"}))[0] == 200
        await until(lambda: not api.runtime.tree.runs.registry.active)
        history = await api.runtime.read("t1")
        assert [event.traceparent for event in history.events] == [trace, trace, None]
