"""A tap on the line to a device: reads along what the line took from the server, byte by byte."""

from __future__ import annotations

from typing import Protocol

import msgspec

from actors.testing.frames import TEXT, FrameReader, TornFrame
from actors.testing.oracle import Oracle
from actors.testing.records import Records, Wire


class Listener(Protocol):
    """The world that hears what a tap reads."""

    records: Records
    oracle: Oracle

    def note(self, who: str, what: str) -> None:
        """Add a line to the trace."""


class WireTap:
    """Tells the oracle each whole message that the server wrote to one connection."""

    def __init__(self, wire: Wire, listener: Listener) -> None:
        self._wire = wire
        self._listener = listener
        self._reader = FrameReader()
        self._head = bytearray()
        self._upgraded = False

    def take(self, data: bytes) -> None:
        """Read the next bytes; what is no whole frame contradicts invariant 6."""
        frames = self._past_the_head(data)
        try:
            messages = self._reader.feed(frames)
        except TornFrame as error:
            self._listener.records.complain(6, f"wire {self._wire.number}: {error}")
            return
        for opcode, payload in messages:
            if opcode == TEXT:
                self._listener.note(f"-> wire {self._wire.number}", payload.decode())
                self._listener.oracle.write(self._wire, msgspec.json.decode(payload))

    def _past_the_head(self, data: bytes) -> bytes:
        """Return the bytes that follow the answer to the upgrade request."""
        if self._upgraded:
            return data
        self._head += data
        first, end, rest = bytes(self._head).partition(b"\r\n\r\n")
        self._upgraded = bool(end) and first.startswith(b"HTTP/1.1 101 ")
        return rest if self._upgraded else b""
