"""A served runtime, and users with devices at it: what each was to get, what it got, and when."""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import attrs
import trio

import actors
from actors.client import CaughtUp, Event, Gap, Session, State, connect
from actors.environment import Environment

PATIENCE_SECONDS = 100.0
"""After the last fault no device waits longer, in the time of the test's clock: a safety net against hangs."""


@attrs.define(eq=False)
class Device:
    """One device: what came, and how its connections were."""

    user_id: str
    offsets: list[int] = attrs.field(factory=list)
    at: dict[str, float] = attrs.field(factory=dict)
    """When each event came, by its id."""
    said: list[int] = attrs.field(factory=list)
    """The numbers of the user's own messages, as they came back."""
    gone: list[Gap] = attrs.field(factory=list)
    surprises: list[Any] = attrs.field(factory=list)
    """Items that no device is to hear while its server lives."""
    states: list[State] = attrs.field(factory=list)

    @property
    def connections(self) -> int:
        """The number of connections so far."""
        return sum(state.name == "open" for state in self.states)

    def connect(self, url: str, environment: Environment | None = None) -> AbstractAsyncContextManager[Session]:
        """Its session; it wants everything that there is."""
        options: dict[str, Any] = {"on_state": self.states.append, "environment": environment}
        return connect(url, token=self.user_id, origin="low", **options)

    def take(self, item: Any) -> None:
        """One item of its session."""
        match item:
            case Event():
                assert item.event_id is not None
                self.offsets.append(item.offset)
                self.at[item.event_id] = trio.current_time()
                if item.type == "user_message":
                    self.said.append(item.payload["n"])
            case Gap():
                self.gone.append(item)
            case CaughtUp():
                pass
            case _:
                self.surprises.append(item)

    def knows_of(self, offset: int) -> bool:
        """True if it has an event, or was told that it is gone."""
        return any(gap.first <= offset <= gap.last for gap in self.gone) or offset in self.offsets


@attrs.define(eq=False)
class User:
    """A user: its events, its messages, and its devices."""

    user_id: str
    emitted: list[tuple[float, actors.Receipt]] = attrs.field(factory=list)
    """When, and what the emitter was told."""
    said: list[int] = attrs.field(factory=list)
    devices: list[Device] = attrs.field(factory=list)

    @property
    def is_served(self) -> bool:
        """True if everything has come, to each device, and was acked."""
        total = len(self.emitted) + len(self.said)
        acked = all(receipt.stage is actors.Stage.ACKED for _, receipt in self.emitted)
        return acked and all(len(device.at) >= total for device in self.devices)

    def unaccounted(self, device: Device) -> int:
        """Events lost without a word, doubled or out of order on a device, and receipts that are not final."""
        missing = sum(not device.knows_of(receipt.offset or 0) for _, receipt in self.emitted)
        unsaid = len(set(self.said) - set(device.said))
        astray = sum(offset != n for n, offset in enumerate(device.offsets, 1)) if not device.gone else 0
        unsettled = sum(receipt.stage is not actors.Stage.ACKED for _, receipt in self.emitted)
        return missing + unsaid + astray + unsettled + abs(len(device.said) - len(self.said)) + len(device.surprises)

    def lateness(self, device: Device, since: float = 0.0) -> float:
        """Seconds that the last of what a device had to wait for took, from when it was emitted or ``since``."""
        waits = [device.at.get(receipt.event_id, math.inf) - max(at, since) for at, receipt in self.emitted]
        return max(0.0, *waits)


@attrs.define
class Workload:
    """A runtime and the users it serves; two of them never come near a fault."""

    runtime: actors.Runtime
    address: tuple[str, int]
    nursery: trio.Nursery
    chance: random.Random
    tick_seconds: float
    tick_bytes: int = 100
    users: dict[str, User] = attrs.field(factory=dict)
    quiet: set[str] = attrs.field(factory=set)
    """Users that nothing is emitted for, and that say nothing."""
    over: bool = False
    _talking: int = 0

    def join(self, user_id: str, url: str | None = None) -> Device:
        """A device of a user, at the server or at a proxy."""
        user = self.users.setdefault(user_id, User(user_id))
        device = Device(user_id)
        user.devices.append(device)
        self.nursery.start_soon(self._use, user, device, url or f"ws://127.0.0.1:{self.address[1]}/ws")
        return device

    async def emit(self, user: User, nbytes: int = 0) -> None:
        """An event for a user."""
        thread = self.runtime.thread(f"thread-of-{user.user_id}")
        payload = {"n": len(user.emitted), "x": "x" * nbytes}
        at = trio.current_time()
        user.emitted.append((at, await thread.emit("tick", payload, user_id=user.user_id)))

    async def settle(self) -> None:
        """Stop emitting and sending, and wait until every device has everything."""
        self.over = True
        with trio.move_on_after(PATIENCE_SECONDS):
            while self._talking or not all(user.is_served for user in self.users.values()):  # noqa: ASYNC110
                await trio.sleep(0.1)
            await trio.sleep(2.0)  # what came twice would come now

    def unaccounted(self, *devices: Device) -> int:
        """Count what these devices cannot account for, and were not told of."""
        return sum(self.users[device.user_id].unaccounted(device) for device in devices)

    def recoveries(self, since: float, *devices: Device) -> list[float]:
        """Return how long each had to wait for what was there at a moment, or was emitted after it."""
        return [self.users[device.user_id].lateness(device, since) for device in devices]

    def hurt(self, *victims: Device) -> int:
        """Count the others that lost or doubled something, lost their connection, or were told of anything unusual."""
        others = [device for user in self.users.values() for device in user.devices if device not in victims]
        assert others
        return sum(self.unaccounted(one) > 0 or one.connections != 1 or bool(one.gone) for one in others)

    async def live(self) -> None:
        """Emit to every user, a little at a time."""
        while not self.over:
            for user in list(self.users.values()):
                if user.user_id not in self.quiet:
                    await self.emit(user, self.chance.randrange(2 * self.tick_bytes))
            await trio.sleep(self.tick_seconds)

    async def _use(self, user: User, device: Device, url: str) -> None:
        environment = Environment(random=random.Random(self.chance.random()))
        async with device.connect(url, environment) as session:
            if len(user.devices) == 1:
                self.nursery.start_soon(self._talk, user, session)
            async for item in session:
                device.take(item)

    async def _talk(self, user: User, session: Session) -> None:
        while not self.over and user.user_id not in self.quiet:
            self._talking += 1
            user.said.append(len(user.said))
            await session.send({"n": user.said[-1]}, thread_id=f"thread-of-{user.user_id}")
            self._talking -= 1
            await trio.sleep(self.chance.uniform(0.5, 1.5))


@asynccontextmanager
async def workload(tick_seconds: float = 0.25, seed: int = 1) -> AsyncIterator[Workload]:
    """A workload with default limits; bob and the first of carol's devices are at the server without a proxy."""

    async def authorize(user_id: str, thread_id: str) -> bool:
        return thread_id == f"thread-of-{user_id}"

    with trio.fail_after(10 * PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery, actors.open_runtime(authorize=authorize) as runtime:
            address = await nursery.start(runtime.serve)
            opened = Workload(runtime, address, nursery, random.Random(seed), tick_seconds)
            for user_id in ("bob", "carol"):
                opened.join(user_id)
            nursery.start_soon(opened.live)
            yield opened
            assert not runtime.failures
            nursery.cancel_scope.cancel()
