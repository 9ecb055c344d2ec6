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
from actors.kernel.failures import Failures
from actors.limits import Limits
from actors.observability.instrument import Instruments
from actors.users.presence import Presence
from actors.users.registry import Registry
from tests.support.raw import Peer


class Harness:
    """A registry, a clock, and what is marked for the flusher."""

    def __init__(self) -> None:
        self.now = 0.0
        self.marked: list[Presence] = []
        environment = Environment(clock=lambda: self.now)
        self.limits = limits = Limits(warning_seconds=60.0)
        failures = Failures(10, environment.wall_clock)
        instruments = Instruments(failures)
        context = Context(limits=limits, environment=environment, failures=failures, instruments=instruments)
        self.lines = context.lines
        self.registry = Registry(context, self.mark)

    def mark(self, presence: Presence) -> None:
        """The flusher's."""
        presence.marked = True
        self.marked.append(presence)

    def attach(self, user_id: str) -> Presence:
        """One more device of a user."""
        device: Any = object()
        presence = self.registry.presence(user_id)
        presence.devices.append(device)
        return presence


def test_an_owner_who_is_here_is_marked() -> None:
    """An owner with a device is marked for the flusher, and the thread learns the presence; one without is not."""
    harness = Harness()
    alice = harness.attach("alice")
    assert harness.registry.ring("alice", "t1") is alice
    assert harness.registry.ring("bob", "t2") is None
    harness.registry.presence("carol")
    assert harness.registry.ring("carol", "t3") is None
    assert harness.marked == [alice]


def test_a_user_who_was_forgotten_is_found_anew() -> None:
    """A presence that was let go of has no device; who comes back has another one, which is rung."""
    harness = Harness()
    former = harness.attach("alice")
    former.devices.clear()
    for _ in range(1_000):
        harness.registry.retire(lambda user_id: True)
    assert harness.registry.ring("alice", "t1") is None
    present = harness.attach("alice")
    assert harness.registry.ring("alice", "t1") is present is not former
    assert harness.marked == [present]


def test_who_is_here() -> None:
    """Devices are counted, and a user whom nobody mentioned is not begun by being asked about."""
    harness = Harness()
    harness.attach("alice")
    harness.attach("alice")
    assert (harness.registry.devices("alice"), harness.registry.devices("bob")) == (2, 0)
    assert harness.registry.known("bob") is harness.registry.known(None) is None
    assert harness.registry.known("alice") is harness.registry.presence("alice")


def test_said_once_a_period(caplog: pytest.LogCaptureFixture) -> None:
    """That a thread's events reach nobody is said once a minute for each thread, and why; at WARNING only where that
    needs an act."""
    caplog.set_level(logging.INFO, "actors")
    harness = Harness()
    for _ in range(2):
        harness.registry.ring(None, "t1")
        harness.registry.ring("alice", "t2")
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (
            logging.WARNING,
            "thread t1 has no owner: its events are held until it is bound to a user (runtime.bind, or user_id= of"
            " emit), and dropped if none comes",
        ),
        (logging.INFO, "thread t2: its owner alice has no device connected; events wait in the log"),
    ]
    harness.now = 59.9
    harness.registry.ring(None, "t1")
    assert len(caplog.records) == 2
    harness.now = 60.0
    harness.registry.ring(None, "t1")
    assert len(caplog.records) == 3


def test_of_very_many_threads_some_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """Of a flood of events that nobody can receive the log has some lines, and then their number."""
    caplog.set_level(logging.WARNING, "actors")
    harness = Harness()
    for number in range(5_000):
        harness.registry.ring(None, f"t{number}")
    assert len(caplog.records) == harness.limits.warnings
    harness.now = 61.0
    harness.lines.look()
    count = 5_000 - harness.limits.warnings
    assert caplog.messages[-1] == f"{count} more events of threads without an owner in the last 61 s, left out here"
    harness.registry.ring(None, "t7")
    assert "t7 has no owner" in caplog.messages[-1]


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
