"""Turns: no run waits for none, the order is kept, and none is forgotten."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.runs.turns import Concurrency, Turns

POLICIES: tuple[Concurrency, ...] = get_args(Concurrency)
MOST = 4

steps = st.lists(
    st.tuples(st.sampled_from(["expect", "again", "retract", "admit", "join", "end"]), st.integers(0, 5)), max_size=60
)


class Model:
    """The model of the turns, in the shortest form."""

    def __init__(self, concurrency: Concurrency) -> None:
        self.concurrency, self.active, self.waiting, self.expected = concurrency, list[int](), list[int](), 0

    def expects(self) -> bool:
        most = 1 if self.concurrency == "reject" else MOST
        return len(self.active) + len(self.waiting) + self.expected < most

    def admit(self, run: int) -> tuple[bool, list[int]]:
        self.expected -= 1
        if self.concurrency == "parallel" or not self.active:
            self.active.append(run)
            return True, []
        before = [*self.active, *self.waiting] if self.concurrency == "cancel_previous" else []
        self.waiting = [*(one for one in self.waiting if one not in before), run]
        return False, before

    def end(self, run: int) -> int | None:
        self.active, self.waiting = [[one for one in row if one != run] for row in (self.active, self.waiting)]
        if self.active or not self.waiting:
            return None
        self.active = [self.waiting.pop(0)]
        return self.active[0]


@given(concurrency=st.sampled_from(POLICIES), steps=steps)
def test_turns_agree_with_the_model(concurrency: Concurrency, steps: list[tuple[str, int]]) -> None:
    """Whatever comes, is placed or not, begins and ends: the turns are the model's, and nothing waits for nothing."""
    turns, model, run = Turns[int](concurrency, MOST), Model(concurrency), 0
    for step, which in steps:
        known = [*model.active, *model.waiting]
        if step == "again" or (step == "expect" and model.expects()):
            turns.expect()
            model.expected += 1
        elif step == "retract" and model.expected:
            turns.retract()
            model.expected -= 1
        elif step == "admit" and model.expected:
            run += 1
            assert turns.admit(run) == model.admit(run)
        elif step == "join":
            run += 1
            turns.join(run)
            model.active.append(run)
        elif step == "end" and known:
            ended = known[which % len(known)]
            assert turns.end(ended) == model.end(ended)
        assert (turns.active, list(turns.waiting), turns.expected) == (model.active, model.waiting, model.expected)
        assert turns.expects() == model.expects()
        assert turns.active or not turns.waiting, "nothing waits while nothing is active"
        assert turns.idle == (not turns.active and not turns.expected)


@given(concurrency=st.sampled_from(POLICIES), coming=st.integers(0, 10))
def test_bounds(concurrency: Concurrency, coming: int) -> None:
    """As many messages as may be come in, one with ``reject``, and an expected one counts already."""
    turns = Turns[int](concurrency, MOST)
    taken = 0
    for _ in range(coming):
        if turns.expects():
            turns.expect()
            taken += 1
    assert taken == min(coming, 1 if concurrency == "reject" else MOST)


def admitted(turns: Turns[str], *runs: str) -> list[tuple[bool, list[str]]]:
    for _ in runs:
        turns.expect()
    return [turns.admit(run) for run in runs]


def test_queue_keeps_the_order() -> None:
    """With ``queue`` each run starts when the one before it has ended, in the order in which they came."""
    turns = Turns[str]("queue", MOST)
    assert admitted(turns, "a", "b", "c") == [(True, []), (False, []), (False, [])]
    assert [turns.end(run) for run in "abc"] == ["b", "c", None]
    assert turns.idle


def test_a_newer_message_ends_those_before_it() -> None:
    """With ``cancel_previous`` exactly the runs before the new one must end, those that wait included."""
    turns = Turns[str]("cancel_previous", MOST)
    assert admitted(turns, "a", "b") == [(True, []), (False, ["a"])]
    assert admitted(turns, "c") == [(False, ["a", "b"])]
    assert turns.end("b") is None, "it had no turn"
    assert turns.end("a") == "c"


def test_parallel_runs_do_not_wait() -> None:
    """With ``parallel`` every run starts at once, and none follows another."""
    turns = Turns[str]("parallel", MOST)
    assert admitted(turns, "a", "b") == [(True, []), (True, [])]
    assert [turns.end(run) for run in "ab"] == [None, None]


@pytest.mark.parametrize("concurrency", POLICIES)
def test_the_applications_own_run_asks_nobody(concurrency: Concurrency) -> None:
    """A run that the application opens begins at once, whatever is active; joined again, it is there once."""
    turns = Turns[str](concurrency, MOST)
    admitted(turns, "a")
    turns.join("own")
    turns.join("own")
    assert turns.active == ["a", "own"]
    assert turns.end("a") is None
    assert turns.end("own") is None
    assert turns.idle


def test_a_waiting_run_can_end_before_its_turn() -> None:
    """A run that was ended while it waited is passed over."""
    turns = Turns[str]("queue", MOST)
    admitted(turns, "a", "b", "c")
    assert turns.end("b") is None
    assert turns.end("a") == "c"
