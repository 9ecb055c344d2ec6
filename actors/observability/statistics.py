"""Statistics: what a runtime has done since it was opened, and what it has now, read in a step that does not grow.

Nothing is added up here: the books count events as they happen, and a
:class:`Counts` is the instrument that counts the rest. So a scrape may come as
often as it likes, at any number of users.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import attrs

from actors.delivery.balance import Balance
from actors.kernel.failures import Failure
from actors.observability.instrument import Instrument
from actors.stages import Cause


class Counts(Instrument):
    """Counts what happens to connections, requests, runs and actors, by the words of the tables they are in."""

    def __init__(self) -> None:
        self.opened: int = 0
        self.closed: Counter[str] = Counter()
        self.resumes: Counter[str] = Counter()
        self.requests: Counter[tuple[str, str]] = Counter()
        self.began: int = 0
        self.ended: Counter[str] = Counter()
        self.restarts: Counter[str] = Counter()
        self.quarantines: int = 0

    def __repr__(self) -> str:
        return f"<Counts opened={self.opened} began={self.began} restarts={self.restarts.total()}>"

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

    def run_ended(self, thread_id: str, run_id: str, outcome: str | None) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        self.ended[outcome or ""] += 1

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
    connections: int
    """Of this moment."""
    handshakes: int
    """Sockets that are no connections, or not yet; of this moment."""
    connections_opened: int
    connections_closed: Mapping[str, int]
    """By the row of the closing table."""
    resumes: Mapping[str, int]
    """Places at which devices were told to begin: ``fresh``, ``replayed``, ``renamed``, ``gap``, ``reset``."""
    requests: Mapping[tuple[str, str], int]
    """Requests of devices by operation and refusal, which is empty for those that were carried out."""
    runs: int
    """Runs that are active or wait for their turn, at this moment."""
    runs_begun: int
    runs_ended: Mapping[str, int]
    """By the type of their last event; empty for a run of which the first one was refused."""
    failures: int
    """Failures that were recorded; ``runtime.failures`` has the newest."""
    restarts: Mapping[str, int]
    """By the first word of the path: ``users``, ``threads``, ``runtime``."""
    quarantines: int
    """Actors taken out of service; some may be back."""
