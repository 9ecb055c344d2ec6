"""Plans and their shrinking: pure, and so small tests."""

from __future__ import annotations

from actors.testing.actions import ACTIONS
from actors.testing.plan import KINDS, Action, Plan, plan_of
from actors.testing.shrinking import shrink
from actors.testing.troubles import TROUBLES


def test_a_plan_follows_from_its_seed() -> None:
    """The same seed is the same plan; times ascend, numbers count."""
    for seed in range(50):
        plan = plan_of(seed)
        assert plan == plan_of(seed)
        assert [action.number for action in plan.actions] == list(range(len(plan.actions)))
        assert [action.at for action in plan.actions] == sorted(action.at for action in plan.actions)


def test_swarm() -> None:
    """A plan has a part of all kinds of action, and another one each time; all plans together have all of them."""
    kinds = [set(plan_of(seed).kinds) for seed in range(200)]
    assert set.union(*kinds) == set(KINDS)
    assert all(1 <= len(some) < len(KINDS) for some in kinds)
    assert len({frozenset(some) for some in kinds}) > 190


def test_kinds() -> None:
    """Every kind of action is a trouble of a device, or has a function that does it."""
    assert set(KINDS) == set(TROUBLES) | set(ACTIONS)
    assert not set(TROUBLES) & set(ACTIONS)


def test_only() -> None:
    """A plan that is restricted to some kinds has no others."""
    assert {action.kind for action in plan_of(1, ("emit", "cut")).actions} <= {"emit", "cut"}


def numbers(plan: Plan) -> list[int]:
    """Which actions are left."""
    return [action.number for action in plan.actions]


def long_plan() -> Plan:
    """A plan of many actions."""
    plan = plan_of(1)
    actions = tuple(Action(number, float(number), "emit", "alice", "t0") for number in range(40))
    return Plan(plan.seed, plan.setting, plan.kinds, actions)


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
