"""Every bound that a deployment may change, each with its reason.

A deployment passes its own :class:`Limits` to :func:`actors.open_runtime`.
Numbers that no deployment should have to choose stand in the modules that use
them, named, with their reasons. Sizes are bytes, times are seconds.
"""

from __future__ import annotations

from typing import Any, TypeVar

import attrs

N = TypeVar("N", int, float)

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
"""The most that a bound on bytes takes, because they are bytes of memory: to ask for more is to ask for no bound."""

MANY = 2**31 - 1
"""The most that a bound on a count takes."""

YEAR = 365 * 24 * 3_600.0
"""The longest time. No process waits for longer, and some timers and clients take infinity for no time at all."""

MOMENT = 0.001
"""The shortest time where none at all would admit no peer, or have a loop spin."""

_UNITS = {"seconds": "seconds", "second": "messages per second", "ms": "milliseconds", "bytes": "whole bytes"}
"""The unit by the last word of a field's name; a field of another name takes a bare number."""


@attrs.frozen
class Bounds:
    """The least and the most that a field takes; both are ints for a field of whole numbers."""

    least: float
    most: float

    def __call__(self, record: object, attribute: attrs.Attribute[Any], value: object) -> None:
        """Raise TypeError unless a value is a number of the field's kind, ValueError unless it is within the bounds."""
        is_whole = isinstance(self.least, int)
        where = f"{type(record).__name__}({attribute.name})"
        unit = _UNITS.get(attribute.name.rpartition("_")[2], "a whole number" if is_whole else "a number")
        kind = f"{unit} from {_text(self.least)} to {_text(self.most)}"
        if isinstance(value, bool) or not isinstance(value, int if is_whole else int | float):
            raise TypeError(f"{where}: expected {kind}, got {value!r}")
        if not self.least <= value <= self.most:  # so is NaN
            raise ValueError(f"{where}: expected {kind}, got {_text(value)}")


def within(least: N, most: N, *, default: N) -> N:
    """Declare an attrs field that takes numbers from ``least`` to ``most``; only whole ones if these are ints."""
    field: N = attrs.field(default=default, validator=Bounds(least, most))
    return field


