"""Shrinking: the fewest actions that still fail.

Delta debugging (Zeller and Hildebrandt, 2002): leave out halves, then quarters,
down to single actions, for as long as the rest still fails. Pure: whether it
fails, and whether there is time, is for the caller to say.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from actors.testing.plan import Action, Plan


def shrink(plan: Plan, fails: Callable[[Plan], bool], has_time: Callable[[], bool]) -> Plan:
    """Return the plan with a part of its actions, of which no single one can be left out; or as far as the time
    goes."""
    actions, size = plan.actions, max(len(plan.actions) // 2, 1)
    while size >= 1 and has_time():
        fewer = _without_some(plan, actions, size, fails, has_time)
        if len(fewer) == len(actions):
            size //= 2
        actions = fewer
    return attrs.evolve(plan, actions=actions)


def _without_some(
    plan: Plan, actions: tuple[Action, ...], size: int, fails: Callable[[Plan], bool], has_time: Callable[[], bool]
) -> tuple[Action, ...]:
    """Leave out each run of so many actions that is not needed, in one pass."""
    start = 0
    while start < len(actions) and has_time():
        fewer = actions[:start] + actions[start + size :]
        if fails(attrs.evolve(plan, actions=fewer)):
            actions = fewer
        else:
            start += size
    return actions
