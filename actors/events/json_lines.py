"""Agent events as lines of JSON: a producer's lines, read into the arguments of ``emit``.

The payload stays the bytes of the line: the order of its keys and the spelling
of its numbers are the producer's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

import attrs
import msgspec

from actors.events.event import explain_json
from actors.kernel.failures import printable

LINE_BYTES = 1 << 20
"""The longest line: four times the largest event, so that white space in it is no reason to refuse one."""

_BOM = b"\xef\xbb\xbf"
_EXCERPT_CHARACTERS = 60
_KINDS = {
    ord('"'): "a string",
    ord("{"): "an object",
    ord("["): "an array",
    ord("t"): "true",
    ord("f"): "false",
    ord("n"): "null",
}


class BadLine(Exception):
    """A line that is no event; the text says what was expected, and what was got."""


@attrs.frozen
class Line:
    """One line of the input, without its newline."""

    number: int
    text: bytes | None
    """``None`` for a line that is too long."""


@attrs.frozen(kw_only=True)
class LineEvent:
    """The fields of a line that is an event."""

    type: str
    payload: bytes
    thread_id: str
    run_id: str | None
    event_id: str | None
    user_id: str | None
    traceparent: str | None = None


class LineReader:
    """A cutter of chunks into lines, numbered from 1; it buffers at most one line of at most ``LINE_BYTES``."""

    def __init__(self, most_bytes: int = LINE_BYTES) -> None:
        self._most_bytes = most_bytes
        self._pending = bytearray()
        self._number = 1
        self._skipping = False

    def feed(self, chunk: bytes) -> Iterator[Line]:
        """Yield the lines that a chunk completes, and a line that is too long as soon as that is known."""
        *ends, rest = chunk.split(b"\n")
        for piece in ends:
            yield from self._take(piece)
            yield from self._end()
        yield from self._take(rest)

    def finish(self) -> Iterator[Line]:
        """Yield the last line, when it has no newline."""
        if self._pending:
            yield from self._end()

    def _take(self, piece: bytes) -> Iterator[Line]:
        if self._skipping:
            return
        self._pending += piece
        if len(self._pending) > self._most_bytes:
            self._pending.clear()
            self._skipping = True
            yield Line(self._number, None)

    def _end(self) -> Iterator[Line]:
        if not self._skipping:
            text = bytes(self._pending)
            yield Line(self._number, text.removeprefix(_BOM) if self._number == 1 else text)
        self._pending.clear()
        self._skipping = False
        self._number += 1


class _Ids(msgspec.Struct):
    thread_id: msgspec.Raw = msgspec.Raw()
    run_id: msgspec.Raw = msgspec.Raw()
    event_id: msgspec.Raw = msgspec.Raw()
    user_id: msgspec.Raw = msgspec.Raw()


class _Fields(_Ids):
    type: msgspec.Raw = msgspec.Raw()
    payload: msgspec.Raw = msgspec.Raw(b"{}")
    traceparent: msgspec.Raw = msgspec.Raw()


_decode_fields = msgspec.json.Decoder(_Fields).decode
_decode_ids = msgspec.json.Decoder(_Ids).decode
_decode_string = msgspec.json.Decoder(str).decode
_REFUSALS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def parse(text: bytes) -> LineEvent:
    """Read one line. Raises :class:`BadLine`.

    ``thread_id``, ``run_id``, ``event_id`` and ``user_id`` are taken from the
    top level, else from the payload, ``traceparent`` from the top level alone;
    ``null`` counts as absent.
    """
    fields = _fields(text)
    type_ = _string("type", fields.type)
    if type_ is None:
        raise BadLine("expected a type, got none")
    payload = bytes(fields.payload)
    if payload[:1] != b"{":
        raise BadLine(f"expected an object as payload, got {_kind(payload)}")
    inner = _inner(payload)
    thread_id = _first("thread_id", fields, inner)
    if thread_id is None:
        raise BadLine("expected a thread_id, at the top level or in the payload, got none")
    run_id, event_id, user_id = (_first(name, fields, inner) for name in ("run_id", "event_id", "user_id"))
    return LineEvent(
        type=type_,
        payload=payload,
        thread_id=thread_id,
        run_id=run_id,
        event_id=event_id,
        user_id=user_id,
        traceparent=_string("traceparent", fields.traceparent),
    )


def _fields(text: bytes) -> _Fields:
    try:
        text.decode()
        return _decode_fields(text)
    except UnicodeDecodeError as error:
        raise BadLine(f"expected UTF-8, got the byte 0x{text[error.start]:02x} at byte {error.start}") from None
    except msgspec.ValidationError:
        raise BadLine(f"expected a JSON object, got {_kind(text.strip())}") from None
    except _REFUSALS as error:
        _complain("a JSON object", text, error)


def _inner(payload: bytes) -> _Ids:
    try:
        return _decode_ids(payload)
    except _REFUSALS as error:
        _complain("a JSON object as payload", payload, error)


def _first(name: str, fields: _Ids, inner: _Ids) -> str | None:
    found = _string(name, getattr(fields, name))
    return _string(f"payload.{name}", getattr(inner, name)) if found is None else found


def _string(name: str, raw: msgspec.Raw) -> str | None:
    """Read a field that must be a string if it is present."""
    text = bytes(raw)
    if text in (b"", b"null"):
        return None
    if text[:1] != b'"':
        raise BadLine(f"expected a string as {name}, got {_kind(text)}")
    try:
        return _decode_string(text)
    except _REFUSALS as error:
        _complain(f"a string as {name}", text, error)


def _kind(text: bytes) -> str:
    """Name the kind of JSON value that a text is; numbers are shown."""
    return _KINDS.get(text[0]) or f"the number {_excerpt(text)}"


def _complain(expected: str, text: bytes, error: Exception) -> NoReturn:
    reason = explain_json(text, error, "line")
    raise BadLine(f"expected {expected}, got {_excerpt(text)} ({reason})") from None


def _excerpt(text: bytes) -> str:
    """Return the beginning of a text, on one line and without control characters."""
    shown = text[: _EXCERPT_CHARACTERS * 4].decode(errors="replace").strip()
    cut = shown[:_EXCERPT_CHARACTERS] + ("…" if len(shown) > _EXCERPT_CHARACTERS else "")
    return printable(cut)
