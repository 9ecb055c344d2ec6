"""Problems: why a request is not carried out, as a row of the tables that clients know, and an HTTP status."""

from __future__ import annotations

import msgspec
import trio

from actors.errors import (
    ActorsError,
    Busy,
    Dropped,
    IdempotencyConflict,
    NotTheOwner,
    PeerError,
    Quarantined,
    RuntimeClosed,
    StoreError,
    Unencodable,
)
from actors.protocol.codes import CLOSINGS, REFUSALS, Reason
from actors.protocol.server_messages import problem

STATUSES = {
    "bad_request": 400,
    "unauthenticated": 401,
    "revoked": 403,
    "unknown_op": 405,
    "unknown_thread": 404,
    "unknown_run": 404,
    "conflict": 409,
    "too_big": 413,
    "busy": 429,
    "too_many_devices": 429,
    "failed": 500,
    "dropped": 503,
    "quarantined": 503,
    "shutting_down": 503,
    "unavailable": 503,
}
"""The HTTP status of each row that a client of AG-UI may get."""

_NAMES: tuple[tuple[type[Exception], str], ...] = (
    (Unencodable, "bad_request"),
    (IdempotencyConflict, "conflict"),
    (NotTheOwner, "unknown_thread"),
    (Quarantined, "quarantined"),
    (Busy, "busy"),
    (Dropped, "dropped"),
    (RuntimeClosed, "shutting_down"),
    (StoreError, "unavailable"),
    (trio.TooSlowError, "unavailable"),
    (ActorsError, "failed"),
)
"""The rows of what the runtime raises; the first that fits counts."""

RAISED = (ActorsError, trio.TooSlowError)
"""The errors of the runtime at a request."""


class Refused(ActorsError):
    """A request is not carried out, for a row of the tables."""

    def __init__(self, name: str, text: str = "") -> None:
        super().__init__(text)
        self.name = name


def row_of(name: str) -> Reason:
    """Return a row by its name: that of a request, of a name that two tables have."""
    return REFUSALS[name] if name in REFUSALS else CLOSINGS[name]


def name_of(error: Exception) -> str:
    """Return the name of the row for an error that the runtime raised."""
    if isinstance(error, Refused | PeerError):
        return error.name
    return next(name for kind, name in _NAMES if isinstance(error, kind))


def answer_of(error: Exception) -> tuple[int, bytes]:
    """Return the status and the body for an error."""
    name = name_of(error)
    told = "" if name in {"failed", "unavailable"} else str(error)
    return STATUSES.get(name, 500), msgspec.json.encode({"error": problem(row_of(name), told)})
