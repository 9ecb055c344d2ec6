"""The answers to people who look at a runtime from outside, one struct each: what is shown, and what programs read.

Times are wall clock, in seconds since 1970; every list is bounded, and where
something is left out a number says how much there is.
"""

from __future__ import annotations

import msgspec


class Count(msgspec.Struct, kw_only=True):
    """A number of things, by the words of the tables they are in."""

    name: str
    detail: str
    count: int


class BalanceAnswer(msgspec.Struct, kw_only=True):
    """A row of the books."""

    accepted: int
    restored: int
    queued: int
    held: int
    retained: int
    acked: int
    unconfirmed: int
    dropped: int
    deduplicated: int


class QuarantineAnswer(msgspec.Struct, kw_only=True):
    """An actor that is out of service, and the failure that was its last."""

    path: str
    error: str
    at: float


class StatusAnswer(msgspec.Struct, kw_only=True):
    """A runtime in numbers; those that are not said to be of this moment count since it was opened."""

    text: str
    """The state in a sentence: ``open``, or what is the matter."""
    notes: list[str]
    """Sentences about the last five minutes: refused clients, drops, devices that are behind."""
    version: str
    pid: int
    at: float
    """The time of this answer, for the rates between two of them."""
    opened_at: float
    """The time at which the runtime was opened."""
    state: str
    """``open``, ``draining`` or ``closed``; of this moment."""
    trouble: str | None
    """The reason for which nothing can be stored, and since when; of this moment."""
    trouble_since: float | None
    users: int
    """Users with books or devices, at this moment."""
    threads: int
    """Threads without an owner that hold events, at this moment."""
    events: BalanceAnswer
    """The books in total, of this moment."""
    balanced: bool
    """True if the totals add up, of this moment."""
    dropped: dict[str, int]
    """Events that no socket took, by cause."""
    connections: int
    """Of this moment."""
    handshakes: int
    """Sockets that are no connections, or not yet; of this moment."""
    handshakes_refused: list[Count]
    """Requests that did not become connections, by reason and status."""
    connections_behind: int
    """Connections that lack events which the log has; of some seconds ago, where there are thousands."""
    lag_events_max: int
    """The most events that one of them lacks; of the same moment."""
    backlog_bytes: int
    """Bytes that were written and that sockets have not taken; of the same moment."""
    written_bytes: int
    """Bytes that sockets took."""
    written_frames: int
    connections_opened: int
    connections_closed: dict[str, int]
    """By the row of the closing table."""
    resumes: dict[str, int]
    requests: list[Count]
    """Requests of devices, by operation and refusal; the latter is empty for those that were carried out."""
    runs: int
    """Runs that are active or wait for their turn, at this moment."""
    runs_begun: int
    runs_ended: dict[str, int]
    asks_open: int
    """Questions that wait for an answer, at this moment."""
    asks_closed: dict[str, int]
    """By their end: ``answered``, ``expired``, ``withdrawn``."""
    loop_lag_seconds: float
    """The time by which the loop was late to do what was due: the worst of the last 15 seconds."""
    standstill: str | None
    """The last time that the loop stood still, and in which line of code; where the control socket is served."""
    books_balanced: bool | None
    """True if the last check of all books found them to add up, user by user; ``None`` before the first is over."""
    failures: int
    restarts: dict[str, int]
    quarantines: int
    quarantined: list[QuarantineAnswer]
    """Actors that are out of service at this moment; some of them."""
    quarantined_now: int
    """The number of all of them."""


class ExplainAnswer(msgspec.Struct, kw_only=True):
    """The fate of an event."""

    event_id: str
    known: bool
    text: str
    """The sentence."""
    steps: tuple[str, ...]
    thread_id: str | None = None
    user_id: str | None = None
    stage: str | None = None
    seq: int | None = None
    epoch: str | None = None
    offset: int | None = None
    cause: str | None = None
    threads: tuple[str, ...] = ()
    """The threads that have an event of this id, where there are several and none was named."""


class EventAnswer(msgspec.Struct, kw_only=True):
    """An event, without what is in it."""

    event_id: str | None
    type: str
    thread_id: str
    offset: int
    at: float


class RangeAnswer(msgspec.Struct, kw_only=True):
    """Neighbouring events of a log that no device has acked, all of one stage."""

    first: int
    last: int
    stage: str
    """``stored`` or ``written``."""
    oldest: EventAnswer | None = None
    """The first of them, where it is at hand."""


