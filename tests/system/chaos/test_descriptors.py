"""A server without a descriptor left: clients that are in are served, others wait, and get in when one leaves."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress

import attrs
import pytest
import trio

from tests.support.raw import ACTORS, connected
from tests.system.chaos.processes import Process, on_linux, port_of, started, until, url_of
from tests.system.chaos.report import Report

CLIENTS = 400
STAYING = 100
DESCRIPTORS = 256
LOOK_SECONDS = 1.0
"""For how long a full server is watched at doing nothing."""


@attrs.define
class Guest:
    """A device that knocks until it is let in, acks all that it gets, and stays until it is asked to leave."""

    user_id: str
    here: bool = False
    ended: bool = False
    offsets: list[int] = attrs.field(factory=list)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    async def visit(self, port: int) -> None:
        """Come and stay."""
        with self.scope:
            async with connected(("127.0.0.1", port)) as peer:
                await peer.open(ACTORS)
                await peer.hello(self.user_id)
                self.here = True
                with suppress(AssertionError):  # the connection ended
                    while True:
                        offset = (await peer.next_event())["offset"]
                        self.offsets.append(offset)
                        await peer.ack(offset)
            self.ended = True

    @property
    def is_hurt(self) -> bool:
        """True if something came twice, or out of order, or the server ended the connection."""
        return self.ended or self.offsets != list(range(1, len(self.offsets) + 1))


@attrs.define
class Feed:
    """Lines into ``actors serve``, and what its receipts say."""

    server: Process
    emitted: dict[str, int] = attrs.field(factory=dict)
    """The number of events that each user has."""
    acked: int = 0

    async def emit(self, guests: list[Guest]) -> None:
        """One more event to each of these."""
        for guest in guests:
            self.emitted[guest.user_id] = self.emitted.get(guest.user_id, 0) + 1
            event = {"type": "tick", "thread_id": guest.user_id, "user_id": guest.user_id}
            await self.server.feed(json.dumps(event))

    async def hear(self) -> None:
        """Count what was acked."""
        async for receipt in self.server.objects():
            self.acked += receipt["stage"] == "ACKED"

    def has_all(self, guests: list[Guest]) -> bool:
        """True if all of these have got all that there is for them."""
        return all(len(guest.offsets) >= self.emitted[guest.user_id] for guest in guests)


@pytest.fixture
def room() -> Iterator[None]:
    """Descriptors enough for this process, which has all the clients."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < 2 * CLIENTS:
        resource.setrlimit(resource.RLIMIT_NOFILE, (2 * CLIENTS, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@on_linux
@pytest.mark.slow
async def test_no_descriptor_left(room: None, report: Report) -> None:
    """With 400 clients and 256 descriptors, those that are in get every event, and the others wait; when 300 have left
    all others are in, and have what came for them meanwhile. In the end not one descriptor more is open."""
    guests = [Guest(f"user{number}") for number in range(CLIENTS)]
    serving = "actors", "serve", "--stdin", "--receipts", "--linger", "0", "--port", "0"
    async with started(*serving) as server, trio.open_nursery() as nursery:
        url = await url_of(server)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        before = server.descriptors
        feed = Feed(server)
        nursery.start_soon(feed.hear)
        for guest in guests:
            nursery.start_soon(guest.visit, port_of(url))
        await until(lambda: sum(guest.here for guest in guests) == DESCRIPTORS - before)
        inside = [guest for guest in guests if guest.here]
        outside = [guest for guest in guests if not guest.here]
        await feed.emit(guests)
        await until(lambda: feed.has_all(inside) and feed.acked == taken(guests))
        busy = await share_of_a_core(server)
        staying = [*inside[: STAYING // 2], *outside[-STAYING // 2 :]]
        left_at = time.monotonic()
        leave(guest for guest in guests if guest not in staying)
        await until(lambda: all(guest.here for guest in staying))
        recovery_seconds = time.monotonic() - left_at
        await feed.emit(staying)
        await until(lambda: feed.has_all(staying) and feed.acked == taken(guests))
        leave(staying)
        await until(lambda: server.descriptors == before)
        await server.end_input()
        await server.end()
        nursery.cancel_scope.cancel()
    acked, total = feed.acked, sum(feed.emitted.values())
    never_in = sum(not guest.here for guest in guests)
    assert server.said.splitlines()[-1] == f"{total} events: {acked} ACKED, {total - acked} STORED"
    report(
        f"{DESCRIPTORS} descriptors, {CLIENTS} clients, {CLIENTS - STAYING} leave",
        lost_unreported=total - acked - never_in,
        recovery_seconds=[recovery_seconds],
        others_hurt=sum(guest.is_hurt for guest in guests),
        note=f"{len(inside)} served, {len(outside)} waiting; {busy:.0%} of a core while full; none leaked",
    )


def taken(guests: Iterable[Guest]) -> int:
    """Return the number of events that they have got."""
    return sum(len(guest.offsets) for guest in guests)


def leave(guests: Iterable[Guest]) -> None:
    """Have them go, whether they are in or still wait."""
    for guest in guests:
        guest.scope.cancel()


async def share_of_a_core(server: Process) -> float:
    """Return the load of a server that has nothing to do."""
    before = server.cpu_seconds
    await trio.sleep(LOOK_SECONDS)
    return (server.cpu_seconds - before) / LOOK_SECONDS
