"""Performing a plan: each action at its time, in a task of its own if it may wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import trio

from actors.errors import ActorsError
from actors.kernel.failures import Barrier
from actors.limits import Limits
from actors.protocol.messages import Origin
from actors.testing.agents import AgentFailed, Agents
from actors.testing.chance import Chance
from actors.testing.crashes import Moment
from actors.testing.determinism import run
from actors.testing.device import Device
from actors.testing.plan import BYSTANDER, Action, Plan, Setting
from actors.testing.records import Mismatch
from actors.testing.store import Fault
from actors.testing.world import TROUBLES, World, WorldSetting, open_world, trouble

_STORE_SECONDS = {"memory": None, "waiting": 0.001, "slow": 0.3}
_DEVICES = 4
"""Of one user at once; what vanishes silently still counts for the runtime, which allows more."""
_BYSTANDER_SECONDS = 1.0
"""What an event takes to the bystander at most: her line is short, and nothing happens to her."""


class Outcome:
    """What became of one simulation."""

    def __init__(self, plan: Plan, mismatches: list[Mismatch], trace: list[str]) -> None:
        self.plan = plan
        self.mismatches = list(dict.fromkeys(mismatches))
        self.trace = trace

    @property
    def failed(self) -> bool:
        """Whether something contradicted an invariant."""
        return bool(self.mismatches)


def perform(plan: Plan) -> Outcome:
    """Run a plan from its first action to the verdict; the same plan has the same outcome."""
    found: list[World] = []
    crash: list[Mismatch] = []

    async def main(seed: int) -> None:
        chance = Chance(f"world {seed}")
        setting = WorldSetting(faulty=plan.setting.slow_lines, store_seconds=_STORE_SECONDS[plan.setting.store])
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
                await Performance(world, agents, plan).run()

    with Barrier(lambda error: crash.append(Mismatch(10, f"the simulation ended with {_leaf(error)!r}"))):
        run(main, plan.seed)
    mismatches = (found[0].records.mismatches if found else []) + crash
    return Outcome(plan, mismatches, found[0].trace if found else [])


def limits_of(setting: Setting) -> Limits:
    """The limits of a simulation: small ones are reached, large ones are those of a deployment."""
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
    """One plan in one world."""

    def __init__(self, world: World, agents: Agents, plan: Plan) -> None:
        self._world = world
        self._agents = agents
        self._plan = plan
        self._number = 0
        self._devices: dict[str, list[Device]] = {}
        self._nursery: trio.Nursery
        self._busy = 0

    async def run(self) -> None:
        """Everything that is planned, then the end of all faults, and the verdict."""
        world = self._world
        for user in self._plan.setting.users:
            self._open(user)
        world.spared.add(BYSTANDER)
        bystander = world.device(BYSTANDER) if self._is_spared else None
        async with trio.open_nursery() as self._nursery:
            for action in self._plan.actions:
                await trio.sleep_until(action.at)
                world.note("plan", str(action))
                if bystander is not None:
                    await world.runtime.thread("aside").emit("tick", {"at": action.at}, user_id=BYSTANDER)
                self._nursery.start_soon(self._act, action, name=f"action {action.number}")
            await trio.sleep(self._chance("end").between(0, 3))
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
        """Whether there is nobody whom misfortune cannot reach through what all share: the store, the runtime."""
        return self._plan.setting.store == "memory" and not {"restart", "drain"} & set(self._plan.kinds)

    def _check_bystander(self, bystander: Device) -> None:
        """Invariant 7: what happens to others is not her affair."""
        for event, at in zip(bystander.seen, bystander.seen_at, strict=True):
            if at > event["payload"]["at"] + _BYSTANDER_SECONDS:
                self._world.records.complain(7, f"the bystander waited until {at:.3f} for {event}")

    async def _own_everything(self) -> None:
        """What is held is placed: so it has to arrive somewhere, too."""
        world = self._world
        await self._calm_threads()
        for thread_id in sorted(world.runtime.tree.accounts.holds):
            if world.runtime.owner(thread_id) is None:
                await self._try(lambda: world.runtime.bind(thread_id, self._plan.setting.users[0]))  # noqa: B023

    async def _calm_threads(self) -> None:
        while not self._world.up or self._world.queued:
            await trio.sleep(0.5)
            self._world._release()

    # --- one action --------------------------------------------------------------------

    async def _act(self, action: Action) -> None:
        world, chance = self._world, self._chance(f"action {action.number}")
        kind = action.kind
        if kind in TROUBLES:
            devices = [device for device in self._of(action.user) if not device.left]
            if devices:
                trouble(world, chance.one(devices), kind, chance)
        elif world.up:
            act: Callable[[Action, Chance], Awaitable[None]] = getattr(self, f"_do_{kind}")
            await act(action, chance)
        world.oracle.probe()

    async def _do_emit(self, action: Action, chance: Chance) -> None:
        await self._emit(action.thread, chance, self._owner_for(action, chance))

    async def _do_burst(self, action: Action, chance: Chance) -> None:
        owner = self._owner_for(action, chance)
        for _ in range(chance.one((5, 12, 40))):
            await self._emit(action.thread, chance, owner)

    async def _do_repeat(self, action: Action, chance: Chance) -> None:
        """The same event again and again, as an emitter that is not sure does."""
        payload, event_id = self._payload(chance), f"given_{action.number}"
        for _ in range(chance.count(2, 4)):
            emit = self._world.runtime.thread(action.thread).emit
            await self._try(lambda: emit("tick", payload, event_id=event_id, user_id=action.user))  # noqa: B023
            await trio.sleep(chance.one((0.0, 0.01, 1.0)))

    async def _do_hasty(self, action: Action, chance: Chance) -> None:
        """Emits that are cancelled, or do not wait."""
        for _ in range(chance.count(1, 8)):
            with trio.move_on_after(chance.one((0.0, 0.0, 0.001, 0.01))):
                if chance.happens(0.5):
                    await trio.lowlevel.checkpoint()
                await self._emit(action.thread, chance, self._owner_for(action, chance))
        with suppress(trio.WouldBlock, ActorsError):
            self._world.runtime.thread(action.thread).emit_nowait("tick", self._payload(chance))

    async def _do_run(self, action: Action, chance: Chance) -> None:
        """A run of the application's own; now and then its host is cancelled."""
        patience = chance.one((90.0, 90.0, 0.0, 0.01, 0.5))
        with trio.move_on_after(patience):
            with suppress(ActorsError, AgentFailed):
                async with self._world.runtime.thread(action.thread).run("own") as own:
                    await self._agents.perform(own, action.script)

    async def _do_ask(self, action: Action, chance: Chance) -> None:
        thread, seconds = self._world.runtime.thread(action.thread), chance.one((0.0, 0.5, 4.0))
        try:
            answer = await thread.ask("approval", {"question": "?"}, timeout=seconds)
        except ActorsError:
            return
        self._world.oracle.answered(action.thread, answer.user_id, answer.payload["said"])

    async def _do_send(self, action: Action, chance: Chance) -> None:
        devices = [one for one in self._of(action.user) if not one.left and not one.plain]
        if devices:
            fields: dict[str, Any] = {"payload": {**self._payload(chance), "script": list(action.script)}}
            if chance.happens(0.7):
                fields["thread_id"] = action.thread
            device = chance.one(devices)
            device.ask("send", **fields)
            self._world.note(device.label, f"sends {fields}")

    async def _do_resend(self, action: Action, chance: Chance) -> None:
        """A message whose reply is lost with the connection, and that is said again on the next one."""
        await self._do_send(action, chance)
        await trio.sleep(chance.one((0.0, 0.001, 0.02)))
        for device in self._of(action.user):
            if device.open and device.line is not None:
                trouble(self._world, device, chance.one(("cut", "reset")), chance)

    async def _do_cancel(self, action: Action, chance: Chance) -> None:
        runtime = self._world.runtime
        active = list(runtime.tree.runs.active)
        if not active:
            return
        run_id, devices = chance.one(active), [one for one in self._of(action.user) if not one.left and not one.plain]
        if devices and chance.happens(0.6):
            chance.one(devices).ask("cancel", run_id=run_id)
        else:
            await self._try(lambda: runtime.cancel(run_id))

    async def _do_answer(self, action: Action, chance: Chance) -> None:
        for device in self._of(action.user):
            for question in tuple(device.questions):
                device.ask("answer", ask=question, payload={"said": self._world.records.tick()})

    async def _do_bind(self, action: Action, chance: Chance) -> None:
        with trio.move_on_after(chance.one((60.0, 60.0, 60.0, 0.0, 0.001))):
            await self._try(lambda: self._world.runtime.bind(action.thread, action.user))

    async def _do_rebind(self, action: Action, chance: Chance) -> None:
        with trio.move_on_after(chance.one((60.0, 60.0, 60.0, 0.0, 0.001))):
            await self._try(lambda: self._world.runtime.rebind(action.thread, action.user))

    async def _do_unbind(self, action: Action, chance: Chance) -> None:
        with trio.move_on_after(chance.one((60.0, 60.0, 60.0, 0.0, 0.001))):
            await self._try(lambda: self._world.runtime.unbind(action.thread))

    async def _do_device(self, action: Action, chance: Chance) -> None:
        origins: tuple[Origin, ...] = ("unacked", "low", "head")
        self._open(action.user, origin=chance.one(origins))

    async def _do_plain(self, action: Action, chance: Chance) -> None:
        self._open(action.user, plain=True)

    async def _do_leave(self, action: Action, chance: Chance) -> None:
        for device in self._of(action.user)[:1]:
            device.left = True
            device.hang_up(silently=chance.happens(0.3))

    async def _do_crash(self, action: Action, chance: Chance) -> None:
        path = chance.one((f"threads/{action.thread}", f"users/{action.user}"))
        moments: tuple[Moment, ...] = ("before", "before", "after", "settle")
        self._world.crashes.arm(path, [chance.one(moments) for _ in range(chance.count(1, 2))])

    async def _do_crash_loop(self, action: Action, chance: Chance) -> None:
        """As often as it takes to be taken out of service."""
        path = chance.one((f"threads/{action.thread}", f"users/{action.user}"))
        self._world.crashes.arm(path, ["before"] * (self._world.limits.restarts + 1))

    async def _do_release(self, action: Action, chance: Chance) -> None:
        self._world._release()

    async def _do_stall(self, action: Action, chance: Chance) -> None:
        self._world.store.stalled_until = trio.current_time() + chance.one((0.05, 1.0, 7.0))

    async def _do_fault(self, action: Action, chance: Chance) -> None:
        faults: tuple[Fault, ...] = ("lost", "unanswered", "broken")
        self._world.store.faults.extend(chance.weighted(faults, (4, 4, 1), chance.count(1, 4)))

    async def _do_restart(self, action: Action, chance: Chance) -> None:
        await self._world.restart()

    async def _do_drain(self, action: Action, chance: Chance) -> None:
        await self._world.restart(chance.one((0.0, 1.0, 10.0)))

    async def _do_look(self, action: Action, chance: Chance) -> None:
        """What people look at must be there, whatever else happens."""
        runtime = self._world.runtime
        receipts = [emit.receipt for emit in self._world.records.emits.values() if emit.receipt is not None]
        for receipt in receipts[-5:]:
            str(runtime.explain(receipt))
            str(runtime.explain(receipt.event_id))
        await self._try(lambda: runtime.read(action.thread))
        if not runtime.audit().balanced:
            self._world.records.complain(1, f"the books do not balance: {runtime.audit()}")

    # --- what actions are made of --------------------------------------------------------

    async def _emit(self, thread_id: str, chance: Chance, owner: str | None) -> None:
        payload, thread = self._payload(chance), self._world.runtime.thread(thread_id)
        await self._try(lambda: thread.emit("tick", payload, user_id=owner))

    async def _try(self, act: Callable[[], Awaitable[object]]) -> None:
        """A refusal is an answer."""
        try:
            await act()
        except ActorsError as error:
            self._world.note("refused", f"{type(error).__name__}: {error}")

    def _owner_for(self, action: Action, chance: Chance) -> str | None:
        return action.user if chance.happens(0.4) else None

    def _payload(self, chance: Chance) -> dict[str, Any]:
        self._number += 1
        return {"n": self._number, "x": "x" * chance.one((0, 10, 10, 300, 2_000))}

    def _open(self, user: str, *, plain: bool = False, origin: Origin = "unacked") -> None:
        if len([device for device in self._of(user) if not device.left]) >= _DEVICES:
            return
        device = self._world.device(user, plain=plain, origin=origin)
        self._devices.setdefault(user, []).append(device)

    def _of(self, user: str) -> list[Device]:
        return self._devices.get(user, [])

    def _chance(self, part: str) -> Chance:
        return self._world.chance.of(part)


__all__ = ["BYSTANDER", "Outcome", "Performance", "limits_of", "perform"]
