"""The tail of a thread: its history, and then each event as it is placed, as server-sent events.

It reads, as the request for the history does, and is no device: nothing counts
as written or acked for it, and no question waits for it. A reader that is slow
is a number that stands still; what it has not come for can leave the log, and
is told as gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import msgspec
import trio
from starlette.types import Receive, Scope, Send

from actors.events.delivered import History
from actors.http.calls import Call
from actors.http.problems import RAISED, Problem
from actors.http.schemas import SeqText
from actors.observability.instrument import Instrument
from actors.receipts import Receipt
from actors.runtime import Runtime

CONTENT = "text/event-stream"
_KEEPALIVE_SECONDS = 15.0
"""Shorter than the 20 to 60 s after which proxies cut idle links."""
_encode = msgspec.json.Encoder().encode


class Bells(Instrument):
    """Rings for each event that is placed in a thread that is read, and for each change of its owner."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._threads: dict[str, set[trio.Event]] = {}

    def __repr__(self) -> str:
        return f"<Bells of {len(self._threads)} threads>"

    def placed(self, receipt: Receipt, user_id: str, epoch: str, offset: int) -> None:
        """Ring for an event."""
        self._ring(receipt.thread_id)

    def bound(self, thread_id: str, user_id: str | None, placed: int) -> None:
        """Ring for another owner, and for the held events that came with it."""
        self._ring(thread_id)

    @contextmanager
    def listening(self, thread_id: str) -> Iterator[trio.Event]:
        """Have an event set when the thread has something new."""
        bell = trio.Event()
        if not self._threads:
            self._runtime.instruments.add(self)
        self._threads.setdefault(thread_id, set()).add(bell)
        try:
            yield bell
        finally:
            bells = self._threads[thread_id]
            bells.remove(bell)
            if not bells:
                del self._threads[thread_id]
            if not self._threads:
                self._runtime.instruments.remove(self)

    def _ring(self, thread_id: str) -> None:
        for bell in self._threads.get(thread_id, ()):
            bell.set()


class Tail:
    """The answer to one reader, an ASGI application."""

    def __init__(self, call: Call, thread_id: str, *, after_seq: int, bells: Bells) -> None:
        self._call = call
        self._thread_id = thread_id
        self._seq = after_seq
        self._bells = bells

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what is there and what comes, until the reader goes or the server does."""
        headers = [(b"content-type", CONTENT.encode()), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        retry_ms = int(self._call.runtime.limits.retry_seconds * 1_000)
        await self._say(send, f"retry: {retry_ms}\n\n".encode())
        await self._call.unless_gone(partial(self._tell, send))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _tell(self, send: Send) -> None:
        while True:
            with self._bells.listening(self._thread_id) as bell:
                try:
                    found = await self._call.runtime.read(self._thread_id, after_seq=self._seq)
                    await self._call.owner(self._thread_id)
                except RAISED:  # the runtime has ended, or the thread is another user's now
                    return
                if found.head_seq < self._seq:  # they have begun again, with a store that does not outlive its process
                    self._seq = 0
                    await self._say(send, _event("reset", {"head_seq": found.head_seq}))
                    continue
                await self._say(send, b"".join(self._texts(found)))
                if not found.more:
                    await self._wait(bell, send)

    def _texts(self, found: History) -> Iterator[bytes]:
        """Write a part of the history, and remember up to where it goes."""
        if found.gone:
            yield _event("gone", {"gone": found.gone})
            self._seq = max(self._seq, found.gone[-1][1])
        for event in found.events:
            self._seq = max(self._seq, event.seq)
            yield b"id: %d\ndata: %b\n\n" % (event.seq, _encode(event))

    async def _wait(self, bell: trio.Event, send: Send) -> None:
        """Wait for more, and say now and then that the connection is alive."""
        while not bell.is_set():
            with trio.move_on_after(_KEEPALIVE_SECONDS):
                await bell.wait()
                return
            await self._say(send, b": alive\n\n")

    async def _say(self, send: Send, text: bytes) -> None:
        if text:
            await send({"type": "http.response.body", "body": text, "more_body": True})


def is_wanted(call: Call) -> bool:
    """Return true if a reader asks for events as they come, and not for what is there."""
    kinds = [one.partition(";")[0].strip().lower() for one in call.request.headers.get("accept", "").split(",")]
    return CONTENT in kinds


def begins_after(call: Call) -> int:
    """Return the number after which a reader goes on: of its last event, or as it asks. Raises Problem."""
    text = call.request.headers.get("last-event-id")
    if text is None:
        return call.query.after_seq or 0
    try:
        return int(msgspec.convert(text, SeqText))
    except msgspec.ValidationError:
        raise Problem("bad_request", f"Last-Event-ID: expected the number of an event, got {text[:40]!r}") from None


def _event(name: str, value: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), _encode(value))
