"""Through a network that cuts, resets, stalls and refuses at random, every client's ledger is that of the emitters."""

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


@attrs.define
class Ledger:
    """What was emitted for one user and sent by him, and what his client got."""

    user_id: str
    emitted: list[int] = attrs.field(factory=list)
    sent: list[int] = attrs.field(factory=list)
    ticks: list[int] = attrs.field(factory=list)
    messages: list[int] = attrs.field(factory=list)
    offsets: list[int] = attrs.field(factory=list)
    others: list[Any] = attrs.field(factory=list)
    reconnects: int = 0
    complete_at: float = 0.0
    """When as much had arrived as there was, after the last of the bad weather."""

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
        """Whether as much has arrived as there is."""
        complete = len(self.ticks) >= len(self.emitted) and len(self.messages) >= len(self.sent)
        if complete and not self.complete_at:
            self.complete_at = trio.current_time()
        return complete

    @property
    def wrong(self) -> int:
        """What is missing, comes twice, is out of order, or should not be there."""
        pairs = (self.ticks, self.emitted), (self.messages, self.sent), (self.offsets, range(1, len(self.offsets) + 1))
        astray = sum(sum(a != b for a, b in zip(came, there, strict=False)) for came, there in pairs)
        return astray + sum(abs(len(came) - len(there)) for came, there in pairs) + len(self.others)


def weather(chance: random.Random, most_bytes: int, stall_seconds: float) -> Callable[[], Faults]:
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
class Season:
    """What there was."""

    victims: list[Ledger]
    bystander: Ledger
    """Of somebody who is not behind the proxy."""
    proxy: FaultProxy
    recoveries: list[float]


async def weathered(clients: int, seconds: float, *, seed: int, pause_seconds: float) -> Season:
    """Clients that receive and send through bad weather for so long, and then until they have everything."""
    chance = random.Random(seed)
    ledgers = [Ledger(f"user{number}") for number in range(clients + 1)]
    limits = actors.Limits(hello_seconds=2.0, write_deadline_seconds=1.0, sessions_per_user=1_000)
    async with trio.open_nursery() as nursery, actors.open_runtime(limits=limits) as runtime:
        host, port = await nursery.start(runtime.serve)
        async with fault_proxy(host, port, weather(chance, 20_000, 2 * pause_seconds)) as proxy:
            over = trio.Event()
            urls = [proxy.url] * clients + [f"ws://127.0.0.1:{port}/ws"]
            for ledger, url in zip(ledgers, urls, strict=True):
                seed_of_client = random.Random(chance.random())
                nursery.start_soon(live, ledger, runtime, url, over, seed_of_client, pause_seconds)
            await trio.sleep(seconds)
            over.set()
            proxy.faults = Faults
            since = trio.current_time()
            while sum(not ledger.is_complete() for ledger in ledgers):  # noqa: ASYNC110 - they are in many tasks
                await trio.sleep(0.05)
            await trio.sleep(0.3)  # what came twice would come now
            nursery.cancel_scope.cancel()
    assert not runtime.failures
    recoveries = [ledger.complete_at - since for ledger in ledgers[:-1]]
    return Season(ledgers[:-1], ledgers[-1], proxy, recoveries)


async def live(
    ledger: Ledger,
    runtime: actors.Runtime,
    url: str,
    over: trio.Event,
    chance: random.Random,
    pause_seconds: float,
) -> None:
    """One user's life: an emitter, a client that listens, and the same client sending."""
    environment = Environment(random=chance)
    async with (
        connect(url, token=ledger.user_id, connect_seconds=4 * pause_seconds, environment=environment) as session,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(emit, ledger, runtime, over, chance, pause_seconds)
        nursery.start_soon(talk, ledger, session, over, chance, pause_seconds)
        async for item in session:
            ledger.take(item)


async def emit(
    ledger: Ledger, runtime: actors.Runtime, over: trio.Event, chance: random.Random, pause_seconds: float
) -> None:
    """Emit numbered events, some alone and some many at once."""
    thread = runtime.thread(f"thread-of-{ledger.user_id}")
    while not over.is_set() and len(ledger.emitted) < 900:
        for _ in range(chance.choice([1, 1, 1, 10])):
            ledger.emitted.append(len(ledger.emitted))
            payload = {"n": ledger.emitted[-1], "x": "x" * chance.randrange(200)}
            await thread.emit("tick", payload, user_id=ledger.user_id)
        await trio.sleep(chance.uniform(0, 2 * pause_seconds))


async def talk(ledger: Ledger, session: Session, over: trio.Event, chance: random.Random, pause_seconds: float) -> None:
    """Say something again and again, whatever happens to the replies."""
    while not over.is_set():
        ledger.sent.append(len(ledger.sent))
        await session.send({"n": ledger.sent[-1]})
        await trio.sleep(chance.uniform(0, 8 * pause_seconds))


@pytest.mark.slow
async def test_every_ledger_is_that_of_the_emitters(report: Report, at_length: bool) -> None:
    """What was emitted and what was sent came once and in order, without a hole, to each client, and to one who had
    nothing to do with it. With ``--at-length``: to each of 200, after a minute of it."""
    clients, seconds, pause_seconds = (200, 60.0, 0.25) if at_length else (20, 2.0, 0.05)
    with trio.fail_after(seconds + 60):
        season = await weathered(clients, seconds, seed=1, pause_seconds=pause_seconds)
    assert {"refuse", "close", "reset", "stall"} <= set(season.proxy.harmed)
    assert sum(ledger.reconnects for ledger in season.victims) > clients
    events = sum(len(ledger.offsets) for ledger in season.victims)
    report(
        f"cut, reset, stalled and refused at random for {seconds:g} s",
        lost_unreported=sum(ledger.wrong for ledger in season.victims),
        recovery_seconds=season.recoveries,
        others_hurt=season.bystander.wrong + (season.bystander.reconnects != 1),
        note=f"{clients} clients, {events:,} events",
    )
