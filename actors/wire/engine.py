"""The protocol engine of one peer, without I/O: wsproto behind limits, from bytes to whole messages.

wsproto parses frames, unmasks and decodes them, and answers pings and Closes.
What the peer may cost is decided before (:mod:`actors.wire.frame_limits`), so
that the engine never holds more than one message.
"""

from __future__ import annotations

from typing import cast

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wsproto.utilities import ProtocolError

from actors.limits import Limits
from actors.wire.frame_limits import FrameLimits
from actors.wire.received import Answer, Ended, Item, ended


class Engine:
    """Turns the bytes of one peer into messages, until the first fault or the peer's Close."""

    __slots__ = ("_connection", "_has_ended", "_limits", "_parts")

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = FrameLimits(
            limits.inbound_bytes, burst=limits.inbound_burst, per_second=limits.inbound_messages_per_second, now=now
        )
        self._connection = Connection(ConnectionType.SERVER)
        self._parts: list[str | bytes] = []
        """The parts of an unfinished message."""
        self._has_ended = False

    def __repr__(self) -> str:
        return f"<Engine {'ended' if self._has_ended else 'open'} parts={len(self._parts)}>"

    @property
    def at_boundary(self) -> bool:
        """True if the next byte begins a message, and the peer has broken nothing."""
        return self._limits.at_boundary and not self._has_ended

    @property
    def is_closing(self) -> bool:
        """True once the header of the peer's Close has come."""
        return self._limits.closing

    def receive(self, data: bytes, now: float) -> list[Item]:
        """Take bytes; returns what they complete. Nothing comes after an :class:`Ended`."""
        items: list[Item] = []
        if self._has_ended:
            return items
        admitted = self._limits.admit(data, now)
        try:
            if admitted:
                self._connection.receive_data(admitted)
            for event in self._connection.events():
                item = self._take(event)
                if item is not None:
                    items.append(item)
        except (ProtocolError, UnicodeDecodeError) as error:
            items.append(Ended("bad_frame", str(error)))
        if self._limits.excess is not None and not (items and isinstance(items[-1], Ended)):
            items.append(Ended(*self._limits.excess))
        self._has_ended = bool(items) and isinstance(items[-1], Ended)
        return items

    def _take(self, event: Event) -> Item | None:
        match event:
            case TextMessage() | BytesMessage():
                return self._assemble(event)
            case Ping():
                return Answer(self._connection.send(event.response()))
            case CloseConnection(code=code):
                # A broken frame is an event of the same kind, but leaves the engine open.
                answers = self._connection.state is ConnectionState.REMOTE_CLOSING
                return ended(code, self._connection.send(event.response()) if answers else None)
            case _:
                return None

    def _assemble(self, event: TextMessage | BytesMessage) -> str | bytes | None:
        """Add a part; returns the message if that was the last one."""
        if event.message_finished and not self._parts:
            return event.data if isinstance(event.data, str) else bytes(event.data)
        self._parts.append(event.data if isinstance(event.data, str) else bytes(event.data))
        if not event.message_finished:
            return None
        parts, self._parts = self._parts, []
        if isinstance(event, TextMessage):
            return "".join(cast("list[str]", parts))
        return b"".join(cast("list[bytes]", parts))
