"""The one observer of failures: said once, kept as text, bounded."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from actors.kernel.failures import (
    ERROR_CHARACTERS,
    TRACEBACK_CHARACTERS,
    WORDS_CHARACTERS,
    Barrier,
    Failure,
    Failures,
    complain,
    describe,
    failure_of,
    is_cancellation,
)


def failure(number: int) -> Failure:
    return Failure(
        path=f"users/u{number}",
        handling="Attach",
        error="ValueError: cannot",
        traceback="Traceback …\nValueError: cannot",
        at=7.0,
    )


def test_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """A failure is one record at ERROR in the ``actors`` log: who, handling what, how, and the traceback."""
    failures = Failures(10, lambda: 7.0)
    with caplog.at_level(logging.DEBUG):
        failures.record(failure(1))
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("actors", logging.ERROR)
    first, rest = record.getMessage().split("\n", 1)
    assert first == "users/u1 failed handling Attach: ValueError: cannot"
    assert rest == "Traceback …\nValueError: cannot"


def test_half_of_a_surrogate_pair() -> None:
    """A failure that quotes one can be shown: no encoder of answers takes it as it is."""
    kept = failure_of("users/\ud800", "\ud800", ValueError("a \ud83d"), 0.0)
    assert kept.error == "ValueError: a \\ud83d"
    for text in (kept.path, kept.handling, kept.error, kept.traceback):
        assert "ud8" in text.encode().decode()


def test_percent_signs_are_text(caplog: pytest.LogCaptureFixture) -> None:
    """A failure's text is never taken for a format."""
    Failures(10, lambda: 7.0).record(Failure(path="users/100%s", handling="%d", error="%r", traceback="%(x)s", at=0.0))
    assert caplog.records[0].getMessage() == "users/100%s failed handling %d: %r\n%(x)s"


@pytest.mark.parametrize("quoted", ["half of an emoji, \ud83d", "\x1b[2J", "two\nlines\r"])
@pytest.mark.parametrize("report", [Failures(10, lambda: 0.0).report, lambda path, _, error: complain(path, error)])
def test_a_log_in_a_file(tmp_path: Path, quoted: str, report: Callable[[str, str, Exception], None]) -> None:
    """A failure that quotes a user's text is in a log file of UTF-8 whatever the text is, and moves no cursor of a
    terminal that shows it."""
    logger, handler = logging.getLogger("actors"), logging.FileHandler(tmp_path / "log", encoding="utf-8")
    logger.addHandler(handler)
    try:
        report("threads/t1", "a message", ValueError(quoted))
    finally:
        logger.removeHandler(handler)
        handler.close()
    logged = (tmp_path / "log").read_text("utf-8")
    assert logged.startswith("threads/t1 failed")
    assert logged.count("ValueError: ") == 2
    assert all(line.isprintable() for line in logged.split("\n"))


def test_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """The newest failures are kept, oldest first, up to the bound; all are counted and all are said."""
    failures = Failures(3, lambda: 7.0)
    assert (len(failures), failures.total, list(failures)) == (0, 0, [])
    for number in range(5):
        failures.record(failure(number))
    assert list(failures) == [failure(2), failure(3), failure(4)]
    assert (len(failures), failures.total) == (3, 5)
    assert (failures[0], failures[-1]) == (failure(2), failure(4))
    assert (failures.last("users/u3"), failures.last("users/u1")) == (failure(3), None)
    assert len(caplog.records) == 5


def test_recorded_while_read(caplog: pytest.LogCaptureFixture) -> None:
    """A failure that comes while somebody reads them disturbs nobody."""
    failures = Failures(2, lambda: 7.0)
    failures.record(failure(1))
    for _ in failures:
        failures.record(failure(2))
    assert failures.total == len(caplog.records) == 2


def test_a_report_is_formatted_and_dated() -> None:
    """What is reported is kept as text, with the wall clock's time, and without what ``hide`` takes out."""
    failures = Failures(10, lambda: 7.0)
    failures.report("users/alice", "Attach", raised(ValueError("for secret")))
    failures.report("listeners", "a hello", raised(ValueError("for secret")), hide=lambda text: text.replace("se", ""))
    shown, hidden = failures
    assert (shown.path, shown.handling, shown.at) == ("users/alice", "Attach", 7.0)
    assert (shown.error, hidden.error) == ("ValueError: for secret", "ValueError: for cret")
    assert "for secret" in shown.traceback
    assert "for secret" not in hidden.traceback


async def test_a_task_that_shields_itself(nursery: trio.Nursery) -> None:
    """What is still there after its time is reported with the frames in which it waits."""

    async def stubborn(task_status: trio.TaskStatus[trio.lowlevel.Task]) -> None:
        task_status.started(trio.lowlevel.current_task())
        await trio.sleep_forever()

    failures = Failures(10, lambda: 7.0)
    failures.report_shielded("runs/r1", 2.5, await nursery.start(stubborn))
    failures.report_shielded("runs/r2", 2.5, None, handling="its cancellation")
    found, without = failures
    assert (found.handling, without.handling) == ("its shutdown", "its cancellation")
    assert found.error == "shields itself from cancellation, or waits for a thread, 2.5 s after it was cancelled"
    assert "in stubborn" in found.traceback
    assert without.traceback == ""


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


