"""Shrinking: the fewest actions that still fail."""

from __future__ import annotations

from actors.testing.plan import Action, Plan, plan_of
from actors.testing.shrinking import shrink


def numbers(plan: Plan) -> list[int]:
    """Return the numbers of the actions that are left."""
    return [action.number for action in plan.actions]


def long_plan() -> Plan:
    """A plan of many actions."""
    plan = plan_of(1)
    actions = tuple(
        Action(number=number, at=float(number), kind="emit", user="alice", thread="t0") for number in range(40)
    )
    return Plan(seed=plan.seed, setting=plan.setting, kinds=plan.kinds, actions=actions)


def test_shrinks_to_what_is_needed() -> None:
    """Of forty actions the two that are needed are left, however far apart."""
    least = shrink(long_plan(), lambda plan: {3, 37} <= set(numbers(plan)), lambda: True)
    assert numbers(least) == [3, 37]


def test_shrinks_to_nothing() -> None:
    """A plan that fails without any action is empty."""
    assert numbers(shrink(long_plan(), lambda plan: True, lambda: True)) == []


def test_shrinking_ends_in_time() -> None:
    """When the time is over, what is left still fails."""
    tries = 0

    def fails(plan: Plan) -> bool:
        nonlocal tries
        tries += 1
        return 20 in numbers(plan)

    least = shrink(long_plan(), fails, lambda: tries < 4)
    assert 20 in numbers(least)
    assert tries <= 5
