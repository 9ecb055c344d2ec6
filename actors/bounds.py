"""Fields that take a number within bounds, checked when the record is made and not when the number is used."""

from __future__ import annotations

from typing import Any, TypeVar

import attrs

N = TypeVar("N", int, float)

_UNITS = {"seconds": "seconds", "second": "messages per second", "ms": "milliseconds", "bytes": "whole bytes"}
"""Units by the last word of a field's name; a field without one of these counts."""


@attrs.frozen
class Bounds:
    """The least and the most that a field takes. Of a field of whole numbers both are whole."""

    least: float
    most: float

    def __call__(self, record: object, attribute: attrs.Attribute[Any], value: object) -> None:
        """Raise TypeError unless a value is a number of the field's kind, ValueError unless it is within the bounds."""
        is_whole = isinstance(self.least, int)
        where = f"{type(record).__name__}({attribute.name})"
        unit = _UNITS.get(attribute.name.rpartition("_")[2], "a whole number" if is_whole else "a number")
        kind = f"{unit} from {_text(self.least)} to {_text(self.most)}"
        if isinstance(value, bool) or not isinstance(value, int if is_whole else int | float):
            raise TypeError(f"{where}: expected {kind}, got {value!r}")
        if not self.least <= value <= self.most:  # so is NaN
            raise ValueError(f"{where}: expected {kind}, got {_text(value)}")


def within(least: N, most: N, *, default: N) -> N:
    """Make a field of an attrs class that takes numbers from ``least`` to ``most``; whole ones only if these are."""
    field: N = attrs.field(default=default, validator=Bounds(least, most))
    return field


def _text(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"
