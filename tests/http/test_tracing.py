"""The trace over HTTP: lines as they come, kept alive, and ended with either side."""

from __future__ import annotations

import msgspec
import pytest

from actors.http import tracing
from tests.http.serving import Door, door, until


def listens(api: Door) -> bool:
    """True while a trace listens."""
    return "Listening" in repr(api.runtime.instruments)


@pytest.mark.parametrize(
    ("accept", "kind"), [("*/*", "application/x-ndjson"), ("text/event-stream", "text/event-stream")]
)
async def test_a_trace(accept: str, kind: str) -> None:
    """What happens to the user comes as it happens, in lines or server-sent events; the end of the server ends it."""
    async with door() as api:
        request = api.client.stream("GET", "/v1/users/alice/trace", headers={"accept": accept})
        async with request as came:
            assert (came.status_code, came.headers["content-type"]) == (200, kind)
            lines = came.aiter_lines()
            await anext(lines)
            await api.ask("POST", "/v1/threads/t1/events", {"type": "x", "user_id": "alice"})
            told = ""
            while "stored" not in told:
                told = (await anext(lines)).removeprefix("data: ")
            line = msgspec.json.decode(told)
            assert (line["kind"], line["thread_id"], line["offset"]) == ("event", "t1", 1)
            api.api.leave()
            async for _ in lines:
                pass
        await until(lambda: not listens(api))


async def test_a_client_that_goes() -> None:
    """Nothing listens any more."""
    async with door() as api:
        async with api.client.stream("GET", "/v1/users/alice/trace"):
            await until(lambda: listens(api))
        await until(lambda: not listens(api))


@pytest.mark.parametrize(("accept", "alive"), [("*/*", ""), ("text/event-stream", ": alive")])
async def test_it_is_kept_alive(accept: str, alive: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing happens, something is sent now and then, which is no line of the trace."""
    monkeypatch.setattr(tracing, "_KEEPALIVE_SECONDS", 0.01)
    async with door() as api, api.client.stream("GET", "/v1/users/a/trace", headers={"accept": accept}) as came:
        lines = came.aiter_lines()
        first = await anext(lines)
        seen = [line for line in [first, await anext(lines), await anext(lines), await anext(lines)] if line]
        assert [line for line in seen if line not in (alive, ": traced")] == []
        api.api.leave()
        async for _ in lines:
            pass
