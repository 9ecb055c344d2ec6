"""Payloads: those that can be emitted, those refused and at which path, and their bytes on the wire."""

from __future__ import annotations

import datetime
import enum
import json
import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import EmitterError, Unencodable
from actors.events.delivered import Event
from actors.events.event import (
    DROPPED_NOTICE,
    IDENTIFIER_CHARACTERS,
    Lifecycle,
    check_identifier,
    encode,
    fingerprint,
    notice,
    placed,
)
from actors.events.numbers import EXPECTED, MOST_INTEGER
from actors.limits import KIB, Limits

LIMITS = Limits()
NAN, INFINITY = math.nan, math.inf


def body(
    payload: Any = None,
    *,
    type_: Any = "say",
    run_id: Any = None,
    event_id: str = "e1",
    timestamp: float = 12.5,
    limits: Limits = LIMITS,
) -> bytes:
    return encode(type_, {} if payload is None else payload, "t1", run_id, event_id, timestamp, limits)


def received(payload: Any, **options: Any) -> dict[str, Any]:
    """The payload as a device receives it."""
    return msgspec.json.decode(placed(body(payload, **options), 1, 1), type=Event).payload


def refusal(payload: Any = None, **options: Any) -> Unencodable:
    with pytest.raises(Unencodable) as refused:
        body(payload, **options)
    return refused.value


@attrs.frozen
class Call:
    tool: str
    args: Any


@dataclass
class Answer:
    text: str
    score: float


class Step(msgspec.Struct, rename="camel"):
    tool_name: str
    took: Any


class Row(msgspec.Struct, array_like=True):
    first: int


# --- what travels -------------------------------------------------------------------


def test_an_event_as_a_device_receives_it() -> None:
    """An event's text is one JSON object with exactly the fields of the wire protocol."""
    text = placed(body({"text": "hé"}, type_="agent_thinking", run_id="r1"), 7, 41)
    assert json.loads(text) == {
        "type": "agent_thinking", "payload": {"text": "hé"}, "thread_id": "t1", "run_id": "r1", "event_id": "e1",
        "timestamp": 12.5, "seq": 7, "offset": 41,
    }  # fmt: skip
    assert msgspec.json.decode(text, type=Event) == Event(
        type="agent_thinking", payload={"text": "hé"}, thread_id="t1", run_id="r1", event_id="e1",
        timestamp=12.5, seq=7, offset=41,
    )  # fmt: skip


def test_what_there_is_not_takes_no_room() -> None:
    """An event outside any run has no run id."""
    assert "run_id" not in json.loads(placed(body(), 1, 1))


numbers = st.integers(-MOST_INTEGER, MOST_INTEGER) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=30,
)
objects = st.dictionaries(st.text(), values, max_size=6)


@given(payload=objects, seq=st.integers(1, 10**9), offset=st.integers(1, 10**9))
def test_any_object_travels(payload: dict[str, Any], seq: int, offset: int) -> None:
    """Any JSON object reaches a device as it was, given as a dictionary or as ready JSON, null and empty included."""
    ready = json.dumps(payload, ensure_ascii=False, indent=1).encode()
    for given_as in (payload, ready, bytearray(ready), memoryview(ready), msgspec.Raw(ready)):
        event = msgspec.json.decode(placed(body(given_as), seq, offset), type=Event)
        assert (event.payload, event.seq, event.offset) == (payload, seq, offset)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (Call("search", [1]), {"tool": "search", "args": [1]}),
        (Answer("yes", 0.5), {"text": "yes", "score": 0.5}),
        (Step("search", None), {"toolName": "search", "took": None}),
        ({"nested": [Call("a", Answer("b", 1.0))]}, {"nested": [{"tool": "a", "args": {"text": "b", "score": 1.0}}]}),
        ({"when": datetime.date(2024, 5, 17)}, {"when": "2024-05-17"}),
        ({"id": uuid.UUID(int=1)}, {"id": "00000000-0000-0000-0000-000000000001"}),
        ({"blob": b"\x00\xff"}, {"blob": "AP8="}),
        ({"kind": Lifecycle.AGENT_FAILED}, {"kind": "agent_failed"}),
        ({"tuple": (1, 2), "set": {3}}, {"tuple": [1, 2], "set": [3]}),
        ({1: "one"}, {"1": "one"}),
        ({"large": MOST_INTEGER}, {"large": MOST_INTEGER}),
        ({"precise": Decimal("0.1000000000000000000000001")}, {"precise": "0.1000000000000000000000001"}),
    ],
)
def test_what_has_a_json_form_takes_it(payload: Any, expected: dict[str, Any]) -> None:
    """Attrs and dataclass instances and Structs are objects; dates, ids, bytes, enumerations have their usual text."""
    assert received(payload) == expected