MARGIN = 60
"""The characters that say how much is left out."""


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001 - it was made for this
        return caught


def too_deep() -> BaseException:
    def even(number: int) -> int:
        return odd(number + 1)

    def odd(number: int) -> int:
        return even(number + 1)

    try:
        even(0)
    except RecursionError as error:
        return error
    raise AssertionError("expected no end to it")


def with_notes() -> BaseException:
    error = raised(ValueError("first words"))
    for _ in range(1_000):
        error.add_note("a note " * 1_000)
    return error


def a_chain() -> BaseException:
    error: BaseException = ValueError("first words")
    for number in range(500):
        try:
            raise LookupError(f"number {number}") from error
        except LookupError as caught:
            error = caught
    return error


def wide() -> BaseException:
    return raised(BaseExceptionGroup("all of them", [raised(ValueError(f"number {n}")) for n in range(100_000)]))


def deep() -> BaseException:
    error: Exception = ValueError("the innermost")
    for _ in range(5_000):
        error = ExceptionGroup("one more", [error, KeyError("beside it")])
    return error


@pytest.mark.parametrize(
    ("make", "begins", "ends"),
    [
        (lambda: raised(ValueError("x" * 5_000_000 + "the end")), "ValueError: xxx", "xxxthe end\n"),
        (lambda: raised(ValueError("\U0001f600" * 5_000_000)), "ValueError: \U0001f600", "\U0001f600\n"),
        (lambda: raised(ValueError("x\n" * 1_000_000)), "ValueError: x", "x\n\n"),
        (lambda: raised(ExceptionGroup("x" * 5_000_000, [ValueError(), KeyError()])), "ExceptionGroup: xxx", "\n"),
        (too_deep, "RecursionError: ", "maximum recursion depth exceeded\n"),
        (with_notes, "ValueError: first words", "a note \n"),
        (a_chain, "LookupError: number 499", "number 499\n"),
        (wide, "ExceptionGroup: all of them", "\n"),
        (deep, "ExceptionGroup: one more", "\n"),
    ],
    ids=["message", "emoji", "lines", "group's message", "frames", "notes", "chain", "wide", "deep"],
)
def test_texts_without_end(
    make: Callable[[], BaseException], begins: str, ends: str, caplog: pytest.LogCaptureFixture
) -> None:
    """However much an exception says, a failure and the log have its head and its tail, and how much is left out."""
    made = failure_of("runs/r1" * 1_000, "thread " * 1_000, make(), 7.0)
    Failures(10, lambda: 7.0).record(made)
    complain("a callback", make())
    assert len(made.path) <= WORDS_CHARACTERS + MARGIN
    assert len(made.handling) <= WORDS_CHARACTERS + MARGIN
    assert len(made.error) <= ERROR_CHARACTERS + MARGIN
    assert len(made.traceback) <= TRACEBACK_CHARACTERS + MARGIN
    assert made.error == describe(make())
    assert made.error.startswith(begins)
    assert made.traceback.endswith(ends)
    longest = ERROR_CHARACTERS + TRACEBACK_CHARACTERS + 2 * WORDS_CHARACTERS + 10 * MARGIN
    assert [len(record.getMessage()) <= longest for record in caplog.records] == [True, True]


def test_how_much_is_left_out() -> None:
    """A cut is counted, and a text that just fits is whole."""
    made = failure_of("runs/r1", "thread t1", raised(ValueError("x" * 10_000)), 7.0)
    half = ERROR_CHARACTERS // 2
    head = f"ValueError: {'x' * (half - 12)}"
    assert made.error == f"{head} [… {10_012 - ERROR_CHARACTERS:,} characters left out …] {'x' * half}"
    whole = "x" * (ERROR_CHARACTERS - 12)
    assert failure_of("runs/r1", "thread t1", ValueError(whole), 7.0).error == f"ValueError: {whole}"


def test_the_members_of_a_large_group() -> None:
    """Of a group beyond all measure the first are told, with their number."""
    made = failure_of("runs/r1", "thread t1", wide(), 7.0)
    assert "all of them [32 of 100,000, without the groups they are in]" in made.traceback
    assert "ValueError: number 0\n" in made.traceback


class Contrary(BaseExceptionGroup[BaseException]):
    """A group that cannot be split."""

    def derive(self, excs: object) -> Contrary:  # type: ignore[override] # it does not come to that
        raise RuntimeError("not by you")


async def test_groups_that_cannot_be_split() -> None:
    """A barrier parts a cancellation from what else is in its group, whatever that says, however deep it is."""
    groups: list[Callable[[list[BaseException]], BaseException]] = [
        partial(BaseExceptionGroup, "plain"),
        lambda errors: BaseExceptionGroup("around", [Contrary("own", [ValueError(), *errors])]),
        lambda errors: BaseExceptionGroup("beside", [deep(), *errors]),
    ]
    for group in groups:
        held: list[BaseException] = []
        with trio.CancelScope() as scope:
            scope.cancel()
            with Barrier(held.append):
                try:
                    await trio.sleep_forever()
                except trio.Cancelled as cancelled:
                    raise group([cancelled, KeyError()]) from None
        assert scope.cancelled_caught
        assert len(held) == 1
        assert not is_cancellation(held[0])
