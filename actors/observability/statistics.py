"""Statistics: what a runtime has done since it was opened, and what it has now, read in a step that does not grow.

Nothing is added up here: the books count events as they happen, and a
:class:`Counts` is the instrument that counts the rest. So a scrape may come as
often as it likes, at any number of users.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import attrs

from actors.delivery.balance import Balance
from actors.kernel.failures import Failure
from actors.observability.histogram import Distribution, Histogram
from actors.observability.instrument import Instrument
from actors.stages import Cause

_RUN_BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0)
"""From a tool's answer to an agent that works for half an hour."""


class Counts(Instrument):
    """Counts what happens to connections, requests, runs and actors, by the words of the tables they are in."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.refusals: Counter[tuple[int, str]] = Counter()
        self.opened: int = 0
        self.closed: Counter[str] = Counter()
        self.resumes: Counter[str] = Counter()
        self.requests: Counter[tuple[str, str]] = Counter()
        self.began: int = 0
        self.ended: Counter[str] = Counter()
        self.running: dict[str, tuple[str, float]] = {}
        """The runs that have begun and not ended: the agent of each, and the monotonic time at which it began."""
        self.agents: Counter[str] = Counter()
        """The same runs by agent; no agent without one."""
        self.run_seconds: Histogram = Histogram(_RUN_BOUNDS)
        self.asks_closed: Counter[str] = Counter()
        self.restarts: Counter[str] = Counter()
        self.quarantines: int = 0

    def __repr__(self) -> str:
        return f"<Counts opened={self.opened} began={self.began} restarts={self.restarts.total()}>"

    def handshake_refused(self, status: int, reason: str, origin: str | None) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        self.refusals[status, reason] += 1

    def connection_opened(self, label: str) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        self.opened += 1

    def connection_closed(self, label: str, path: str, row: str) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        self.closed[row] += 1

    def resumed(self, path: str, verdict: str) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        self.resumes[verdict] += 1

    def request_answered(self, op: str, refusal: str | None) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        self.requests[op, refusal or ""] += 1

    def run_began(self, thread_id: str, run_id: str, agent_name: str, parent_id: str | None) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        self.began += 1
        self.running[run_id] = agent_name, self._clock()
        self.agents[agent_name] += 1

    def run_ended(self, thread_id: str, run_id: str, outcome: str | None) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        self.ended[outcome or ""] += 1
        agent_name, began = self.running.pop(run_id, (None, 0.0))
        if agent_name is None:
            return
        self.run_seconds.observe(self._clock() - began)
        self.agents[agent_name] -= 1
        if not self.agents[agent_name]:
            del self.agents[agent_name]

    def ask_closed(self, thread_id: str, ask_id: str, end: str) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        self.asks_closed[end] += 1

    def restarted(self, path: str) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        self.restarts[path.partition("/")[0]] += 1

    def quarantined(self, path: str, failure: Failure) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        self.quarantines += 1


@attrs.frozen(kw_only=True)
class Statistics:
    """A runtime in numbers. Those that are not said to be of this moment count since it was opened."""

    events: Balance
    """The books in total, of this moment; :meth:`~actors.runtime.Runtime.audit` adds them up user by user."""
    dropped: Mapping[Cause, int]
    """Events that no socket took, by cause."""
    delivery_seconds: Mapping[str, Distribution]
    """The time from an event's emit until the first socket took it, ``written``, and until the first device acked it,
    ``acked``; of one of 64 events."""
    connections: int
    """Of this moment."""
    handshakes: int
    """Sockets that are no connections, or not yet; of this moment."""
    handshakes_refused: Mapping[tuple[int, str], int]
    """Requests that did not become connections, by status and reason; the status of those that were closed without an
    answer is 0."""
    connections_behind: int
    """Connections that lack events which the log has; of some seconds ago, where there are thousands."""
    lag_events_max: int
    """The most events that one of them lacks; of the same moment."""
    backlog_bytes: int
    """Bytes that were written and that sockets have not taken; of the same moment."""
    written_bytes: int
    """Bytes that sockets took; of the same moment."""
    written_frames: int
    """WebSocket frames that were written to sockets; of the same moment."""
    connections_opened: int
    connections_opened_plain: int
    """Those among them without the protocol."""
    connections_closed: Mapping[str, int]
    """By the row of the closing table."""
    resumes: Mapping[str, int]
    """Places at which devices were told to begin: ``fresh``, ``replayed``, ``renamed``, ``gap``, ``reset``."""
    requests: Mapping[tuple[str, str], int]
    """Requests of devices by operation and refusal, which is empty for those that were carried out."""
    runs: int
    """Runs that are active or wait for their turn, at this moment."""
    runs_waiting: int
    """Those among them that wait."""
    runs_begun: int
    runs_ended: Mapping[str, int]
    """By the type of their last event; empty for a run of which the first one was refused."""
    run_seconds: Distribution
    """The time from ``agent_started`` to the end of a run."""
    asks_open: int
    """Questions that wait for an answer, at this moment."""
    asks_closed: Mapping[str, int]
    """By their end: ``answered``, ``expired``, ``withdrawn``."""
    failures: int
    """Failures that were recorded; ``runtime.failures`` has the newest."""
    restarts: Mapping[str, int]
    """By the first word of the path: ``users``, ``threads``, ``runtime``."""
    quarantines: int
    """Actors taken out of service; some may be back."""
    quarantined: Mapping[str, int]
    """Actors that are out of service at this moment, by the first word of their path."""
    loop_lag_seconds: float
    """The time by which the loop was late to do what was due: the worst of the last 15 seconds."""
    books_balanced: bool | None
    """True if the last check of the books found each user's row, and the totals, to add up; ``None`` before the first
    one is over."""