@pytest.mark.parametrize("type_", list(Lifecycle))
def test_the_vocabulary_travels(type_: Lifecycle) -> None:
    """Each lifecycle type goes over the wire as its own word."""
    assert json.loads(placed(body(type_=type_), 1, 1))["type"] == type_.value


@pytest.mark.parametrize("ready", [b' {"a": 1} ', b'\n\t{"a" :\r\n1}\n'])
def test_ready_json_may_be_spaced(ready: bytes) -> None:
    """White space around ready JSON is taken off; the rest is not touched."""
    assert body(ready).count(ready.strip()) == 1
    assert received(ready) == {"a": 1}


# --- what does not ------------------------------------------------------------------


class Colour(enum.Enum):
    ENDLESS = INFINITY


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        ({"args": [0, 1, {"when": object()}]}, "payload.args[2].when"),
        ({"args": ({"a": 1}, {"b": [ValueError("no")]})}, "payload.args[1].b[0]"),
        ({"set": {object()}}, "payload.set[0]"),
        ({"set": frozenset([lambda: None])}, "payload.set[0]"),
        (Call("search", {"f": print}), "payload.args.f"),
        (Answer("x", [object()]), "payload.score[0]"),  # type: ignore[arg-type] # what nobody checks
        ({"step": Step("search", object())}, "payload.step.took"),
        ({"a": (i for i in range(3))}, "payload.a"),
        ({"a": {(1, 2): 3}}, "payload.a"),
        ({"a": {None: 3}}, "payload.a"),
        ({"a": Call}, "payload.a"),
        ({"a": ["fine", "\ud800"]}, "payload.a[1]"),
        ({"a": {"\udfff": 1}}, "payload.a"),
        ({"a": 1 + 2j}, "payload.a"),
        (object(), "payload"),
    ],
)
def test_what_json_cannot_carry_is_named(payload: Any, path: str) -> None:
    """A value that JSON cannot carry is the emitter's error, which names the path."""
    refused = refusal(payload)
    assert refused.path == path
    assert str(refused).startswith(f"{path}: expected a value that JSON can carry, got ")
    assert isinstance(refused, EmitterError | ValueError)


@pytest.mark.parametrize("number", [NAN, INFINITY, -INFINITY])
@pytest.mark.parametrize(
    ("wrap", "path"),
    [
        (lambda number: {"a": number}, "payload.a"),
        (lambda number: {"fine": None, "args": [1, None, {"x": number}]}, "payload.args[2].x"),
        (lambda number: {"set": {number}}, "payload.set[0]"),
        (lambda number: Call("search", (0.5, number)), "payload.args[1]"),
        (lambda number: Answer("x", number), "payload.score"),
        (lambda number: {"step": Step("x", number)}, "payload.step.took"),
    ],
)
def test_no_number_becomes_null(number: float, wrap: Callable[[float], Any], path: str) -> None:
    """NaN and infinities are refused where they stand, and never silently replaced."""
    refused = refusal(wrap(number))
    assert (refused.path, str(refused)) == (path, f"{path}: expected a number that JSON can carry, got {number!r}")


