"""The children that are restarted, how often, and how soon."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.kernel.restarts import Backoff, Intensity, Plan, Restart, RestartWindow, Strategy, plan

ALL, ONE, REST = Strategy.ONE_FOR_ALL, Strategy.ONE_FOR_ONE, Strategy.REST_FOR_ONE
P, TR, TE = Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY
CRASHED, RETURNED = True, False
NOTHING = Plan()


@pytest.mark.parametrize(
    ("strategy", "children", "exited", "crashed", "expected"),
    [
        # one_for_one: the child alone, by its own kind
        (ONE, (P, P, P), 1, CRASHED, Plan((), (1,))),
        (ONE, (P, P, P), 1, RETURNED, Plan((), (1,))),
        (ONE, (P, TR, P), 1, CRASHED, Plan((), (1,))),
        (ONE, (P, TR, P), 1, RETURNED, NOTHING),
        (ONE, (P, TE, P), 1, CRASHED, NOTHING),
        (ONE, (P, TE, P), 1, RETURNED, NOTHING),
        # one_for_all: everybody stops in reverse, and starts in order
        (ALL, (P, P, P), 0, CRASHED, Plan((2, 1), (0, 1, 2))),
        (ALL, (P, P, P), 1, CRASHED, Plan((2, 0), (0, 1, 2))),
        (ALL, (P, P, P), 2, RETURNED, Plan((1, 0), (0, 1, 2))),
        (ALL, (P, TR, P), 1, CRASHED, Plan((2, 0), (0, 1, 2))),
        (ALL, (P, TR, P), 1, RETURNED, NOTHING),
        (ALL, (P, TE, P), 1, CRASHED, NOTHING),
        # … but a temporary sibling only stops, and a transient one starts even if it had returned
        (ALL, (TE, P, TR), 1, CRASHED, Plan((2, 0), (1, 2))),
        # rest_for_one: the child and those after it
        (REST, (P, P, P), 0, CRASHED, Plan((2, 1), (0, 1, 2))),
        (REST, (P, P, P), 1, RETURNED, Plan((2,), (1, 2))),
        (REST, (P, P, P), 2, CRASHED, Plan((), (2,))),
        (REST, (P, TR, P), 1, CRASHED, Plan((2,), (1, 2))),
        (REST, (P, TR, P), 1, RETURNED, NOTHING),
        (REST, (P, TE, P), 1, CRASHED, NOTHING),
        (REST, (TE, P, TE), 1, CRASHED, Plan((2,), (1,))),
    ],
)
def test_plan(strategy: Strategy, children: tuple[Restart, ...], exited: int, crashed: bool, expected: Plan) -> None:
    """An exit stops and restarts exactly whom OTP's strategy and restart kinds name, in OTP's order."""
    assert plan(strategy, children, exited, crashed=crashed) == expected


@pytest.mark.parametrize(
    ("times", "spent"),
    [
        ((0.0, 0.0, 0.0), False),
        ((0.0, 0.0, 0.0, 0.0), True),
        ((0.0, 1.0, 2.0, 5.0), True),  # the first is exactly one period old, and counts
        ((0.0, 1.0, 2.0, 5.001), False),
        ((0.0, 1.0, 2.0, 5.001, 6.0), True),
        ((0.0, 1.0, 2.0, 5.001, 6.001), False),
    ],
)
def test_the_period_includes_its_edge(times: tuple[float, ...], spent: bool) -> None:
    """Three restarts within five seconds are mended; a fourth is not, a period's very edge included."""
    window = RestartWindow(Intensity(3, 5.0))
    assert [window.spent(time) for time in times] == [False] * (len(times) - 1) + [spent]


def test_no_restart_at_all() -> None:
    """An intensity of zero allows no restart."""
    assert RestartWindow(Intensity(0, 5.0)).spent(0.0)


@given(
    restarts=st.integers(0, 4),
    period=st.integers(1, 8),
    pauses=st.lists(st.integers(0, 5), max_size=60),
)
def test_window_agrees_with_its_definition(restarts: int, period: int, pauses: list[int]) -> None:
    """A restart is one too many exactly when more than allowed lie within the period that ends with it."""
    window, history, now = RestartWindow(Intensity(restarts, period)), list[int](), 0
    for pause in pauses:
        now += pause
        history.append(now)
        within = sum(now - period <= time for time in history)
        assert window.spent(now) == (within > restarts)
        assert len(window) == min(within, restarts + 1)


def test_window_is_small() -> None:
    """A crash loop that nobody ends costs no more memory than its first few crashes."""
    window = RestartWindow(Intensity(3, 5.0))
    for _ in range(10_000):
        window.spent(0.0)
    assert len(window) == 4
    assert not hasattr(window, "__dict__")
    assert sys.getsizeof(window) + sys.getsizeof(window._times) < 200


@pytest.mark.parametrize(
    ("attempt", "jitter", "seconds"),
    [(1, 0.0, 0.05), (1, 0.5, 0.075), (2, 0.0, 0.1), (3, 0.0, 0.2), (7, 0.0, 1.0), (7, 0.5, 1.5), (10_000, 0.0, 1.0)],
)
def test_backoff_doubles_up_to_its_longest(attempt: int, jitter: float, seconds: float) -> None:
    """Each pause is twice the one before, up to the longest, however many there were."""
    assert Backoff(first_seconds=0.1, factor=2.0, longest_seconds=2.0).delay(attempt, jitter) == pytest.approx(seconds)


@given(attempt=st.integers(1, 5_000), jitter=st.floats(0, 1, exclude_max=True))
def test_backoff_stays_between_half_and_whole(attempt: int, jitter: float) -> None:
    """Jitter takes away at most half of a pause, and adds nothing."""
    backoff = Backoff(first_seconds=0.1, factor=1.5, longest_seconds=2.0)
    whole = min(0.1 * 1.5 ** min(attempt - 1, 20), 2.0)
    assert whole / 2 <= backoff.delay(attempt, jitter) <= whole


@pytest.mark.parametrize(("restarts", "period"), [(-1, 5.0), (3, 0.0)])
def test_intensity_makes_sense(restarts: int, period: float) -> None:
    """An intensity that means nothing is refused where it is written."""
    with pytest.raises(ValueError, match="must be"):
        Intensity(restarts, period)
