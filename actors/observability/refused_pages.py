"""Refused pages: the newest requests that were refused for their pages' origins, for operators."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import attrs

from actors.observability.instrument import Instrument

KEPT = 256
"""Requests that are remembered: those of some seconds of a flood, or of weeks."""


@attrs.frozen(kw_only=True)
class RefusedPage:
    """A request that was refused for its page's origin."""

    origin: str
    at: float
    """Wall clock, in seconds."""


class RefusedPages(Instrument):
    """The newest requests of one runtime that were refused for their origins, oldest first."""

    def __init__(self, wall_clock: Callable[[], float]) -> None:
        self._wall_clock = wall_clock
        self._kept: deque[RefusedPage] = deque(maxlen=KEPT)

    def __repr__(self) -> str:
        return f"<RefusedPages {len(self._kept)}>"

    def handshake_refused(self, status: int, reason: str, origin: str | None) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        if reason == "origin" and origin is not None:
            self._kept.append(RefusedPage(origin=origin, at=self._wall_clock()))

    def since(self, at: float) -> Sequence[RefusedPage]:
        """Return those from a time of the wall clock on, oldest first."""
        return [page for page in self._kept if page.at >= at]