@pytest.mark.parametrize("number", [2**53, -(2**53), 2512292042121000001, 2**63, -(2**63) - 1, 2**64, 10**30])
@pytest.mark.parametrize(
    ("wrap", "path"),
    [
        (lambda number: {"order_id": number}, "payload.order_id"),
        (lambda number: {"fine": "1" * 20, "args": [1, None, {"x": number}]}, "payload.args[2].x"),
        (lambda number: {"rows": [{"id": 0.30000000000000004}, {"id": number}]}, "payload.rows[1].id"),
        (lambda number: {"set": {number}}, "payload.set[0]"),
        (lambda number: Call("search", (0.5, number)), "payload.args[1]"),
        (lambda number: Answer("x", number), "payload.score"),
        (lambda number: {"step": Step("x", number)}, "payload.step.took"),
        (lambda number: b'{"a": {"b.c": [%d]}}' % number, "payload.a.b.c[0]"),
        (lambda number: {"ready": msgspec.Raw(b'[1,{"n":%d}]' % number)}, "payload.ready[1].n"),
        (lambda number: {"kind": enum.IntEnum("Kind", {"LARGE": number}).LARGE}, "payload.kind"),  # type: ignore[attr-defined]
    ],
)
def test_no_integer_is_rounded(number: int, wrap: Callable[[int], Any], path: str) -> None:
    """An integer that JavaScript would round is refused where it stands, however it was given."""
    refused = refusal(wrap(number))
    assert (refused.path, str(refused)) == (path, f"{path}: expected {EXPECTED}, got {number}")


@pytest.mark.parametrize("number", [b"1e400", b"-1e400", b"1e-400", b"12345678901234567890.0", b"9007199254740993e0",
                                    b"3.14159265358979323846"])  # fmt: skip
def test_no_numeral_is_rounded(number: bytes) -> None:
    """Ready JSON with a number that a device would have otherwise than it is written is refused, too."""
    for given_as in (b'{"a":[%b]}' % number, msgspec.Raw(b'{"a":[%b]}' % number)):
        assert refusal(given_as).path == "payload.a[0]"


def test_an_integer_of_no_end() -> None:
    """An integer too long to be shown is refused like any other."""
    assert str(refusal({"n": 10**5000})).endswith("got an integer of 16610 bits")
    assert str(refusal(b'{"n":1%b}' % (b"0" * 5000))).endswith("got 1000000000000000000000000000000000000000…")


@pytest.mark.parametrize("end", [SystemExit, KeyError, GeneratorExit])
def test_an_object_that_does_not_let_itself_be_looked_at(end: type[BaseException]) -> None:
    """An exception of the application's object while its path is looked for changes nothing: it is the emitter's
    error."""

    class Shy(dict[str, Any]):
        def items(self) -> Any:
            raise end("items")

    @attrs.frozen
    class Shyer:
        n: object = None

        def __getattribute__(self, name: str) -> Any:
            if name == "__class__":
                return Shyer
            raise end(name)

    for payload in (Shy(n=object()), {"deep": [Shy(n=object())]}, {"deep": Shyer(object())}):
        assert refusal(payload).path.startswith("payload")


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        ({"text": "a\ud83d"}, "payload.text"),
        ({"parts": ["a", {"b": "\ude00"}]}, "payload.parts[1].b"),
        ({"a": {"b\ud83d": 1}}, "payload.a"),
        (b'{"text":"a\\ud83d"}', "payload.text"),
        (b'{"parts":["a",{"b":"\\ude00"}]}', "payload.parts[1].b"),
        (b'{"a":{"b\\ud83d":1}}', "payload.a"),
    ],
)
def test_half_of_a_surrogate_pair_is_named(payload: Any, path: str) -> None:
    """Text that UTF-8 cannot carry is refused with its path and in words, in ready JSON as well."""
    refused = refusal(payload)
    assert refused.path == path
    assert "half of a surrogate pair, U+D" in str(refused)
    assert str(refused).isprintable()


def test_no_enumeration_becomes_null() -> None:
    """An enumeration's value that JSON cannot carry is refused as the value itself would be."""
    assert refusal({"a": [Colour.ENDLESS]}).path == "payload.a[0]"


@pytest.mark.parametrize("payload", ["text", [1], 7, (1,), {1, 2}, Row(1), b"[1]", b'"text"', b"7", b"null"])
def test_a_payload_is_an_object(payload: Any) -> None:
    """A payload that is JSON, but no object, is refused."""
    refused = refusal(payload)
    assert (refused.path, str(refused)[:41]) == (
        "payload",
        "payload: expected a JSON object, got " + str(refused)[37:41],
    )


