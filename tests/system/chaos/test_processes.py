"""Server, client and emitter, killed and stopped midway: what is lost is said, and no other process is hurt."""

from __future__ import annotations

import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from tests.system.chaos.journals import Journal, lost_unreported, told
from tests.system.chaos.processes import Process, fed, first_after, on_linux, port_of, served, settled, until, watched
from tests.system.chaos.report import Report

pytestmark = [pytest.mark.slow, on_linux]

STREAM = 100
"""Events that each device has before anything happens, and again after it."""

STANDSTILL_SECONDS = 1.2
"""Longer than an ack may take, and shorter than a test waits."""

IMPATIENT = {"ping_seconds": 0.3, "pong_seconds": 1.0, "sweep_seconds": 0.1}
"""Limits of a server that soon pings a silent device, and soon gives up one that does not answer."""


def journals(path: Path, *names: str) -> list[Journal]:
    return [Journal(path / name) for name in names]


async def streamed(*devices: Journal) -> None:
    """Wait until each device has had so many more events."""
    goals = [len(device.numbers) + STREAM for device in devices]
    await until(lambda: all(len(device.numbers) >= goal for device, goal in zip(devices, goals, strict=True)))


async def finish(emitter: Process, server: Process) -> None:
    """The emitter has nothing more to say, and ends when it was told all; then so does the server, in good order."""
    emitter.signal(signal.SIGTERM)
    assert await emitter.end() == 0
    assert await server.end() == 0, server.said


async def test_a_killed_server(tmp_path: Path, report: Report) -> None:
    """Devices of a server that was killed find the next one on its port, are told ``reset``, and have every event: the
    emitter, which was not told that they were ACKED, emits them again."""
    emitted, phone, laptop = journals(tmp_path, "emitted", "phone", "laptop")
    async with AsyncExitStack() as stack:
        server, emitter, url = await stack.enter_async_context(fed("alice", emitted, phone, laptop))
        await until(lambda: any(entry.text == "ACKED" for entry in emitted.entries("told")))
        await streamed(phone, laptop)
        killed_at = time.monotonic()
        await server.kill()
        await emitter.end()
        again = told(emitted).unsettled
        server, emitter, _ = await stack.enter_async_context(fed("alice", emitted, port=port_of(url)))
        await streamed(phone, laptop)
        await finish(emitter, server)
        await until(lambda: phone.numbers == laptop.numbers)
    assert [len(list(device.entries("reset"))) for device in (phone, laptop)] == [1, 1]
    outcome = told(emitted)
    report(
        "SIGKILL of the server, and another one on its port",
        lost_unreported=lost_unreported(outcome.owed, [phone, laptop]) + len(outcome.unsettled),
        recovery_seconds=first_after(killed_at, [phone, laptop]),
        note=f"2 devices told reset; {len(again)} of {len(outcome.emitted)} events emitted again",
    )


async def test_a_stopped_server(tmp_path: Path, report: Report) -> None:
    """A server that stood still for less than its devices' patience has lost none of them, and goes on."""
    emitted, phone = journals(tmp_path, "emitted", "phone")
    async with fed("alice", emitted, phone) as (server, emitter, _):
        await streamed(phone)
        await server.stop()
        await trio.sleep(STANDSTILL_SECONDS)
        went_on_at = time.monotonic()
        server.go_on()
        await streamed(phone)
        await finish(emitter, server)
    outcome = told(emitted)
    report(
        f"SIGSTOP of the server for {STANDSTILL_SECONDS:g} s, SIGCONT",
        lost_unreported=lost_unreported(outcome.owed, [phone]) + len(outcome.unsettled),
        recovery_seconds=first_after(went_on_at, [phone]),
        others_hurt=phone.openings - 1,
        note=f"{len(outcome.emitted)} events, no reconnect",
    )


async def test_a_server_that_stands_still_for_too_long(tmp_path: Path, report: Report) -> None:
    """Devices that gave it up come back when it goes on, from their cursors, and have every event once."""
    phone, laptop = journals(tmp_path, "phone", "laptop")
    async with (
        served(**IMPATIENT) as (server, url),
        watched(url, ("alice", phone), ("alice", laptop), silence_seconds=1.0) as devices,
    ):
        await server.ask("emit", users=["alice"], count=STREAM)
        await until(lambda: phone.numbers == laptop.numbers == set(range(STREAM)))
        await server.stop()
        await until(lambda: phone.state == laptop.state == "connecting")
        went_on_at = time.monotonic()
        server.go_on()
        await server.ask("emit", users=["alice"], count=STREAM)
        await until(lambda: phone.numbers == laptop.numbers == set(range(2 * STREAM)))
        await settled(server, "alice", 2 * STREAM)
        assert await server.ask("failures") == []
        assert devices.said == ""
    report(
        "SIGSTOP of the server, for longer than its devices wait",
        lost_unreported=lost_unreported(range(2 * STREAM), [phone, laptop]),
        recovery_seconds=first_after(went_on_at, [phone, laptop]),
        note=f"2 devices reconnected and resumed; {2 * STREAM} events, all ACKED",
    )


