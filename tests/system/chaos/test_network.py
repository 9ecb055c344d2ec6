"""Over a network that does what networks do, what was emitted arrives once and in order, or is reported.

Server, clients, sockets and limits are the real ones. The clock is not, but for the last test: a minute takes a second,
and a recovery is what the protocol's own times make it, not what the machine was busy with. In each workload bob and a
device of carol's are at the server itself: they are the others.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import attrs
import msgspec
import pytest
import trio
from trio.testing import MockClock

from actors.testing import FaultProxy, Faults, Way, fault_proxy
from actors.testing.chance import Chance
from actors.testing.network_faults import Direction, Harm
from tests.system.chaos.report import Report
from tests.system.chaos.workload import Device, Workload, workload
from tests.tools.command import Running, running, stages

pytestmark = pytest.mark.slow

VICTIMS = "v1", "v2", "v3", "v4", "carol"


@pytest.fixture
def virtual_clock() -> MockClock:
    """Time that goes on when nothing has happened for two milliseconds; loopback needs none."""
    return MockClock(autojump_threshold=0.002)


@attrs.define
class Hardship:
    """People behind a proxy, and what is to be said of them afterwards."""

    workload: Workload
    proxy: FaultProxy
    victims: list[Device]
    since: float
    """From when on the time of a recovery counts."""

    @property
    def connections(self) -> set[int]:
        """The numbers of connections that the victims have had."""
        return {device.connections for device in self.victims}

    async def until_connected(self, times: int) -> None:
        """Until each victim has connected so often."""
        while min(self.connections) < times:  # noqa: ASYNC110 - they are many
            await trio.sleep(0.1)


@asynccontextmanager
async def ordeal(
    report: Report,
    what: str,
    note: str,
    faults: Callable[[], Faults] = Faults,
    *,
    quiet: bool = False,
    tick_seconds: float = 0.25,
) -> AsyncIterator[Hardship]:
    """Let users live behind a proxy, with bad luck while the body runs; then tell how they fared."""
    async with workload(tick_seconds) as here, fault_proxy(*here.address, faults) as proxy:
        here.quiet.update(VICTIMS if quiet else ())
        victims = [here.join(user_id, proxy.url) for user_id in VICTIMS]
        opened = Hardship(here, proxy, victims, trio.current_time())
        await opened.until_connected(1)
        yield opened
        await here.settle()
        report(
            what,
            lost_unreported=here.unaccounted(*victims),
            recovery_seconds=here.recoveries(opened.since, *victims),
            others_hurt=here.hurt(*victims),
            note=note,
        )


# --- lines that are poor --------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "way", "burst"),
    [
        ("latency 200 ± 100 ms", Way(latency_seconds=0.2, jitter_seconds=0.1), 64),
        ("bandwidth 16 KiB/s", Way(bytes_per_second=16 * 1024), 64),
        ("slices of 1 to 7 bytes", Way(slice_bytes=(1, 7)), 4),
    ],
    ids=["latency", "bandwidth", "slices"],
)
async def test_a_poor_line(what: str, way: Way, burst: int, report: Report, virtual_clock: MockClock) -> None:
    """A line that is slow, narrow or grainy both ways costs time, and neither an event nor the connection."""
    async with ordeal(report, what, f"{burst} KiB at once", lambda: Faults(up=way, down=way)) as life:
        await trio.sleep(5)
        life.since = trio.current_time()
        for _ in range(burst):
            for user_id in VICTIMS:
                await life.workload.emit(life.workload.users[user_id], 1024)
        await trio.sleep(5)
    assert life.connections == {1}
    assert life.proxy.passed_bytes["down"] > burst * 1024 * len(VICTIMS)


# --- lines that break -----------------------------------------------------------------


async def test_a_stall_that_ends(report: Report, virtual_clock: MockClock) -> None:
    """Eight seconds in which nothing passes are shorter than every timeout: everything comes, on the same
    connection."""
    async with ordeal(report, "stall of 8 s, then on", "no connection was lost") as life:
        await trio.sleep(5)
        life.proxy.stall()
        await trio.sleep(8)
        life.since = trio.current_time()
        life.proxy.go_on()
        await trio.sleep(5)
    assert life.connections == {1}
    assert life.proxy.harmed == {"stall": len(VICTIMS)}


async def test_a_stall_that_ends_in_a_cut(report: Report, virtual_clock: MockClock) -> None:
    """Bytes that waited in the line are lost with it, and come again on the next one."""
    async with ordeal(report, "stall of 5 s, then cut", "from the cut") as life:
        await trio.sleep(5)
        life.proxy.stall()
        await trio.sleep(5)
        life.since = trio.current_time()
        life.proxy.cut()
        life.proxy.go_on()
        await life.until_connected(2)
    assert life.connections == {2}
    assert life.proxy.harmed == {"stall": len(VICTIMS), "close": len(VICTIMS)}


async def test_resets_anywhere(report: Report, virtual_clock: MockClock) -> None:
    """A RST after any number of bytes, in the upgrade, in a frame, between two, loses and doubles nothing."""
    chance = Chance("resets")

    def faults() -> Faults:
        limit = Way(limit_bytes=chance.count(0, chance.one((500, 3_000))))
        return Faults(up=limit, harm="reset") if chance.happens(0.3) else Faults(down=limit, harm="reset")

    async with ordeal(report, "resets at random bytes for 20 s", "from when they ended") as life:
        life.proxy.faults = faults
        life.proxy.reset()
        await trio.sleep(20)
        life.since = trio.current_time()
        life.proxy.faults = Faults
        await trio.sleep(5)
    assert life.proxy.harmed["reset"] > 4 * len(VICTIMS)


@pytest.mark.parametrize(
    ("direction", "what", "note"),
    [
        (None, "half-open, both ways", "each side finds it after 15 + 10 s of silence"),
        ("down", "half-open, nothing comes down", "the client finds it after 15 + 10 s of silence"),
        ("up", "half-open, nothing goes up", "the server finds it after 15 + 10 s, events coming all the while"),
    ],
    ids=["both", "down", "up"],
)
async def test_half_open(
    direction: Direction | None, what: str, note: str, report: Report, virtual_clock: MockClock
) -> None:
    """A connection that loses all bytes without a word is found by the heartbeats of one side or the other, and what
    was said into the void comes again."""
    async with ordeal(report, what, note) as life:
        await trio.sleep(5)
        life.since = trio.current_time()
        life.proxy.vanish(direction)
        await life.until_connected(2)
        await trio.sleep(5)
    assert life.connections == {2}
    assert life.proxy.harmed == {"vanish": len(VICTIMS)}


async def test_an_unreachable_server(report: Report, virtual_clock: MockClock) -> None:
    """Cut off and refused for three seconds, every device reconnects by itself."""
    async with ordeal(report, "unreachable for 3 s", "from when it was reachable") as life:
        await trio.sleep(5)
        life.proxy.sever()
        await trio.sleep(3)
        life.since = trio.current_time()
        life.proxy.mend()
        await life.until_connected(2)
    assert life.connections == {2}
    assert life.proxy.harmed["refuse"] >= len(VICTIMS)


# --- lines that are cut in silence --------------------------------------------------


async def test_an_idle_cutter_of_a_minute(report: Report, virtual_clock: MockClock) -> None:
    """The heartbeats, every 15 s, are more than a middlebox with 60 s of patience asks for: five silent minutes, and
    not one connection is lost."""
    note = "5 silent minutes; no connection was lost"
    faults = Faults(idle_seconds=60.0)
    async with ordeal(report, "idle cutter, 60 s", note, lambda: faults, quiet=True, tick_seconds=2.0) as life:
        await trio.sleep(300)
        life.since = trio.current_time()
        for user_id in VICTIMS:
            await life.workload.emit(life.workload.users[user_id])
    assert life.connections == {1}
    assert not life.proxy.harmed


@pytest.mark.parametrize("harm", ["vanish", "reset"])
async def test_an_idle_cutter_faster_than_the_heartbeat(harm: Harm, report: Report, virtual_clock: MockClock) -> None:
    """A middlebox that forgets connections after 10 s, silently or with a RST, costs reconnects, and no event."""
    what = "idle cutter, 10 s, silent" if harm == "vanish" else "idle cutter, 10 s, RST"
    faults = Faults(idle_seconds=10.0, idle_harm=harm)
    async with ordeal(report, what, "an event every 11.1 s", lambda: faults, quiet=True, tick_seconds=2.0) as life:
        for _ in range(8):
            await trio.sleep(11.1)  # the last thing to pass is an ack, a second after the event
            for user_id in VICTIMS:
                await life.workload.emit(life.workload.users[user_id])
    assert min(life.connections) > 2
    assert life.proxy.harmed["idle"] > len(VICTIMS)


# --- a server that is a process -------------------------------------------------------


def resets() -> Callable[[], Faults]:
    """Connections that are reset after a few hundred bytes."""
    chance = Chance("resets of a process")
    return lambda: Faults(down=Way(limit_bytes=chance.count(0, 1_500)), harm="reset")


LINES: dict[str, Callable[[], Faults]] = {
    "late": lambda: Faults(up=Way(latency_seconds=0.2, jitter_seconds=0.1), down=Way(latency_seconds=0.2)),
    "narrow": lambda: Faults(up=Way(bytes_per_second=16_384), down=Way(bytes_per_second=16_384)),
    "grainy": lambda: Faults(up=Way(slice_bytes=(1, 7)), down=Way(slice_bytes=(1, 7))),
    "stalled": Faults,
    "severed": Faults,
    "reset": resets(),
}
EVENTS = 80


async def test_a_server_process(report: Report) -> None:
    """``actors serve`` as a process of its own, in real time, each device on another kind of bad line: every event
    comes once, in order, to each, and the emitter is told of each that it was acked."""
    devices = {user_id: Device(user_id) for user_id in (*LINES, "bob")}
    async with AsyncExitStack() as stack:
        command = await stack.enter_async_context(running("serve", "--stdin", "--receipts", "--linger", "20"))
        address = "127.0.0.1", urlsplit(command.url).port or 0
        proxies = {
            user_id: await stack.enter_async_context(fault_proxy(*address, faults)) for user_id, faults in LINES.items()
        }
        nursery = await stack.enter_async_context(trio.open_nursery())
        for user_id, device in devices.items():
            nursery.start_soon(watch, device, proxies[user_id].url if user_id in proxies else command.url)
        await feed(command, proxies, list(devices))
        said_at = trio.current_time()
        proxies["reset"].faults = Faults
        while not all(len(device.at) >= EVENTS for device in devices.values()):  # noqa: ASYNC110
            await trio.sleep(0.02)
        finished = await command.finish()
        nursery.cancel_scope.cancel()
    for user_id, harm in {"reset": "reset", "severed": "refuse", "stalled": "stall"}.items():
        assert proxies[user_id].harmed[harm]
    unconfirmed = EVENTS * len(devices) - sum("ACKED" in told for told in stages(finished).values())
    bob = devices.pop("bob")
    report(
        "six kinds of bad line at a process",
        lost_unreported=unconfirmed + sum(astray(device) for device in devices.values()),
        recovery_seconds=[max(0.0, max(device.at.values()) - said_at) for device in devices.values()],
        others_hurt=astray(bob) + (bob.connections != 1),
        note="actors serve, real time, from the last line",
    )


async def feed(command: Running, proxies: dict[str, FaultProxy], users: list[str]) -> None:
    """Emit events to every user; meanwhile connections stall, and go on."""
    for number in range(EVENTS):
        said = [
            {"type": "tick", "thread_id": user_id, "user_id": user_id, "payload": {"n": number}} for user_id in users
        ]
        await command.feed(*(msgspec.json.encode(event) for event in said))
        await trio.sleep(0.02)
        if number == EVENTS // 4:
            proxies["stalled"].stall()
            proxies["severed"].sever()
        elif number == EVENTS * 3 // 4:
            proxies["stalled"].go_on()
            proxies["severed"].mend()


async def watch(device: Device, url: str) -> None:
    """Have a device somewhere."""
    async with device.connect(url) as session:
        async for item in session:
            device.take(item)


def astray(device: Device) -> int:
    """Count what did not come, came twice, or was not the next."""
    return len(set(range(1, EVENTS + 1)) ^ set(device.offsets)) + sum(
        offset != number for number, offset in enumerate(device.offsets, 1)
    )
