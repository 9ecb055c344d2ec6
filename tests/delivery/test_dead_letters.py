"""Dead letters: drops that follow each other are one, and each is told as it happens."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.delivery.dead_letters import DeadLetter, DeadLetters
from actors.stages import Cause


def kept(most: int = 10) -> tuple[DeadLetters, list[DeadLetter]]:
    """Dead letters, and those that were told."""
    told: list[DeadLetter] = []
    return DeadLetters(most, on_dropped=told.append), told


drops = st.lists(
    st.tuples(st.sampled_from(["alice", "bob"]), st.integers(1, 5), st.sampled_from([Cause.RETENTION, Cause.LOST])),
    max_size=30,
)


@given(drops=drops, most=st.integers(1, 40))
def test_agrees_with_a_list(drops: list[tuple[str, int, Cause]], most: int) -> None:
    """The newest are there; each event is in one, with its cause, and no two that could be one follow each other."""
    letters, told = kept(most)
    last = {"alice": 0, "bob": 0}
    model: list[tuple[str, Cause, int]] = []
    for now, (user_id, count, cause) in enumerate(drops):
        letters.bury(cause, count, now, user_id=user_id, first=last[user_id] + 1, last=last[user_id] + count)
        model += [(user_id, cause, last[user_id] + number) for number in range(1, count + 1)]
        last[user_id] += count
    newest = list(letters.newest)
    ranges = [(one.user_id, one.cause, range(one.first or 0, (one.last or 0) + 1)) for one in newest]
    events = [(user_id, cause, offset) for user_id, cause, offsets in ranges for offset in offsets]
    assert events == model[len(model) - len(events) :]
    assert len(newest) == most or events == model
    assert [one.count for one in newest] == [len(offsets) for _, _, offsets in ranges]
    assert not any(after.continues(before) for before, after in pairwise(newest))
    assert [(one.count, one.at) for one in told] == [(count, now) for now, (_, count, _) in enumerate(drops)]


@pytest.mark.parametrize("other", [{"thread_id": "u"}, {"first": 5, "last": 5}, {"first": 2, "last": 2}])
def test_others_are_told_apart(other: dict[str, str | int]) -> None:
    """What is of another thread, or not the next number, is another one."""
    letters, _ = kept()
    letters.bury(Cause.UNBOUND_OVERFLOW, 3, 0.0, thread_id="t", first=1, last=3)
    numbers = {"thread_id": "t", "first": 4, "last": 4} | other
    letters.bury(Cause.UNBOUND_OVERFLOW, 1, 0.0, **numbers)  # type: ignore[arg-type]
    assert [one.count for one in letters.newest] == [3, 1]


def test_events_without_a_number_are_kept_by_their_ids() -> None:
    """An event that was dropped before it had a number is one of its own; the newest time of a range counts."""
    letters, _ = kept()
    for event_id in ("a", "b"):
        letters.bury(Cause.NOT_THE_OWNER, 1, 0.0, thread_id="t", event_id=event_id)
    assert [one.event_id for one in letters.newest] == ["a", "b"]
    for now in (5.0, 9.0):
        letters.bury(Cause.RETENTION, 1, now, user_id="alice", first=int(now) // 4, last=int(now) // 4)
    assert (letters.newest[-1].count, letters.newest[-1].at) == (2, 9.0)
    assert repr(letters) == "<DeadLetters 3 of 10>"
