"""Runs over HTTP: of programs in other languages."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from tests.http.serving import KEYS, MAIL, SUPPORT, door, until

NEW = {"thread_id": "t1", "agent_name": "indexer", "run_id": "r1", "user_id": "alice"}


async def test_a_run_from_its_first_event_to_its_last() -> None:
    """Begun, filled and ended by requests, it is in the thread as any run is."""
    async with door() as api:
        assert await api.ask("POST", "/v1/runs", NEW) == (
            200, {"run_id": "r1", "thread_id": "t1", "state": "active", "lease_s": 60.0},
        )  # fmt: skip
        event = {"type": "agent_delta", "payload": {"text": "hi"}, "run_id": "r1"}
        assert (await api.ask("POST", "/v1/threads/t1/events", event))[0] == 200
        ended = {"outcome": "completed", "result": {"pages": 3}}
        for _ in range(2):
            status, told = await api.ask("POST", "/v1/runs/r1/end", ended)
            assert (status, told["state"]) == (200, "completed")
        assert await api.refusal("POST", "/v1/threads/t1/events", event) == (409, "run_ended")
        history = await api.runtime.read("t1")
        assert [(event.type, event.run_id) for event in history.events] == [
            ("agent_started", "r1"),
            ("agent_delta", "r1"),
            ("agent_completed", "r1"),
        ]
        assert history.events[2].payload == {"result": {"pages": 3}}


async def test_a_program_waits_for_its_run_to_be_cancelled() -> None:
    """A request that waits is answered when the run ends, and else in time."""
    async with door() as api:
        await api.ask("POST", "/v1/runs", NEW)
        status, told = await api.ask("GET", "/v1/runs/r1?timeout_s=0.01")
        assert (status, told["state"]) == (200, "active")
        answers: list[Any] = []

        async def watch() -> None:
            answers.append(await api.ask("GET", "/v1/runs/r1?timeout_s=60"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await until(lambda: "1 requests" in repr(api.api))
            status, done = await api.ask("POST", "/v1/runs/r1/cancel", {})
            assert (status, done["stopped"]) == (200, ["r1"])
        assert (answers[0][0], answers[0][1]["state"]) == (200, "cancelled")


async def test_runs_that_are_not_known() -> None:
    """Each request about one is refused, a cancel after a moment in which it might have begun."""
    async with door() as api:
        assert await api.refusal("GET", "/v1/runs/r9") == (404, "unknown_run")
        assert await api.refusal("POST", "/v1/runs/r9/end", {"outcome": "failed"}) == (404, "unknown_run")
        assert await api.refusal("POST", "/v1/runs/r9/cancel") == (404, "unknown_run")


@pytest.mark.parametrize(
    "change",
    [{"lease_s": 0}, {"lease_s": 3_601}, {"lease_s": "NaN"}, {"agent_name": ""}, {"thread_id": None}, {"x": 1}],
)
async def test_a_wrong_run(change: dict[str, Any]) -> None:
    """It does not begin."""
    async with door() as api:
        assert await api.refusal("POST", "/v1/runs", NEW | change) == (400, "bad_request")
        assert api.runtime.audit().total.accepted == 0


@pytest.mark.parametrize("end", [{}, {"outcome": "done"}, {"outcome": "failed", "error": {"type": "a b"}}])
async def test_a_wrong_end(end: dict[str, Any]) -> None:
    """The run goes on."""
    async with door() as api:
        await api.ask("POST", "/v1/runs", NEW)
        assert await api.refusal("POST", "/v1/runs/r1/end", end) == (400, "bad_request")
        assert (await api.ask("GET", "/v1/runs/r1"))[1]["state"] == "active"


async def test_a_run_of_another_users_thread() -> None:
    """It does not begin where the thread is not the user's; and an id that is taken is a conflict."""
    async with door() as api:
        await api.runtime.bind("t1", "bob")
        assert await api.refusal("POST", "/v1/runs", NEW) == (409, "not_the_owner")
        await api.ask("POST", "/v1/runs", NEW | {"user_id": "bob"})
        assert await api.refusal("POST", "/v1/runs", NEW | {"user_id": "bob", "agent_name": "x"}) == (409, "conflict")


@pytest.mark.parametrize("key", [SUPPORT, MAIL])
async def test_keys_that_do_not_reach_a_run(key: str) -> None:
    """They neither begin it, nor see, end or cancel it."""
    async with door(keys=KEYS, key=key) as api:
        assert await api.refusal("POST", "/v1/runs", NEW) == (403, "forbidden")
        async with api.runtime.thread("t1").run("own", run_id="r2"):
            await api.runtime.bind("t1", "alice")
            assert await api.refusal("POST", "/v1/runs/r2/cancel", {}) == (403, "forbidden")
        assert await api.refusal("POST", "/v1/runs/r9/cancel", {}) == (404, "unknown_run")


async def test_a_run_of_the_key_of_some_users() -> None:
    """A key of some users runs agents for those."""
    async with door(keys=KEYS, key=MAIL) as api:
        assert (await api.ask("POST", "/v1/runs", NEW | {"user_id": "team-a/eve"}))[0] == 200
        assert (await api.ask("GET", "/v1/runs/r1"))[0] == 200


async def test_the_trace_of_a_request() -> None:
    """The first event of the run carries that of the request that began it."""
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with door() as api:
        for given in (trace, f"{trace[:-2]}00"):
            assert (await api.ask("POST", "/v1/runs", NEW, headers={"traceparent": given}))[0] == 200
        event = {"type": "step", "run_id": "r1"}
        await api.ask("POST", "/v1/threads/t1/events", event, headers={"traceparent": trace})
        await api.ask("POST", "/v1/runs/r1/end", {"outcome": "completed"}, headers={"traceparent": trace})
        history = await api.runtime.read("t1")
        assert [event.traceparent for event in history.events] == [trace, None, None]
