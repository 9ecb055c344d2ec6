"""A WebSocket that this side serves: its messages, and the closing handshake, over one transport.

It needs no task. Who waits for a message awaits :meth:`WebSocket.receive`; who
is told that bytes have arrived calls :meth:`WebSocket.read`. Messages to the
peer go through the transport; here only pings and Closes are answered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import trio

from actors.errors import PeerError
from actors.limits import Limits
from actors.wire.control_frames import close_frame
from actors.wire.http import RequestHead
from actors.wire.inbound import Inbound
from actors.wire.received import Answer, Ended, ended
from actors.wire.transport import Transport

_READ_BYTES = 16_384
_EARLY_BYTES = 4 * _READ_BYTES
"""The bytes that are read ahead of the messages, to see whether the peer is still there."""
_REASON_BYTES = 123
"""The longest reason of a Close frame (RFC 6455, section 5.5)."""
_VANISHED = 1006


class WebSocket:
    """An open WebSocket. Raises nothing that a peer caused but :class:`~actors.errors.PeerError`."""

    __slots__ = (
        "_answer",
        "_clock",
        "_closed",
        "_early_bytes",
        "_inbound",
        "_messages",
        "_on_received",
        "_transport",
        "end",
    )

    def __init__(
        self,
        transport: Transport,
        limits: Limits,
        *,
        on_received: Callable[[float], None],
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self.end: PeerError | None = None
        """The end of the peer's messages, with the row of the closing table, once it was read."""
        self._transport = transport
        self._on_received = on_received
        """Called with the time whenever bytes have come."""
        self._clock = clock
        self._inbound = Inbound(limits)
        self._messages: list[str | bytes] = []
        """Messages that were read ahead."""
        self._early_bytes = 0
        """The bytes that were read since the last message was awaited, and taken."""
        self._answer: bytes | None = None
        """The Close that answers the peer's, to be sent when the messages before it were taken."""
        self._closed = False
        """True once a Close was sent."""

    def __repr__(self) -> str:
        return f"<WebSocket {'open' if self.end is None else self.end.name} early={len(self._messages)}>"

    def open(self, head: RequestHead, subprotocol: str | None) -> None:
        """Answer the upgrade request, and take the bytes that came behind it."""
        self._transport.write(head.switch(subprotocol), 0)
        if head.rest:
            self._messages += self._take(head.rest)

    # --- messages ---------------------------------------------------------------

    async def receive(self) -> str:
        """Return the next text message; a checkpoint.

        Raises :class:`~actors.errors.PeerError`, with the row of the closing
        table, when the WebSocket has ended or the message is not acceptable.
        """
        return text_of(await self.receive_either())

    async def receive_either(self) -> str | bytes:
        """Return the next message, text or binary; like :meth:`receive`."""
        if self._messages:
            await trio.lowlevel.checkpoint()
        while not self._messages:
            if self.end is not None:
                raise self.finish()
            await self._wait_readable()
            self._messages += self._read()
        self._early_bytes = 0
        return self._messages.pop(0)

    def read(self) -> list[str | bytes]:
        """Return the messages that have arrived; none when none has, or :attr:`end` says why there are no more."""
        if not self._messages:
            return self._read()
        early, self._messages = self._messages, []
        return early + self._read()

    def ended_by(self) -> Literal["left", "vanished"] | None:
        """Return the row of the closing table for the peer's end of the connection, if it has ended it by now.

        Reads ahead, but not for ever; a peer that has sent more counts as connected.
        """
        while self.end is None and self._early_bytes < _EARLY_BYTES:
            before = self._early_bytes
            self._messages += self._read()
            if self._early_bytes == before:
                break
        if self._inbound.is_closing:
            return "left"
        return "vanished" if self.end is not None and self.end.name == "vanished" else None

    async def _wait_readable(self) -> None:
        try:
            await self._transport.wait_readable()
        except trio.ClosedResourceError:
            self._end(ended(_VANISHED))

    def _read(self) -> list[str | bytes]:
        """Take the bytes that have arrived: one read, and all that the endpoint has read ahead then.

        No second read, because the bytes of a peer that sends without end would never be at theirs, and no other
        would have a turn.
        """
        messages: list[str | bytes] = []
        receive = self._transport.receive
        while self.end is None:
            try:
                data = receive(_READ_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            if data is None:
                break
            if not data:
                self._end(ended(_VANISHED))
                break
            self._early_bytes += len(data)
            messages += self._take(data)
            if not self._transport.has_read_ahead:
                break
            receive = self._transport.receive_ahead
        return messages

    def _take(self, data: bytes) -> list[str | bytes]:
        """Take bytes: returns their messages, and answers what is to be answered."""
        now = self._clock()
        self._on_received(now)
        items = self._inbound.receive(data, now)
        if all(type(item) is str for item in items):
            return items  # type: ignore[return-value]  # they are texts alone, as nearly always
        messages: list[str | bytes] = []
        for item in items:
            if isinstance(item, str | bytes):
                messages.append(item)
            elif isinstance(item, Answer):
                self._transport.write_control(item.frames)
            else:
                self._end(item)
        return messages

    # --- the end ------------------------------------------------------------------

    def _end(self, end: Ended) -> None:
        self.end, self._answer = PeerError(end.name, end.text), end.close

    def finish(self) -> PeerError:
        """Answer the peer's Close, if there is one, now that the messages before it were taken; returns the end."""
        assert self.end is not None, "only an end is finished"
        if self._answer is not None:
            self._send_close(self._answer)
        return self.end

    async def close(self, code: int, reason: str) -> None:
        """Send a Close, unless one was sent, and wait for the peer's, for as long as the caller's deadline allows."""
        self._send_close(close_frame(code, reason.encode()[:_REASON_BYTES].decode(errors="ignore")))
        while self.end is None:
            await self._wait_readable()
            self._read()

    def _send_close(self, close: bytes) -> None:
        """Send the first Close, and no later one."""
        if not self._closed:
            self._closed = True
            self._transport.write(close)
            self._transport.sealed = True


def text_of(message: str | bytes) -> str:
    """Return a text message. Raises PeerError for a binary one."""
    if isinstance(message, bytes):
        raise PeerError("binary", f"expected a text message, got {len(message)} bytes of binary")
    return message
