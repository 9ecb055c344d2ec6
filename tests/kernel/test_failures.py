"""The one observer of failures: said once, kept as text, bounded."""

from __future__ import annotations

import gc
import logging
import weakref

import pytest

from actors.kernel.failures import Failure, Failures, describe, failure_of


def failure(number: int) -> Failure:
    return Failure(f"users/u{number}", "Attach", "ValueError: cannot", "Traceback …\nValueError: cannot", 7.0)


def test_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """A failure is one record at ERROR in the ``actors`` log: who, handling what, how, and the traceback."""
    failures = Failures(10)
    with caplog.at_level(logging.DEBUG):
        failures.record(failure(1))
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("actors", logging.ERROR)
    first, rest = record.getMessage().split("\n", 1)
    assert first == "users/u1 failed handling Attach: ValueError: cannot"
    assert rest == "Traceback …\nValueError: cannot"


def test_percent_signs_are_text(caplog: pytest.LogCaptureFixture) -> None:
    """What a failure says is never taken for a format."""
    Failures(10).record(Failure("users/100%s", "%d", "%r", "%(x)s", 0.0))
    assert caplog.records[0].getMessage() == "users/100%s failed handling %d: %r\n%(x)s"


def test_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """The newest failures are kept, oldest first, up to the bound; all are counted and all are said."""
    failures = Failures(3)
    assert (len(failures), failures.total, list(failures)) == (0, 0, [])
    for number in range(5):
        failures.record(failure(number))
    assert list(failures) == [failure(2), failure(3), failure(4)]
    assert (len(failures), failures.total) == (3, 5)
    assert (failures[0], failures[-1]) == (failure(2), failure(4))
    assert len(caplog.records) == 5


def test_recorded_while_read(caplog: pytest.LogCaptureFixture) -> None:
    """A failure that comes while somebody reads them disturbs nobody."""
    failures = Failures(2)
    failures.record(failure(1))
    for _ in failures:
        failures.record(failure(2))
    assert failures.total == len(caplog.records) == 2


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("cannot"), "ValueError: cannot"),
        (ValueError("first line\nsecond line"), "ValueError: first line"),
        (ValueError(), "ValueError"),
        (KeyError("x"), "KeyError: 'x'"),
    ],
)
def test_an_error_on_one_line(error: Exception, said: str) -> None:
    """An error is described by its type and the first line of its message."""
    assert describe(error) == said


def test_text_and_no_frames() -> None:
    """A failure has the whole story as text, causes included, and keeps none of the objects in it alive."""

    class Luggage:
        pass

    def crash() -> tuple[Failure, weakref.ref[Luggage]]:
        luggage = Luggage()
        try:
            try:
                raise KeyError("inner")
            except KeyError as error:
                raise ValueError("outer") from error
        except ValueError as error:
            return failure_of("users/alice", "Attach", error, 7.0), weakref.ref(luggage)

    made, remembered = crash()
    gc.collect()
    assert remembered() is None
    assert (made.path, made.handling, made.error, made.at) == ("users/alice", "Attach", "ValueError: outer", 7.0)
    assert "KeyError: 'inner'" in made.traceback
    assert "in crash" in made.traceback
    assert made.traceback.endswith("ValueError: outer\n")
    assert str(made) == "users/alice failed handling Attach: ValueError: outer"
