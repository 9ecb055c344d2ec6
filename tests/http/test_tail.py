"""The tail of a thread: what is there, and what comes, once, in order, for as long as the reader stays."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
import trio

import actors
from actors.http.calls import Bounds
from tests.http.serving import KEYS, MAIL, Door, door, head, until

PATH = "/v1/threads/t1/events"
ACCEPT = {"accept": "text/event-stream"}


class Stream:
    """The events of a stream, as a browser's EventSource reads them."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines
        self.last_id = ""
        self.retry = ""

    async def next(self) -> tuple[str, Any]:
        """The next event: its name, and its data."""
        name, data = "message", ""
        async for line in self._lines:
            field, _, value = line.partition(": ")
            if field == "id":
                self.last_id = value
            elif field == "event":
                name = value
            elif field == "data":
                data += value
            elif field == "retry":
                self.retry = value
            elif not line and data:
                return name, json.loads(data)
        return "end", None

    async def numbers(self, count: int) -> list[int]:
        """The numbers of the next events."""
        return [(await self.next())[1]["seq"] for _ in range(count)]


@asynccontextmanager
async def tailing(api: Door, query: str = "", **headers: str) -> AsyncIterator[Stream]:
    """Read a thread's tail."""
    given = ACCEPT | {name.replace("_", "-"): value for name, value in headers.items()}
    async with api.client.stream("GET", f"{PATH}{query}", headers=given) as response:
        assert (response.status_code, response.headers["content-type"]) == (200, "text/event-stream")
        lines = response.aiter_lines()
        try:
            yield Stream(lines)
        finally:
            with trio.move_on_after(1, shield=True):
                await response.aclose()
                with suppress(httpx.TransportError):
                    async for _ in lines:
                        pass


async def emit(api: Door, count: int = 1, **options: Any) -> None:
    """Emit into the thread."""
    for _ in range(count):
        await api.runtime.thread("t1").emit("x", {"text": "é\n"}, user_id="alice", **options)


async def test_what_is_there_and_what_comes() -> None:
    """The history, and then each event when it is placed; an id is the event's number."""
    async with door() as api:
        await emit(api, 2)
        async with tailing(api) as stream:
            name, event = await stream.next()
            assert (name, event["seq"], event["payload"], event["thread_id"]) == ("message", 1, {"text": "é\n"}, "t1")
            assert await stream.numbers(1) == [2]
            await emit(api, 3)
            assert await stream.numbers(3) == [3, 4, 5]
            assert (stream.last_id, stream.retry) == ("5", "2000")
        await until(lambda: "0 requests" in repr(api.api))
        assert "Bells" not in repr(api.runtime.instruments)


async def test_a_reader_that_comes_back_goes_on() -> None:
    """After its last event, whichever parameters its address has; before that, where these say."""
    async with door() as api:
        await emit(api, 5)
        async with tailing(api, "?after_seq=1", last_event_id="3") as stream:
            assert await stream.numbers(2) == [4, 5]
        async with tailing(api, "?after_seq=4") as stream:
            assert await stream.numbers(1) == [5]


async def test_a_reader_that_is_cut_again_and_again_has_each_event_once() -> None:
    """While events come, ten connections after each other have them all, in order."""
    async with door() as api, trio.open_nursery() as nursery:

        async def produce() -> None:
            for _ in range(60):
                await emit(api)
                await trio.sleep(0.002)

        await emit(api)
        nursery.start_soon(produce)
        seen: list[int] = []
        while len(seen) < 61:
            async with tailing(api, last_event_id=str(len(seen))) as stream:
                seen += await stream.numbers(min(6, 61 - len(seen)))
        assert seen == list(range(1, 62))


async def test_it_is_no_device() -> None:
    """For what it shows nothing counts as written or acked, and its user has no device."""
    async with door() as api:
        await emit(api)
        async with tailing(api) as stream:
            assert await stream.numbers(1) == [1]
            assert api.runtime.devices("alice") == 0
            assert api.runtime.audit().total.retained == 1
            assert (await api.ask("GET", f"{PATH}"))[1]["events"][0]["seq"] == 1


async def test_what_is_gone_is_told() -> None:
    """A reader that comes too late, or is too slow, is told which numbers it has missed."""
    async with door(limits=actors.Limits(retained_events=2)) as api:
        await emit(api, 5)
        async with tailing(api, last_event_id="1") as stream:
            assert await stream.next() == ("gone", {"gone": [[2, 3]]})
            assert await stream.numbers(2) == [4, 5]


async def test_numbers_that_began_again() -> None:
    """A reader of a server that was started again, without its store, is told, and gets everything."""
    async with door() as api:
        await emit(api, 2)
        async with tailing(api, last_event_id="40") as stream:
            assert await stream.next() == ("reset", {"head_seq": 2})
            assert await stream.numbers(2) == [1, 2]


async def test_another_owner() -> None:
    """The events that a bind places come; a key that does not reach the new owner hears no more."""
    async with door(keys=KEYS, key=MAIL) as api:
        await api.runtime.bind("t1", "team-a/eve")
        async with tailing(api) as stream:
            await api.runtime.unbind("t1")
            await api.runtime.thread("t1").emit("x", {})
            await api.runtime.bind("t1", "team-a/bo")
            assert await stream.numbers(1) == [1]
            await api.runtime.rebind("t1", "mallory")
            assert await stream.next() == ("end", None)


async def test_it_ends_with_the_server() -> None:
    """The stream is ended whole, and its reader comes back elsewhere."""
    async with door() as api:
        await emit(api)
        async with tailing(api) as stream:
            await stream.numbers(1)
            await api.runtime.drain(0)
            assert await stream.next() == ("end", None)


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "", "9007199254740993", "\u00b2"])
async def test_a_last_event_that_is_none(last: str) -> None:
    """It is refused."""
    async with door() as api:
        await emit(api)
        headers = ACCEPT | {"last-event-id": last}
        refused = await api.client.get(PATH, headers={n.encode(): v.encode() for n, v in headers.items()})
        assert (refused.status_code, refused.json()["error"]["name"]) == (400, "bad_request")


async def test_a_thread_that_is_not_there() -> None:
    """It is refused before a stream begins."""
    async with door() as api:
        assert await api.refusal("GET", PATH, headers=ACCEPT) == (404, "unknown_thread")


async def test_a_reader_that_stalls() -> None:
    """It is cut off, and holds up neither emitters nor other readers, nor memory."""
    limits = actors.Limits(retained_bytes=32 << 20, retained_events=10_000)
    async with door(bounds=Bounds(write_seconds=0.5), limits=limits) as api, await api.stream() as stalled:
        await emit(api)
        await stalled.send_all(head("GET", PATH, "Accept: text/event-stream"))
        await until(lambda: "1 requests" in repr(api.api))
        async with tailing(api) as stream:
            for number in range(2, 60):
                await api.runtime.thread("t1").emit("x", {"x": "x" * 200_000}, user_id="alice")
                if number == 2:
                    assert await stream.numbers(2) == [1, 2]
            assert await stream.numbers(57) == list(range(3, 60))
        await until(lambda: "0 requests" in repr(api.api))
