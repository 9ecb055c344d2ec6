"""Log lines: what a record has, how a flood is bounded, and what a user's text cannot do to a log."""

from __future__ import annotations

import logging

import pytest

from actors.kernel.log_lines import LogLine, LogLines, log_line

ROW = LogLine(name="met", level=logging.WARNING, text="%(who)s met %(what)r %(count)d times", more="meetings")


class Harness:
    """Log lines and their clock."""

    def __init__(self, most: int = 3) -> None:
        self.now = 0.0
        self.lines = LogLines(most, 60.0, clock=lambda: self.now)

    def meet(self, who: str) -> bool:
        return self.lines.say(ROW, who, who=who, what="bob", count=2)


def test_a_record_has_the_sentence_and_the_fields(caplog: pytest.LogCaptureFixture) -> None:
    """A line is one record of the ``actors`` log: its text for people, its name and fields as attributes."""
    assert Harness().meet("alice")
    (record,) = caplog.records
    assert (record.name, record.levelno, record.getMessage()) == ("actors", logging.WARNING, "alice met 'bob' 2 times")
    assert {name: vars(record)[name] for name in ("notice", *ROW.fields)} == {
        "notice": "met", "who": "alice", "what": "bob", "count": 2,
    }  # fmt: skip


def test_a_flood_is_some_lines_and_a_count(caplog: pytest.LogCaptureFixture) -> None:
    """Of 10,000 lines of one kind, however different, the first of a period are said, and at its end how many were
    not."""
    harness = Harness()
    said = [harness.meet(f"user {number}") for number in range(10_000)]
    assert said.count(True) == len(caplog.records) == 3
    harness.now = 59.0
    harness.lines.look()
    assert len(caplog.records) == 3
    harness.now = 60.0
    harness.lines.look()
    harness.lines.look()
    record = caplog.records[3]
    assert record.getMessage() == "9997 more meetings in the last 60 s, left out here"
    assert (record.levelno, vars(record)["notice"], vars(record)["count"]) == (logging.WARNING, "met", 9_997)
    assert len(caplog.records) == 4
    assert harness.meet("user 1")


def test_one_for_each_key_in_a_period(caplog: pytest.LogCaptureFixture) -> None:
    """What was said of a key is not said of it again in a period; rows do not take each other's places."""
    harness = Harness(most=1)
    other = LogLine(name="left", level=logging.INFO, text="%(who)s left", more="departures")
    assert harness.lines.grants(ROW, "alice")
    assert [harness.meet("alice"), harness.meet("alice")] == [True, False]
    assert not harness.lines.grants(ROW, "alice")
    assert harness.lines.say(other, "alice", who="alice")
    assert repr(harness.lines) == "<LogLines met left>"
    harness.now = 60.0
    harness.lines.look()
    assert caplog.messages[-1] == "1 more meetings in the last 60 s, left out here"


def test_a_clients_text_is_printable_and_cut(caplog: pytest.LogCaptureFixture) -> None:
    """What a client has sent cannot break out of its line, move a terminal's cursor, or fill a disk."""
    log_line(ROW, who="x\ny\x1b[2J\ud83d" + "z" * 100_000, what=None, count=1)
    text = caplog.messages[0]
    assert text.startswith("x\\ny\\x1b[2J\\ud83d")
    assert text.isprintable()
    assert len(text) < 700


def test_a_traceback_keeps_its_lines(caplog: pytest.LogCaptureFixture) -> None:
    """A traceback is cut where it is made, and stays readable."""
    row = LogLine(name="failed", level=logging.ERROR, text="%(error)s\n%(traceback)s", more="failures")
    log_line(row, error="e" * 2_000, traceback="one\ntwo\x07")
    assert caplog.messages == ["e" * 2_000 + "\none\ntwo\\x07"]
