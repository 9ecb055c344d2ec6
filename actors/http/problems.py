"""Problems: why a request was not carried out, as a row of the tables that clients know, and an HTTP status."""

from __future__ import annotations

from actors.errors import (
    ActorsError,
    Busy,
    Dropped,
    IdempotencyConflict,
    NotTheOwner,
    Quarantined,
    RunEnded,
    RuntimeClosed,
    StoreError,
    Unanswered,
    Unencodable,
)
from actors.events.json_lines import BadLine
from actors.protocol.codes import CLOSINGS, PRODUCER_REFUSALS, REFUSALS, Reason
from actors.stages import Cause

STATUSES = {
    "bad_request": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "unknown_op": 404,
    "unknown_thread": 404,
    "unknown_run": 404,
    "unknown_event": 404,
    "unknown_actor": 404,
    "unanswered": 408,
    "too_slow": 408,
    "conflict": 409,
    "not_the_owner": 409,
    "run_ended": 409,
    "too_big": 413,
    "busy": 429,
    "too_many_requests": 429,
    "failed": 500,
    "shutting_down": 503,
    "unavailable": 503,
    "quarantined": 503,
    "dropped": 503,
}
"""The HTTP status of each row that a producer may get."""

_ROWS: dict[str, Reason] = {**CLOSINGS, **REFUSALS, **PRODUCER_REFUSALS}
"""The tables laid over each other: of a name that two of them have, the row is that of a request."""

_NAMES: tuple[tuple[type[Exception], str], ...] = (
    (Unencodable, "bad_request"),
    (BadLine, "bad_request"),
    (IdempotencyConflict, "conflict"),
    (NotTheOwner, "not_the_owner"),
    (RunEnded, "run_ended"),
    (Quarantined, "quarantined"),
    (RuntimeClosed, "shutting_down"),
    (Busy, "busy"),
    (Unanswered, "unanswered"),
    (Dropped, "dropped"),
    (StoreError, "unavailable"),
    (ActorsError, "failed"),
)
"""The rows of what the runtime raises; the first that fits counts."""

LOSSES = {
    Cause.CONFLICT: "conflict",
    Cause.NOT_THE_OWNER: "not_the_owner",
    Cause.QUARANTINED: "quarantined",
    Cause.SHUTDOWN: "shutting_down",
    Cause.RUN_OVER: "run_ended",
    Cause.TROUBLE: "unavailable",
    Cause.CRASHED: "failed",
}
"""The rows for an event that was handed over, and was refused only then; for any other cause it was taken, and lost."""

RETRY_AFTER = frozenset({"busy", "too_many_requests"})
"""The rows whose answer says how long to wait."""


class Problem(Exception):
    """A request that is not carried out, for a row of the tables."""

    def __init__(self, name: str, text: str = "", *, status: int | None = None) -> None:
        self.row = _ROWS[name]
        self.text = text or self.row.text
        self.status = STATUSES[name] if status is None else status
        """The HTTP status, that of the row unless HTTP has a closer one."""
        super().__init__(self.text)


def problem_of(error: Exception) -> Problem:
    """Return the problem that an exception of the runtime is to a producer."""
    if isinstance(error, Problem):
        return error
    return Problem(next(name for kind, name in _NAMES if isinstance(error, kind)), str(error))


RAISED = (ActorsError, BadLine, Problem)
"""The exceptions that :func:`problem_of` knows."""
