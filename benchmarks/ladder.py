"""The highest rate that each server holds: all climb together, and each leaves at its second rate in a row in vain.

A rate *holds* if the 99th percentile stays within 60 ms and no event was lost, doubled or swapped; of several rounds
the median counts. Two rates and not one, because one may be the machine's fault.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import attrs

from actors.tools.arguments import count, patience
from benchmarks.comparison import HOLD_MS, Entrant, compare, entrants, notes
from benchmarks.figures import Cell, Spread, Table
from benchmarks.peers.roster import OURS, OURS_COMPILED
from benchmarks.progress import Progress
from benchmarks.schedule import Schedule

FAILURES = 2


@attrs.define
class Climber:
    """A server on the ladder."""

    name: str
    held: int = 0
    vain: int = 0
    broken: bool = False
    """True if an event was lost, doubled or swapped at any rate."""

    latencies: dict[int, Spread | None] = attrs.field(factory=dict)

    def note(self, rate: int, entrant: Entrant) -> None:
        """Note its runs at one rate."""
        p99 = entrant.figure(lambda run: run.load.p99_ms)
        self.broken = self.broken or entrant.broken
        self.latencies[rate] = p99
        if p99 is not None and p99.middle <= HOLD_MS and not entrant.broken:
            self.held, self.vain = rate, 0
        else:
            self.vain += 1


def climb(
    claim: str,
    title: str,
    peers: Sequence[str],
    schedule: Schedule,
    rates: Sequence[int],
    rounds: int,
    progress: Progress,
) -> Table:
    """Measure rate after rate, until every server has left the ladder."""
    climbers = {one.peer.name: Climber(one.peer.name) for one in entrants(peers) if one.runs_on}
    progress.begin(len(climbers) * rounds * len(rates))
    problems: list[str] = []
    for rate in rates:
        entered = [one for one in entrants(peers) if (found := climbers.get(one.peer.name)) and found.vain < FAILURES]
        compare(entered, attrs.evolve(schedule, rate=rate), rounds, progress)
        for one in entered:
            climbers[one.peer.name].note(rate, one)
            problems += [f"{rate:,}/s, {note}" for note in (one.note(),) if note]
    return Table(
        claim,
        f"{title}: the highest rate with p99 <= {HOLD_MS:.0f} ms",
        [_row(one, climbers, rates) for one in climbers.values()],
        # Ours alone, because a broker over its limit may drop, and then only does not hold that rate.
        broken=any(one.broken for one in climbers.values() if one.name in (OURS, OURS_COMPILED)),
        notes=[*notes([one for one in entrants(peers) if not one.runs_on]), *problems],
    )


def _row(climber: Climber, climbers: dict[str, Climber], rates: Sequence[int]) -> dict[str, Cell]:
    row: dict[str, Cell] = {"server": climber.name, "holds events/s": climber.held}
    for name, column in ((OURS, "actors / it"), (OURS_COMPILED, "compiled / it")):
        if (ours := climbers.get(name)) is not None:
            ratio = ours.held / climber.held if ours is not climber and climber.held else None
            row[column] = None if ratio is None else Spread((ratio,), digits=2)
    for rate in rates:
        p99 = climber.latencies.get(rate)
        row[f"p99 at {rate:,}"] = None if p99 is None else Spread((p99.middle,))
    return row


def options_into(parser: argparse.ArgumentParser, rates: Sequence[int], quick_rates: Sequence[int]) -> None:
    """Add the ladder's options to a parser."""
    parser.add_argument("--rates", type=count, nargs="+", help="events a second over all users, rising")
    parser.add_argument("--rung-seconds", type=patience, default=3.0, help="measured at each rate, after the warm-up")
    parser.add_argument("--rung-rounds", type=count, help="runs at each rate (3; with --quick 1)")
    parser.set_defaults(full_rates=rates, quick_rates=quick_rates)


def rungs(options: argparse.Namespace) -> tuple[Sequence[int], float, int]:
    """Return the rates, the seconds and the rounds of each."""
    rates = options.rates or (options.quick_rates if options.quick else options.full_rates)
    seconds = min(options.rung_seconds, 0.5) if options.quick else options.rung_seconds
    return rates, seconds, options.rung_rounds or (1 if options.quick else 3)
