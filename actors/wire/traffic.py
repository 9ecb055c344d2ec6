"""Traffic: the bytes and frames of many sockets in total, counted where they are sent."""

from __future__ import annotations


class Traffic:
    """Two totals, which grow as transports add to them."""

    __slots__ = ("written_bytes", "written_frames")

    def __init__(self) -> None:
        self.written_bytes = 0
        """Bytes that sockets took."""
        self.written_frames = 0
        """WebSocket frames that were written to sockets, those included that a broken one did not take."""

    def __repr__(self) -> str:
        return f"<Traffic {self.written_frames} frames, {self.written_bytes} bytes>"
