"""Numbers that arrive as they were sent, or are refused.

JSON has numerals of any length. A browser reads each as a double, which holds
integers up to 2^53 - 1 and 15 to 17 digits of anything else, and says nothing
about the rest: 2512292042121000001 becomes 2512292042121000000. So a numeral
is *exact* if a reader of doubles has the same number: an integer within those
bounds, or a numeral with a point or an exponent that the double, written with
as many digits, gives back.
"""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal

MOST_INTEGER = 2**53 - 1
"""The largest integer that every reader of JSON has exactly; JavaScript's ``Number.MAX_SAFE_INTEGER``."""

EXPECTED = "a number that JavaScript's numbers hold (integers up to ±(2^53 - 1); longer ones as a string)"
"""The expectation, in an error about a numeral that is not exact."""

OUT_OF_RANGE = "out of range"
"""The words by which the decoder refuses a numeral beyond any double."""

_BEFORE_A_NUMERAL = b"[,:- \t\n\r"
_INTEGERS = bytes.maketrans(b"123456789" + _BEFORE_A_NUMERAL, b"000000000" + b"[" * len(_BEFORE_A_NUMERAL))
_LONG_INTEGER = b"[" + b"0" * 16
_FLOATS = bytes.maketrans(b"123456789E", b"000000000e")
_MANY_DIGITS = b"0" * 16
_FAR_EXPONENT = b"0e000"
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_SUSPECT = re.compile(rb"-?[0-9][0-9.]{15,}(?:[eE][+-]?[0-9]+)?|-?[0-9.]+[eE][+-]?[0-9]{3,}")
_MOST_DIGITS = 767
"""No double has more digits than this, written out to the last."""
_SHOWN = 40
"""Characters of a numeral in an error."""


def find_inexact(text: bytes, name: str, *, floats: bool = True) -> tuple[str, str] | None:
    """Find the first numeral of a JSON text that is not exact, and its path below ``name``; ``None`` when all are.

    Without ``floats`` only integers are looked at, because an encoder writes
    the float that it has. A pass or two over the bytes clears nearly all
    texts, because an integer that is not exact has 16 digits, and any other
    numeral as many or an exponent of three.
    """
    if _LONG_INTEGER not in text.translate(_INTEGERS) and not (floats and _may_have_long_floats(text)):
        return None
    for found in _SUSPECT.finditer(_STRING.sub(b'""', text)):
        numeral = found[0].decode()
        if (floats or _is_integer(numeral)) and not is_exact(numeral):
            return _path_in(text, name, floats=floats), shown(numeral)
    return None


def _may_have_long_floats(text: bytes) -> bool:
    digits = text.translate(_FLOATS, b"+-.")
    return _MANY_DIGITS in digits or _FAR_EXPONENT in digits


def is_exact(numeral: str) -> bool:
    """True if a reader whose numbers are doubles has the number that a JSON numeral writes."""
    if _is_integer(numeral):
        digits = numeral.lstrip("-")
        return len(digits) <= 16 and int(digits) <= MOST_INTEGER
    number = float(numeral)
    if repr(number) == numeral:
        return True
    digits = numeral.lower().partition("e")[0].replace(".", "").strip("-0")
    if not digits or math.isinf(number) or number == 0.0 or len(digits) > _MOST_DIGITS:
        return not digits
    # Two forms, because of two numerals that are equally near to a double each form picks another.
    return Decimal(numeral) in (Decimal(repr(number)), Decimal(f"{number:.{len(digits) - 1}e}"))


def _is_integer(numeral: str) -> bool:
    return numeral.lstrip("-").isdigit()


def shown(number: object) -> str:
    """Format a number for an error: of a very long one, the beginning."""
    if isinstance(number, int) and number.bit_length() > 256:
        return f"an integer of {number.bit_length()} bits"
    text = str(number)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


class _Inexact:
    """Stands in for a numeral that is not exact."""


def _path_in(text: bytes, name: str, *, floats: bool) -> str:
    """Find the path of the first numeral that is not exact; the name of the whole where the text cannot be walked."""
    try:
        value = json.loads(text, parse_int=_mark, parse_float=_mark if floats else None)
        return _path_below(value, name) or name
    except (ValueError, RecursionError):
        return name


def _mark(numeral: str) -> _Inexact | None:
    return None if is_exact(numeral) else _Inexact()


def _path_below(value: object, path: str) -> str | None:
    if isinstance(value, _Inexact):
        return path
    children: list[tuple[str, object]] = []
    if isinstance(value, dict):
        children = [(f"{path}.{key}" if path else key, child) for key, child in value.items()]
    elif isinstance(value, list):
        children = [(f"{path}[{index}]", child) for index, child in enumerate(value)]
    return next((found for below, child in children if (found := _path_below(child, below)) is not None), None)
