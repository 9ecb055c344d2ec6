"""The metrics, a row each: from a runtime's statistics to samples.

No label is the name of a user, a thread or an event, or text that a client
chose: their values are the words of this package's own tables, and the names of
agents that the host has listed. So the number of samples is known in advance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import attrs

from actors.observability.histogram import Distribution
from actors.observability.statistics import Statistics
from actors.protocol.codes import CLOSINGS
from actors.stages import Cause

PREFIX = "trio_actors_"

_PLACES = ("queued", "held", "retained")
_OUTCOMES = ("acked", "unconfirmed", "dropped", "deduplicated")
_VERDICTS = ("fresh", "replayed", "renamed", "gap", "reset")
_RUN_ENDS = ("agent_completed", "agent_failed", "agent_cancelled")
_ASK_ENDS = ("answered", "expired", "withdrawn")
_OPS = frozenset({"send", "cancel", "read", "answer"})
_KINDS = ("users", "threads", "runtime")

Labels = tuple[str, ...]
Samples = Mapping[Labels, float]
"""Values, by those of the labels."""


@attrs.frozen(kw_only=True)
class Row:
    """One metric that is a number."""

    name: str
    """Without the prefix, and without ``_total``."""
    kind: Literal["counter", "gauge"]
    help: str
    read: Callable[[Statistics], Samples | float]
    labels: Labels = ()

    @property
    def exported(self) -> str:
        """The name that a query uses."""
        return f"{PREFIX}{self.name}{'_total' if self.kind == 'counter' else ''}"


@attrs.frozen(kw_only=True)
class HistogramRow:
    """One metric that is a histogram."""

    name: str
    help: str
    read: Callable[[Statistics], Mapping[Labels, Distribution]]
    labels: Labels = ()
    kind: Literal["histogram"] = "histogram"

    @property
    def exported(self) -> str:
        """The name of the whole; queries use it with ``_bucket``, ``_sum`` or ``_count``."""
        return f"{PREFIX}{self.name}"


def _by(words: tuple[str, ...], counts: Mapping[str, int]) -> Samples:
    """Return a count for each word, those without one included, because a rate needs a first value; and the others."""
    return {(word,): counts.get(word, 0) for word in (*words, *(word for word in counts if word not in words))}


def _requests(now: Statistics) -> Samples:
    counts: dict[Labels, float] = {}
    for (op, refusal), count in now.requests.items():
        key = op if op in _OPS else "other", refusal or "ok"
        counts[key] = counts.get(key, 0) + count
    return counts


def _opened(now: Statistics) -> Samples:
    plain = now.connections_opened_plain
    return {("v1",): now.connections_opened - plain, ("plain",): plain}


def _balanced(now: Statistics) -> Samples:
    return {} if now.books_balanced is None else {(): now.books_balanced}


def _ended(now: Statistics) -> Samples:
    return _by(_RUN_ENDS, {outcome or "refused": count for outcome, count in now.runs_ended.items()})


ROWS: tuple[Row | HistogramRow, ...] = (
    Row(name="events_accepted", kind="counter", help="Events that emitters handed over.",
        read=lambda now: now.events.accepted),
    Row(name="events_restored", kind="counter", help="Events of an earlier life of the store.",
        read=lambda now: now.events.restored),
    Row(name="events_settled", kind="counter", labels=("outcome",), help="Events of which the outcome is known.",
        read=lambda now: {(one,): getattr(now.events, one) for one in _OUTCOMES}),
    Row(name="events", kind="gauge", labels=("place",), help="Events that are on their way, by where they are.",
        read=lambda now: {(place,): max(getattr(now.events, place), 0) for place in _PLACES}),
    Row(name="books_balanced", kind="gauge", help="1 if the last inspection of the books found them to add up.",
        read=_balanced),
    Row(name="events_dropped", kind="counter", labels=("cause",), help="Events that no socket took.",
        read=lambda now: _by(tuple(Cause), {str(cause): count for cause, count in now.dropped.items()})),
    HistogramRow(name="delivery_seconds", labels=("stage",),
                 help="Time from the emit until a socket took an event, or a device acked it; of one event in 64.",
                 read=lambda now: {(stage,): one for stage, one in now.delivery_seconds.items()}),
    Row(name="connections", kind="gauge", help="WebSockets that are connected.",
        read=lambda now: now.connections),
    Row(name="handshakes", kind="gauge", help="Sockets that are no connections, or not yet.",
        read=lambda now: now.handshakes),
    Row(name="connections_behind", kind="gauge", help="Connections that lack events which the log has.",
        read=lambda now: now.connections_behind),
    Row(name="connection_lag_events", kind="gauge", help="The most events that one connection lacks.",
        read=lambda now: now.lag_events_max),
    Row(name="socket_backlog_bytes", kind="gauge", help="Bytes that were written and that sockets have not taken.",
        read=lambda now: now.backlog_bytes),
    Row(name="connections_opened", kind="counter", labels=("kind",), help="Connections that were let in.",
        read=_opened),
    Row(name="connections_closed", kind="counter", labels=("name",),
        help="Connections that ended, by the row of the closing table.",
        read=lambda now: _by(tuple(CLOSINGS), now.connections_closed)),
    Row(name="resumes", kind="counter", labels=("verdict",), help="Places at which devices were told to begin.",
        read=lambda now: _by(_VERDICTS, now.resumes)),
    Row(name="requests", kind="counter", labels=("op", "name"),
        help="Requests of devices, by the refusal; ok for those that were carried out.", read=_requests),
    Row(name="handshakes_refused", kind="counter", labels=("status", "reason"),
        help="Requests that did not become connections; status 0 without an answer.",
        read=lambda now: {(str(status), reason): n for (status, reason), n in now.handshakes_refused.items()}),
    Row(name="runs_waiting", kind="gauge", help="Runs that wait for their turn.", read=lambda now: now.runs_waiting),
    Row(name="runs_begun", kind="counter", help="Runs that began.", read=lambda now: now.runs_begun),
    Row(name="runs_ended", kind="counter", labels=("outcome",), help="Runs that ended, by their last event.",
        read=_ended),
    HistogramRow(name="run_seconds", help="Time from the beginning of a run to its end.",
                 read=lambda now: {(): now.run_seconds}),
    Row(name="asks_open", kind="gauge", help="Questions that wait for an answer.", read=lambda now: now.asks_open),
    Row(name="asks_closed", kind="counter", labels=("reason",), help="Questions that were closed.",
        read=lambda now: _by(_ASK_ENDS, now.asks_closed)),
    Row(name="failures", kind="counter", help="Failures that were recorded.", read=lambda now: now.failures),
    Row(name="actors_restarted", kind="counter", labels=("kind",), help="Actors that were built again.",
        read=lambda now: _by(_KINDS, now.restarts)),
    Row(name="actors_quarantined", kind="gauge", labels=("kind",), help="Actors that are out of service.",
        read=lambda now: _by(_KINDS[:2], now.quarantined)),
    Row(name="quarantines", kind="counter", help="Actors that were taken out of service.",
        read=lambda now: now.quarantines),
    Row(name="loop_lag_seconds", kind="gauge", help="How late the loop was, at worst in the last 15 seconds.",
        read=lambda now: now.loop_lag_seconds),
    Row(name="written_bytes", kind="counter", help="Bytes that sockets took.", read=lambda now: now.written_bytes),
    Row(name="written_frames", kind="counter", help="WebSocket frames that were written to sockets.",
        read=lambda now: now.written_frames),
)  # fmt: skip
"""All metrics that are read from statistics alone."""

RUNS = "runs"
INFO = "info"

BESIDE = {
    f"{PREFIX}{RUNS}": "Runs that have begun and not ended, by agent.",
    f"{PREFIX}{INFO}": "1, with the version of this package.",
}
"""The gauges that need more than statistics: the names of agents, and of a version."""
