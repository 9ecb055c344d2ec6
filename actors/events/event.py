"""Events: their fields, the lifecycle vocabulary, and their encoding.

An event is encoded once, in its emitter's own call, so that a value that
cannot travel is an error of its emitter alone. The encoder is msgspec; this
module adds what a delivery system owes on top of it: the path of the offending
value, bounds on size and depth, and no silent replacement of values.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from hashlib import blake2b
from typing import Any

import attrs
import msgspec

from actors.errors import Unencodable
from actors.events.delivered import Event
from actors.events.envelope import Envelope
from actors.events.numbers import EXPECTED, MOST_INTEGER, OUT_OF_RANGE, find_inexact, shown
from actors.events.surrogates import half_in, half_in_json
from actors.kernel.failures import Barrier, describe, sift, text_of
from actors.limits import Limits

Payload = Any
"""A JSON object: a mapping, an attrs or dataclass instance, a msgspec Struct, or ready JSON bytes."""

Identifier = Any
"""An id or a type as an application gave it: a string, once :func:`check_identifier` has let it pass."""

IDENTIFIER_CHARACTERS = 256
"""The longest thread, user, run or event id, and event type."""


class Lifecycle(enum.StrEnum):
    """The event types of an agent's run. Applications may emit any other type."""

    AGENT_STARTED = "agent_started"
    AGENT_THINKING = "agent_thinking"
    AGENT_DELTA = "agent_delta"
    TOOL_EXECUTING = "tool_executing"
    TOOL_COMPLETED = "tool_completed"
    AGENT_COMPLETED = "agent_completed"
    AGENT_FAILED = "agent_failed"
    AGENT_CANCELLED = "agent_cancelled"


NUMBERED = b'%b,"seq":%d,"offset":%d}'
"""The text of an event that was placed: its body, its number in its thread, its number in the log."""

DROPPED_NOTICE = "dropped"
"""The type of the runtime's own notice that events are gone; reserved."""


_VOCABULARY = frozenset(Lifecycle)
_LEAST_INTEGER = -MOST_INTEGER
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Event).decode
_READY = (bytes, bytearray, memoryview, msgspec.Raw)
_OPENING_BRACE = ord("{")
_REFUSALS = (TypeError, ValueError, OverflowError, RecursionError)
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def encode(
    type_: Identifier,
    payload: Payload,
    thread_id: str,
    run_id: Identifier,
    event_id: str,
    timestamp: float,
    limits: Limits,
    traceparent: str | None = None,
) -> bytes:
    """Encode an event up to where ``seq`` and ``offset`` go; the closing brace comes with them.

    Raises :class:`~actors.errors.Unencodable`, naming the path, for anything
    that JSON cannot carry or JavaScript would round, for sizes over
    ``event_bytes``, nesting deeper than ``payload_depth``, a type or run id
    that is empty or too long, and the reserved type. Thread and event ids and
    ``traceparent`` were checked where they came in.
    """
    if type(type_) is not str or type_ not in _VOCABULARY:  # those need no look, and are most
        _check_type(type_)
    if run_id is not None:
        check_identifier("run_id", run_id)
    try:
        plain = type(payload) is dict and _is_plain(payload)
        if not plain and isinstance(payload, _READY):
            payload = _ready(bytes(payload))
        text = _encode(Envelope(type_, payload, thread_id, run_id, event_id, timestamp, traceparent))
        if len(text) > limits.event_bytes:
            raise Unencodable("payload", f"an event of at most {limits.event_bytes} bytes", came=f"{len(text)} bytes")
        if not plain:
            _check_text(text, payload, limits.payload_depth)
    except Unencodable:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever an object does when it is looked at is its emitter's error
        _, passing = sift(error)
        if passing is not None:
            raise passing from None
        raise _complaint(type_, payload, thread_id, run_id, event_id, limits) from None
    return text[:-1]


def decode(text: bytes) -> Event:
    """Read an event as it was stored."""
    return _decode(text)


def check_identifier(name: str, value: object) -> None:
    """Raise :class:`~actors.errors.Unencodable` unless a value can be an id or a type."""
    if isinstance(value, str) and 0 < len(value) <= IDENTIFIER_CHARACTERS and value.isascii():
        return  # at once, because each event has one
    if isinstance(value, str) and not 0 < len(value) <= IDENTIFIER_CHARACTERS:
        raise Unencodable(name, f"1 to {IDENTIFIER_CHARACTERS} characters", came=f"{len(value)}")
    check_text(name, value)


def check_whole(name: str, value: object, least: int, most: int = MOST_INTEGER) -> None:
    """Raise :class:`~actors.errors.Unencodable` unless a value is a whole number within bounds."""
    expected = f"a whole number from {least} to {most}" if most < MOST_INTEGER else f"a whole number from {least} on"
    if not isinstance(value, int) or isinstance(value, bool):
        raise Unencodable(name, expected, came=_name(value))
    if not least <= value <= most:
        raise Unencodable(name, expected, came=shown(value))


