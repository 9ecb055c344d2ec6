"""What a bounded memory remembers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.delivery.recent import Recent


@given(capacity=st.integers(2, 9), keys=st.lists(st.integers(0, 12), max_size=80))
def test_recent_agrees_with_a_list(capacity: int, keys: list[int]) -> None:
    """The newest half of the capacity is remembered, more than the capacity never is, and no entry is a stale one."""
    recent, newest = Recent[int, int](capacity), dict[int, int]()
    for value, key in enumerate(keys):
        recent.put(key, value)
        newest.pop(key, None)
        newest[key] = value
        remembered = {known: recent.get(known) for known in range(13) if recent.get(known) is not None}
        assert len(recent) == len(remembered) <= capacity
        assert remembered.items() <= newest.items()
        assert set(remembered) >= set(list(newest)[-(capacity // 2) :])


@pytest.mark.parametrize("capacity", [0, 1, 2, 3])
def test_the_newest_is_always_remembered(capacity: int) -> None:
    """However small the memory is, it knows the newest entry."""
    recent = Recent[str, int](capacity)
    for value, key in enumerate("abcabc"):
        recent.put(key, value)
        assert recent.get(key) == value
    assert len(recent) <= max(capacity, 2)


def test_what_was_forgotten_is_unknown() -> None:
    """A key that was never put, or too long ago, has no entry; a false value is an entry like any other."""
    recent = Recent[str, int](2)
    recent.put("a", 0)
    assert (recent.get("a"), recent.get("b")) == (0, None)
    recent.put("b", 0)
    recent.put("c", 0)
    assert recent.get("a") is None


def test_putting_again_takes_no_room() -> None:
    """One key put again and again is one entry."""
    recent = Recent[str, int](10)
    for value in range(100):
        recent.put("a", value)
    assert (len(recent), recent.get("a")) == (1, 99)
