"""Which numbers a reader of doubles has as they were sent."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from actors.events.numbers import MOST_INTEGER, find_inexact, is_exact

EXACT = [
    "0", "-0", "0.0", "-0.0e5", "0e999999999999999999999", "1", "-1", "0.1", "1e20", "1E+22", "1e23", "1e300", "5e-324",
    "1.7976931348623157e308", "9007199254740991", "-9007199254740991", "9007199254740991.0", "12345678901234567168.0",
    "0.10000000000000001", "9.9999999999999992e+22", "1.50000000000000000000000000000", "0.30000000000000004",
    "0.1000000000000000055511151231257827021181583404541015625", "4.9406564584124654e-324",
    "5.960464477539063e-08", "1764211000.1234567",
]  # fmt: skip
INEXACT = [
    "9007199254740992", "9007199254740993", "-9007199254740992", "2512292042121000001", "1" + "0" * 20, "1" * 5_000,
    "1e309", "1e400", "-1e400", "1e999999999999999999999", "1e-400", "1e-999999999999999999999", "9007199254740993.0",
    "9007199254740993e0", "9.007199254740993e15", "12345678901234567890.0", "0." + "0" * 400 + "1",
    "123456789.123456789",
    "3.14159265358979323846", "0.1000000000000000055511151231257827021181583404541015626", "0." + "123" * 1_000,
]  # fmt: skip


@pytest.mark.parametrize("numeral", EXACT)
def test_exact(numeral: str) -> None:
    """What a double gives back, written with as many digits, arrives as it is."""
    assert is_exact(numeral)
    assert find_inexact(f'{{"n":[{numeral}]}}'.encode(), "payload") is None


@pytest.mark.parametrize("numeral", INEXACT)
def test_inexact(numeral: str) -> None:
    """Anything else is found, wherever it stands, and shown as it was written."""
    assert not is_exact(numeral)
    shown = numeral if len(numeral) <= 40 else numeral[:40] + "…"
    for text, path in (('{"n":[1,%s]}', "payload.n[1]"), ('[{"a":{"b": %s }}]', "payload[0].a.b"), ("%s", "payload")):
        assert find_inexact((text % numeral).encode(), "payload") == (path, shown)


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-MOST_INTEGER, MOST_INTEGER))
def test_what_python_has_is_exact(number: float) -> None:
    """No finite float, and no integer of the range, is ever refused, in any notation."""
    for written in (json.dumps(number), f"{number:.16e}"):
        assert find_inexact(b"[%b]" % written.encode(), "n") is None


@given(st.decimals(allow_nan=False, allow_infinity=False))
@example(Decimal(9007199254740993))
def test_no_number_is_rounded_unnoticed(number: Decimal) -> None:
    """A decimal that is accepted equals its double, to the last digit that was written."""
    numeral = f"{number:e}" if abs(number.adjusted()) > 400 else f"{number:f}"
    if find_inexact(numeral.encode(), "n") is None and number:
        digits = len(number.normalize().as_tuple().digits)
        assert number in {Decimal(f"{float(numeral):.{digits - 1}e}"), Decimal(repr(float(numeral)))}


def test_digits_in_a_text_are_no_number() -> None:
    """A card number in a text, an id of digits and a key that looks like a number are texts."""
    text = json.dumps({"card": "2512292042121000001", "1e400": ["e999", '\\"9007199254740993'], "é": "1" * 99})
    assert find_inexact(text.encode(), "payload") is None


def test_the_same_key_twice() -> None:
    """For a text without a path the whole is named."""
    assert find_inexact(b'{"a":2512292042121000001,"a":1}', "payload") == ("payload", "2512292042121000001")
