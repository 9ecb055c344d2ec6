"""The actions of a plan: one coroutine function for each kind, found by its name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import trio

from actors.errors import ActorsError
from actors.protocol.client_messages import Origin
from actors.testing.agents import AgentFailed, Agents
from actors.testing.balance_check import check_balance
from actors.testing.chance import Chance
from actors.testing.crashes import Moment
from actors.testing.device import Device
from actors.testing.journal import Fault
from actors.testing.plan import Action
from actors.testing.store import FaultyMemoryStore
from actors.testing.troubles import trouble
from actors.testing.world import World

_DEVICES = 4
"""Devices of one user at once; the runtime allows more, because it still counts one that vanished silently."""


class ActionContext:
    """The world that actions happen in, and what they have in common."""

    def __init__(self, world: World, agents: Agents) -> None:
        self.world = world
        self.agents = agents
        self._number = 0
        self._devices: dict[str, list[Device]] = {}

    def devices(self, user: str) -> list[Device]:
        """Return the devices that actions opened for a user."""
        return self._devices.get(user, [])

    def open_device(self, user: str, *, plain: bool = False, origin: Origin = "unacked") -> None:
        """Open a device of a user, unless there are enough."""
        if len([device for device in self.devices(user) if not device.left]) < _DEVICES:
            device = self.world.device(user, plain=plain, origin=origin)
            self._devices.setdefault(user, []).append(device)

    def payload(self, chance: Chance) -> dict[str, Any]:
        """Return a payload with a number of its own, by which the oracle knows the event."""
        self._number += 1
        return {"n": self._number, "x": "x" * chance.one((0, 10, 10, 300, 2_000))}

    async def emit(self, thread_id: str, chance: Chance, owner: str | None) -> None:
        """Emit an event; a refusal is an answer."""
        payload, thread = self.payload(chance), self.world.runtime.thread(thread_id)
        await self.attempt(lambda: thread.emit("tick", payload, user_id=owner))

    async def attempt(self, act: Callable[[], Awaitable[object]]) -> None:
        """Do something that the runtime may refuse; note a refusal in the trace."""
        try:
            await act()
        except ActorsError as error:
            self.world.note("refused", f"{type(error).__name__}: {error}")


Act = Callable[[ActionContext, Action, Chance], Awaitable[None]]


# --- emitters -------------------------------------------------------------------


def _owner_for(action: Action, chance: Chance) -> str | None:
    return action.user if chance.happens(0.4) else None


async def emit(context: ActionContext, action: Action, chance: Chance) -> None:
    await context.emit(action.thread, chance, _owner_for(action, chance))


async def burst(context: ActionContext, action: Action, chance: Chance) -> None:
    owner = _owner_for(action, chance)
    for _ in range(chance.one((5, 12, 40))):
        await context.emit(action.thread, chance, owner)


async def repeat(context: ActionContext, action: Action, chance: Chance) -> None:
    """Emit the same event again and again, as an emitter does that got no answer."""
    payload, event_id = context.payload(chance), f"given_{action.number}"
    for _ in range(chance.count(2, 4)):
        emit = context.world.runtime.thread(action.thread).emit
        await context.attempt(lambda: emit("tick", payload, event_id=event_id, user_id=action.user))  # noqa: B023
        await trio.sleep(chance.one((0.0, 0.01, 1.0)))


async def hasty(context: ActionContext, action: Action, chance: Chance) -> None:
    """Emit under cancellation, and without waiting."""
    for _ in range(chance.count(1, 8)):
        with trio.move_on_after(chance.one((0.0, 0.0, 0.001, 0.01))):
            if chance.happens(0.5):
                await trio.lowlevel.checkpoint()
            await context.emit(action.thread, chance, _owner_for(action, chance))
    with suppress(trio.WouldBlock, ActorsError):
        context.world.runtime.thread(action.thread).emit_nowait("tick", context.payload(chance))


async def run(context: ActionContext, action: Action, chance: Chance) -> None:
    """Run an agent of the application's own; now and then its host is cancelled."""
    patience = chance.one((90.0, 90.0, 0.0, 0.01, 0.5))
    with trio.move_on_after(patience):
        with suppress(ActorsError, AgentFailed):
            async with context.world.runtime.thread(action.thread).run("own") as own:
                await context.agents.perform(own, action.script)


async def ask(context: ActionContext, action: Action, chance: Chance) -> None:
    thread, seconds = context.world.runtime.thread(action.thread), chance.one((0.0, 0.5, 4.0))
    try:
        answer = await thread.ask("approval", {"question": "?"}, timeout=seconds)
    except ActorsError:
        return
    context.world.oracle.answered(action.thread, answer.user_id, answer.payload["said"])


# --- clients --------------------------------------------------------------------


async def send(context: ActionContext, action: Action, chance: Chance) -> None:
    devices = [one for one in context.devices(action.user) if not one.left and not one.plain]
    if devices:
        fields: dict[str, Any] = {"payload": {**context.payload(chance), "script": list(action.script)}}
        if chance.happens(0.7):
            fields["thread_id"] = action.thread
        device = chance.one(devices)
        device.ask("send", **fields)
        context.world.note(device.label, f"sends {fields}")


async def resend(context: ActionContext, action: Action, chance: Chance) -> None:
    """Lose the reply to a message with the connection, so that the device sends it again on the next one."""
    await send(context, action, chance)
    await trio.sleep(chance.one((0.0, 0.001, 0.02)))
    for device in context.devices(action.user):
        if device.open and device.line is not None:
            trouble(context.world, device, chance.one(("cut", "reset")), chance)


