"""The performance of a plan: each action at its time, in a task of its own."""

from __future__ import annotations

from typing import Any

import trio

from actors.kernel.failures import Barrier
from actors.limits import Limits
from actors.testing.actions import ACTIONS, ActionContext
from actors.testing.agents import Agents
from actors.testing.chance import Chance
from actors.testing.determinism import run
from actors.testing.device import Device
from actors.testing.plan import BYSTANDER, Action, Plan, Setting
from actors.testing.records import Mismatch
from actors.testing.troubles import TROUBLES, trouble
from actors.testing.world import World, WorldSetting, open_world

_STORE_SECONDS = {"memory": None, "waiting": 0.001, "slow": 0.3, "durable": 0.002, "slow disk": 0.2}
_BYSTANDER_SECONDS = 1.0
"""The longest that an event may take to the bystander, because no fault reaches that user's short line."""


class Outcome:
    """The outcome of one simulation."""

    def __init__(self, plan: Plan, mismatches: list[Mismatch], *, trace: list[str]) -> None:
        self.plan = plan
        self.mismatches: list[Mismatch] = list(dict.fromkeys(mismatches))
        self.trace = trace

    @property
    def failed(self) -> bool:
        """True if something contradicted an invariant."""
        return bool(self.mismatches)


def perform(plan: Plan) -> Outcome:
    """Run a plan from its first action to the verdict; the same plan has the same outcome."""
    found: list[World] = []
    crash: list[Mismatch] = []

    async def main(seed: int) -> None:
        chance = Chance(f"world {seed}")
        setting = WorldSetting(
            faulty=plan.setting.slow_lines,
            store_seconds=_STORE_SECONDS[plan.setting.store],
            durable=plan.setting.store in {"durable", "slow disk"},
        )
        options: dict[str, Any] = {
            "concurrency": plan.setting.concurrency,
            "on_disconnect": plan.setting.on_disconnect,
            "authorize": _allow,
        }
        if plan.setting.escalates:
            options["on_undelivered"] = _hear
        agents = Agents()
        with trio.fail_after(3_600):
            async with open_world(chance, setting, limits_of(plan.setting), agents.answer, options) as world:
                found.append(world)
                agents.enter(world)
                for user_id in plan.setting.users if plan.followers else ():
                    world.follower(user_id)
                await Performance(world, agents, plan=plan).run()

    with Barrier(lambda error: crash.append(Mismatch(10, f"the simulation ended with {_leaf(error)!r}"))):
        run(main, plan.seed)
    mismatches = (found[0].records.mismatches if found else []) + crash
    return Outcome(plan, mismatches, trace=found[0].trace if found else [])


def limits_of(setting: Setting) -> Limits:
    """Return the limits of a simulation: small ones are reached, large ones are those of a deployment."""
    return Limits(
        retained_events=setting.retained_events,
        mailbox_messages=setting.mailbox_messages,
        unbound_events=setting.unbound_events,
        delta_window_ms=setting.delta_window_ms,
        undelivered_seconds=5.0,
        retained_seconds=3.0 if setting.small_limits else 300.0,
        session_seconds=2.0 if setting.small_limits else 600.0,
        retire_seconds=1.0 if setting.small_limits else 60.0,
        sessions_per_user=3 if setting.small_limits else 64,
        connections_per_user=32,
        runs_per_thread=3 if setting.small_limits else 16,
        disconnect_grace_seconds=5.0,
        inbound_messages_per_second=1_000.0,
        inbound_burst=1_000,
    )


async def _allow(user_id: str, thread_id: str) -> bool:
    await trio.lowlevel.checkpoint()
    return True


async def _hear(fate: object) -> None:
    str(fate)
    await trio.lowlevel.checkpoint()


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class Performance:
    """Performs one plan in one world."""

    def __init__(self, world: World, agents: Agents, *, plan: Plan) -> None:
        self._world = world
        self._agents = agents
        self._plan = plan
        self._context = ActionContext(world, agents)

    async def run(self) -> None:
        """Perform all actions; then end all faults, wait for the world to settle, and check it."""
        world = self._world
        for user in self._plan.setting.users:
            self._context.open_device(user)
        world.spared.add(BYSTANDER)
        bystander = world.device(BYSTANDER) if self._is_spared else None
        async with trio.open_nursery() as nursery:
            for action in self._plan.actions:
                await trio.sleep_until(action.at)
                world.note("plan", str(action))
                if bystander is not None:
                    await world.runtime.thread("aside").emit("tick", {"at": action.at}, user_id=BYSTANDER)
                nursery.start_soon(self._act, action, name=f"action {action.number}")
            await trio.sleep(world.chance.of("end").between(0, 3))
            self._agents.released.set()
            world.note("plan", "faults end")
            await world.heal()
        await self._own_everything()
        await world.settle()
        if bystander is not None:
            self._check_bystander(bystander)
        await world.leave()

    @property
    def _is_spared(self) -> bool:
        """True if no fault reaches the bystander through what all users share: the store, the runtime."""
        return self._plan.setting.store == "memory" and not {"restart", "drain"} & set(self._plan.kinds)

    def _check_bystander(self, bystander: Device) -> None:
        """Check invariant 7: what happens to others delays no event of the bystander's."""
        for event, at in zip(bystander.seen, bystander.seen_at, strict=True):
            if at > event["payload"]["at"] + _BYSTANDER_SECONDS:
                self._world.records.complain(7, f"the bystander waited until {at:.3f} for {event}")

    async def _own_everything(self) -> None:
        """Give every thread that holds events an owner, so that they have to arrive too."""
        owner = self._plan.setting.users[0]
        while not self._world.up or self._world.queued:
            await trio.sleep(0.5)
            self._world.release_all()
        runtime = self._world.runtime
        for thread_id in sorted(runtime.tree.accounts.holds):
            if runtime.owner(thread_id) is None:
                await self._context.attempt(lambda: runtime.bind(thread_id, owner))  # noqa: B023

    async def _act(self, action: Action) -> None:
        world, chance = self._world, self._world.chance.of(f"action {action.number}")
        if action.kind in TROUBLES:
            devices = [device for device in self._context.devices(action.user) if not device.left]
            if devices:
                trouble(world, chance.one(devices), action.kind, chance)
        elif world.up:
            await ACTIONS[action.kind](self._context, action, chance)
        world.oracle.probe()


__all__ = ["BYSTANDER", "Outcome", "Performance", "limits_of", "perform"]
