"""Whether to come back, and when."""

from __future__ import annotations

from actors.wire.closing import Closing

_FIRST_SECONDS = 0.5
_LONGEST_SECONDS = 10.0
_MOST_DOUBLINGS = 16
_LEAST_ASKED_SECONDS, _MOST_ASKED_SECONDS = 0.25, 60.0
_PASSING_STATUSES = frozenset({408, 421, 425, 429})
"""Refusals of HTTP that are about the moment, although they begin with a 4."""


def pause(failures: int, jitter: float) -> float:
    """Seconds to wait after so many failures in a row (from 0), for a random ``jitter`` in [0, 1).

    *Full jitter* (Brooker, AWS, 2015): a crowd of clients that lost its server
    comes back evenly spread.
    """
    return jitter * min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0 ** min(failures, _MOST_DOUBLINGS))


def asked(retry_ms: float) -> float:
    """Seconds to wait where the server has said for how long: no hot loop, and not for ever, whatever it says."""
    return min(max(retry_ms / 1000, _LEAST_ASKED_SECONDS), _MOST_ASKED_SECONDS)


def is_final(code: int, status: int | None = None) -> bool:
    """Whether a close code, or the status of a refused upgrade, says that this client need not come back as it is."""
    if status is not None:
        return 200 <= status < 500 and status not in _PASSING_STATUSES
    return not Closing(code, "", "").temporary