def check_string(name: str, value: object) -> str:
    """Return a value that is a string. Raises :class:`~actors.errors.Unencodable` for anything else."""
    if not isinstance(value, str):
        raise Unencodable(name, "a string", came=_name(value))
    return value


def check_text(name: str, value: object) -> None:
    """Raise :class:`~actors.errors.Unencodable` unless a value is text that can travel."""
    if (half := half_in(check_string(name, value))) is not None:
        raise Unencodable(name, "text that UTF-8 can encode", came=half)


def check_object(name: str, value: object) -> None:
    """Raise :class:`~actors.errors.Unencodable` unless a value, where it is in a payload, is a JSON object."""
    is_raw = isinstance(value, msgspec.Raw) and bytes(value).lstrip()[:1] == b"{"
    if not is_raw and not isinstance(value, Mapping) and not _field_names(value):
        raise Unencodable(name, "a JSON object", came=_name(value))


def explain_json(text: str | bytes, error: Exception, root: str) -> str:
    """Explain the refusal of a text as JSON: by the path of half a surrogate pair, or by the decoder's own text."""
    found = half_in_json(text, root)
    return ": ".join(found) if found else str(error) or type(error).__name__


def fingerprint(body: bytes) -> bytes:
    """Digest an event: two of one id are the same if all but the time of the emit is, and its span."""
    return blake2b(body[: body.rindex(b',"timestamp":')], digest_size=16).digest()


def placed(body: bytes, seq: int, offset: int) -> bytes:
    """Complete an event's text with its numbers."""
    return NUMBERED % (body, seq, offset)


def notice(thread_id: str, first_seq: int, last_seq: int, causes: Mapping[str, int], timestamp: float) -> bytes:
    """Encode the notice that stands for sequence numbers that are gone, up to where its own numbers go."""
    content = {
        "type": DROPPED_NOTICE,
        "payload": {"count": last_seq - first_seq + 1, "causes": dict(causes)},
        "thread_id": thread_id,
        "timestamp": timestamp,
        "seq0": first_seq,
    }
    return _encode(content)[:-1]


def _check_type(type_: object) -> None:
    check_identifier("type", type_)
    if type_ == DROPPED_NOTICE:
        raise Unencodable(
            "type", f"any type but {DROPPED_NOTICE!r}, which is the runtime's own notice", came=repr(type_)
        )


def _ready(text: bytes) -> msgspec.Raw:
    """Check ready JSON, because a byte that is wrong here would be wrong on every device."""
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        inexact = find_inexact(text, "payload") if OUT_OF_RANGE in str(error) else None
        if inexact is not None:
            raise Unencodable(inexact[0], EXPECTED, came=inexact[1]) from None
        if found := half_in_json(text, "payload"):
            raise Unencodable(found[0], "text that UTF-8 can encode", came=found[1]) from None
        raise Unencodable("payload", "valid JSON", came=str(error) or type(error).__name__) from None
    return msgspec.Raw(text.strip())


def _is_plain(payload: dict[object, object]) -> bool:
    """True if a payload holds scalars only and each number arrives as it is, so that it needs no closer look."""
    for value in payload.values():
        kind = type(value)
        if kind is str:
            continue
        if kind is int:
            if not _LEAST_INTEGER <= value <= MOST_INTEGER:  # type: ignore[operator]
                return False
        elif kind is not float or value - value != 0.0:  # type: ignore[operator]
            return False
    return True


def _check_text(text: bytes, payload: Payload, most: int) -> None:
    """Raise unless an encoded payload is an object, not too deep, and has the values of the emitter's."""
    begin = text.index(b',"payload":') + 11
    if text[begin] != _OPENING_BRACE:
        raise Unencodable("payload", "a JSON object", came=_name(payload))
    if text.count(b"{") + text.count(b"[") > most:
        _check_depth(text, payload, most)
    if b"null" in text:
        _check_finite(payload)
    # The payload alone, because ids look like numerals now and then.
    written = text[begin : text.rindex(b',"thread_id":')]
    inexact = find_inexact(written, "payload", floats=isinstance(payload, msgspec.Raw))
    if inexact is not None:
        raise _inexact(payload) or Unencodable(inexact[0], EXPECTED, came=inexact[1])


def _check_depth(text: bytes, payload: Payload, most: int) -> None:
    """Count nesting by removing the innermost brackets, all at once, level by level.

    The envelope itself is one level. Each pass is one ``bytes.replace``, so
    that the worst input costs what its size allows, whatever its shape.
    """
    brackets = _STRING.sub(b"", text).translate(_BRACKETS, _NOT_BRACKETS)
    for _ in range(most + 1):
        brackets = brackets.replace(b"[]", b"")
        if not brackets:
            return
    raise Unencodable(_deepest(payload, most), f"at most {most} levels of nesting", came="more")


