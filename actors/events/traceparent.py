"""The trace that an event belongs to: a ``traceparent`` of W3C Trace Context, as an event and a request carry it."""

from __future__ import annotations

import re

from actors.errors import Unencodable

PATTERN = r"^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\Z"
"""Version 00, the only one there is: the trace, the span in it, and flags. Ids of nothing but zeros are none."""

_is_valid = re.compile(PATTERN).match
_SHOWN_CHARACTERS = 80


def check_traceparent(value: object) -> None:
    """Raise :class:`~actors.errors.Unencodable` unless a value is a ``traceparent``, to the letter.

    To the letter, because it is the one part of an event that no encoder looks
    at again, and devices get it as it is.
    """
    if not isinstance(value, str) or not _is_valid(value):
        came = repr(value) if isinstance(value, str) else type(value).__name__
        expected = "a W3C traceparent, 00-<32 hexadecimal digits>-<16>-<2>"
        raise Unencodable("traceparent", expected, came=came[:_SHOWN_CHARACTERS])


def heeded(header: str | None) -> str | None:
    """Return the ``traceparent`` header of a request; ``None`` where there is none, or one that is malformed.

    A malformed one is ignored and not refused, as W3C demands, because proxies
    and libraries write it, and the program that makes the request may not know.
    """
    return header if header is not None and _is_valid(header) else None