def test_nothing_is_no_payload() -> None:
    """``None`` is no object."""
    with pytest.raises(Unencodable, match="expected a JSON object, got null"):
        encode("say", None, "t1", None, "e1", 0.0, LIMITS)


@pytest.mark.parametrize(
    "ready",
    [
        b"", b" ", b"{", b"{}{}", b"{},", b'{"a":1,}', b"{'a':1}", b'{"a":NaN}', b'{"a":Infinity}',
        b'{"a":"\xff"}', b'{"\xff":1}', b'{"a":"\n"}', b"\xef\xbb\xbf{}", b'{}}',
        b'},"seq":1,"x":{', b'{"a":' * 100_000,
    ],
)  # fmt: skip
def test_ready_json_is_checked(ready: bytes) -> None:
    """Ready JSON that a device could not read is refused, in each form in which it can be given."""
    for given_as in (ready, bytearray(ready), memoryview(ready), msgspec.Raw(ready)):
        refused = refusal(given_as)
        assert refused.path == "payload"
        assert str(refused).startswith("payload: expected valid JSON, got ")


def test_a_payload_that_contains_itself() -> None:
    """A payload that contains itself is refused, and the text says that it is too deep."""
    loop: dict[str, Any] = {"fine": 1}
    loop["again"] = loop
    refused = refusal(loop)
    assert refused.path.startswith("payload.again.again")
    assert "levels of nesting" in str(refused)
    row: list[Any] = []
    row.append(row)
    assert refusal({"row": row}).path.startswith("payload.row[0][0]")


# --- how much -------------------------------------------------------------------------


def depth(value: Any) -> int:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if children is None else 1 + max(map(depth, children), default=0)


def chain(levels: int) -> dict[str, Any]:
    """``{"a": {"a": … {}}}``, so many levels deep."""
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


@pytest.mark.parametrize("ready", [False, True])
def test_sixty_four_levels(ready: bool) -> None:
    """A payload may be 64 levels deep and not 65, given as objects or as ready JSON."""
    allowed, refused = chain(64), chain(65)
    if ready:
        assert received(json.dumps(allowed).encode()) == allowed
        assert "at most 64 levels" in str(refusal(json.dumps(refused).encode()))
    else:
        assert received(allowed) == allowed
        assert refusal(refused).path == "payload" + 64 * ".a"


@given(st.recursive(st.just({}), lambda inner: st.lists(inner, min_size=1, max_size=3) | inner.map(lambda v: {"k": v})))
def test_depth_is_counted_as_it_is(value: Any) -> None:
    """Whatever its shape, a payload is refused exactly when it is deeper than the limit."""
    payload, limits = {"p": value}, Limits(payload_depth=4)
    if depth(payload) <= 4:
        assert received(payload, limits=limits) == payload
    else:
        assert "at most 4 levels of nesting" in str(refusal(payload, limits=limits))


@pytest.mark.parametrize("text", ["[" * 200, '"[{' * 200, "\\" * 201 + "[" * 200, '\\"{' * 100])
def test_brackets_in_a_text_are_no_levels(text: str) -> None:
    """Brackets inside strings, beside quotes and backslashes too, do not count as nesting."""
    for payload in ({"text": text}, {text: 1}):
        assert received(payload) == payload
        assert received(json.dumps(payload).encode()) == payload


def test_breadth_is_not_depth() -> None:
    """Any number of objects beside each other is one level."""
    payload: dict[str, Any] = {"rows": [{"cells": [{}]}] * 1_000}
    assert received(payload) == payload


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        ({"a.b.c.d": 1, "x": {"y": {"z": {}}}}, "payload.x.y.z"),
        ({"x": {"first": 1, "y": {"first": "[", "z": [1]}}}, "payload.x.y.z"),
        ({"rows": [[], [[]]]}, "payload.rows[1][0]"),
        (Call("x", Call("y", Call("z", {}))), "payload.args.args.args"),
    ],
)
def test_the_level_too_many_is_named(payload: Any, path: str) -> None:
    """The error names what is one level too deep, and not something beside it."""
    assert refusal(payload, limits=Limits(payload_depth=3)).path == path


