"""The bounds of a runtime have bounds themselves: what a server takes works, and its clients can keep to it."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import attrs
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from actors.delivery.bounds import Bounds as LogBounds
from actors.delivery.bounds import Start
from actors.delivery.subscription import opening
from actors.limits import YEAR, Bounds, Limits
from actors.protocol.server_messages import ServerLimits, Welcome, decode

FIELDS = {field.name: field for field in attrs.fields(Limits)}
TIMER_MS = 2**31 - 1
"""The longest that JavaScript's setTimeout waits; beyond it, and for what is no number, it does not wait at all."""
PATIENCE_MS = 10_000
"""Seconds that clients add to ``ping_s`` before they give a server up."""


def bounds_of(name: str) -> Bounds:
    bounds = FIELDS[name].validator
    assert isinstance(bounds, Bounds)
    return bounds


def numbers(name: str) -> st.SearchStrategy[float]:
    """Values that a field takes, its ends above all."""
    bounds = bounds_of(name)
    ends = st.sampled_from([bounds.least, bounds.most, FIELDS[name].default])
    if isinstance(bounds.least, int):
        return ends | st.integers(bounds.least, int(bounds.most))
    return ends | st.floats(bounds.least, bounds.most)


any_limits = st.fixed_dictionaries({}, optional={name: numbers(name) for name in FIELDS})


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_has_bounds(name: str) -> None:
    """Each field takes its default, and its ends as far as the others allow; nothing beyond, and nothing of another
    kind."""
    bounds: Bounds = bounds_of(name)
    default: Any = FIELDS[name].default
    assert bounds.least <= default <= bounds.most < math.inf
    kind = type(default)
    assert type(bounds.least) is type(bounds.most) is kind
    below, above = (bounds.least - 1, bounds.most + 1) if kind is int else (bounds.least - 1e-9, bounds.most * 1.001)
    wrong: list[Any] = [below, above, -1, -math.inf]
    for value in wrong if kind is int else [*wrong, math.inf, math.nan, 10**400]:
        with pytest.raises((ValueError, TypeError), match=rf"Limits\({name}\): expected .* from .* to .*, got"):
            Limits(**{name: value})
    other: list[Any] = ["10", b"10", True, None, [10], Decimal(10), Fraction(10), 10j]
    for value in [*other, 10.0, math.nan] if kind is int else other:
        with pytest.raises(TypeError, match=rf"Limits\({name}\): expected .* from .* to .*, got"):
            Limits(**{name: value})


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ({"ping_seconds": 3_601}, "Limits(ping_seconds): expected seconds from 0.01 to 600, got 3601"),
        ({"ping_seconds": 0}, "Limits(ping_seconds): expected seconds from 0.01 to 600, got 0"),
        ({"ack_seconds": math.inf}, "Limits(ack_seconds): expected seconds from 0 to 60, got inf"),
        ({"ack_seconds": math.nan}, "Limits(ack_seconds): expected seconds from 0 to 60, got nan"),
        ({"delta_window_ms": -1}, "Limits(delta_window_ms): expected milliseconds from 0 to 10000, got -1"),
        ({"requests": 0}, "Limits(requests): expected a whole number from 1 to 1024, got 0"),
        ({"history_bytes": 2.5}, "Limits(history_bytes): expected whole bytes from 1 to 4194304, got 2.5"),
        ({"requests": True}, "Limits(requests): expected a whole number from 1 to 1024, got True"),
        (
            {"inbound_messages_per_second": 0},
            "Limits(inbound_messages_per_second): expected messages per second from 0.001 to 1e+06, got 0",
        ),
    ],
)
def test_what_is_said(limits: dict[str, Any], text: str) -> None:
    """The error names the field, what it takes and what came."""
    with pytest.raises((TypeError, ValueError)) as caught:
        Limits(**limits)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("limits", "refused"),
    [
        ({"event_bytes": 300_000}, "unbound_bytes"),
        ({"unbound_bytes": 1_000}, "unbound_bytes"),
        ({"unbound_total_bytes": 1_000}, "unbound_total_bytes"),
        ({"inbound_messages_per_second": 0.01}, "inbound_messages_per_second"),
        ({"ping_seconds": 0.01}, "inbound_messages_per_second"),
        ({"retained_seconds": 0}, "retained_seconds"),
        ({"retained_seconds": 30, "ack_seconds": 30}, "retained_seconds"),
    ],
)
def test_what_does_not_go_together(limits: dict[str, Any], refused: str) -> None:
    """Numbers that are right alone, and with which an event could not be held, or a client not keep its connection."""
    with pytest.raises(ValueError, match=rf"Limits\({refused}\): expected .* because .*, got"):
        Limits(**limits)


def test_whole_numbers_are_seconds() -> None:
    """Where seconds may have a fraction, whole ones do as well."""
    assert Limits(ping_seconds=4, retained_seconds=int(YEAR)).ping_seconds == 4


@given(any_limits)
@example({name: bounds_of(name).most for name in ("ping_seconds", "ack_seconds", "ack_events", "requests")})
@example({"ping_seconds": 0.02, "ack_seconds": 0.0, "ack_events": 1, "requests": 1, "inbound_bytes": 64})
def test_a_welcome_for_both_clients(chosen: dict[str, Any]) -> None:
    """Whatever a server takes for its limits, its welcome is one that both clients take, and can keep to."""
    try:
        limits = Limits(**chosen)
    except ValueError:
        assume(False)
    begin, bounds = Start("fresh", 1), LogBounds("ep_1", 1, 0)
    (said_first,) = opening(begin, bounds, "s_1", limits)
    text = said_first.decode()
    said = decode(text)
    assert isinstance(said, Welcome)
    assert said.ping_s == limits.ping_seconds
    assert said.limits == ServerLimits(
        limits.inbound_bytes,
        limits.inbound_messages_per_second,
        limits.ack_events,
        limits.ack_seconds,
        limits.requests,
    )
    told = json.loads(text, parse_constant=lambda word: pytest.fail(f"JavaScript does not read {word}"))
    assert told["ping_s"] * 1_000 + PATIENCE_MS <= TIMER_MS
    assert told["limits"]["ack_s"] * 1_000 <= TIMER_MS
    assert told["ping_s"] * told["limits"]["messages_per_s"] >= 1
    assert told["limits"]["requests"] >= 1
    assert told["limits"]["ack_events"] >= 1
