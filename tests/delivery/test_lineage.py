"""A lineage says, for each former epoch of a log, which offsets are still the same events."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.delivery.lineage import MOST_FORKS, Lineage, fork, shared

steps = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=24)


@given(steps)
def test_what_is_shared_is_the_same_event(steps: list[tuple[int, int]]) -> None:
    """A former epoch shares an offset exactly if the event there has never been lost since."""
    log: list[object] = []
    shown: dict[str, list[object]] = {}
    lineage: Lineage = ()
    for number, (placed, lost) in enumerate(steps):
        log += [object() for _ in range(placed)]
        shown[f"e{number}"] = list(log)
        del log[max(len(log) - lost, 0) :]
        lineage = fork(lineage, f"e{number}", len(log))
    for epoch, events in list(shown.items())[-MOST_FORKS:]:
        same = sum(1 for here, there in zip(log, events, strict=False) if here is there)
        assert shared(lineage, epoch) == same


def test_the_oldest_epochs_are_forgotten() -> None:
    """Of more forks than are remembered the oldest is unknown, so that its devices begin again."""
    lineage: Lineage = ()
    for number in range(MOST_FORKS + 1):
        lineage = fork(lineage, f"e{number}", number)
    assert shared(lineage, "e0") is None
    assert shared(lineage, "e1") == 1
