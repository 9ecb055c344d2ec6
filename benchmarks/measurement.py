"""One run: a fresh server on one core, a fresh load client on another, and what both cost meanwhile."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import attrs

from benchmarks.children import Child, ProcessFailed, child, cores
from benchmarks.gauges import busy_seconds, cpu_seconds_of, resident_kib_of
from benchmarks.load.totals import Report
from benchmarks.peers.roster import Peer
from benchmarks.process import arguments_of
from benchmarks.schedule import Schedule

LEAD_SECONDS = 0.2
"""Time from ``go`` to the first event, in which both processes read it."""

SETTLE_SECONDS = 0.2
"""Time from the last connection to the reading of what the connections cost."""

Beside = Callable[[str], AbstractContextManager[None]]
"""A load that runs beside a measurement, given the server's port."""


@attrs.frozen
class Server:
    """A running server."""

    process: Child
    port: str
    pid: int

    def cpu_seconds(self) -> float:
        """Return its processor time so far. Raises :class:`ProcessFailed` when it has ended."""
        try:
            return cpu_seconds_of(self.pid)
        except OSError:
            raise ProcessFailed(f"{self.process.module}: expected it to run, it has ended") from None

    def resident_kib(self) -> float:
        """Return its resident memory. Raises :class:`ProcessFailed` when it has ended."""
        try:
            return resident_kib_of(self.pid)
        except OSError:
            raise ProcessFailed(f"{self.process.module}: expected it to run, it has ended") from None


@attrs.frozen
class Opened:
    """The cost of each of a server's connections: processor time from its first byte to its last answer, and memory."""

    connect_ms: float
    resident_kib: float


@attrs.frozen
class Run:
    """One run of one schedule on one server."""

    load: Report
    server_cpu_seconds: float
    """Of the measured seconds, without the warm-up."""

    others_cpu_seconds: float
    """What everything else on the machine took meanwhile."""

    schedule: Schedule
    opened: Opened

    @property
    def others_percent(self) -> float:
        """The share of a core that neither the server nor its load took: of a quiet machine next to nothing."""
        return 100 * self.others_cpu_seconds / self.schedule.seconds

    @property
    def cpu_us_per_delivery(self) -> float:
        """The server's processor time for each event and device, in µs."""
        return 1e6 * self.server_cpu_seconds / (self.schedule.measured_events * self.schedule.devices)

    @property
    def cpu_percent(self) -> float:
        """The share of a core that the server took."""
        return 100 * self.server_cpu_seconds / self.schedule.seconds

    @property
    def client_percent(self) -> float:
        """The share of a core that the load client took."""
        return 100 * self.load.cpu_seconds / max(self.load.wall_seconds, 1e-9)


def alone(port: str) -> AbstractContextManager[None]:
    """Run nothing beside."""
    return nullcontext()


@contextmanager
def served(peer: Peer, schedule: Schedule) -> Iterator[Server]:
    """Run a peer's server for the block, without any connection."""
    server_core, _ = cores()
    with child(peer.module, *arguments_of(schedule), *server_core, package=peer.package) as process:
        port, pid = process.wait_for("ready").split()
        yield Server(process, port, int(pid))
        process.write_line("stop")


@contextmanager
def connected(server: Server, peer: Peer, schedule: Schedule) -> Iterator[tuple[Child, Opened]]:
    """Connect the load client for the block; yields it, and what its connections cost the server."""
    _, client_core = cores()
    client = ["--port", server.port, "--protocol", peer.protocol, *client_core]
    cpu_before, kib_before = server.cpu_seconds(), server.resident_kib()
    with child("benchmarks.load", *arguments_of(schedule), *client) as loading:
        loading.wait_for("connected")
        time.sleep(SETTLE_SECONDS)
        count = schedule.connections
        cpu, kib = server.cpu_seconds() - cpu_before, server.resident_kib() - kib_before
        yield loading, Opened(1000 * cpu / count, kib / count)


def measure(peer: Peer, schedule: Schedule, beside: Beside = alone) -> Run:
    """Run the schedule once, within the ``beside`` of the server's port. Raises :class:`ProcessFailed`."""
    with (
        served(peer, schedule) as server,
        connected(server, peer, schedule) as (loading, opened),
        beside(server.port),
    ):
        start = time.monotonic() + LEAD_SECONDS
        server.process.write_line("go", start)
        loading.write_line("go", start)
        cpu, others = _cpu_of_measured_seconds(server, loading, schedule, start)
        # Without a timeout, because the client itself gives up when its server falls silent.
        report = Report(**json.loads(loading.wait_for("report", patience_seconds=None)))
    return Run(report, cpu, others, schedule, opened)


def _cpu_of_measured_seconds(server: Server, loading: Child, schedule: Schedule, start: float) -> tuple[float, float]:
    """Wait for the measured seconds to pass; returns what the server took in them, and everything but the run."""
    parts = {server.process.pid, loading.pid} - {server.pid}

    def readings() -> tuple[float, float]:
        cpu = server.cpu_seconds()
        return cpu, busy_seconds() - cpu - sum(map(cpu_seconds_of, parts))

    _sleep_until(start + schedule.warmup)
    cpu_before, others_before = readings()
    _sleep_until(start + schedule.warmup + schedule.seconds)
    cpu_after, others_after = readings()
    return cpu_after - cpu_before, max(0.0, others_after - others_before)


def cpu_between(server: Server, first: float, last: float) -> float:
    """Wait from one moment to another, and return what the server took between them. Raises ProcessFailed."""
    _sleep_until(first)
    before = server.cpu_seconds()
    _sleep_until(last)
    return server.cpu_seconds() - before


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))
