"""The forms of a command's log: lines with times, or JSON that any program reads."""

from __future__ import annotations

import logging
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.kernel.failures import Failure
from actors.observability.lines import FAILED, ORIGIN_REFUSED
from actors.tools.log_format import JSONFormatter, TextFormatter, rfc3339
from tests.tools.command import running


def record(text: str, *values: object, **extra: Any) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "actors", "levelno": 30, "levelname": "WARNING", "msg": text, "created": 7.0})
    made.args = values[0] if len(values) == 1 and isinstance(values[0], dict) else values
    vars(made).update(extra)
    return made


def test_text_has_date_time_and_level() -> None:
    """A line says when it happened, to the second, and how grave it is; what a terminal obeys is escaped."""
    (line,) = TextFormatter().format(record("%s left", "x\x1b[2J")).splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d WARNING: x\\x1b\[2Jleft|.*x\\x1b\[2J left", line)
    assert line.startswith(datetime.fromtimestamp(7.0).strftime("%Y-%m-%d %H:%M:%S WARNING: "))


def test_json_has_the_fields() -> None:
    """A line is one object: time (RFC 3339, with its zone), level, logger, message, and what the line is about."""
    said = {"status": 403, "origin": "https://x\n.example"}
    text = JSONFormatter().format(record(ORIGIN_REFUSED.text, said, notice="origin_refused", **said))
    assert "\n" not in text
    decoded = msgspec.json.decode(text)
    assert decoded.pop("time") == rfc3339(7.0)
    assert datetime.fromisoformat(rfc3339(7.0)).timestamp() == 7.0
    assert decoded.pop("message").startswith("a page of https://x")
    assert decoded == {"level": "WARNING", "logger": "actors", "notice": "origin_refused", **said}


def test_json_has_the_traceback_apart() -> None:
    """A failure's traceback is a field of its own, and the message is its first line; so is an exception's of any other
    record."""
    failure = Failure(path="runs/r1", handling="thread t1", error="ValueError: no", traceback="one\ntwo", at=7.0)
    fields = {"path": failure.path, "handling": failure.handling, "error": failure.error, "traceback": "one\ntwo"}
    decoded = msgspec.json.decode(JSONFormatter().format(record(FAILED.text, fields, notice="failed", **fields)))
    assert decoded["message"] == "runs/r1 failed handling thread t1: ValueError: no"
    assert decoded["exception"] == "one\ntwo"
    assert "traceback" not in decoded
    try:
        raise ValueError("no")
    except ValueError as error:
        made = record("it failed")
        made.exc_info = (ValueError, error, error.__traceback__)
    assert msgspec.json.decode(JSONFormatter().format(made))["exception"].endswith("ValueError: no")


class Mute:
    def __str__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    "value",
    [
        "half of an emoji, \ud83d", ["half of an emoji, \ud83d"], float("nan"), 1 << 70, object(), b"bytes",
        {"a": {1, 2}}, {(1,): 2}, Mute(),
    ],
)  # fmt: skip
def test_json_takes_everything(value: object) -> None:
    """Whatever an application's own record has, its line is JSON."""
    decoded = msgspec.json.decode(JSONFormatter().format(record("said %s", "this", value=value)))
    assert decoded["message"].startswith("said ")
    assert "value" in decoded


async def test_a_server_that_logs_json(tmp_path: Path) -> None:
    """With ``--log-format json`` every line of a server on standard error is an object: its log records, with their
    notices' names, and what it says itself, its address first and at the end its summary."""
    tokens = tmp_path / "tokens.toml"
    tokens.write_text('secret = "alice"')
    words = ("serve", "--stdin", "--linger", "0", "--tokens", str(tokens), "--log-format", "json")
    async with running(*words) as command:
        await command.feed(b'{"type":"x","thread_id":"t1"}')
        done = await command.finish()
    said = [msgspec.json.decode(line) for line in done.err.splitlines()]
    assert [one["logger"] for one in said] == ["actors.tools", "actors", "actors.tools"]
    decoded = said[1]
    assert (decoded["notice"], decoded["thread_id"], decoded["level"]) == ("no_owner", "t1", "WARNING")
    assert datetime.fromisoformat(decoded["time"]).tzinfo is not None


async def test_json_in_another_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line is an object in UTF-8, whatever the encoding of standard error: no other escapes as JSON does."""
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    async with running(
        "serve", "--stdin", "--linger", "0", "--user", "alice", "--log-format", "json", "--log-level", "info"
    ) as command:
        await command.feed('{"type":"x","thread_id":"é 🎈"}'.encode())
        done = await command.finish()
    (notice,) = [one for one in map(msgspec.json.decode, done.err.splitlines()) if one["logger"] == "actors"]
    assert notice["thread_id"] == "é 🎈"


async def test_a_server_that_tells_more() -> None:
    """At ``--log-level info`` what needs no act is logged, too, with its time."""
    async with running("serve", "--stdin", "--user", "alice", "--linger", "0", "--log-level", "info") as command:
        await command.feed(b'{"type":"x","thread_id":"t1"}')
        done = await command.finish()
    said = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d INFO: thread t1: its owner alice has no device"
    assert re.search(said, done.err, re.MULTILINE)
