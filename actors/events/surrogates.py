"""Halves of a surrogate pair: characters beyond U+FFFF that were cut on their way, and joined again here.

A language model's stream is cut anywhere. A program that counts text in UTF-16
(JSON's escapes do, and so does JavaScript) cuts an emoji in two: ``\\ud83d`` at
the end of one token, ``\\ude00`` at the beginning of the next. UTF-8 carries
neither.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress

REPLACEMENT = "\ufffd"
"""Unicode's replacement character, for half a character that lost the other half."""

_HALF = re.compile("[\ud800-\udfff]")
_CUT_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)


def join(held: str, text: str) -> tuple[str, str]:
    """Join a text to the half that was held back before it; returns it without, and then, the half that it ends in.

    A held half that the text does not complete becomes U+FFFD. Other halves
    stay where they are.
    """
    if not held and (text.isascii() or not _HALF.search(text)):
        return text, ""
    if not text:
        return "", held
    if held and not "\udc00" <= text[0] <= "\udfff":
        held = REPLACEMENT
    # UTF-16 knows no difference between two halves that meet and a whole.
    whole = (held + text).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return (whole[:-1], whole[-1]) if "\ud800" <= whole[-1] <= "\udbff" else (whole, "")


def half_in(text: str) -> str | None:
    """Describe the first half of a surrogate pair in a text, with its index; ``None`` when there is none."""
    found = None if text.isascii() else _HALF.search(text)
    return None if found is None else f"half of a surrogate pair, U+{ord(found[0]):X}, at index {found.start()}"


def half_in_json(text: str | bytes, root: str) -> tuple[str, str] | None:
    """Return the path and the kind of the first half of a surrogate pair, in a text that is JSON but for that."""
    with suppress(ValueError, RecursionError):  # because it may be no JSON in other ways as well
        for path, value in _strings(json.loads(text), root):
            if half := half_in(value):
                return path.encode(errors="backslashreplace").decode(), half
    return None


def lone_escapes(text: bytes) -> list[int]:
    """Find the escapes (of six bytes) in a JSON text that write half of a surrogate pair without the other."""
    return list(_lone(text)) if _CUT_ESCAPE.search(text) else []


def _strings(value: object, path: str, depth: int = 256) -> Iterator[tuple[str, str]]:
    """Yield each string with its path; names of members with the path of their object."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        yield from ((path, name) for name in value)
        for name, child in value.items() if depth else ():
            yield from _strings(child, f"{path}.{name}", depth - 1)
    elif isinstance(value, list) and depth:
        for index, child in enumerate(value):
            yield from _strings(child, f"{path}[{index}]", depth - 1)


def _lone(text: bytes) -> Iterator[int]:
    high = None
    for escape in _ESCAPE.finditer(text):
        code = int(escape[1] or b"0", 16)
        follows = high is not None and escape.start() == high + 6
        if 0xDC00 <= code <= 0xDFFF and follows:
            high = None
            continue
        if high is not None:
            yield high
        high = escape.start() if 0xD800 <= code <= 0xDBFF else None
        if 0xDC00 <= code <= 0xDFFF:
            yield escape.start()
    if high is not None:
        yield high
