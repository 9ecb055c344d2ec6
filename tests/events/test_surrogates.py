"""Halves of a surrogate pair."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from actors.events.surrogates import half_in, join, lone_escapes

SCRIPT = st.text(st.sampled_from("aé😀𝄞\ufffd"), max_size=20)


def cut(text: str) -> list[str]:
    """A text in pieces of one UTF-16 unit each."""
    units = text.encode("utf-16-le")
    return [units[at : at + 2].decode("utf-16-le", "surrogatepass") for at in range(0, len(units), 2)]


@given(SCRIPT)
def test_any_cut_is_mended(text: str) -> None:
    """A text that was cut between any two units of UTF-16 is whole again, and at no time holds a half."""
    held, joined = "", ""
    for piece in cut(text):
        whole, held = join(held, piece)
        assert half_in(whole) is None
        joined += whole
    assert (joined, held) == (text, "")


def test_a_half_that_is_not_completed_is_replaced() -> None:
    """U+FFFD stands for it; an empty text completes nothing; halves elsewhere are left for who checks them."""
    assert join("\ud83d", "a") == ("\ufffda", "")
    assert join("\ud83d", "\ud83d") == ("\ufffd", "\ud83d")
    assert join("\ud83d", "") == ("", "\ud83d")
    assert join("", "a\ude00b") == ("a\ude00b", "")
    assert half_in("a\ude00b") == "half of a surrogate pair, U+DE00, at index 1"


@given(st.lists(st.sampled_from(["a", "\ud83d", "\ude00", "\\", "\n"]), max_size=12))
def test_lone_escapes_are_found(pieces: list[str]) -> None:
    """In JSON those escapes are found that a decoder could not join, and those alone."""
    text = json.dumps("".join(pieces)).encode()
    whole = json.loads(text)
    assert len(lone_escapes(text)) == sum("\ud800" <= character <= "\udfff" for character in whole)