async def cancel(context: ActionContext, action: Action, chance: Chance) -> None:
    runtime = context.world.runtime
    active = list(runtime.tree.runs.registry.active)
    if not active:
        return
    run_id, devices = (
        chance.one(active),
        [one for one in context.devices(action.user) if not one.left and not one.plain],
    )
    if devices and chance.happens(0.6):
        chance.one(devices).ask("cancel", run_id=run_id)
    else:
        await context.attempt(lambda: runtime.cancel(run_id))


async def answer(context: ActionContext, action: Action, chance: Chance) -> None:
    for device in context.devices(action.user):
        for question in tuple(device.questions):
            device.ask("answer", ask=question, payload={"said": context.world.records.tick()})


async def device(context: ActionContext, action: Action, chance: Chance) -> None:
    origins: tuple[Origin, ...] = ("unacked", "low", "head")
    context.open_device(action.user, origin=chance.one(origins))


async def plain(context: ActionContext, action: Action, chance: Chance) -> None:
    context.open_device(action.user, plain=True)


async def leave(context: ActionContext, action: Action, chance: Chance) -> None:
    for device in context.devices(action.user)[:1]:
        device.left = True
        device.hang_up(silently=chance.happens(0.3))


# --- owners ---------------------------------------------------------------------


async def bind(context: ActionContext, action: Action, chance: Chance) -> None:
    with trio.move_on_after(chance.one((60.0, 60.0, 60.0, 0.0, 0.001))):
        await context.attempt(lambda: context.world.runtime.bind(action.thread, action.user))


async def rebind(context: ActionContext, action: Action, chance: Chance) -> None:
    with trio.move_on_after(chance.one((60.0, 60.0, 60.0, 0.0, 0.001))):
        await context.attempt(lambda: context.world.runtime.rebind(action.thread, action.user))


async def unbind(context: ActionContext, action: Action, chance: Chance) -> None:
    with trio.move_on_after(chance.one((60.0, 60.0, 60.0, 0.0, 0.001))):
        await context.attempt(lambda: context.world.runtime.unbind(action.thread))


# --- faults ---------------------------------------------------------------------


async def crash(context: ActionContext, action: Action, chance: Chance) -> None:
    path = chance.one((f"threads/{action.thread}", f"users/{action.user}"))
    moments: tuple[Moment, ...] = ("before", "before", "after", "settle")
    context.world.crashes.arm(path, [chance.one(moments) for _ in range(chance.count(1, 2))])


async def crash_loop(context: ActionContext, action: Action, chance: Chance) -> None:
    """Crash an actor often enough for its supervisor to quarantine it."""
    path = chance.one((f"threads/{action.thread}", f"users/{action.user}"))
    context.world.crashes.arm(path, ["before"] * (context.world.limits.restarts + 1))


async def release(context: ActionContext, action: Action, chance: Chance) -> None:
    context.world.release_all()


async def stall(context: ActionContext, action: Action, chance: Chance) -> None:
    context.world.store.journal.stalled_until = trio.current_time() + chance.one((0.05, 1.0, 7.0))


async def fault(context: ActionContext, action: Action, chance: Chance) -> None:
    faults: tuple[Fault, ...] = ("full", "unwritten", "unanswered")
    context.world.store.journal.faults.extend(chance.weighted(faults, (2, 3, 4), chance.count(1, 4)))


async def fork(context: ActionContext, action: Action, chance: Chance) -> None:
    """Lose the newest events of a log, as an engine does that fails over to a copy of itself, and ring."""
    world, user_id = context.world, action.user
    if not isinstance(world.store, FaultyMemoryStore):  # a journal loses something at the end of a life only
        return
    before = world.store.bounds(user_id)
    offset = max(before.head - chance.one((0, 1, 2, 5, 40)), 0)
    after = world.store.fork(user_id, offset)
    world.oracle.forked(user_id, before.epoch, after.epoch, offset)
    world.note("store", f"{user_id} goes on in {after}")
    world.runtime.tree.registry.ring(user_id, action.thread)


async def restart(context: ActionContext, action: Action, chance: Chance) -> None:
    await context.world.restart()


async def drain(context: ActionContext, action: Action, chance: Chance) -> None:
    await context.world.restart(chance.one((0.0, 1.0, 10.0)))


async def kill(context: ActionContext, action: Action, chance: Chance) -> None:
    await context.world.kill()


# --- operators ------------------------------------------------------------------


async def look(context: ActionContext, action: Action, chance: Chance) -> None:
    """Read what operators read: explanations, a thread's history, the books."""
    runtime = context.world.runtime
    receipts = [emit.receipt for emit in context.world.records.emits.values() if emit.receipt is not None]
    for receipt in receipts[-5:]:
        str(runtime.explain(receipt))
        str(runtime.explain(receipt.event_id))
    await context.attempt(lambda: runtime.read(action.thread))
    check_balance(runtime, context.world.records)


ACTIONS: dict[str, Act] = {
    "emit": emit,
    "burst": burst,
    "repeat": repeat,
    "hasty": hasty,
    "run": run,
    "ask": ask,
    "send": send,
    "resend": resend,
    "cancel": cancel,
    "answer": answer,
    "device": device,
    "plain": plain,
    "leave": leave,
    "bind": bind,
    "rebind": rebind,
    "unbind": unbind,
    "crash": crash,
    "crash_loop": crash_loop,
    "release": release,
    "stall": stall,
    "fault": fault,
    "fork": fork,
    "restart": restart,
    "drain": drain,
    "kill": kill,
    "look": look,
}
"""By the kind that a plan names; the other kinds are troubles of a device, in :mod:`actors.testing.troubles`."""
