"""The text buffer: nothing is lost, doubled or cut, whatever is added and whenever it is emptied."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from actors.errors import Unencodable
from actors.events.surrogates import REPLACEMENT, half_in
from actors.runs.text_buffer import TextBuffer

MOST_BYTES = 24
UNITS = st.sampled_from(["a", "é", "€", "😀", "\ud83d"])
"""Text of one to four bytes for a character, and the first half of one. A second half alone is refused."""


def cut(text: str) -> list[str]:
    """A text in pieces of one UTF-16 unit each."""
    units = text.encode("utf-16-le")
    return [units[at : at + 2].decode("utf-16-le", "surrogatepass") for at in range(0, len(units), 2)]


class Speech(RuleBasedStateMachine):
    """A run that adds text and emits it; the model is the text itself, as one string of UTF-16 units."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = TextBuffer(MOST_BYTES)
        self.emitted = ""
        self.added = ""

    @rule(text=st.lists(UNITS, max_size=8).map("".join) | st.just("\ude00"))
    def add(self, text: str) -> None:
        before = repr(self.buffer), self.buffer.text, self.buffer.batch
        try:
            if not self.buffer.add(text):
                assert (repr(self.buffer), self.buffer.text, self.buffer.batch) == before, "no room changes nothing"
                self.emit()
                assert self.buffer.add(text), "an empty buffer has room for whatever is not refused"
            self.added += text
        except Unencodable:
            assert (repr(self.buffer), self.buffer.text, self.buffer.batch) == before, "a refusal changes nothing"

    @rule()
    def emit(self) -> None:
        batch = self.buffer.batch
        self.emitted += self.buffer.text
        self.buffer.clear()
        assert (self.buffer.batch, self.buffer.size, self.buffer.text) == (batch + 1, 0, "")

    @rule()
    def give_up(self) -> None:
        self.buffer.give_up_half()
        self.buffer.give_up_half()
        self.added = mended(self.added, at_end=True)

    @invariant()
    def holds_whole_characters(self) -> None:
        assert half_in(self.buffer.text) is None
        assert self.buffer.size == len(self.buffer.text.encode())

    @invariant()
    def says_what_was_added(self) -> None:
        assert self.emitted + self.buffer.text == mended(self.added, at_end=False)


def mended(units: str, *, at_end: bool) -> str:
    """The text that UTF-16 units are, a lone first half replaced; the one at the end only if nothing follows."""
    whole = units.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    waits = "\ud800" <= whole[-1:] <= "\udbff"
    body = "".join(REPLACEMENT if half_in(one) else one for one in (whole[:-1] if waits else whole))
    return body + (REPLACEMENT if waits and at_end else "")


TestSpeech = Speech.TestCase


@given(st.text(st.sampled_from("aé😀𝄞"), max_size=6))
def test_any_cut_is_mended(text: str) -> None:
    """A text that was cut between any two units of UTF-16 is whole again."""
    buffer = TextBuffer(MOST_BYTES)
    for unit in cut(text):
        assert buffer.add(unit)
    assert buffer.text == text


def test_too_much_at_once() -> None:
    """Text beyond the buffer's size is refused in bytes, the half before it included; up to it, it is added."""
    buffer = TextBuffer(8)
    buffer.add("\ud83d")
    with pytest.raises(Unencodable, match="at most 8 bytes in one delta, got 9"):
        buffer.add("\ude00aaaaa")
    assert buffer.add("\ude00aaaa")
    assert (buffer.text, buffer.size) == ("😀aaaa", 8)


def test_it_prints_itself() -> None:
    """The repr of a buffer has its size."""
    buffer = TextBuffer(8)
    buffer.add("é\ud83d")
    assert repr(buffer) == "<TextBuffer 2 of 8 B and half a character>"
