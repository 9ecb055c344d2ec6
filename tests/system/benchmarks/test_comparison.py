"""Servers beside each other: who runs when, who is left out and why, and what is made of the runs."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest

from benchmarks import comparison
from benchmarks.children import ProcessFailed
from benchmarks.comparison import Entrant, compare, cpu_table, entrants
from benchmarks.figures import Spread
from benchmarks.ladder import climb
from benchmarks.load.totals import Report
from benchmarks.measurement import Beside, Opened, Run
from benchmarks.peers.roster import PEERS, Peer
from benchmarks.progress import Progress
from benchmarks.schedule import Schedule

SCHEDULE = Schedule(connections=10, rate=1_000, seconds=2.0)
PROGRESS = Progress("test", shown=False)
TWO = ("actors", "limit")
"""Servers that need nothing but this package."""

Measure = Callable[[Peer, Schedule], Run]


def run(schedule: Schedule, cpu_seconds: float = 0.1, p99_ms: float = 5.0, lost: int = 0) -> Run:
    """A run of such figures."""
    report = Report(100, 1.0, p99_ms, 9.0, lost, 0, 230.0, 0.1, 2.0, ["device-0: 3 after 1"] if lost else [])
    return Run(report, cpu_seconds, 0.0, schedule, Opened(1.0, 10.0))


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[[Measure], list[str]]:
    """Put a function in the place of a run of real processes; returns the names of the servers as they run."""

    def put(measure: Measure) -> list[str]:
        names: list[str] = []

        def noted(peer: Peer, schedule: Schedule, beside: Beside) -> Run:
            names.append(peer.name)
            return measure(peer, schedule)

        monkeypatch.setattr(comparison, "measure", noted)
        return names

    return put


def test_the_servers_take_turns(measured: Callable[[Measure], list[str]]) -> None:
    """A B A B, so that a change of the machine's speed affects both."""
    names = measured(lambda peer, schedule: run(schedule))
    compare(entrants(TWO), SCHEDULE, 2, PROGRESS)
    assert names == ["actors", "limit", "actors", "limit"]


def test_a_ratio_compares_the_runs_of_a_round(measured: Callable[[Measure], list[str]]) -> None:
    """A machine that becomes three times as slow between two rounds changes no ratio."""
    seconds = iter([0.2, 0.1, 0.6, 0.3])
    measured(lambda peer, schedule: run(schedule, cpu_seconds=next(seconds)))
    table = cpu_table("spread", "t", compare(entrants(TWO), SCHEDULE, 2, PROGRESS))
    ours, limit = table.rows
    assert ours["actors / it"] is None
    assert limit["actors / it"] == Spread((2.0, 2.0), digits=2)
    assert ours["CPU µs per event"] == Spread((100.0, 300.0))
    assert not table.broken


def test_an_event_to_many_devices_counts_for_each() -> None:
    """The figure is for each event and device, because that is what a server writes."""
    assert run(attrs.evolve(SCHEDULE, devices=10)).cpu_us_per_delivery == pytest.approx(5.0)


def test_a_server_that_fails_is_left_out_and_named(measured: Callable[[Measure], list[str]]) -> None:
    """The others go on without it, and the run as a whole is not taken for a good one."""

    def measure(peer: Peer, schedule: Schedule) -> Run:
        if peer.name == "limit":
            raise ProcessFailed("expected 'ready', got ''")
        return run(schedule)

    names = measured(measure)
    table = cpu_table("spread", "t", compare(entrants(TWO), SCHEDULE, 2, PROGRESS))
    assert names == ["actors", "limit", "actors"]
    assert [row["server"] for row in table.rows] == ["actors"]
    assert "limit: failed, expected 'ready', got ''" in table.notes
    assert table.broken


def test_a_server_that_is_not_here_is_named(measured: Callable[[Measure], list[str]]) -> None:
    """It does not run, has no row, and its reason stands below the table, which is a good one without it."""
    names = measured(lambda peer, schedule: run(schedule))
    entered = [Entrant(PEERS["actors"]), Entrant(PEERS["limit"], skipped="it is away")]
    table = cpu_table("spread", "t", compare(entered, SCHEDULE, 1, PROGRESS))
    assert names == ["actors"]
    assert "limit: skipped, it is away" in table.notes
    assert not table.broken


def test_a_lost_event_breaks_the_run(measured: Callable[[Measure], list[str]]) -> None:
    """However fast the server was, its table says so, and which device it was."""
    measured(lambda peer, schedule: run(schedule, lost=1))
    table = cpu_table("spread", "t", compare(entrants(["actors"]), SCHEDULE, 1, PROGRESS))
    assert table.rows[0]["lost"] == 1
    assert "actors: device-0: 3 after 1" in table.notes
    assert table.broken


def test_a_ladder_ends_at_the_second_rate_in_vain(measured: Callable[[Measure], list[str]]) -> None:
    """One rate that does not hold may be the machine's fault; quoted is the highest that does."""
    late = {100, 300, 400}
    names = measured(lambda peer, schedule: run(schedule, p99_ms=61.0 if schedule.rate in late else 60.0))
    table = climb("held", "t", ["actors"], SCHEDULE, [100, 200, 300, 400, 500], 1, PROGRESS)
    assert len(names) == 4
    assert table.rows[0]["holds events/s"] == 200
    assert table.rows[0]["p99 at 500"] is None
    assert not table.broken


def test_a_rate_at_which_an_event_is_lost_does_not_hold(measured: Callable[[Measure], list[str]]) -> None:
    """Of ours that breaks the run as well; a broker may drop what it has no room for."""
    measured(lambda peer, schedule: run(schedule, lost=int(schedule.rate > 100)))
    assert climb("held", "t", ["actors"], SCHEDULE, [100, 200], 1, PROGRESS).broken
    table = climb("held", "t", ["limit"], SCHEDULE, [100, 200], 1, PROGRESS)
    assert table.rows[0]["holds events/s"] == 100
    assert not table.broken
