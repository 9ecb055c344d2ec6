"""Problems: every error that the runtime raises at a request has a row of the tables, and a status."""

from __future__ import annotations

import json

import pytest
import trio

from actors import errors
from actors.agui.problems import STATUSES, Refused, answer_of, name_of, row_of
from actors.stages import Cause


@pytest.mark.parametrize(
    ("error", "name", "status"),
    [
        (Refused("unknown_run"), "unknown_run", 404),
        (errors.PeerError("unauthenticated", "no"), "unauthenticated", 401),
        (errors.Unencodable("payload", "an object", came="int"), "bad_request", 400),
        (errors.NotTheOwner("t1"), "unknown_thread", 404),
        (errors.Busy("full"), "busy", 429),
        (errors.RuntimeClosed("gone"), "shutting_down", 503),
        (errors.StoreUnavailable("disk"), "unavailable", 503),
        (errors.Dropped("e1", Cause.RETENTION), "dropped", 503),
        (trio.TooSlowError(), "unavailable", 503),
        (errors.RunEnded("r1"), "failed", 500),
    ],
)
def test_an_error_has_a_row(error: Exception, name: str, status: int) -> None:
    """The row says if asking again may help, as it does on a WebSocket."""
    told_status, body = answer_of(error)
    told = json.loads(body)["error"]
    assert (name_of(error), told["name"], told_status) == (name, name, status)
    assert told.get("temporary", False) is row_of(name).temporary


def test_every_status_is_of_a_row() -> None:
    """The names are those of the tables."""
    assert all(row_of(name).name == name for name in STATUSES)