def test_an_event_has_a_size() -> None:
    """An event may take 256 KiB, its envelope included, and not one byte more."""
    room = 256 * KIB - len(body({"text": ""})) - 1
    assert len(received({"text": "x" * room})["text"]) == room
    for payload in ({"text": "x" * (room + 1)}, b'{"text":"%b"}' % (b"x" * (room + 1))):
        assert str(refusal(payload)) == "payload: expected an event of at most 262144 bytes, got 262145 bytes"


# --- ids and types ----------------------------------------------------------------------


def test_the_notices_type_is_reserved() -> None:
    """Nobody can emit what looks like the runtime's own notice."""
    assert refusal(type_=DROPPED_NOTICE).path == "type"


@pytest.mark.parametrize("value", ["", "x" * (IDENTIFIER_CHARACTERS + 1), 3, None, b"x", "\ud800"])
def test_what_cannot_be_an_id(value: Any) -> None:
    """An id that is empty, too long, no text, or text that UTF-8 cannot carry is refused under its name."""
    with pytest.raises(Unencodable) as refused:
        check_identifier("thread_id", value)
    assert refused.value.path == "thread_id"
    assert refusal(type_=value).path == "type"
    if value is not None:
        assert refusal(run_id=value).path == "run_id"


@pytest.mark.parametrize("value", ["x", "x" * IDENTIFIER_CHARACTERS, "日" * IDENTIFIER_CHARACTERS, '"\\\n\x00', " "])
def test_what_can_be_an_id(value: str) -> None:
    """Any other text can be an id or a type, and travels as it is."""
    check_identifier("thread_id", value)
    text = placed(encode(value, {}, value, value, value, 0.0, LIMITS), 1, 1)
    event = msgspec.json.decode(text, type=Event)
    assert (event.type, event.thread_id, event.run_id, event.event_id) == (value, value, value, value)


def test_an_id_that_is_no_text_is_named() -> None:
    """Where an id makes the encoder refuse, the error is about the id."""
    with pytest.raises(Unencodable) as refused:
        encode("say", {"a": object()}, "\ud800", None, "e1", 0.0, LIMITS)
    assert refused.value.path == "thread_id"


# --- fingerprints and notices -------------------------------------------------------------


@given(payload=objects, times=st.tuples(st.floats(0, 1e10), st.floats(0, 1e10)))
def test_a_fingerprint_ignores_the_time(payload: dict[str, Any], times: tuple[float, float]) -> None:
    """The same event emitted at another time is the same event."""
    first, second = (fingerprint(body(payload, timestamp=time)) for time in times)
    assert first == second


TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@given(st.dictionaries(st.text(), st.text()))
def test_a_trace_is_no_part_of_an_event(payload: dict[str, Any]) -> None:
    """An event has its trace behind its time, last before its numbers, and is the same event without it."""
    plain = body(payload)
    traced = encode("say", payload, "t1", None, "e1", 12.5, LIMITS, TRACEPARENT)
    assert traced == plain + b',"traceparent":"%b"' % TRACEPARENT.encode()
    assert fingerprint(traced) == fingerprint(plain)
    assert msgspec.json.decode(placed(traced, 1, 1), type=Event).traceparent == TRACEPARENT


@pytest.mark.parametrize(
    "other",
    [
        {"payload": {"a": 2}},
        {"payload": {"timestamp": 1}},
        {"payload": {"a": 1, "timestamp": 13.5}},
        {"type_": "ask"},
        {"run_id": "r1"},
        {"event_id": "e2"},
    ],
)
def test_a_fingerprint_tells_events_apart(other: dict[str, Any]) -> None:
    """Another payload, type, run or id makes another event."""
    payload = {"a": 1, "timestamp": 12.5}
    assert fingerprint(body(**{"payload": payload, **other})) != fingerprint(body(payload))


def test_a_notice_is_an_event() -> None:
    """The notice for events that are gone is an event that says which, how many and why."""
    text = placed(notice("t1", 3, 7, {"unbound_overflow": 4, "unbound_expired": 1}, 12.5), 7, 41)
    assert msgspec.json.decode(text, type=Event) == Event(
        type="dropped", payload={"count": 5, "causes": {"unbound_overflow": 4, "unbound_expired": 1}},
        thread_id="t1", timestamp=12.5, seq0=3, seq=7, offset=41,
    )  # fmt: skip
