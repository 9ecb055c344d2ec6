"""Traceparents: to the letter, or refused; a malformed header is as good as none."""

from __future__ import annotations

import pytest

from actors.errors import Unencodable
from actors.events.traceparent import check_traceparent, heeded

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = [f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00", f"00-{TRACE}-{SPAN}-ff"]
BAD = {
    "empty": "",
    "another version": f"01-{TRACE}-{SPAN}-01",
    "the version that is none": f"ff-{TRACE}-{SPAN}-01",
    "upper case": f"00-{TRACE.upper()}-{SPAN}-01",
    "no trace": f"00-{'0' * 32}-{SPAN}-01",
    "no span": f"00-{TRACE}-{'0' * 16}-01",
    "short": f"00-{TRACE}-{SPAN}-1",
    "long": f"00-{TRACE}-{SPAN}-01-00",
    "a line": f"00-{TRACE}-{SPAN}-01\n",
    "a space": f" 00-{TRACE}-{SPAN}-01",
    "other digits": f"00-{TRACE[:-1]}٣-{SPAN}-01",
    "a quote": f'00-{TRACE}-{SPAN}-0"',
}


@pytest.mark.parametrize("value", GOOD)
def test_what_is_one(value: str) -> None:
    """Any trace, any span, any flags."""
    check_traceparent(value)
    assert heeded(value) == value


@pytest.mark.parametrize("value", BAD.values(), ids=BAD)
def test_what_is_none(value: str) -> None:
    """A value is refused with what it was; a header is not heeded."""
    with pytest.raises(Unencodable, match="traceparent: expected a W3C traceparent"):
        check_traceparent(value)
    assert heeded(value) is None


@pytest.mark.parametrize("value", [None, 1, b"00-" + b"1" * 32, ["00"]])
def test_what_is_no_text(value: object) -> None:
    """The kind is named."""
    with pytest.raises(Unencodable, match=f"got {type(value).__name__}$"):
        check_traceparent(value)


def test_what_is_refused_is_shown_in_part() -> None:
    """An error has no megabyte of what was wrong."""
    with pytest.raises(Unencodable) as refused:
        check_traceparent("x" * 1_000_000)
    assert len(str(refused.value)) < 250


def test_no_header_is_none() -> None:
    """Most requests have no trace."""
    assert heeded(None) is None