def _inexact(payload: Payload) -> Unencodable | None:
    """Find an integer that some device would read as another; ``None`` for one in ready JSON, which has no paths."""
    return next((found for path, value in _walk(payload, "payload") if (found := _unsafe(path, value))), None)


def _unsafe(path: str, value: object) -> Unencodable | None:
    number = value.value if isinstance(value, enum.Enum) else value
    if isinstance(number, int) and not -MOST_INTEGER <= number <= MOST_INTEGER:
        return Unencodable(path, EXPECTED, came=shown(number))
    return None


def _check_finite(payload: Payload) -> None:
    """Raise for NaN and infinity, because JSON has neither and msgspec writes ``null`` for them."""
    for path, value in _walk(payload, "payload"):
        number = value.value if isinstance(value, enum.Enum) else value
        if isinstance(number, float) and not math.isfinite(number):
            raise Unencodable(path, "a number that JSON can carry", came=repr(number))


def _complaint(
    type_: Identifier, payload: Payload, thread_id: str, run_id: Identifier, event_id: str, limits: Limits
) -> Unencodable:
    """Find the value that the encoder refused, and its path."""
    with Barrier(lambda _: None):  # to look for it is to ask the application's objects once more
        return _found(type_, payload, thread_id, run_id, event_id, limits)
    return Unencodable("payload", "a value that JSON can carry", came=type(payload).__name__)


def _found(
    type_: Identifier, payload: Payload, thread_id: str, run_id: Identifier, event_id: str, limits: Limits
) -> Unencodable:
    try:
        for name, identifier in (("type", type_), ("thread_id", thread_id), ("event_id", event_id)):
            check_identifier(name, identifier)
        if run_id is not None:
            check_identifier("run_id", run_id)
    except Unencodable as complaint:
        return complaint
    path, value = "payload", payload
    for _ in range(limits.payload_depth):
        culprit = next(((p, v) for p, v in _children(value, path) if _refused(v) is not None), None)
        if culprit is None:
            refused = Unencodable(path, "a value that JSON can carry", came=_refused(value) or _name(value))
            return _unsafe(path, value) or refused
        path, value = culprit
    return Unencodable(path, f"at most {limits.payload_depth} levels of nesting", came="more")


def _refused(value: object) -> str | None:
    if isinstance(value, _Unreadable):
        return value.text
    errors: list[BaseException] = []
    with Barrier(errors.append):
        _encode(value)
        return None
    if isinstance(errors[0], UnicodeEncodeError):
        return half_in(errors[0].object)
    said = text_of(errors[0]) if isinstance(errors[0], _REFUSALS) else describe(errors[0])
    return f"{_name(value)} ({said})"


def _deepest(payload: Payload, most: int) -> str:
    """Find the first path that is one level too deep; ready JSON has no paths of its own."""
    containers: list[tuple[str, object]] = [("payload", payload)]
    for _ in range(most):
        children = (child for path, value in containers for child in _children(value, path))
        containers = [child for child in children if _is_container(child[1])]
    return containers[0][0] if containers else "payload"


def _is_container(value: object) -> bool:
    return isinstance(value, Mapping | list | tuple | set | frozenset) or bool(_field_names(value))


def _walk(value: object, path: str, depth: int = 256) -> Iterator[tuple[str, object]]:
    yield path, value
    if depth:
        for child_path, child in _children(value, path):
            yield from _walk(child, child_path, depth - 1)


def _children(value: object, path: str) -> Iterator[tuple[str, object]]:
    """Yield the parts of a value, each with its path, as the encoder sees them."""
    if isinstance(value, Mapping):
        yield from ((f"{path}.{key}", child) for key, child in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"{path}[{index}]", child) for index, child in enumerate(value))
    elif not isinstance(value, type):
        yield from ((f"{path}.{name}", _attribute(value, name)) for name in _field_names(value))


class _Unreadable:
    """Stands for an attribute that raised, with the reason."""

    def __init__(self, text: str) -> None:
        self.text = text


def _attribute(value: object, name: str) -> object:
    errors: list[BaseException] = []
    with Barrier(errors.append):
        return getattr(value, name, None)
    return _Unreadable(f"nothing ({describe(errors[0])})")


def _field_names(value: object) -> tuple[str, ...]:
    if isinstance(value, msgspec.Struct):
        return value.__struct_fields__
    kind = type(value)
    if attrs.has(kind):
        return tuple(field.name for field in attrs.fields(kind))
    if is_dataclass(value):
        return tuple(field.name for field in dataclass_fields(value))
    return ()


def _name(value: object) -> str:
    if isinstance(value, msgspec.Raw):
        return f"JSON that begins with {bytes(value)[:1].decode(errors='replace')!r}"
    return "null" if value is None else type(value).__name__
