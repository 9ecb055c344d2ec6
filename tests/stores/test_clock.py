"""The clock of a store: the wall clock, made monotone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.stores.clock import StoreClock
from tests.stores.desk import Hands

BEGAN = 1_000_000_000.0

steps = st.lists(st.tuples(st.sampled_from(["wait", "set"]), st.integers(-50, 50)), max_size=40)


@given(steps)
def test_it_never_goes_back_and_never_ahead_of_a_jump(steps: list[tuple[str, int]]) -> None:
    """Whatever is done to the wall clock, the time told never goes back, passes at least as fast as time does, and is
    never further ahead of what passed than the largest jump."""
    hands, skews = Hands(), [0.0]
    clock = StoreClock(hands.environment())
    told, now = clock.now(), 0.0
    for name, seconds in steps:
        if name == "wait":
            hands.now += abs(seconds)
        else:
            hands.skew = float(seconds)
            skews.append(hands.skew)
        latest = clock.now()
        assert latest >= told
        assert latest >= BEGAN + hands.now + hands.skew, "it is not behind the wall clock"
        assert latest <= BEGAN + hands.now + max(skews)
        if name == "wait":
            assert latest - told >= min(hands.now - now, latest - told)
        told, now = latest, hands.now


def test_a_reading_that_the_caller_has_is_as_good() -> None:
    """A reading is the time, unless a later one was told, the clock was set back, or there is none."""
    hands = Hands()
    clock = StoreClock(hands.environment())
    hands.now = 10.0
    assert clock.at(BEGAN + 7.0) == BEGAN + 7.0
    assert clock.at(BEGAN + 7.0) == BEGAN + 7.0, "the same step may have another event"
    assert clock.at(BEGAN + 6.0) == BEGAN + 10.0
    assert clock.at(None) == BEGAN + 10.0
    hands.skew = -5.0
    assert clock.at(BEGAN + 5.0) == BEGAN + 10.0
    hands.now = 13.0
    assert clock.at(BEGAN + 8.0) == BEGAN + 13.0, "it goes on at the pace of the monotonic clock"
    hands.now = 14.0
    assert clock.at(BEGAN + 20.0) == BEGAN + 14.0, "that is no reading of a clock that was set back"
    hands.skew = 3.0
    assert clock.at(BEGAN + 14.0) == BEGAN + 17.0


def test_a_clock_that_was_set_back_keeps_its_pace() -> None:
    """Set back, time passes as it does, however seldom it is asked for, until the wall clock is ahead again."""
    hands = Hands()
    clock = StoreClock(hands.environment())
    hands.skew = 60.0
    assert clock.now() == BEGAN + 60.0
    hands.skew = 0.0
    assert clock.now() == BEGAN + 60.0
    hands.now = 100.0
    assert clock.now() == BEGAN + 160.0
    hands.skew = 61.0
    assert clock.now() == BEGAN + 161.0
    hands.now = 101.0
    assert clock.now() == BEGAN + 162.0, "it is the wall clock's again"
    assert "ahead" not in repr(clock)


def test_a_life_begins_no_earlier_than_the_last_one_ended() -> None:
    """A clock that is behind the latest time of the life before goes on from there."""
    hands = Hands()
    clock = StoreClock(hands.environment(), BEGAN + 500.0)
    assert clock.now() == BEGAN + 500.0
    hands.now = 10.0
    assert clock.now() == BEGAN + 510.0
    assert repr(clock) == "<StoreClock 1000000510.000 ahead of the wall clock>"
