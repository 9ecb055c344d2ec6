"""The forms of a command's log on standard error: lines for people, or JSON for programs, an object a line."""

from __future__ import annotations

import logging
import sys
from datetime import datetime
from io import TextIOWrapper
from typing import Any, Literal

import msgspec

from actors.environment import Environment
from actors.kernel.failures import Barrier, printable_lines
from actors.tools.terminal import form_remarks

LogFormat = Literal["text", "json"]

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""The attributes of every record; each other one is a field of its line."""

_LEVELS = {"warning": logging.WARNING, "info": logging.INFO, "debug": logging.DEBUG}
LEVELS = tuple(_LEVELS)
"""The levels from which on a command can show its log."""


def show_log(form: LogFormat = "text", level: str = "warning") -> None:
    """Show the runtime's log records on standard error, from a level on; as JSON, what the command itself says as
    well."""
    if form == "json":
        form_remarks(_remark)
        if isinstance(sys.stderr, TextIOWrapper):
            sys.stderr.reconfigure(encoding="utf-8")  # what another encoding lacks becomes an escape that is no JSON
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JSONFormatter() if form == "json" else TextFormatter())
    log = logging.getLogger("actors")
    log.addHandler(handler)
    log.setLevel(_LEVELS[level])
    log.propagate = False


class TextFormatter(logging.Formatter):
    """A line with date, time and level; it escapes control sequences, because a record may quote a user's text to a
    terminal."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s: %(message)s", "%Y-%m-%d %H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        return printable_lines(super().format(record))


class JSONFormatter(logging.Formatter):
    """An object with ``time`` (RFC 3339), ``level``, ``logger``, ``message`` and the line's fields; and with
    ``exception``, where there is a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        said: dict[str, Any] = {
            "time": rfc3339(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields = {name: value for name, value in vars(record).items() if name not in _OWN and name not in said}
        exception = fields.pop("traceback", None)
        if exception is not None:
            said["message"] = said["message"].removesuffix(f"\n{exception}")
        elif record.exc_info:
            exception = self.formatException(record.exc_info)
        said |= fields
        if exception is not None:
            said["exception"] = exception
        return _encoded(said)


def _remark(text: str) -> str:
    """Format what a command says of itself: its address, the report of a drain."""
    said = {"time": rfc3339(Environment().wall_clock()), "level": "INFO", "logger": "actors.tools", "message": text}
    return _encoded(said)


def rfc3339(at: float) -> str:
    """Format a time of the wall clock, in the reader's own zone: ``2026-11-27T21:03:12.345+01:00``."""
    return datetime.fromtimestamp(at).astimezone().isoformat(timespec="milliseconds")


def _encoded(said: dict[str, Any]) -> str:
    """Encode an object; what JSON has no form for, and half of a surrogate pair, becomes text."""
    with Barrier(_forget):
        return _encode(said)
    return _encode({name: _taken(value) for name, value in said.items()})


def _taken(value: object) -> object:
    """Return a value that can be encoded: a field of the application's own, of which anything may raise, must not cost
    the line."""
    with Barrier(_forget):
        _encode(value)
        return value
    with Barrier(_forget):
        return str(value).encode(errors="backslashreplace").decode()
    return f"a {type(value).__name__}"


def _encode(value: object) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()


def _forget(error: BaseException) -> None:
    pass
