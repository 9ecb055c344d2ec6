"""Plans: what is to happen in one simulation, and when. Pure: a seed in, a list of actions out.

*Swarm testing* (Groce et al., 2012): each seed allows a random part of all
kinds of action, with random weights. A test that always does everything keeps
each thing short of the extremes where the bugs are: with cancellations in every
run no queue ever fills, with reloads in every run no session ever grows old.
"""

from __future__ import annotations

from typing import Literal

import attrs

from actors.runs.supervisor import OnDisconnect
from actors.runs.turns import Concurrency
from actors.testing.chance import Chance

Store = Literal["memory", "waiting", "slow", "durable", "slow disk"]
"""The store's way to answer: at once, after a moment, after a while; the last two outlive a runtime that is killed."""

USERS = "alice", "bob", "carol"
BYSTANDER = "zoe"
"""A user that no fault is aimed at: its delays show whether faults of others are shared."""

KINDS: dict[str, float] = {
    "emit": 6.0,
    "burst": 2.0,
    "repeat": 1.0,
    "hasty": 1.5,
    "run": 4.0,
    "send": 4.0,
    "resend": 1.0,
    "cancel": 1.0,
    "answer": 1.0,
    "bind": 1.5,
    "rebind": 1.5,
    "unbind": 1.0,
    "cut": 2.0,
    "midframe": 1.5,
    "reset": 1.0,
    "sleep": 1.5,
    "vanish": 1.0,
    "lag": 2.0,
    "freeze": 1.0,
    "reload": 1.5,
    "slow_ack": 1.0,
    "device": 1.5,
    "plain": 0.5,
    "leave": 0.7,
    "crash": 1.5,
    "crash_loop": 0.4,
    "release": 0.5,
    "stall": 1.0,
    "fault": 2.0,
    "fork": 0.8,
    "restart": 0.4,
    "drain": 0.3,
    "kill": 1.0,
    "ask": 1.0,
    "look": 1.0,
}
"""Every kind of action, and how common it is when it is allowed."""

STEPS = ("think", "tokens", "tool", "broken_tool", "pause", "ask", "child", "say", "crash", "hang", "stubborn")
"""The steps that an agent may take, one after the other."""

_COMMON_STEPS = (3.0, 4.0, 2.0, 1.0, 3.0, 1.0, 1.0, 2.0, 0.5, 0.3, 0.2)


@attrs.frozen(kw_only=True)
class Action:
    """One thing that happens; what it leaves open is decided by a stream of its own number."""

    number: int
    at: float
    kind: str
    user: str
    thread: str
    script: tuple[str, ...] = ()

    def __str__(self) -> str:
        script = f" [{' '.join(self.script)}]" if self.script else ""
        return f"#{self.number} at {self.at:.3f}: {self.kind} {self.user} {self.thread}{script}"


@attrs.frozen(kw_only=True)
class Setting:
    """The choices that stay the same during one simulation."""

    users: tuple[str, ...]
    store: Store
    concurrency: Concurrency
    on_disconnect: OnDisconnect
    slow_lines: bool
    small_limits: bool
    retained_events: int
    mailbox_messages: int
    unbound_events: int
    delta_window_ms: float
    escalates: bool


@attrs.frozen(kw_only=True)
class Plan:
    """One simulation, whole: the same plan is the same trace."""

    seed: int
    setting: Setting
    kinds: tuple[str, ...]
    actions: tuple[Action, ...]
    followers: bool = False
    """True if code of the server's process follows each user besides."""

    def __str__(self) -> str:
        return "\n".join([f"seed {self.seed}: {self.setting}", *map(str, self.actions)])


def plan_of(seed: int, only: tuple[str, ...] = (), *, followers: bool = False) -> Plan:
    """Return the plan of a seed; ``only`` allows these kinds and no others, for a seed that is to look for
    something; with ``followers`` each user is followed in the server's process besides."""
    chance = Chance(f"plan {seed}")
    setting = _setting(chance.of("setting"))
    weights = _swarm(chance.of("swarm"), only)
    actions = tuple(_actions(chance.of("actions"), setting, weights))
    return Plan(seed=seed, setting=setting, kinds=tuple(weights), actions=actions, followers=followers)


def _setting(chance: Chance) -> Setting:
    small = chance.happens(0.6)
    stores: tuple[Store, ...] = ("memory", "waiting", "slow", "durable", "slow disk")
    return Setting(
        users=USERS[: chance.count(1, len(USERS))],
        store=chance.weighted(stores, (4, 2, 1, 3, 2), 1)[0],
        concurrency=chance.one(("queue", "reject", "cancel_previous", "parallel")),
        on_disconnect=chance.one(("detach", "detach", "cancel_after")),
        slow_lines=chance.happens(0.5),
        small_limits=small,
        retained_events=chance.one((4, 16, 70)) if small else 1_000,
        mailbox_messages=chance.one((1, 2, 8)) if small else 256,
        unbound_events=chance.one((2, 6)) if small else 256,
        delta_window_ms=chance.one((0.0, 30.0, 30.0)),
        escalates=chance.happens(0.3),
    )


def _swarm(chance: Chance, only: tuple[str, ...]) -> dict[str, float]:
    """Draw the kinds of this plan, and their weights."""
    kinds = [kind for kind in KINDS if (kind in only if only else chance.happens(0.5))]
    if not {"emit", "burst", "hasty", "ask", "run", "send"} & set(kinds):
        kinds.append("emit")
    return {kind: KINDS[kind] * 2 ** chance.between(-2, 2) for kind in kinds}


def _actions(chance: Chance, setting: Setting, weights: dict[str, float]) -> list[Action]:
    count = chance.count(4, 30)
    hectic = chance.one((0.02, 0.3, 1.5))
    kinds = chance.weighted(tuple(weights), tuple(weights.values()), count)
    threads = [f"t{number}" for number in range(chance.count(1, 3))]
    at, actions = 0.0, []
    for number, kind in enumerate(kinds):
        at += chance.between(0, hectic) if chance.happens(0.8) else 0.0
        script = _script(chance) if kind in {"run", "send"} else ()
        actions.append(
            Action(
                number=number,
                at=round(at, 4),
                kind=kind,
                user=chance.one(setting.users),
                thread=chance.one(threads),
                script=script,
            )
        )
    return actions


def _script(chance: Chance) -> tuple[str, ...]:
    return tuple(chance.weighted(STEPS, _COMMON_STEPS, chance.count(0, 5)))