async def test_a_killed_client(tmp_path: Path, report: Report) -> None:
    """A device that was killed goes on from the cursor it had saved, with nothing missing and nothing twice; the user's
    other device and another user have noticed nothing."""
    phone, laptop, other = journals(tmp_path, "phone", "laptop", "other")
    async with AsyncExitStack() as stack:
        server, url = await stack.enter_async_context(served())
        await stack.enter_async_context(watched(url, ("alice", laptop), ("bob", other)))
        victim = await stack.enter_async_context(watched(url, ("alice", phone)))
        for _ in range(2):
            await server.ask("emit", users=["alice", "bob"], count=STREAM, pause_seconds=0.002)
            killed_at = time.monotonic()
            await victim.kill()
            await server.ask("emit", users=["alice", "bob"], count=STREAM)
            victim = await stack.enter_async_context(watched(url, ("alice", phone)))
        every = set(range(4 * STREAM))
        await until(lambda: phone.numbers == laptop.numbers == other.numbers == every)
        await settled(server, "alice", 4 * STREAM)
        assert await server.ask("failures") == []
    report(
        "SIGKILL of a client, twice, and again with its cursor",
        lost_unreported=lost_unreported(every, [phone]),
        recovery_seconds=first_after(killed_at, [phone]),
        others_hurt=lost_unreported(every, [laptop, other]) + laptop.openings + other.openings - 2,
        note=f"{len(every)} events to each device, a new process each time",
    )


async def test_a_stopped_client(tmp_path: Path, report: Report) -> None:
    """A device that stood still for longer than a ping may take is cut off, and ``explain`` says why; going on it comes
    back, and its ledger is whole. The user's other device has noticed nothing."""
    phone, laptop, tablet = journals(tmp_path, "phone", "laptop", "tablet")
    async with (
        served(**IMPATIENT) as (server, url),
        watched(url, ("alice", phone), ("carol", tablet)) as victim,
        watched(url, ("alice", laptop)),
    ):
        users = ["alice", "carol"]
        await server.ask("emit", users=users, count=STREAM)
        await until(lambda: phone.numbers == tablet.numbers == set(range(STREAM)))
        await victim.stop()
        await server.ask("emit", users=users, count=STREAM)
        await server.until(1, "devices", user_id="alice")
        await server.until(0, "devices", user_id="carol")
        why = await server.ask("explain", user_id="carol", number=STREAM)
        went_on_at = time.monotonic()
        victim.go_on()
        await server.ask("emit", users=users, count=STREAM)
        every = set(range(3 * STREAM))
        await until(lambda: phone.numbers == laptop.numbers == tablet.numbers == every)
        for user_id in users:
            await settled(server, user_id, 3 * STREAM)
        assert await server.ask("failures") == []
    assert "no device is here; the last, " in why
    assert f"(silent: it did not answer a ping within {IMPATIENT['pong_seconds']:g} s)" in why
    report(
        "SIGSTOP of a client, until it is cut off, SIGCONT",
        lost_unreported=lost_unreported(every, [phone, tablet]),
        recovery_seconds=[device.since(went_on_at, "caught_up") for device in (phone, tablet)],
        others_hurt=lost_unreported(every, [laptop]) + laptop.openings - 1,
        note="2 devices cut off as silent, and explain says so",
    )


async def test_a_killed_emitter(tmp_path: Path, report: Report) -> None:
    """Half a line is answered with its number; all that came before it is delivered and acked, and the server ends
    in good order, as at the end of any input."""
    emitted, phone, laptop = journals(tmp_path, "emitted", "phone", "laptop")
    async with fed("alice", emitted, phone, laptop) as (server, emitter, _):
        await streamed(phone, laptop)
        emitter.signal(signal.SIGUSR1)
        await until(lambda: any(emitted.entries("torn")))
        await emitter.kill()
        assert await server.end() == 0
        every = told(emitted).emitted
        bad, summary = server.said.splitlines()[-2:]
        await until(lambda: phone.numbers == laptop.numbers)
    assert bad.startswith(f"line {len(every) + 1}: expected a JSON object, got {{")
    assert summary == f"{len(every)} events: {len(every)} ACKED; 1 bad line"
    report(
        "SIGKILL of the emitter, in the middle of a line",
        lost_unreported=lost_unreported(every, [phone, laptop]),
        others_hurt=phone.openings + laptop.openings - 2,
        note=f"{summary}; exit status 0",
    )


async def test_a_stopped_emitter(tmp_path: Path, report: Report) -> None:
    """While it stands still no other device does; when it goes on so does its text, in order."""
    emitted, phone = journals(tmp_path, "emitted", "phone")
    async with fed("alice", emitted, phone) as (server, emitter, _):
        await streamed(phone)
        await emitter.stop()
        await trio.sleep(STANDSTILL_SECONDS)
        went_on_at = time.monotonic()
        emitter.go_on()
        await streamed(phone)
        await finish(emitter, server)
    outcome = told(emitted)
    numbers = [number for entry in phone.entries("event") for number in entry.numbers]
    assert numbers == sorted(outcome.emitted)
    report(
        f"SIGSTOP of the emitter for {STANDSTILL_SECONDS:g} s, SIGCONT",
        lost_unreported=lost_unreported(outcome.owed, [phone]) + len(outcome.unsettled),
        recovery_seconds=first_after(went_on_at, [phone]),
        others_hurt=phone.openings - 1,
        note=f"{len(outcome.emitted)} events, in order",
    )