class DeviceAnswer(msgspec.Struct, kw_only=True):
    """A device: its place in its user's log, and its socket."""

    label: str
    user_id: str | None
    kind: str
    """``v1``, ``plain`` for a client without the protocol, ``follower`` for one in the server's process."""
    state: str
    """``saying hello``, ``catching up``, ``live``, ``lagging`` or ``ended``."""
    epoch: str | None = None
    cursor: int | None = None
    """The last offset that it acked."""
    written: int | None = None
    """The last offset that its socket took."""
    head: int | None = None
    """The last offset of the log."""
    lag_events: int = 0
    """Events of the log that it has yet to be sent."""
    backlog_bytes: int | None = None
    """Bytes that its socket has not taken, in this process; ``None`` where there is no socket."""
    pending_bytes: int | None = None
    """Those, and bytes that its socket took and the device has not, as far as the system tells."""
    stalled_at: float | None = None
    """The time since which its socket takes nothing, while there is a backlog."""
    heard_at: float | None = None
    """The time of the last sign of life."""
    pinged_at: float | None = None
    """The time from which on the answer to a ping is waited for."""
    text: str = ""
    """The same for people."""


class WhyAnswer(msgspec.Struct, kw_only=True):
    """The reason for which events of a user, or of a thread, are not acked."""

    about: str
    """``user`` or ``thread``."""
    name: str
    known: bool
    """False where this runtime has nothing of that name."""
    cause: str
    """The cause in a word of the table in ``actors/control/README.md``."""
    text: str
    """The cause in a sentence."""
    notes: list[str]
    """More sentences, the most important first."""
    user_id: str | None = None
    """The owner, of a thread."""
    unacked: int = 0
    unwritten: int = 0
    """Those of them that no socket took."""
    acked_at: float | None = None
    """The time of the last ack of any device."""
    ranges: list[RangeAnswer] = msgspec.field(default_factory=list)
    devices: list[DeviceAnswer] = msgspec.field(default_factory=list)
    threads: list[str] = msgspec.field(default_factory=list)
    """Threads of the user; some of them."""
    threads_total: int = 0


class AuditAnswer(msgspec.Struct, kw_only=True):
    """The books in total."""

    balanced: bool
    """True if the totals add up, and the last check of all books found each user's row to add up."""
    users: int
    total: BalanceAnswer
    checked: bool | None = None
    """The outcome of that check, which looks at some users at a time; ``None`` before the first one is over."""
    text: str = ""
    """The totals as an equation, and the outcome."""


class FailureAnswer(msgspec.Struct, kw_only=True):
    """A failure."""

    path: str
    handling: str
    error: str
    traceback: str
    at: float


class Failures(msgspec.Struct, kw_only=True):
    """The newest failures, oldest first, and how many there were."""

    failures: list[FailureAnswer]
    total: int


class DeadLetterAnswer(msgspec.Struct, kw_only=True):
    """A range of events that were dropped."""

    cause: str
    count: int
    at: float
    user_id: str | None
    thread_id: str | None
    event_id: str | None
    first: int | None
    last: int | None


class DeadLetters(msgspec.Struct, kw_only=True):
    """The newest drops, oldest first."""

    dead_letters: list[DeadLetterAnswer]


class Connections(msgspec.Struct, kw_only=True):
    """Some of the connections, in the order in which they came."""

    connections: list[DeviceAnswer]
    total: int
    """The number of all connections."""
    after: str | None = None
    """The ``after`` of the next page, if there is one."""


class ThreadAnswer(msgspec.Struct, kw_only=True):
    """A thread of a user."""

    thread_id: str
    quarantined: str | None = None
    """The failure for which it is out of service."""


class ActiveRunAnswer(msgspec.Struct, kw_only=True):
    """A run that is active, or waits for its turn."""

    run_id: str
    thread_id: str
    agent_name: str
    state: str
    """``active``, ``waiting`` or ``begins``."""


class UserAnswer(msgspec.Struct, kw_only=True):
    """A user: devices, threads and runs."""

    user_id: str
    low: int
    head: int
    """The first and the last offset of the log; an empty log has ``low == head + 1``."""
    unacked: int
    unwritten: int
    devices: list[DeviceAnswer]
    devices_total: int
    threads: list[ThreadAnswer]
    threads_total: int
    runs: list[ActiveRunAnswer]
    runs_total: int
    away: str | None = None
    """The last device that left, and why, where no device is here."""
    quarantined: str | None = None
    """The failure for which the user's actor is out of service."""


class TreeAnswer(msgspec.Struct, kw_only=True):
    """A page of the users, in the order of their names."""

    users: list[UserAnswer]
    total: int
    """The number of users, of those that the prefix selects."""
    after: str | None = None
    """The ``after`` of the next page, if there is one."""


class ReleaseAnswer(msgspec.Struct, kw_only=True):
    """An actor that is back in service."""

    path: str


class TraceLine(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One thing that happened to a user."""

    at: float
    kind: str
    """``in`` and ``out`` for messages of and to a device, ``event`` for a stage of an event, ``owner``, ``device``,
    ``run``, or ``missed`` for what was left out."""
    text: str
    """Cut to some 100 characters, control characters escaped."""
    device: str | None = None
    thread_id: str | None = None
    event_id: str | None = None
    offset: int | None = None
    missed: int = 0
    """Of a ``missed`` line: how many were left out there, because they were not read as fast as they came."""
