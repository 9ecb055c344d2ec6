"""The registry: who is rung, how often, and what is said where nobody can be."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
import trio.testing

import actors
from actors.context import Context
from actors.environment import Environment
from actors.errors import Quarantined, RuntimeClosed
from actors.kernel.failures import Failures
from actors.limits import Limits
from actors.observability.instrument import Instruments
from actors.users.presence import RING
from actors.users.registry import Registry
from tests.support.raw import Peer


class Door:
    """The mailbox of a user's actor."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.refusal: Exception | None = None

    def tell(self, message: object) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.told.append(message)


class Harness:
    """A registry, a clock, and a door for each user."""

    def __init__(self) -> None:
        self.now = 0.0
        self.doors: dict[str, Door] = {}
        environment = Environment(clock=lambda: self.now)
        limits = Limits(warning_seconds=60.0)
        failures = Failures(10, environment.wall_clock)
        instruments = Instruments(failures)
        self.registry = Registry(
            Context(limits=limits, environment=environment, failures=failures, instruments=instruments)
        )

    def attach(self, user_id: str) -> Door:
        """One more device of a user."""
        device: Any = object()
        door: Any = self.doors.setdefault(user_id, Door())
        presence = self.registry.presence(user_id)
        presence.address = door
        presence.devices.append(device)
        return self.doors[user_id]


def test_rings_coalesce() -> None:
    """However often an owner is rung, the actor is told once, until it has been looked after."""
    harness = Harness()
    door = harness.attach("alice")
    for _ in range(3):
        harness.registry.ring("alice", "t1")
    assert door.told == [RING]
    harness.registry.presence("alice").rung = False
    harness.registry.ring("alice", "t2")
    assert door.told == [RING, RING]


def test_a_busy_actor_looks_for_itself() -> None:
    """An actor whose queue is full is not told, and the bell stays rung: it looks at it after each message."""
    harness = Harness()
    harness.attach("alice").refusal = trio.WouldBlock()
    harness.registry.ring("alice", "t1")
    assert harness.registry.presence("alice").rung


@pytest.mark.parametrize("refusal", [Quarantined("out of service"), RuntimeClosed("closed")])
def test_nobody_answers_the_door(refusal: Exception) -> None:
    """Where the actor is out of service the bell is not left rung, so that its successor can be rung."""
    harness = Harness()
    door = harness.attach("alice")
    door.refusal = refusal
    harness.registry.ring("alice", "t1")
    door.refusal = None
    harness.registry.ring("alice", "t1")
    assert door.told == [RING]


def test_who_is_here() -> None:
    """Devices are counted, and a user whom nobody mentioned is not begun by being asked about."""
    harness = Harness()
    harness.attach("alice")
    harness.attach("alice")
    assert (harness.registry.devices("alice"), harness.registry.devices("bob")) == (2, 0)
    assert harness.registry.known("bob") is harness.registry.known(None) is None
    assert harness.registry.known("alice") is harness.registry.presence("alice")


def test_said_once_a_period(caplog: pytest.LogCaptureFixture) -> None:
    """That a thread's events reach nobody is said once a minute for each thread, and why."""
    harness = Harness()
    for _ in range(2):
        harness.registry.ring(None, "t1")
        harness.registry.ring("alice", "t2")
    assert [record.getMessage() for record in caplog.records] == [
        "thread t1 has no owner: its events are held until it is bound to a user",
        "thread t2: its owner alice has no device connected; events wait in the log",
    ]
    harness.now = 59.9
    harness.registry.ring(None, "t1")
    assert len(caplog.records) == 2
    harness.now = 60.0
    harness.registry.ring(None, "t1")
    assert len(caplog.records) == 3


def test_of_very_many_threads_some_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """Of a flood of events that nobody can receive the log has a hundred lines, and then their number."""
    caplog.set_level(logging.WARNING, "actors")
    harness = Harness()
    for number in range(5_000):
        harness.registry.ring(None, f"t{number}")
    assert len(caplog.records) == 100
    harness.now = 61.0
    harness.registry.ring(None, "t7")
    assert caplog.messages[100] == "4900 more events, of other threads, reached nobody either"
    assert "t7 has no owner" in caplog.messages[101]


async def test_users_who_come_again_and_again_are_not_forgotten(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """A device that is here for a moment now and then keeps its session, and its log its epoch, whenever one looks."""
    async with actors.open_runtime(limits=Limits(session_seconds=120, retire_seconds=60)) as runtime:
        session: str | None = None
        epochs = set()
        await trio.sleep(10)
        for _ in range(12):
            client, server = trio.testing.memory_stream_pair()
            nursery.start_soon(runtime.handle, server)
            peer = Peer(client)
            welcome = await peer.attach("alice", **({"session": session} if session else {}))
            assert session in {None, welcome["session"]}
            session = welcome["session"]
            epochs.add(welcome["epoch"])
            await peer.leave()
            await trio.sleep(60)
        assert len(epochs) == 1


async def test_users_who_are_gone_are_forgotten(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """A user without devices is forgotten when his sessions have lived long enough; one who has a device is not. His
    session is known again by its signature."""
    async with actors.open_runtime(limits=Limits(session_seconds=120, retire_seconds=60)) as runtime:

        async def attach(user_id: str, **fields: Any) -> tuple[Peer, str]:
            client, server = trio.testing.memory_stream_pair()
            nursery.start_soon(runtime.handle, server)
            peer = Peer(client)
            return peer, (await peer.attach(user_id, **fields))["session"]

        stays, _ = await attach("bob")
        nursery.start_soon(answer_pings, stays)
        leaves, session = await attach("alice")
        await leaves.leave()
        actor = runtime.tree.users.mailbox("alice").actor
        await trio.sleep(150)
        back, known = await attach("alice", session=session)
        assert known == session
        await back.leave()
        await trio.sleep(310)
        assert runtime.tree.registry.known("alice") is None
        assert runtime.tree.registry.known("bob") is not None
        back, known = await attach("alice", session=session)
        assert known == session
        assert runtime.tree.users.mailbox("alice").actor is not actor
        nursery.cancel_scope.cancel()


async def answer_pings(peer: Peer) -> None:
    """Stay, as a device does."""
    while True:
        await peer.next_op("ping")
        await peer.say({"op": "pong"})
