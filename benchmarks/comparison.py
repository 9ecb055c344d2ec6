"""Peers beside each other: the same schedule on each, round after round, and a row for each of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import attrs

from actors.tools.arguments import count, patience
from benchmarks.children import ProcessFailed
from benchmarks.figures import Cell, Spread, Table, ratios, spread
from benchmarks.measurement import Beside, Run, alone, measure
from benchmarks.peers.roster import OURS, OURS_COMPILED, PEERS, Peer
from benchmarks.progress import Progress
from benchmarks.schedule import Schedule

HOLD_MS = 60.0
"""The 99th percentile up to which a rate holds: less than four frames of a 60 Hz screen."""


@attrs.define
class Entrant:
    """A peer in a comparison: its runs so far, or the reason for which it has none."""

    peer: Peer
    runs: list[Run] = attrs.field(factory=list)
    skipped: str | None = None
    failed: str | None = None

    @property
    def runs_on(self) -> bool:
        """True if it takes part in the next round."""
        return self.skipped is None and self.failed is None

    @property
    def broken(self) -> bool:
        """True if it failed, or one of its events was lost, doubled or swapped."""
        return self.failed is not None or any(run.load.broken for run in self.runs)

    def figure(self, read: Callable[[Run], float], digits: int = 1) -> Spread | None:
        """Return a figure over the rounds; ``None`` without any."""
        return spread([read(run) for run in self.runs], digits) if self.runs else None

    def note(self) -> str | None:
        """Return the reason for which it has no figures, or the problems that its runs had."""
        if self.skipped or self.failed:
            return f"{self.peer.name}: {'skipped, ' if self.skipped else 'failed, '}{self.skipped or self.failed}"
        problems = [note for run in self.runs for note in run.load.notes][:3]
        return f"{self.peer.name}: {'; '.join(problems)}" if problems else None


def entrants(names: Sequence[str]) -> list[Entrant]:
    """Return the peers of such names, those that cannot run here with the reason."""
    return [Entrant(PEERS[name], skipped=PEERS[name].unavailable()) for name in names]


def compare(
    entered: list[Entrant], schedule: Schedule, rounds: int, progress: Progress, *, beside: Beside = alone
) -> list[Entrant]:
    """Run the schedule on all, in turn, so that a change of the machine's speed affects all of them."""
    for number in range(1, rounds + 1):
        for entrant in entered:
            if not entrant.runs_on:
                continue
            progress.step(f"{entrant.peer.name}, round {number}")
            try:
                entrant.runs.append(measure(entrant.peer, schedule, beside))
            except ProcessFailed as error:
                entrant.failed = str(error)
    return entered


def ours_to(entered: list[Entrant], other: Entrant, read: Callable[[Run], float], name: str = OURS) -> Spread | None:
    """Return the ratio of the figure of ours, in the build of such a name, to another's in each round."""
    ours = next((one for one in entered if one.peer.name == name), None)
    if ours is None or ours is other:
        return None
    return ratios([read(run) for run in ours.runs], [read(run) for run in other.runs])


def cpu_row(entered: list[Entrant], entrant: Entrant) -> dict[str, Cell]:
    """Return the row of a table of processor time for each event."""
    latency = entrant.figure(lambda run: run.load.p99_ms)
    builds = {OURS: "actors / it", OURS_COMPILED: "compiled / it"}
    there = {one.peer.name for one in entered if one.runs}
    return {
        "server": entrant.peer.name,
        "promises": entrant.peer.promises,
        "CPU µs per event": entrant.figure(lambda run: run.cpu_us_per_delivery),
        **{
            column: ours_to(entered, entrant, lambda run: run.cpu_us_per_delivery, name)
            for name, column in builds.items()
            if name in there
        },
        "p50 ms": entrant.figure(lambda run: run.load.p50_ms),
        "p99 ms": latency,
        "core %": entrant.figure(lambda run: run.cpu_percent, 0),
        "client %": entrant.figure(lambda run: run.client_percent, 0),
        "others %": entrant.figure(lambda run: run.others_percent, 0),
        "lost": sum(run.load.lost for run in entrant.runs),
        "holds": "-" if latency is None else "yes" if latency.middle <= HOLD_MS else "no",
    }


def cpu_table(claim: str, title: str, entered: list[Entrant]) -> Table:
    """Make the table of processor time for each event, of all who took part."""
    took_part = [one for one in entered if one.runs]
    return Table(
        claim,
        title,
        [cpu_row(entered, one) for one in took_part],
        notes=notes(entered),
        plotted="CPU µs per event",
        broken=any(one.broken for one in entered),
    )


def notes(entered: list[Entrant]) -> list[str]:
    """Return the reasons of those that did not run, and the problems of those that did."""
    return [note for one in entered if (note := one.note())]


def cpu_claim(
    claim: str, title: str, options: argparse.Namespace, schedule: Schedule, progress: Progress
) -> list[Table]:
    """Measure a claim that is one schedule on each of its peers."""
    entered = entrants(options.peers)
    progress.begin(options.rounds * sum(one.runs_on for one in entered))
    compare(entered, schedule, options.rounds, progress)
    return [cpu_table(claim, title, entered)]


FEW = ("actors", "mosquitto", "websockets", "limit")
"""One of each kind: ours, one that promises as much, one that promises nothing, and the limit. For a look."""


@attrs.frozen
class Scale:
    """The size of a claim's runs: a measurement's, and that of a look (``--quick``)."""

    connections: int
    rate: int
    seconds: float
    rounds: int
    warmup: float = 1.0
    peers: Sequence[str] = tuple(PEERS)

    def options_into(self, parser: argparse.ArgumentParser, quick: Scale) -> None:
        """Add the options that change it to a parser."""
        for name, reads, told in (
            ("connections", count, "connections in all"),
            ("rate", count, "events a second over all users"),
            ("seconds", patience, "measured, after the warm-up"),
            ("rounds", count, "runs of each server; the median is quoted"),
            ("warmup", patience, "seconds before the measured ones"),
        ):
            usual, looked = getattr(self, name), getattr(quick, name)
            parser.add_argument(f"--{name}", type=reads, help=f"{told} ({usual:,}; with --quick {looked:,})")
        told = self._told(quick) if len(self.peers) > 1 else argparse.SUPPRESS
        parser.add_argument("--peers", nargs="+", choices=list(PEERS), metavar="PEER", help=told)
        parser.set_defaults(scale=self, quick_scale=quick)

    def _told(self, quick: Scale) -> str:
        fewer = f"; with --quick {' '.join(quick.peers)}" if quick.peers != self.peers else ""
        return f"of {', '.join(PEERS)} ({' '.join(self.peers)}{fewer})"


def complete(options: argparse.Namespace) -> Schedule:
    """Fill in the options that were not given, and return the schedule that they describe."""
    scale: Scale = options.quick_scale if options.quick else options.scale
    for field in attrs.fields(Scale):
        if getattr(options, field.name) is None:
            setattr(options, field.name, getattr(scale, field.name))
    return Schedule(options.connections, options.rate, options.seconds, warmup=options.warmup)
