"""Plans: pure, and so small tests."""

from __future__ import annotations

from actors.testing.plan import KINDS, plan_of


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


def test_only() -> None:
    """A plan that is restricted to some kinds has no others."""
    assert {action.kind for action in plan_of(1, ("emit", "cut")).actions} <= {"emit", "cut"}
