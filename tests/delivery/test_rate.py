"""How much a peer may send."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from actors.delivery.rate import TokenBucket


@given(
    burst=st.integers(0, 5),
    per_second=st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0]),
    pauses=st.lists(st.integers(0, 24), max_size=60),
)
def test_bucket_agrees_with_its_definition(burst: int, per_second: float, pauses: list[int]) -> None:
    """One token is taken where there is one; they come back at their rate, up to the burst."""
    bucket, tokens, eighths = TokenBucket(burst, per_second, 100.0), Fraction(burst), 0
    for pause in pauses:
        eighths += pause
        tokens = min(Fraction(burst), tokens + Fraction(pause, 8) * Fraction(per_second))
        allowed = tokens >= 1
        tokens -= allowed
        assert bucket.take(100.0 + eighths / 8) == allowed


@given(st.lists(st.floats(0, 2), max_size=100))
def test_never_more_than_burst_and_rate(pauses: list[float]) -> None:
    """Over any time at most the burst and what its rate gives is allowed."""
    bucket, now, taken = TokenBucket(5, 2.0, 0.0), 0.0, 0
    for pause in pauses:
        now += pause
        taken += bucket.take(now)
        assert taken <= 5 + 2.0 * now + 1e-6


def test_a_burst_then_the_rate() -> None:
    """A burst is allowed at once; then one by one, and a refusal costs nothing."""
    bucket = TokenBucket(3, 2.0, 10.0)
    assert [bucket.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(10.25), bucket.take(10.5), bucket.take(10.5)] == [False, True, False]


def test_idleness_is_not_saved_up() -> None:
    """After an hour of silence no more than a burst is allowed at once."""
    bucket = TokenBucket(3, 50.0, 0.0)
    assert [bucket.take(3_600.0) for _ in range(4)] == [True, True, True, False]
