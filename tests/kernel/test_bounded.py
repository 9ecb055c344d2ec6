"""Bounded structures: each agrees with its definition, and none grows beyond its bound."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.kernel.bounded import Ration, RecentMap, TokenBucket


@given(capacity=st.integers(2, 9), keys=st.lists(st.integers(0, 12), max_size=80))
def test_recent_agrees_with_a_list(capacity: int, keys: list[int]) -> None:
    """The newest half of the capacity is remembered, more than the capacity never is, and no entry is a stale one."""
    recent, newest = RecentMap[int, int](capacity), dict[int, int]()
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
    recent = RecentMap[str, int](capacity)
    for value, key in enumerate("abcabc"):
        recent.put(key, value)
        assert recent.get(key) == value
    assert len(recent) <= max(capacity, 2)


def test_a_forgotten_key_has_no_entry() -> None:
    """A key that was never put, or too long ago, has no entry; a false value is an entry like any other."""
    recent = RecentMap[str, int](2)
    recent.put("a", 0)
    assert (recent.get("a"), recent.get("b")) == (0, None)
    recent.put("b", 0)
    recent.put("c", 0)
    assert recent.get("a") is None


def test_putting_again_takes_no_room() -> None:
    """One key put again and again is one entry."""
    recent = RecentMap[str, int](10)
    for value in range(100):
        recent.put("a", value)
    assert (len(recent), recent.get("a")) == (1, 99)


@given(
    burst=st.integers(0, 5),
    per_second=st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0]),
    pauses=st.lists(st.integers(0, 24), max_size=60),
)
def test_bucket_agrees_with_its_definition(burst: int, per_second: float, pauses: list[int]) -> None:
    """One token is taken where there is one; they come back at their rate, up to the burst."""
    bucket, tokens, eighths = TokenBucket(burst, per_second, now=100.0), Fraction(burst), 0
    for pause in pauses:
        eighths += pause
        tokens = min(Fraction(burst), tokens + Fraction(pause, 8) * Fraction(per_second))
        allowed = tokens >= 1
        tokens -= allowed
        assert bucket.take(100.0 + eighths / 8) == allowed


@given(st.lists(st.floats(0, 2), max_size=100))
def test_never_more_than_burst_and_rate(pauses: list[float]) -> None:
    """Over any time at most the burst and what its rate gives is allowed."""
    bucket, now, taken = TokenBucket(5, 2.0, now=0.0), 0.0, 0
    for pause in pauses:
        now += pause
        taken += bucket.take(now)
        assert taken <= 5 + 2.0 * now + 1e-6


def test_a_burst_then_the_rate() -> None:
    """A burst is allowed at once; then one by one, and a refusal costs nothing."""
    bucket = TokenBucket(3, 2.0, now=10.0)
    assert [bucket.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(10.25), bucket.take(10.5), bucket.take(10.5)] == [False, True, False]


def test_idleness_is_not_saved_up() -> None:
    """After an hour of silence no more than a burst is allowed at once."""
    bucket = TokenBucket(3, 50.0, now=0.0)
    assert [bucket.take(3_600.0) for _ in range(4)] == [True, True, True, False]


@given(
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 6)), max_size=60),
)
def test_a_ration_agrees_with_its_definition(most: int, steps: list[tuple[str, int]]) -> None:
    """A key is granted once per period while fewer than so many keys were; everything else is counted."""
    ration, granted, refused, now = Ration(most, 10.0), dict[str, int](), 0, 0
    for key, pause in steps:
        now += pause
        recent = {one for one, at in granted.items() if at > now - 10}
        expected = key not in recent and len(recent) < most
        if expected:
            granted[key] = now
        else:
            refused += 1
        assert ration.grants(key, float(now)) == expected
        assert ration.take(key, float(now)) == expected
    assert ration.left_out(now + 10.0)[0] == refused
    assert ration.left_out(now + 10.0)[0] == 0


def test_a_ration_keeps_no_more_keys_than_it_grants() -> None:
    """Of however many keys, no more are kept than may be granted in a period; the others are told when that is over."""
    ration = Ration(100, 60.0)
    answers = [ration.take(f"t{number}", number / 1_000) for number in range(10_000)]
    assert answers.count(True) == 100
    assert len(ration._granted) == 100
    assert ration.left_out(59.0) == (0, 0.0)
    assert ration.left_out(60.1) == (9_900, 60.0)
    assert ration.left_out(1_000.0) == (0, 0.0)
    assert repr(ration) == "<Ration 100 of 100, 0 left out>"
