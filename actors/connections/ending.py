"""The end of a connection: the reason for it, and the goodbye."""

from __future__ import annotations

from collections.abc import Callable

import trio

from actors.delivery.frames import text_frame
from actors.kernel.task_set import TaskSet
from actors.limits import Limits
from actors.protocol import server_messages
from actors.protocol.codes import CLOSINGS
from actors.wire.transport import Transport
from actors.wire.websocket import WebSocket

_UNSPEAKABLE = frozenset({"vanished", "stalled", "silent", "choked"})
"""Reasons to end a connection without another word, because its peer would not read it."""

_MIDWAY = frozenset({"too_big", "bad_frame", "bad_text"})
"""Reasons that arise in the middle of a message: the peer is still sending the rest of it."""

_AT_ONCE = frozenset({"revoked", "shutting_down"})
"""Reasons after which nothing more is done for a device: it may not ask any longer, or it is told to ask again."""


class Ending:
    """The reason for which a connection ends: a row of the closing table, and words of its own or the row's.

    The first reason counts.
    """

    __slots__ = ("_stop", "reason")

    def __init__(self) -> None:
        self.reason: tuple[str, str] | None = None
        self._stop: Callable[[], object] | None = None

    def __repr__(self) -> str:
        return "<Ending none>" if self.reason is None else f"<Ending {self.reason[0]}>"

    def stops(self, stop: Callable[[], object]) -> None:
        """Have a function called when the connection ends, or now if it is ending: in place of the one before, and
        once."""
        if self.reason is None:
            self._stop = stop
        else:
            stop()

    def begin(self, name: str, text: str) -> None:
        """End the connection, unless it is ending already."""
        if self.reason is None:
            self.reason = name, text or CLOSINGS[name].text
            stop, self._stop = self._stop, None
            if stop is not None:
                stop()

    def outcome(self) -> tuple[str, str]:
        """Return the reason; with none, the device has left."""
        return self.reason or ("left", CLOSINGS["left"].text)

    async def say_goodbye(self, websocket: WebSocket, transport: Transport, limits: Limits, *, plain: bool) -> None:
        """Send the reason to a peer that listens, and give it a moment to answer."""
        name, text = self.outcome()
        if name in _UNSPEAKABLE:
            transport.abort()
            return
        row = CLOSINGS[name]
        with trio.move_on_after(limits.revoked_seconds if name == "revoked" else limits.close_seconds):
            if not plain and row.code >= 4000:
                said = server_messages.encode(server_messages.Error(server_messages.problem(row, text)))
                transport.write(text_frame(said))
            if name == "left" and websocket.end is not None:
                websocket.finish()  # its Close was read ahead, and is answered in kind
            await websocket.close(row.code, text)
            await transport.drain()
            if name in _MIDWAY:
                await transport.discard()

    async def finish_requests(self, tasks: TaskSet, limits: Limits) -> None:
        """Let what a device had asked for before the end be carried out, for a moment, because it has done its part."""
        if self.outcome()[0] not in _AT_ONCE:
            with trio.move_on_after(limits.close_seconds):
                await tasks.wait_idle()
