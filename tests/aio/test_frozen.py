"""Frozen payloads: the JSON that the emitter would have written, at the moment of the call."""

from __future__ import annotations

import math

import attrs
import msgspec
import pytest

from actors import Limits, Unencodable
from actors.aio.frozen import frozen, frozen_value

LIMITS = Limits()


@attrs.frozen
class Row:
    """A payload that is a record."""

    payload: str
    thread_id: str


def test_it_is_the_payloads_own_json() -> None:
    """Whatever the payload holds, the marks of the envelope among it, its JSON is cut out whole."""
    tricky = {
        "payload": ',"payload":',
        "thread_id": ',"thread_id":"x"',
        "nested": {"payload": {"thread_id": [1, None]}},
    }
    assert msgspec.json.decode(frozen('a","payload":', tricky, LIMITS)) == tricky
    assert msgspec.json.decode(frozen("x", Row("p", "t"), LIMITS)) == {"payload": "p", "thread_id": "t"}
    assert msgspec.json.decode(frozen("x", b' {"a": 1} ', LIMITS)) == {"a": 1}


def test_a_value_is_cut_out_of_its_object() -> None:
    """A result may be any JSON value; None is no result."""
    for value in ("text", 1, [1, {"a": None}], {"result": 1}, True, 0, ""):
        ready = frozen_value("result", value, LIMITS)
        assert ready is not None
        assert msgspec.json.decode(ready) == value
    assert frozen_value("result", None, LIMITS) is None


def test_what_cannot_travel_is_refused_with_its_path() -> None:
    """The error is that of ``emit``."""
    with pytest.raises(Unencodable, match=r"payload\.a\[1\]"):
        frozen("x", {"a": [1, math.nan]}, LIMITS)
    with pytest.raises(Unencodable, match="a JSON object"):
        frozen("x", [1], LIMITS)
    with pytest.raises(Unencodable, match=r"payload\.result"):
        frozen_value("result", object(), LIMITS)
    with pytest.raises(Unencodable, match="bytes"):
        frozen("x", {"a": "x" * LIMITS.event_bytes}, LIMITS)