@attrs.frozen(kw_only=True)
class Limits:
    """The bounds of one runtime, each with the least and the most that it may be set to.

    Raises TypeError for a value that is no number of its field's kind, ValueError for a
    number out of bounds, and for numbers that do not go together.
    """

    # --- events ---------------------------------------------------------------

    event_bytes: int = within(128, 8 * MIB, default=256 * KIB)
    """One encoded event. A tool's result fits; a file belongs in a blob store, with its address in the event. Clients
    take messages of 16 MiB at most."""

    payload_depth: int = within(1, 256, default=64)
    """Nesting of a payload. Far beyond any real one, far below the depth that exhausts a parser's stack."""

    # --- actors ---------------------------------------------------------------

    mailbox_messages: int = within(1, MANY, default=256)
    """Messages that wait for a busy actor. One commit's worth of a fast producer; then the emitter waits."""

    nesting: int = within(1, 64, default=16)
    """Handlers on one stack. The deepest chain in this package is 3; 16 leaves room and keeps a cycle off the stack, of
    which 64 take a good part."""

    sweep_events: int = within(1, MANY, default=2_000)
    """Events that one step of a sweep drops before other tasks get a turn: 5 ms. To drop at once all that may be held
    would take half a second."""

    retire_seconds: float = within(MOMENT, YEAR, default=60.0)
    """Idle time after which a thread's actor is forgotten, at most twice as long; it is built again when it is
    needed."""

    restarts: int = within(0, MANY, default=3)
    """Restarts of one actor within ``restart_period_seconds``; one crash more quarantines it (OTP's semantics)."""

    restart_period_seconds: float = within(MOMENT, YEAR, default=5.0)
    """A crash loop is faster than this, an unlucky actor is slower."""

    shutdown_seconds: float = within(0.0, YEAR, default=5.0)
    """Time for a child to stop by itself before its supervisor cancels it (OTP's default for workers)."""

    # --- the store ------------------------------------------------------------

    store_seconds: float = within(0.0, YEAR, default=30.0)
    """Time for the store to close, with what it was given last. A disk that syncs slowly takes a second for a batch;
    what is cut off here is not known to be stored."""

    retained_events: int = within(1, MANY, default=1_000)
    """Events retained per user. An hour of lively conversation: enough for a phone that slept through a lunch."""

    retained_bytes: int = within(1, GIB, default=MIB)
    """Bytes retained per user. 1,000 events of 1 KiB; the bound that matters when events are large."""

    retained_seconds: float = within(0.0, YEAR, default=300.0)
    """Age of a retained event. Longer absences reload the conversation from the application's own database."""

    unbound_events: int = within(1, MANY, default=256)
    """Events held per thread without an owner. A whole run of an agent that started before its thread was bound."""

    unbound_bytes: int = within(1, GIB, default=256 * KIB)
    """Bytes held per thread without an owner. At least one event of the largest size always fits."""

    unbound_seconds: float = within(0.0, YEAR, default=60.0)
    """Age of a held event. A bind that has not come after a minute is a bug in the application."""

    unbound_total_bytes: int = within(1, 1_024 * GIB, default=64 * MIB)
    """Bytes held over all threads without an owner, because a leak of threads must not become a leak of memory."""

    unbound_total_threads: int = within(1, MANY, default=100_000)
    """Threads without an owner that hold events; with the bytes, bounds the cost of a producer of thread ids."""

    vacant_threads: int = within(1, MANY, default=10_000)
    """Threads that never had an owner, and whose events all expired: the store keeps their numbering, and the notice
    for a late owner. Of more, it forgets the oldest: they begin again at 1, and their owner gets no notice."""

    idempotency_seconds: float = within(0.0, YEAR, default=600.0)
    """Time for which the store remembers an event id that an emitter chose. Longer than any sane retry."""

    idempotency_ids: int = within(1, MANY, default=100_000)
    """Ids that emitters chose, remembered over all threads; about 30 MB."""

    sweep_seconds: float = within(MOMENT, 5.0, default=1.0)
    """Time between two looks at the age of everything: the error that a reader could notice in 60 s and 300 s. Also the
    most by which a ping is late: of the 10 s that clients wait for one, half are left for its way."""

    # --- runs -----------------------------------------------------------------

    delta_window_ms: float = within(0.0, 10_000.0, default=30.0)
    """Time for which a run's tokens gather before they go out as one event; 0 sends each alone. Two frames of a screen:
    no eye sees it, and a model's 100 tokens a second become 30 events."""

    delta_bytes: int = within(1, GIB, default=32 * KIB)
    """Text that a run may gather while its thread takes nothing: minutes of the fastest model. Escaped in the worst
    way it still fits into one event."""

    runs: int = within(1, MANY, default=1_000)
    """Runs started by messages, active or waiting, and closed ones whose code goes on. Each holds a task and the
    application's own state."""

    runs_per_thread: int = within(1, MANY, default=16)
    """Runs of one thread among those: more messages than a person types while one answer is written."""

    ended_runs: int = within(1, MANY, default=10_000)
    """Ended runs remembered, so that a cancel that comes too late is told so."""

    authorize_seconds: float = within(MOMENT, YEAR, default=10.0)
    """Time for the application's ``authorize``."""

    cancel_seconds: float = within(0.0, YEAR, default=5.0)
    """Time for a cancelled run to stop. Then the caller that cancelled it learns that it did not, the runtime closes it
    without its code, and its thread's next turn begins: a person who has pressed Stop waits no longer."""

    cancel_hold_seconds: float = within(0.0, YEAR, default=1.0)
    """Time for which a cancel for an unknown run is kept, because it may have overtaken the message that starts it."""

    disconnect_grace_seconds: float = within(0.0, YEAR, default=30.0)
    """With ``on_disconnect="cancel_after"``: time for a user to come back. A tunnel, a reload."""

    requests: int = within(1, 1_024, default=16)
    """Unanswered requests of one connection. A client that waits for answers has one or two. Each may be of the largest
    size."""

    history_events: int = within(1, MANY, default=1_000)
    """Events in one answer to a read; all that a log retains by default."""

    history_bytes: int = within(1, 4 * MIB, default=256 * KIB)
    """Bytes in one answer to a read, unless one event alone is larger. Like ``event_bytes``, well below the 16 MiB that
    clients take."""

    # --- events that no device acks -------------------------------------------

    undelivered_seconds: float = within(0.0, YEAR, default=60.0)
    """With ``on_undelivered``: time for devices to ack an event before the application is told. A page that is loading,
    a phone that wakes up; and well within retention."""

    undelivered_events: int = within(1, MANY, default=100_000)
    """Events watched at once; beyond it the oldest are decided early. 10 MB."""

    undelivered_calls: int = within(1, MANY, default=16)
    """Calls of the hook at once. It talks to a mail server or a push service, one connection each."""

    undelivered_call_seconds: float = within(MOMENT, YEAR, default=30.0)
    """Time for a call before it counts as failed."""

    asks_per_thread: int = within(1, MANY, default=16)
    """Questions open at once in one thread. A person answers one at a time."""

    closed_asks: int = within(1, MANY, default=10_000)
    """Questions remembered after they were closed, so that a late answer is told so."""

    # --- memory of the past ---------------------------------------------------

    explained_events: int = within(1, MANY, default=100_000)
    """The newest events, which ``explain`` knows; 4 MB of columns. As many ids that emitters chose are known by
    name."""

    failures: int = within(1, MANY, default=1_000)
    """Failures kept as text, 20 KB each at most. More in one process's life are a loop, whose beginning matters
    less."""

    dead_letters: int = within(1, MANY, default=1_000)
    """Records of drops kept, each for a range of events."""

    departures: int = within(0, MANY, default=8)
    """Closed connections remembered per user, so that ``explain`` can say why a device is gone."""

    warning_seconds: float = within(0.0, YEAR, default=60.0)
    """The period of the log: of each kind of line, one for each thread, user, page or path that it is about."""

    warnings: int = within(1, MANY, default=20)
    """Lines of one kind in a period; of more, their number. No person reads 100,000 lines, and each costs 20 µs."""

    # --- connections ----------------------------------------------------------

    connections: int = within(1, MANY, default=10_000)
    """In total. At 32 KiB each, 320 MB; and below the usual limit of file descriptors in production."""

    handshakes: int = within(1, MANY, default=2_000)
    """Sockets that have not become connections yet. Slow ones must not keep others out, nor cost more than 25 KiB
    each; beyond this many a socket is closed as soon as it is accepted."""

    connections_per_user: int = within(1, MANY, default=32)
    """Devices and tabs of a person; more is a reconnect loop."""

    sessions_per_user: int = within(1, MANY, default=64)
    """Sessions remembered per user: twice the connections, so that each may be replaced once."""

    session_seconds: float = within(0.0, YEAR, default=600.0)
    """Time for which the sessions of a user without devices are kept, and a retire period more: as long as the store
    knows a message that is sent again. Retained events are gone by then."""

    request_head_bytes: int = within(256, MIB, default=16 * KIB)
    """A request line and headers. Common servers allow 8 to 16 KiB."""

    request_head_seconds: float = within(MOMENT, YEAR, default=10.0)
    """From accept to the end of the head. A slow network needs two; a slow attack gets no more."""

    hello_seconds: float = within(MOMENT, YEAR, default=10.0)
    """From the upgrade to the hello."""

    authenticate_seconds: float = within(MOMENT, YEAR, default=10.0)
    """Time for the application's ``authenticate``."""

    inbound_bytes: int = within(64, 16 * MIB, default=64 * KIB)
    """One message from a client, in at most a 64th as many fragments. People type less; uploads do not belong on this
    socket. A hello needs the least there may be."""

    inbound_messages_per_second: float = within(0.001, 1_000_000.0, default=50.0)
    """Per connection, sustained. A client acks once a second and a person types slower; each ping must be answered."""

    inbound_burst: int = within(1, 1_000_000, default=200)
    """Messages a connection may send at once, after a reconnect for example."""

    ack_events: int = within(1, 1_000_000, default=128)
    """Events after which a client is asked to ack. An ack costs as much as ten events; retention holds eight times as
    many, so none is lost for being late."""

    ack_seconds: float = within(0.0, 60.0, default=1.0)
    """Time for which a client may hold an ack back: a person would not notice it. Beyond a minute an ack would say
    nothing about a screen; and a JavaScript timer of more than 24 days, or of infinity, is over at once."""

    write_bytes: int = within(1, 4 * MIB, default=64 * KIB)
    """Bytes of one write to a socket, or joined in one batch. Larger gains nothing, and makes one slow device's turn
    long."""

    flush_ms: float = within(0.0, 1_000.0, default=0.0)
    """Time for which the flusher holds writes back, to join the frames of that time: 0 for the least delay, some
    milliseconds where system calls cost more than they are worth."""

    control_bytes: int = within(64, GIB, default=16 * KIB)
    """Control frames and replies that wait behind an unread socket; more is a flood of pings, and the socket is
    aborted."""

    write_deadline_seconds: float = within(MOMENT, YEAR, default=10.0)
    """Time without progress after which a socket is aborted; its device comes back to its cursor. The kernel of one
    that is read at 1 KB/s opens its window in steps, and shows nothing for 5.6 to 8.6 s in between: 5 s would end
    it."""

    ping_seconds: float = within(0.01, 600.0, default=15.0)
    """Silence from a client before it is pinged; shorter than the 20 to 60 s after which proxies cut idle links.
    Clients give a server up that is silent for 10 s longer; beyond ten minutes that would be of no use."""

    pong_seconds: float = within(0.01, 600.0, default=10.0)
    """Time for a pong. With ``ping_seconds``: a dead device is found within 25 s."""

    close_seconds: float = within(0.0, YEAR, default=2.0)
    """Time for a peer to answer our Close before the socket is aborted."""

    revoked_seconds: float = within(0.0, YEAR, default=0.8)
    """The same of a peer whose credentials were revoked: a second later it has no socket."""

    retry_seconds: float = within(0.0, 40.0, default=2.0)
    """Time that devices are told to wait when the server goes away, each between half and one and a half of it: a
    restart takes about as long, and all at once would be a second outage. A client waits for a minute at most."""

    accept_backlog: int = within(1, 65_535, default=1_024)
    """Connections the kernel completes for us while a burst of reconnects is worked off."""

    accept_retry_seconds: float = within(MOMENT, YEAR, default=0.1)
    """Pause after the system had no descriptor or memory left for another connection."""

    def __attrs_post_init__(self) -> None:
        """Refuse bounds that cannot work together."""
        for name in ("unbound_bytes", "unbound_total_bytes"):
            if getattr(self, name) < self.event_bytes:
                raise ValueError(
                    f"Limits({name}): expected at least event_bytes, {self.event_bytes}, because a larger event could"
                    f" never be held, got {getattr(self, name)}"
                )
        if self.inbound_messages_per_second * self.ping_seconds < 1:
            raise ValueError(
                "Limits(inbound_messages_per_second): expected at least one message in ping_seconds,"
                f" {self.ping_seconds:g} s, because a client has to answer each ping, got"
                f" {self.inbound_messages_per_second:g}"
            )
        if self.retained_seconds <= self.ack_seconds:
            raise ValueError(
                f"Limits(retained_seconds): expected more than ack_seconds, {self.ack_seconds:g}, because what has left"
                f" is not confirmed any more, got {self.retained_seconds:g}"
            )


def _text(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"
