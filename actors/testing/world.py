"""A world: one runtime after another, the devices of its users, and the network in between; under one seed."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import attrs
import trio

from actors.checks import awaitable, check_coroutine, described
from actors.delivery.bounds import Bounds
from actors.environment import Environment
from actors.errors import RuntimeClosed
from actors.kernel.failures import cancels
from actors.limits import Limits
from actors.protocol.client_messages import Origin
from actors.runs.run import Message, Run
from actors.runs.supervisor import OnMessage
from actors.runtime import Runtime, open_runtime
from actors.stores.journal import Restored
from actors.testing.beginning_check import check_beginning, left_on
from actors.testing.chance import Chance
from actors.testing.crashes import Crashes, CrashingKind
from actors.testing.determinism import check_clock, deterministic
from actors.testing.device import Device
from actors.testing.follower import Follower
from actors.testing.journal import Disk
from actors.testing.network import CALM, Conditions, Line
from actors.testing.observing import OracleInstrument
from actors.testing.oracle import Oracle
from actors.testing.records import Mismatch, Records, Wire
from actors.testing.store import FaultyMemoryStore, FaultyStore
from actors.testing.troubles import random_troubles
from actors.testing.verdict import check_life, check_remains, check_settled
from actors.testing.wire_tap import WireTap

_WALL_CLOCK = 1_763_800_000.0
"""The date at which a simulation begins, for people to read."""
_SETTLE_SECONDS = 90.0
"""The time that a world gets to settle once all faults have ended: longer than the longest deadline of the runtime."""
_LOOK_SECONDS = 0.5


class Mismatched(AssertionError):
    """A simulation contradicted an invariant."""

    def __init__(self, seed: object, mismatches: list[Mismatch], *, trace: list[str]) -> None:
        self.seed = seed
        self.mismatches = mismatches
        self.trace = trace
        said = "\n  ".join(dict.fromkeys(map(str, mismatches)))
        super().__init__(f"seed {seed}:\n  {said}")


@attrs.frozen(kw_only=True)
class WorldSetting:
    """The quality of lines, and of the way to the store."""

    faulty: bool = True
    """Lines differ, and things happen to devices by themselves."""
    store_seconds: float | None = None
    """The time that a commit of the store takes; ``None`` for a store that answers at once."""
    durable: bool = False
    """The store outlives its runtime, and a process that is killed."""


class World:
    """One simulation. ``runtime`` is the one that is there now; :meth:`device` opens a device of a user."""

    def __init__(
        self, chance: Chance, nursery: trio.Nursery, *, setting: WorldSetting, limits: Limits, options: dict[str, Any]
    ) -> None:
        self.chance = chance
        self.nursery = nursery
        self.limits = limits
        self._setting = setting
        self.runtime: Runtime
        self.store: FaultyStore | FaultyMemoryStore
        self.records: Records = Records()
        self.oracle: Oracle = Oracle(self.records, lambda user_id: _low_of(self.store.bounds(user_id)))
        self.records.in_trouble = lambda: self.store.trouble is not None
        self.devices: list[Device] = []
        self.followers: list[Follower] = []
        self.crashes: Crashes = Crashes()
        self.own_failures: list[str] = []
        """Texts that may stand in failures: what the simulation's own code raised."""
        self.spared: set[str] = set()
        """Users that get lines without faults."""
        self.calm: bool = False
        """Nothing goes wrong any more."""
        self.up: bool = False
        self.durable: bool = setting.durable
        self.disk = Disk() if setting.durable else None
        self.killed: bool = False
        """The process is dead, and the next one is not there yet."""
        self._observer: OracleInstrument
        self.before_check: Callable[[Runtime], None] = lambda runtime: None
        self._options = options
        self._notes: list[tuple[float, str, str]] = []
        self._lines: list[tuple[Device, Line]] = []
        self._restart: tuple[float | None, trio.Event] | None = None
        self._asked = trio.Event()
        self._served = 0

    # --- what happens in it ----------------------------------------------------------

    def device(self, user_id: str, *, plain: bool = False, origin: Origin = "unacked") -> Device:
        """Open a device of a user, which watches, acks, and comes back."""
        number = len(self.devices) + 1
        label = f"d{number}.{user_id}"
        device = Device(
            self, user_id, label=label, chance=self.chance.of(f"device {number}"), plain=plain, origin=origin
        )
        self.devices.append(device)
        self.nursery.start_soon(device.run, name=label)
        return device

    def follower(self, user_id: str) -> Follower:
        """Have code of the server's process follow a user, with what it is handed held against everything else."""
        number = len(self.followers) + 1
        follower = Follower(self, user_id, label=f"f{number}.{user_id}", chance=self.chance.of(f"follower {number}"))
        self.followers.append(follower)
        self.nursery.start_soon(follower.run, name=follower.label)
        return follower

    def dial(self, device: Device) -> tuple[Line, Wire] | None:
        """Connect a device to the server; ``None`` while there is none."""
        if not self.up:
            return None
        wire = self.oracle.connect(device.user_id, plain=device.plain)
        is_calm = device.user_id in self.spared or self.calm or not self._setting.faulty
        conditions = CALM if is_calm else _conditions(self.chance.of(f"line {wire.number}"))
        line = Line(wire.number, conditions, on_taken=WireTap(wire, self).take)
        self._lines.append((device, line))
        self.note(device.label, f"connects (wire {wire.number})")
        self.nursery.start_soon(_serve, self.runtime, line)
        return line, wire

    def note(self, who: str, what: str) -> None:
        """Add a line to the trace."""
        self._notes.append((trio.current_time(), who, what))

    @property
    def trace(self) -> list[str]:
        """The trace of everything that has happened, a line each."""
        return [f"{at:9.3f}  {who:<12} {what}" for at, who, what in self._notes]

    async def restart(self, drain_seconds: float | None = None) -> None:
        """End the runtime, in good order if it gets the time, and open another one; what it had in memory is gone."""
        if self._restart is not None:
            return
        self._restart = drain_seconds, trio.Event()
        self._asked.set()
        await self._restart[1].wait()

    async def kill(self) -> None:
        """Kill the process, as far as a device or a disk can tell, and start another one.

        Of the commit that is on its way to the disk it is the disk's chance
        whether it is there.
        """
        if self._restart is not None or self.disk is None or not isinstance(self.store, FaultyStore):
            return
        writing = self.store.journal.writing
        if writing is not None and self.chance.of(f"kill {self.records.runtime}").happens(0.5):
            self.disk.commits.append((self.disk.life, *writing))
        self.disk, self.killed = self.disk.crashed(), True
        self.runtime.instruments.remove(self._observer)
        self.oracle.killed()
        self.up = False
        for _, line in self._lines:
            line.reset()
        await self.restart()

    # --- its end -----------------------------------------------------------------------

    async def settle(self) -> None:
        """End all faults, and wait until everything that was promised is there."""
        await self.heal()
        deadline = trio.current_time() + _SETTLE_SECONDS
        while not self._quiet() and trio.current_time() < deadline:  # noqa: ASYNC110 - many things have to be so
            await trio.sleep(_LOOK_SECONDS)
        self.oracle.probe()
        check_settled(self)
        self.note("world", "settled")

    async def heal(self) -> None:
        """End every fault; devices that were away come back, and each user has a device that stays."""
        self.calm = True
        while not self.up:  # noqa: ASYNC110 - it may go again meanwhile
            await trio.sleep(_LOOK_SECONDS)
        self.store.journal.heal()
        self.crashes.heal()
        self.release_all()
        for device in self.devices:
            device.lag_until = device.away_until = -math.inf
            device.ack_seconds = min(device.ack_seconds, 0.2)
            device.stir()
        for device, line in self._lines:
            if line is device.line:
                line.calm()
            else:
                line.reset()  # its device has another line by now, or has gone
        self._attend()

    async def leave(self) -> None:
        """Have all devices leave; what is there for them has to go as well."""
        for follower in self.followers:
            follower.leave()
        for device in self.devices:
            device.left = True
            device.hang_up()
        await trio.sleep(self.limits.ping_seconds + self.limits.pong_seconds + 10.0)
        check_remains(self)

    def check(self) -> None:
        """Raise Mismatched if anything so far contradicts an invariant."""
        self.oracle.probe()
        if self.records.mismatches:
            raise Mismatched(self.chance.name, self.records.mismatches, trace=self.trace)

    @property
    def staying(self) -> list[Device]:
        """The devices that have not left for good, and ack what they get."""
        return [device for device in self.devices if not device.left and not device.plain]

    def _quiet(self) -> bool:
        runtime = self.runtime
        if not self.up or runtime.tree.runs.registry.active or any(device.open for device in self.staying):
            return False
        self.release_all()
        self._attend()
        total = runtime.audit().total
        waiting = self.queued or total.held or total.retained
        everybody: list[Device | Follower] = [*self.staying, *self.followers]
        return not waiting and all(map(self.is_current, everybody))

    @property
    def queued(self) -> int:
        """Events that wait for the store."""
        return self.runtime.audit().total.queued - self.runtime.tree.accounts.doubtful

    def is_current(self, device: Device | Follower) -> bool:
        """True if a device has all that its user's log has."""
        bounds = self.store.bounds(device.user_id)
        here = device.caught_up and device.cursor == (bounds.epoch, bounds.head)
        return here and set(device.questions) == self.questions_of(device.user_id)

    def questions_of(self, user_id: str) -> set[str]:
        """Return the ids of the questions that are open to a user."""
        asks = self.runtime.tree.asks._open.values()
        return {ask.ask_id for ask in asks if ask.user_id == user_id and not ask.answer}

    def _attend(self) -> None:
        """Give each user with a log a device that stays, and that wants all that no device has acked."""
        for user_id in sorted({device.user_id for device in self.devices} | set(self.runtime.tree.accounts.users)):
            wanted = {"unacked", "low"}
            if not any(device.user_id == user_id and device.origin in wanted for device in self.staying):
                self.device(user_id, origin="unacked")

    def release_all(self) -> None:
        """Put every quarantined actor back into service."""
        for supervisor in (self.runtime.tree.users, self.runtime.tree.threads):
            for key in tuple(supervisor.out_of_service):
                self.runtime.release(f"{supervisor.name}/{key}")

    # --- the runtime -----------------------------------------------------------------

    async def live(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run one runtime after the other, until cancelled."""
        while True:
            environment = self._environment()
            seconds = self._setting.store_seconds
            self.store = FaultyMemoryStore() if seconds is None else FaultyStore(seconds, self.disk)
            left = None if self.disk is None else left_on(self.disk, self.limits)
            try:
                await self._live_once(environment, left, task_status)
            finally:
                self.up = False
                if not self.killed:
                    check_life(self)
            self.note("world", "restarted")
            self.killed = False
            self.records.begin_life(durable=self.durable)
            self.crashes.heal()
            self.crashes.before = len(self.crashes.fired)

    async def _live_once(
        self, environment: Environment, left: Restored | None, task_status: trio.TaskStatus[None]
    ) -> None:
        options = {**self._options, "environment": environment, "limits": self.limits, "store": self.store}
        async with open_runtime(**options) as self.runtime:
            runtime = self.runtime
            self._observer = OracleInstrument(runtime, self.oracle)
            runtime.instruments.add(self._observer)
            self._note_forks()
            if left is not None and isinstance(self.store, FaultyStore):
                check_beginning(self.records, self.store, left, self.limits, environment.wall_clock())
            for supervisor in (runtime.tree.users, runtime.tree.threads):
                supervisor._kind = CrashingKind(supervisor._kind, supervisor.name, crashes=self.crashes)
            self._asked = trio.Event()
            self.up = True
            self._tell_up(task_status)
            await self._asked.wait()
            self.note("world", "the runtime ends")
            self.up = False
            if self._restart is not None and self._restart[0] is not None:
                report = await runtime.drain(self._restart[0])
                self.note("world", str(report).partition("\n")[0])

    def _note_forks(self) -> None:
        """Enter the epochs that the store has begun because the last runtime was killed."""
        if not isinstance(self.store, FaultyStore):
            return
        state = self.store.state
        for user_id in sorted({*state.logs, *state.ends}):
            log = state.logs.get(user_id) or state.ends[user_id]
            if log.lineage and self.records.epoch_of(user_id) != log.epoch:
                self.oracle.forked(user_id, log.lineage[-1].epoch, log.epoch, log.lineage[-1].offset)

    def _tell_up(self, task_status: trio.TaskStatus[None]) -> None:
        """Tell the task that waits for a runtime that there is one."""
        asked, self._restart = self._restart, None
        if asked is None:
            task_status.started()
        else:
            asked[1].set()

    def _environment(self) -> Environment:
        chance = self.chance.of(f"runtime {self.records.runtime}")
        return Environment(
            wall_clock=lambda: _WALL_CLOCK + trio.current_time(),
            entropy=chance.of("entropy").bytes,
            random=chance.of("jitter").random,
        )


def _low_of(bounds: Bounds) -> tuple[str, int]:
    return bounds.epoch, bounds.low


async def _serve(runtime: Runtime, line: Line) -> None:
    try:
        await runtime.handle(line.server)
    except RuntimeClosed:
        line.server.close()


def _conditions(chance: Chance) -> Conditions:
    return Conditions(
        up_seconds=chance.one((0.0, 0.0, 0.02, 0.3)),
        down_seconds=chance.one((0.0, 0.0, 0.02, 0.3)),
        bite_bytes=chance.one((None, None, None, chance.count(50, 500))),
        room_bytes=chance.one((300, 4_096, 65_536)),
    )


@asynccontextmanager
async def open_world(
    chance: Chance, setting: WorldSetting, limits: Limits, on_message: OnMessage | None, options: dict[str, Any]
) -> AsyncIterator[World]:
    """Open a world while the block lasts; nothing is checked at its end."""
    check_clock()
    outcome: BaseException | None = None
    with quiet():
        async with trio.open_nursery() as nursery:
            world = World(chance, nursery, setting=setting, limits=limits, options=options)
            if on_message is not None:
                options["on_message"] = _noting(on_message, world)
            await nursery.start(world.live)
            try:
                yield world
            except BaseException as error:  # raised below, outside of the nursery and so bare
                if cancels(error):
                    raise
                outcome = error
            finally:
                world.up = False
                nursery.cancel_scope.cancel()
    if outcome is not None:
        raise outcome


def _noting(on_message: OnMessage, world: World) -> OnMessage:
    """Wrap the application's answer to messages, so that the oracle hears of each."""

    async def answer(run: Run, message: Message) -> Any:
        world.oracle.answering(message.event_id)
        return await awaitable("on_message", on_message(run, message))

    return answer


@asynccontextmanager
async def simulate(
    seed: int,
    *,
    on_message: OnMessage | None = None,
    limits: Limits | None = None,
    faulty: bool = True,
    store_seconds: float | None = None,
    **options: Any,
) -> AsyncIterator[World]:
    """Open a world for your own agents, in which everything follows from a seed.

    ``world.runtime`` is the runtime, ``world.device("alice")`` a device of a
    user on a network that delays, stalls and cuts it; ``await world.settle()``
    ends all faults and waits until everything has arrived,
    ``world.check()`` raises :class:`Mismatched` if an invariant was broken, and
    so does the end of the block. ``faulty=False`` is a network without faults;
    ``store_seconds`` makes the store one that has to be waited for. Other
    options are those of :func:`actors.open_runtime`.

    Raises TypeError for a seed that is no integer, and for an ``on_message``
    that is no coroutine function. Needs virtual time, which
    :func:`actors.testing.run` and ``run_seeds`` have, and a test with
    pytest-trio's ``autojump_clock``.
    """
    check_seed(seed)
    check_agent(on_message)
    chance = Chance(f"simulation {seed}")
    setting = WorldSetting(faulty=faulty, store_seconds=store_seconds)
    with deterministic(chance):
        async with open_world(chance, setting, limits or Limits(), on_message, options) as world:
            if faulty:
                world.nursery.start_soon(random_troubles, world)
            yield world
            if not world.calm:
                await world.settle()
            world.check()


def check_seed(seed: object) -> None:
    """Raise TypeError unless a value is a seed."""
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise TypeError(f"seed: expected an integer, got {described(seed)}")


def check_agent(on_message: object) -> None:
    """Raise TypeError unless a function can answer messages, or there is none."""
    if on_message is not None:
        check_coroutine("on_message", on_message, "run", "message")


@contextmanager
def quiet() -> Iterator[None]:
    """Log no failures while the block lasts, because the simulation makes thousands of them on purpose."""
    log = logging.getLogger("actors")
    before = log.disabled
    log.disabled = True
    try:
        yield
    finally:
        log.disabled = before
