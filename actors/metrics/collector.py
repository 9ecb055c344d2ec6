"""The collector: a runtime's numbers as Prometheus's client library takes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from actors import __version__
from actors.checks import check_instance
from actors.errors import ActorsError
from actors.metrics.rows import BESIDE, INFO, PREFIX, ROWS, RUNS, HistogramRow, Row
from actors.observability.histogram import Distribution
from actors.observability.statistics import Statistics
from actors.runtime import Runtime

_FAMILIES = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}

OTHER = "other"
"""The label of runs whose agent was not listed."""


class Collector:
    """The metrics of one runtime: ``REGISTRY.register(Collector(runtime))``.

    ``runtime`` is an :class:`actors.Runtime`, or an ``actors.aio.Runtime``.
    Runs are labelled with those names of agents that ``agents`` lists, and that
    of ``on_message``; all others are ``other``, because a program may name an
    agent after a user. Raises TypeError for what is no runtime.

    It may be collected in any thread. In the runtime's own the numbers are of
    this moment; in another one of at most a second ago, and the loop is not
    waited for.
    """

    def __init__(self, runtime: Any, *, agents: Iterable[str] = ()) -> None:
        inner = getattr(runtime, "runtime", runtime)
        check_instance("runtime", inner, Runtime)
        self._runtime: Runtime = inner
        self._agents = tuple(dict.fromkeys([*agents, inner.tree.runs.agent_name]))

    def __repr__(self) -> str:
        return f"<Collector of {self._runtime!r}>"

    def describe(self) -> Iterator[Metric]:
        """Yield the metrics without values, by which a registry finds two of one name."""
        for row in ROWS:
            yield HistogramMetricFamily(row.exported, row.help) if isinstance(row, HistogramRow) else _family(row)
        for name, text in BESIDE.items():
            yield GaugeMetricFamily(name, text)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; the cost does not grow with users, connections or events."""
        now = self._statistics()
        for row in ROWS:
            yield _histogram(row, now) if isinstance(row, HistogramRow) else _filled(row, now)
        yield self._runs()
        info = GaugeMetricFamily(f"{PREFIX}{INFO}", BESIDE[f"{PREFIX}{INFO}"], labels=("version",))
        info.add_metric((__version__,), 1)
        yield info

    def _statistics(self) -> Statistics:
        try:
            return self._runtime.statistics()
        except ActorsError:  # another thread's, or the end
            return self._runtime.tree.pulse.seen

    def _runs(self) -> Metric:
        """Count the runs of each agent that is listed, and the rest together."""
        counts = self._runtime.tree.counts
        runs = GaugeMetricFamily(f"{PREFIX}{RUNS}", BESIDE[f"{PREFIX}{RUNS}"], labels=("agent",))
        left = len(counts.running)
        for name in self._agents:
            count = counts.agents.get(name, 0)
            left -= count
            runs.add_metric((name,), count)
        runs.add_metric((OTHER,), max(left, 0))
        return runs


def _family(row: Row) -> Any:
    return _FAMILIES[row.kind](row.exported, row.help, labels=row.labels)


def _filled(row: Row, now: Statistics) -> Metric:
    family, read = _family(row), row.read(now)
    for values, count in (read if isinstance(read, Mapping) else {(): read}).items():
        family.add_metric(values, count)
    metric: Metric = family
    return metric


def _histogram(row: HistogramRow, now: Statistics) -> Metric:
    family = HistogramMetricFamily(row.exported, row.help, labels=row.labels)
    for values, distribution in row.read(now).items():
        family.add_metric(values, buckets=_buckets(distribution), sum_value=distribution.sum_seconds)
    return family


def _buckets(distribution: Distribution) -> list[tuple[str, float]]:
    bounds = [*map(str, distribution.bounds), "+Inf"]
    return list(zip(bounds, map(float, accumulate(distribution.counts)), strict=True))
