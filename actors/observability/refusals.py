"""Refusals: the newest clients whose credentials were refused, for the log and for ``explain``."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import attrs

from actors.context import Context
from actors.observability.lines import CREDENTIALS_REFUSED, USER_REFUSED

_KEPT = 256
"""Refusals that are remembered: those of some seconds of a flood, or of weeks."""


@attrs.frozen(kw_only=True)
class Refusal:
    """A client whose credentials were refused."""

    peer: str
    """Its address, as ``10.0.0.7:51234``."""
    source: str
    """The place of its credentials: ``hello``, ``ticket``, ``cookie``, ``request``."""
    reason: str
    at: float
    """Wall clock, in seconds."""
    user_id: str | None
    """The user whose credentials they were, where the application's ``authenticate`` said so."""


class Refusals:
    """The newest refusals of one runtime, oldest first; each is said in the log, of a flood some."""

    def __init__(self, context: Context) -> None:
        self._lines = context.lines
        self._kept: deque[Refusal] = deque(maxlen=_KEPT)

    def __repr__(self) -> str:
        return f"<Refusals {len(self._kept)}>"

    def note(self, refusal: Refusal) -> None:
        """Remember a refusal, and say it."""
        self._kept.append(refusal)
        peer, source, reason, user_id = refusal.peer, refusal.source, refusal.reason, refusal.user_id
        if user_id is None:
            self._lines.say(CREDENTIALS_REFUSED, host_of(peer), peer=peer, source=source, reason=reason)
        else:
            self._lines.say(USER_REFUSED, user_id, peer=peer, source=source, reason=reason, user_id=user_id)

    def since(self, at: float) -> Sequence[Refusal]:
        """Return the refusals from a time of the wall clock on, oldest first."""
        return [refusal for refusal in self._kept if refusal.at >= at]


def host_of(peer: str) -> str:
    """Return an address without its port."""
    return peer.rpartition(":")[0] or peer
