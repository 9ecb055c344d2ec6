"""The holds of many threads, against a model that looks for the oldest event everywhere."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from actors.limits import Limits
from actors.stages import Cause
from actors.stores.holds import Holds, ThreadHold
from actors.stores.journal import HoldShed
from actors.stores.records import HeldEvent
from actors.stores.store import Shed

LIMITS = Limits(
    unbound_events=4,
    event_bytes=1_024,
    unbound_bytes=2_000,
    unbound_total_bytes=3_000,
    unbound_total_threads=2,
    vacant_threads=1,
)

steps = st.lists(
    st.tuples(st.sampled_from(["take", "take", "take", "shed", "end", "expire"]), st.sampled_from("abc")), max_size=40
)


class Model:
    """Plain lists of events, by thread."""

    def __init__(self) -> None:
        self.events: dict[str, list[HeldEvent]] = {}
        self.dropped: list[tuple[str, int, Cause]] = []

    def drop(self, thread_id: str, cause: Cause) -> None:
        """Drop the oldest event of a thread."""
        event = self.events[thread_id].pop(0)
        self.dropped.append((thread_id, event.seq, cause))
        if not self.events[thread_id]:
            del self.events[thread_id]

    def oldest(self) -> str:
        """The thread whose first event is the oldest one."""
        return min(self.events, key=lambda thread_id: (self.events[thread_id][0].at, thread_id))

    def take(self, thread_id: str, event: HeldEvent) -> None:
        """Hold one more event within every bound."""
        self.events.setdefault(thread_id, []).append(event)
        while thread_id in self.events and (len(self.events[thread_id]) > 4 or size(self.events[thread_id]) > 2_000):
            self.drop(thread_id, Cause.UNBOUND_OVERFLOW)
        while sum(map(size, self.events.values())) > 3_000:
            self.drop(self.oldest(), Cause.UNBOUND_OVERFLOW)
        while len(self.events) > 2:
            oldest = self.oldest()
            while oldest in self.events:
                self.drop(oldest, Cause.UNBOUND_OVERFLOW)


def size(events: list[HeldEvent]) -> int:
    return sum(len(event.body) for event in events)


def drops(shed: list[Shed]) -> list[tuple[str, int, Cause]]:
    """Every drop by itself."""
    return [(one.thread_id, seq, one.cause) for one in shed for seq in range(one.first_seq, one.last_seq + 1)]


@given(steps=steps, sizes=st.lists(st.integers(1, 1_024), min_size=40, max_size=40))
def test_holds_agree_with_lists(steps: list[tuple[str, str]], sizes: list[int]) -> None:
    """Each thread holds its newest events within every bound, and each drop is told once, with its cause."""
    holds, model = Holds(LIMITS, lambda thread_id: None), Model()
    known = {thread_id: ThreadHold(thread_id, disowned=True) for thread_id in "abc"}
    seqs: Counter[str] = Counter()
    for number, ((act, thread_id), length) in enumerate(zip(steps, sizes, strict=False), 1):
        if act == "take":
            seqs[thread_id] += 1
            event = HeldEvent(b"x" * length, seqs[thread_id], float(number), None)
            holds.take(known[thread_id], event)
            model.take(thread_id, event)
        elif act == "shed":
            holds.shed(known[thread_id], Cause.QUARANTINED)
            while thread_id in model.events:
                model.drop(thread_id, Cause.QUARANTINED)
        elif act == "end":
            seqs[thread_id] += 1  # an event of its owner's, so that no drop before it goes on behind it
            taken = list(holds.end(known[thread_id]))
            assert taken == model.events.pop(thread_id, [])
            known[thread_id] = ThreadHold(thread_id, disowned=True)
        else:
            more = holds.expire(number - 3.0, 1)
            if model.events and model.events[model.oldest()][0].at < number - 3:
                model.drop(model.oldest(), Cause.UNBOUND_EXPIRED)
            assert more == any(events[0].at < number - 3 for events in model.events.values())
        assert {hold.thread_id: list(hold.events) for hold in known.values() if hold.events} == model.events
        assert len(holds) == len(model.events)
    shed = list(holds.report())
    assert drops(shed) == model.dropped
    for one, other in pairwise(shed):
        assert (one.thread_id, one.cause, one.last_seq + 1) != (other.thread_id, other.cause, other.first_seq)
    assert holds.report() == ()


def test_a_notice_counts_what_was_shed() -> None:
    """The owner is told the range that is gone, and how many events of it for which cause."""
    holds, hold = Holds(LIMITS, lambda thread_id: None), ThreadHold("t", disowned=False)
    for seq in range(3, 9):
        holds.take(hold, HeldEvent(b"x", seq, float(seq), None))
    holds.shed(hold, Cause.QUARANTINED)
    notice = json.loads(hold.notice(0.0) + b"}")
    assert (notice["seq0"], hold.last_shed) == (3, 8)
    assert notice["payload"] == {"count": 6, "causes": {"unbound_overflow": 2, "quarantined": 4}}


def test_vacant_threads_are_forgotten() -> None:
    """Of threads that never had an owner so many are remembered when their holds are empty; of the others all."""
    forgotten: list[str] = []
    holds = Holds(LIMITS, forgotten.append)
    vacant = [ThreadHold(thread_id, disowned=thread_id == "b") for thread_id in "abcd"]
    for hold in vacant:
        holds.take(hold, HeldEvent(b"x", 1, 0.0, None))
        holds.shed(hold, Cause.QUARANTINED)
    assert forgotten == ["a", "c"]
    holds.end(vacant[3])
    holds.take(vacant[0], HeldEvent(b"x", 2, 0.0, None))
    holds.shed(vacant[0], Cause.QUARANTINED)
    assert forgotten == ["a", "c"], "a thread with an owner, and one that holds again, are not vacant"


def test_a_hold_of_an_earlier_life_is_bounded() -> None:
    """A hold that is restored keeps the bounds of this life, says what it had to shed, and counts on from what it had
    shed before; an empty one is vacant."""
    noted: list[HoldShed] = []
    holds = Holds(LIMITS, lambda thread_id: None, note=noted.append)
    hold, empty = ThreadHold("t", disowned=False), ThreadHold("empty", disowned=False)
    hold.shed, hold.first_shed = {Cause.UNBOUND_EXPIRED: 2}, 1
    holds.restore(hold, [HeldEvent(b"x", seq, float(seq), None) for seq in range(3, 9)])
    holds.restore(empty, [])
    assert (hold.shed, hold.last_shed) == ({Cause.UNBOUND_EXPIRED: 2, Cause.UNBOUND_OVERFLOW: 2}, 4)
    assert noted == [HoldShed("t", seq, Cause.UNBOUND_OVERFLOW, 1) for seq in (3, 4)]
    assert list(holds.report()) == [Shed("t", 3, 4, Cause.UNBOUND_OVERFLOW)]
    assert repr(holds) == "<Holds holding=1 bytes=4 vacant=1>"
