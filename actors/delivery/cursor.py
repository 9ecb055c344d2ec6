"""A device's cursor in its user's log: the offset it starts at, those it was sent, those it acked."""

from __future__ import annotations

from typing import Literal

from actors.delivery.bounds import Bounds, Start
from actors.errors import PeerError
from actors.protocol.client_messages import Origin


def start(
    bounds: Bounds, resume: tuple[str, int] | None, origin: Origin, first_unacked: int, *, renames: bool = True
) -> Start:
    """Choose the offset at which a connection begins.

    ``resume`` is the cursor that the device kept (epoch, last offset seen).
    Integers are compared and no id is looked up, so a stolen or invented
    cursor gives at most what its user's own log has. A cursor in a former epoch
    is as good as one in the present one up to the fork, for a device that
    ``renames`` it; beyond it, or ahead of the head, the device saw what is lost;
    and any other epoch is another log. The idea of the pair is Centrifugo's
    stream position.
    """
    if resume is None:
        offsets = {"unacked": first_unacked, "low": bounds.low, "head": bounds.head + 1}
        return Start("fresh", offsets[origin])
    epoch, seen = resume
    last = bounds.shared(epoch)
    if last is None or seen > last or (epoch != bounds.epoch and not renames):
        return Start("reset", bounds.low)
    renamed = None if epoch == bounds.epoch else last
    if seen < bounds.low - 1:
        return Start("gap", bounds.low, (seen + 1, bounds.low - 1), renamed)
    return Start("replayed" if renamed is None else "renamed", seen + 1, None, renamed)


_MOST_MISSED = 8
"""Gaps that a cursor remembers."""

Standing = Literal["began later", "behind", "missed", "handed", "acked"]


class Cursor:
    """The offsets that one connection was handed, and those that it acked.

    Invariant: ``acked <= position``, and the spans in ``_unacked`` are
    ascending, disjoint, and lie between the two; offsets between the spans
    were never handed to this connection.
    """

    __slots__ = ("_missed", "_unacked", "acked", "first", "position")

    def __init__(self, first: int) -> None:
        self.first: int = first
        """The offset at which this connection began."""
        self.position: int = first - 1
        """The last offset handed to the socket, or told to be gone."""
        self.acked: int = first - 1
        """The highest offset that the device acked."""
        # Lists, because a deque of nothing takes 760 bytes, and these hold a span or two.
        self._unacked: list[tuple[int, int]] = []
        self._missed: list[tuple[int, int]] = []

    def advance(self, first: int, last: int) -> None:
        """Note that offsets ``first`` to ``last``, the next ones, were handed to the socket."""
        assert first == self.position + 1, f"offset {first} handed out after {self.position}"
        if self._unacked and self._unacked[-1][1] == first - 1:
            first = self._unacked.pop()[0]
        self._unacked.append((first, last))
        self.position = last

    def skip(self, low: int) -> tuple[int, int] | None:
        """Step over offsets that left the log before this connection read them; returns that range, if any."""
        if low <= self.position + 1:
            return None
        gone = self.position + 1, low - 1
        # The newest gaps are enough, because explain asks for offsets that are in the log or were a moment ago.
        self._missed = [*self._missed[1 - _MOST_MISSED :], gone]
        self.position = low - 1
        return gone

    def pass_over(self, first: int) -> None:
        """Note that offsets ``first`` and up, handed out last, are not for this device."""
        while self._unacked and self._unacked[-1][1] >= first:
            begin, _ = self._unacked.pop()
            if begin < first:
                self._unacked.append((begin, first - 1))

    @property
    def has_unacked(self) -> bool:
        """True if it was handed an offset that the device has not acked."""
        return bool(self._unacked)

    def standing(self, offset: int) -> Standing:
        """Return this connection's knowledge of an offset."""
        if offset < self.first:
            return "began later"
        if offset > self.position:
            return "behind"
        if any(first <= offset <= last for first, last in self._missed):
            return "missed"
        return "acked" if offset <= self.acked else "handed"

    def ack(self, offset: int) -> list[tuple[int, int]]:
        """Ack every offset handed out up to ``offset``; returns the spans newly acked.

        An old ack changes nothing. One beyond the last offset handed out
        raises :class:`~actors.errors.PeerError`, and changes nothing.
        """
        if offset > self.position:
            text = f"ack: expected an offset of at most {self.position}, the last one sent here, got {offset}"
            raise PeerError("bad_ack", text)
        spans = []
        while self._unacked and self._unacked[0][0] <= offset:
            first, last = self._unacked.pop(0)
            spans.append((first, min(last, offset)))
            if last > offset:
                self._unacked.insert(0, (offset + 1, last))
        self.acked = max(self.acked, offset)
        return spans

    def lose(self, offset: int) -> None:
        """Go back to an offset, because the log lost what was handed out beyond it."""
        while self._unacked and self._unacked[-1][1] > offset:
            first, _ = self._unacked.pop()
            if first <= offset:
                self._unacked.append((first, offset))
        self.first = min(self.first, offset + 1)
        self.position = min(self.position, offset)
        self.acked = min(self.acked, offset)

    def __repr__(self) -> str:
        return f"<Cursor next={self.position + 1} acked={self.acked} unacked={len(self._unacked)}>"
