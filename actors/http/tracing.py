"""The trace of a user over HTTP: a line of JSON for each thing that happens, or a server-sent event."""

from __future__ import annotations

import msgspec
import trio
from starlette.types import Receive, Scope, Send

from actors.control.answers import TraceLine
from actors.control.trace import Lines, trace
from actors.http.calls import Call, ClientGone
from actors.http.lines import CONTENT
from actors.http.tail import CONTENT as EVENTS
from actors.http.tail import is_wanted

_KEEPALIVE_SECONDS = 15.0
"""Shorter than the 20 to 60 s after which proxies cut idle links; in lines, a blank one."""
_encode = msgspec.json.Encoder().encode


class TraceStream:
    """The answer to one reader, an ASGI application. A slow one is told how much it missed."""

    def __init__(self, call: Call, user_id: str) -> None:
        self._call = call
        self._user_id = user_id
        self._as_events = is_wanted(call)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what happens, until the reader goes or the server does."""
        content = EVENTS if self._as_events else CONTENT
        headers = [(b"content-type", content.encode()), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
        with trace(self._call.runtime, self._user_id) as lines:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await _say(send, b": traced\n\n" if self._as_events else b"\n")
            try:
                await self._call.unless_gone(lambda: self._follow(lines, send))
            except ClientGone:
                return
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _follow(self, lines: Lines, send: Send) -> None:
        while True:
            line: TraceLine | None = None
            with trio.move_on_after(_KEEPALIVE_SECONDS):
                line = await anext(lines)
            await _say(send, self._written(line))

    def _written(self, line: TraceLine | None) -> bytes:
        if not self._as_events:
            return b"\n" if line is None else _encode(line) + b"\n"
        return b": alive\n\n" if line is None else b"data: %b\n\n" % _encode(line)


async def _say(send: Send, text: bytes) -> None:
    await send({"type": "http.response.body", "body": text, "more_body": True})
