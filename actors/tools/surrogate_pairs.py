"""Surrogate pairs that a producer's stream has cut in two, joined again: one line ends in a half, the next begins
with the other.

Only the cut string is changed, and the rest of the payload stays the
producer's bytes. Pure: lines in, events and remarks out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import attrs

from actors.events.json_lines import LineEvent, parse
from actors.events.surrogates import lone_escapes
from actors.kernel.failures import printable
from actors.runs.run import TERMINAL

HELD_HALVES = 1_000
"""Streams that may each have one half waiting; at one more, the oldest half is replaced."""

_ESCAPE_BYTES = 6
_REPLACEMENT = rb"\ufffd"
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]:]', re.DOTALL)

_PAYLOAD_DEPTH = 2
"""The line's own object, and the payload in it."""

_Stream = tuple[str, str | None, str, bytes]
"""Thread, run, type, and the key of the string within the payload."""


@attrs.frozen(kw_only=True)
class _Held:
    """The half that a string ended in, as its escape."""

    line: int
    event_id: str | None
    half: bytes


@attrs.define(kw_only=True)
class _Cut:
    """The changes to a line's strings."""

    edits: list[tuple[int, int, bytes]] = attrs.field(factory=list)
    """Start and end of each range of the line to replace, and the new text."""
    held: dict[_Stream, _Held] = attrs.field(factory=dict)
    taken: list[_Stream] = attrs.field(factory=list)
    """Streams whose held half goes into this line."""
    broken: list[_Stream] = attrs.field(factory=list)
    """Of ``taken``, the streams whose half this line does not complete."""


class SurrogateJoiner:
    """Reads lines as :func:`~actors.events.json_lines.parse` does, and joins what successive events of a stream cut."""

    def __init__(self) -> None:
        self._held: dict[_Stream, _Held] = {}
        self._remarks: list[str] = []

    def parse(self, number: int, text: bytes) -> LineEvent:
        """Read one line. Raises :class:`~actors.events.json_lines.BadLine`, also for a half that cannot be joined."""
        alone = lone_escapes(text)
        if not alone and not self._held:
            return parse(text)
        # Only with its lone halves replaced can the line be decoded, which tells its stream.
        event = parse(_edited(text, [(at, at + _ESCAPE_BYTES, _REPLACEMENT) for at in alone]))
        cut = self._cut(number, text, frozenset(alone), event)
        if cut.edits or alone:
            event = parse(_edited(text, cut.edits))
        self._give_up(cut.broken)
        for stream in cut.taken:
            self._held.pop(stream, None)
        self._held |= cut.held
        if event.type in TERMINAL:
            self._give_up([stream for stream in self._held if stream[:2] == (event.thread_id, event.run_id)])
        while len(self._held) > HELD_HALVES:
            self._give_up([next(iter(self._held))])
        return event

    def finish(self) -> None:
        """Replace every half that still waits, because no other line follows."""
        self._give_up(list(self._held))

    def remarks(self) -> list[str]:
        """Return the remarks since the last call: halves that no line completed."""
        remarks, self._remarks = self._remarks, []
        return remarks

    def _cut(self, number: int, text: bytes, alone: frozenset[int], event: LineEvent) -> _Cut:
        cut = _Cut()
        for name, start, end in _strings(text):
            stream = event.thread_id, event.run_id, event.type, name
            held = self._held.get(stream)
            again = held is not None and event.event_id is not None and held.event_id == event.event_id
            if held is not None and not again and end > start:
                joins = start in alone and _is_low(text, start)
                cut.edits.append((start, start, held.half if joins else _REPLACEMENT))
                cut.taken.append(stream)
                cut.broken += [] if joins else [stream]
            last = end - _ESCAPE_BYTES
            if last in alone and not _is_low(text, last):
                cut.edits.append((last, end, b""))
                cut.held[stream] = _Held(line=number, event_id=event.event_id, half=text[last:end])
        return cut

    def _give_up(self, streams: list[_Stream]) -> None:
        for stream in streams:
            held = self._held.pop(stream)
            half, name = held.half.decode(), stream[3].decode(errors="replace")
            self._remarks.append(
                f"line {held.line}: payload.{printable(name)}: ends in half of a surrogate pair ({half}),"
                " and the next event of its stream does not begin with the other; it is replaced by U+FFFD"
            )


def _strings(text: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the strings directly in the payload of a line: key, and the start and end of their content."""
    keys: list[bytes] = []
    last = name = b""
    is_value = False
    for token in _TOKEN.finditer(text):
        first = token[0][:1]
        if first in b"{[":
            keys.append(last if is_value else b"")
        elif first in b"}]":
            keys.pop()
        elif first == b'"':
            last = text[token.start() + 1 : token.end() - 1]
            if is_value and len(keys) == _PAYLOAD_DEPTH and keys[-1] == b"payload":
                yield name, token.start() + 1, token.end() - 1
        if first == b":":
            name = last
        is_value = first == b":"


def _is_low(text: bytes, at: int) -> bool:
    """Return true if the escape of half a pair is that of a second half."""
    return text[at + 3 : at + 4] in b"cdefCDEF"


def _edited(text: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    pieces, done = [], 0
    for start, end, instead in edits:
        pieces += [text[done:start], instead]
        done = end
    return b"".join([*pieces, text[done:]])
