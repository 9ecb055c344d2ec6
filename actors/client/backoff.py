"""The backoff of a client: whether to reconnect, and when."""

from __future__ import annotations

from actors.protocol.codes import is_temporary

_LEAST_CEILING_SECONDS, _MOST_CEILING_SECONDS = 0.5, 10.0
_LEAST_RETRY_SECONDS, _MOST_RETRY_SECONDS = 0.25, 60.0
_TEMPORARY_STATUSES = frozenset({408, 421, 425, 429})
"""HTTP refusals that may pass, although they begin with a 4."""


def pause(lost_seconds: float, jitter: float) -> float:
    """Return the seconds to wait, for a connection lost ``lost_seconds`` ago and a random ``jitter`` in [0, 1).

    *Full jitter* (Brooker, AWS, 2015) spreads the reconnects of all clients
    that lost one server evenly. The ceiling is the outage so far, so a client
    is away for at most about as long again as its server was; a ceiling that
    doubles with each failure reached 8 s after an outage of 3.
    """
    return jitter * min(_MOST_CEILING_SECONDS, max(_LEAST_CEILING_SECONDS, lost_seconds))


def retry_after(retry_ms: float) -> float:
    """Return the seconds that the server asked to wait, within bounds: no hot loop, and no wait without an end."""
    return min(max(retry_ms / 1000, _LEAST_RETRY_SECONDS), _MOST_RETRY_SECONDS)


def is_final(code: int, status: int | None = None) -> bool:
    """Return true if a close code, or the status of a refused upgrade, makes it pointless to reconnect unchanged."""
    if status is not None:
        return 200 <= status < 500 and status not in _TEMPORARY_STATUSES
    return not is_temporary(code)
