"""Through a network that cuts, resets, stalls and refuses at random, every client gets what was emitted for it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio

import actors
from actors.client import CaughtUp, Event, Session, connect
from actors.environment import Environment
from actors.testing import FaultProxy, Faults, Way, fault_proxy
from actors.testing.network_faults import Harm
from tests.system.chaos.report import Report

KINDS = {"refuse", "close", "reset", "stall"}
"""The faults that each run has."""


@attrs.define
class UserRecord:
    """One user's events and messages, and what the user's client got."""

    user_id: str
    emitted: list[int] = attrs.field(factory=list)
    sent: list[int] = attrs.field(factory=list)
    ticks: list[int] = attrs.field(factory=list)
    messages: list[int] = attrs.field(factory=list)
    offsets: list[int] = attrs.field(factory=list)
    others: list[Any] = attrs.field(factory=list)
    reconnects: int = 0
    complete_at: float = 0.0
    """When as much had arrived as there was, after the last fault."""

    def take(self, item: Any) -> None:
        """One item of the session."""
        match item:
            case Event(type="tick", payload={"n": n}):
                self.ticks.append(n)
                self.offsets.append(item.offset)
            case Event(type="user_message", payload={"n": n}):
                self.messages.append(n)
                self.offsets.append(item.offset)
            case CaughtUp():
                self.reconnects += 1
            case _:
                self.others.append(item)

    def is_complete(self) -> bool:
        """True if as much has arrived as there is."""
        complete = len(self.ticks) >= len(self.emitted) and len(self.messages) >= len(self.sent)
        if complete and not self.complete_at:
            self.complete_at = trio.current_time()
        return complete

    @property
    def wrong(self) -> int:
        """The number of items that are missing, come twice, are out of order, or should not be there."""
        pairs = (self.ticks, self.emitted), (self.messages, self.sent), (self.offsets, range(1, len(self.offsets) + 1))
        astray = sum(sum(a != b for a, b in zip(came, there, strict=False)) for came, there in pairs)
        return astray + sum(abs(len(came) - len(there)) for came, there in pairs) + len(self.others)


def random_faults(chance: random.Random, most_bytes: int, stall_seconds: float) -> Callable[[], Faults]:
    """Faults at random: one connection in ten has none; one that stalls is closed, or passes on what was said."""

    def faults() -> Faults:
        kind = chance.choice(["none", "refuse", "cut", "cut", "cut", "reset", "reset", "stall", "stall", "late"])
        way = Way(limit_bytes=chance.randint(0, chance.choice([400, most_bytes])))
        seconds = chance.uniform(0.001, stall_seconds) if kind in {"stall", "late"} else 0.0
        harms: dict[str, Harm] = {"late": "none", "reset": "reset"}
        if kind == "none":
            return Faults()
        rest = Faults(refuse=kind == "refuse", harm=harms.get(kind, "close"), stall_seconds=seconds)
        return attrs.evolve(rest, up=way) if chance.random() < 0.3 else attrs.evolve(rest, down=way)

    return faults


@attrs.frozen
class Trial:
    """The outcome of one trial."""

    victims: list[UserRecord]
    bystander: UserRecord
    """The record of a user that is not behind the proxy."""
    proxy: FaultProxy
    recoveries: list[float]


async def run_with_faults(clients: int, seconds: float, *, seed: int, pause_seconds: float) -> Trial:
    """Clients that receive and send through random faults for so long, and on until there was each kind of fault and a
    client has come back; and then until they have everything."""
    chance = random.Random(seed)
    records = [UserRecord(f"user{number}") for number in range(clients + 1)]
    limits = actors.Limits(hello_seconds=2.0, write_deadline_seconds=1.0, sessions_per_user=1_000)
    async with trio.open_nursery() as nursery, actors.open_runtime(limits=limits) as runtime:
        host, port = await nursery.start(runtime.serve)
        async with fault_proxy(host, port, random_faults(chance, 20_000, 2 * pause_seconds)) as proxy:
            over = trio.Event()
            urls = [proxy.url] * clients + [f"ws://127.0.0.1:{port}/ws"]
            for record, url in zip(records, urls, strict=True):
                seed_of_client = random.Random(chance.random())
                nursery.start_soon(live, record, runtime, url, over, seed_of_client, pause_seconds)
            await trio.sleep(seconds)
            # On a busy machine little happens in that time, and then the faults go on until it has.
            while sum(one.reconnects for one in records[:-1]) <= clients or not set(proxy.harmed) >= KINDS:  # noqa: ASYNC110
                await trio.sleep(0.05)
            over.set()
            proxy.faults = Faults
            since = trio.current_time()
            while sum(not record.is_complete() for record in records):  # noqa: ASYNC110 - they are in many tasks
                await trio.sleep(0.05)
            await trio.sleep(0.3)  # what came twice would come now
            nursery.cancel_scope.cancel()
    assert not runtime.failures
    recoveries = [record.complete_at - since for record in records[:-1]]
    return Trial(records[:-1], records[-1], proxy, recoveries)


async def live(
    record: UserRecord,
    runtime: actors.Runtime,
    url: str,
    over: trio.Event,
    chance: random.Random,
    pause_seconds: float,
) -> None:
    """One user's life: an emitter, a client that listens, and the same client sending."""
    environment = Environment(random=chance)
    async with (
        connect(url, token=record.user_id, connect_seconds=4 * pause_seconds, environment=environment) as session,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(emit, record, runtime, over, chance, pause_seconds)
        nursery.start_soon(talk, record, session, over, chance, pause_seconds)
        async for item in session:
            record.take(item)


async def emit(
    record: UserRecord, runtime: actors.Runtime, over: trio.Event, chance: random.Random, pause_seconds: float
) -> None:
    """Emit numbered events, some alone and some many at once."""
    thread = runtime.thread(f"thread-of-{record.user_id}")
    while not over.is_set() and len(record.emitted) < 900:
        for _ in range(chance.choice([1, 1, 1, 10])):
            record.emitted.append(len(record.emitted))
            payload = {"n": record.emitted[-1], "x": "x" * chance.randrange(200)}
            await thread.emit("tick", payload, user_id=record.user_id)
        await trio.sleep(chance.uniform(0, 2 * pause_seconds))


async def talk(
    record: UserRecord, session: Session, over: trio.Event, chance: random.Random, pause_seconds: float
) -> None:
    """Say something again and again, whatever happens to the replies."""
    while not over.is_set():
        record.sent.append(len(record.sent))
        await session.send({"n": record.sent[-1]})
        await trio.sleep(chance.uniform(0, 8 * pause_seconds))


@pytest.mark.slow
async def test_every_client_gets_what_was_emitted(report: Report, at_length: bool) -> None:
    """Everything emitted and sent came once and in order, without a hole, to each client, and to a bystander. With
    ``--at-length``: to each of 200, after a minute of it."""
    clients, seconds, pause_seconds = (200, 60.0, 0.25) if at_length else (20, 2.0, 0.05)
    with trio.fail_after(seconds + 60):
        trial = await run_with_faults(clients, seconds, seed=1, pause_seconds=pause_seconds)
    events = sum(len(record.offsets) for record in trial.victims)
    report(
        f"cut, reset, stalled and refused at random for {seconds:g} s",
        lost_unreported=sum(record.wrong for record in trial.victims),
        recovery_seconds=trial.recoveries,
        others_hurt=trial.bystander.wrong + (trial.bystander.reconnects != 1),
        note=f"{clients} clients, {events:,} events",
    )
