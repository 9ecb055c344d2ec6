"""Problems: each error of the runtime has a row, and each row a status."""

from __future__ import annotations

import pytest

import actors
from actors.errors import ActorsError
from actors.http.problems import LOSSES, STATUSES, Problem, problem_of
from actors.protocol.codes import PRODUCER_REFUSALS, REFUSALS
from actors.stages import Cause


def kinds(kind: type[ActorsError] = ActorsError) -> list[type[ActorsError]]:
    """Every error of the package."""
    return [kind, *(below for one in kind.__subclasses__() for below in kinds(one))]


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_each_error_has_a_row(kind: type[ActorsError]) -> None:
    """None of the errors that applications catch is unknown here, and its text is told."""
    error = kind.__new__(kind)
    Exception.__init__(error, "expected a, got b")
    problem = problem_of(error)
    assert problem.status == STATUSES[problem.row.name]
    assert problem.text == "expected a, got b"


def test_each_row_of_a_producer_has_a_status() -> None:
    """What only producers get is in the table of statuses; what says try again is no error of the request."""
    assert set(PRODUCER_REFUSALS) <= set(STATUSES)
    assert {*LOSSES.values()} <= set(STATUSES)
    for name, status in STATUSES.items():
        row = Problem(name).row
        assert row.temporary == (status >= 500 or status in {408, 429}), name


def test_a_row_of_requests_comes_first() -> None:
    """Of a name that connections have as well, the row is that of requests."""
    assert Problem("unavailable").row is REFUSALS["unavailable"]
    assert Problem("unauthenticated").row.code == 4501
    assert Problem("unknown_event").row.code == 4607
    assert Problem("not_the_owner").row.code == 4608


def test_its_own_errors() -> None:
    """The errors that are most common, by name."""
    named = {
        actors.Unencodable("payload", "x", came="y"): "bad_request",
        actors.IdempotencyConflict("x"): "conflict",
        actors.NotTheOwner("x"): "not_the_owner",
        actors.RunEnded("x"): "run_ended",
        actors.RuntimeClosed("x"): "shutting_down",
        actors.StoreUnavailable("x"): "unavailable",
        actors.Unanswered("x"): "unanswered",
        actors.Dropped("x", Cause.LOST): "dropped",
    }
    assert {problem_of(error).row.name for error in named} == set(named.values())
    problem = Problem("conflict", "so it is")
    assert problem_of(problem) is problem
