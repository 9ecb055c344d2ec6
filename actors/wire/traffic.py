"""Traffic: the bytes and frames of many sockets in total.

Each transport counts its own, because two more numbers of another object would
take a fiftieth of a write; what it has not told yet is added now and then, and
at its end. So the totals never fall, and nothing counts twice.
"""

from __future__ import annotations


class Traffic:
    """Two totals, which grow as transports tell what they have written."""

    __slots__ = ("written_bytes", "written_frames")

    def __init__(self) -> None:
        self.written_bytes: int = 0
        """Bytes that sockets took."""
        self.written_frames: int = 0
        """WebSocket frames that were written to sockets, those included that a broken one did not take."""

    def __repr__(self) -> str:
        return f"<Traffic {self.written_frames} frames, {self.written_bytes} bytes>"
