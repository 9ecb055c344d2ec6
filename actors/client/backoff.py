"""Whether to come back, and when."""

from __future__ import annotations

from actors.protocol.codes import is_temporary

_LEAST_CEILING_SECONDS, _MOST_CEILING_SECONDS = 0.5, 10.0
_LEAST_ASKED_SECONDS, _MOST_ASKED_SECONDS = 0.25, 60.0
_PASSING_STATUSES = frozenset({408, 421, 425, 429})
"""Refusals of HTTP that are about the moment, although they begin with a 4."""


def pause(lost_seconds: float, jitter: float) -> float:
    """Seconds to wait when the connection was lost so long ago, for a random ``jitter`` in [0, 1).

    *Full jitter* (Brooker, AWS, 2015): a crowd of clients that lost its server
    comes back evenly spread. The ceiling is the outage so far, so a client is
    away for at most about as long again as its server was; one that doubles
    with each failure reached 8 s after an outage of 3.
    """
    return jitter * min(_MOST_CEILING_SECONDS, max(_LEAST_CEILING_SECONDS, lost_seconds))


def asked(retry_ms: float) -> float:
    """Seconds to wait where the server has said for how long: no hot loop, and not for ever, whatever it says."""
    return min(max(retry_ms / 1000, _LEAST_ASKED_SECONDS), _MOST_ASKED_SECONDS)


def is_final(code: int, status: int | None = None) -> bool:
    """Whether a close code, or the status of a refused upgrade, says that this client need not come back as it is."""
    if status is not None:
        return 200 <= status < 500 and status not in _PASSING_STATUSES
    return not is_temporary(code)
