"""Every bound of the runtime, each with its reason.

A deployment changes them by passing its own :class:`Limits` to
:func:`actors.open_runtime`; nothing else in the package is a magic number.
Sizes are bytes, times are seconds.
"""

from __future__ import annotations

import attrs

from actors.bounds import within

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
"""What is held is held in memory: more is meant to be no bound, and is one that nobody reaches."""

MANY = 2**31 - 1
"""The same of what is counted."""

YEAR = 365 * 24 * 3_600.0
"""No process waits for longer; infinity, which some timers and clients take for nothing, is not needed for "never"."""

MOMENT = 0.001
"""Where no time at all would let nobody in, or have a loop spin."""


@attrs.frozen(kw_only=True)
class Limits:
    """The bounds of one runtime, each with what it may be set to.

    Raises TypeError for what is no number of its field's kind, ValueError for a
    number out of bounds, and for numbers that do not go together.
    """

    # --- events ---------------------------------------------------------------

    event_bytes: int = within(128, 8 * MIB, default=256 * KIB)
    """One encoded event. A tool's result fits; a file belongs in a blob store, with its address in the event. Clients
    take messages of 16 MiB at most."""

    payload_depth: int = within(1, 256, default=64)
    """Nesting of a payload. Far beyond any real one, far below what exhausts a parser's stack."""

    # --- actors ---------------------------------------------------------------

    mailbox_messages: int = within(1, MANY, default=256)
    """Messages that wait for a busy actor. One commit's worth of a fast producer; then the emitter waits."""

    nesting: int = within(1, 64, default=16)
    """Handlers on one stack. The deepest chain in this package is 3; 16 leaves room and keeps a cycle off the stack, of
    which 64 take a good part."""

    sweep_events: int = within(1, MANY, default=2_000)
    """What one step of a sweep lets go of, with a turn for everybody else in between: 5 ms. At once, all that may be
    held would take half a second."""

    retire_seconds: float = within(MOMENT, YEAR, default=60.0)
    """A thread's actor that was idle for this long, and at most twice as long, is forgotten and built again."""

    restarts: int = within(0, MANY, default=3)
    """Crashes of one actor within ``restart_period_seconds`` that are mended; the next one is not (OTP's semantics)."""

    restart_period_seconds: float = within(MOMENT, YEAR, default=5.0)
    """A crash loop is faster than this, an unlucky actor is slower."""

    shutdown_seconds: float = within(0.0, YEAR, default=5.0)
    """What a child gets to stop by itself before it is cancelled (OTP's default for workers)."""

    # --- the store ------------------------------------------------------------

    retained_events: int = within(1, MANY, default=1_000)
    """Per user. An hour of lively conversation: enough for a phone that slept through a lunch."""

    retained_bytes: int = within(1, GIB, default=MIB)
    """Per user. 1,000 events of 1 KiB; the bound that matters when events are large."""

    retained_seconds: float = within(0.0, YEAR, default=300.0)
    """Per user. Longer absences reload the conversation from the application's own database."""

    unbound_events: int = within(1, MANY, default=256)
    """Per thread without an owner. A whole run of an agent that started before its thread was bound."""

    unbound_bytes: int = within(1, GIB, default=256 * KIB)
    """Per thread without an owner. At least one event of the largest size always fits."""

    unbound_seconds: float = within(0.0, YEAR, default=60.0)
    """A bind that has not come after a minute is a bug in the application, and is said to be one."""

    unbound_total_bytes: int = within(1, 1_024 * GIB, default=64 * MIB)
    """Over all threads without an owner: a leak of threads must not become a leak of memory."""

    unbound_total_threads: int = within(1, MANY, default=100_000)
    """Threads without an owner that hold events; with the bytes, bounds what a producer of thread ids can cost."""

    vacant_threads: int = within(1, MANY, default=10_000)
    """Threads that never had an owner and whose events all expired: their numbering, and what to tell a late owner. Of
    more, the oldest are forgotten: they begin again at 1, and their owner is not told."""

    idempotency_seconds: float = within(0.0, YEAR, default=600.0)
    """How long a given event id is remembered. Longer than any sane retry."""

    idempotency_ids: int = within(1, MANY, default=100_000)
    """Given ids remembered over all threads; about 30 MB."""

    sweep_seconds: float = within(MOMENT, 5.0, default=1.0)
    """How often age is looked at. The error that a reader could notice in 60 s and 300 s. Also how late a ping may be:
    of the 10 s that clients wait for it, half are left for its way."""

    # --- runs -----------------------------------------------------------------

    delta_window_ms: float = within(0.0, 10_000.0, default=30.0)
    """How long a run's tokens gather before they go out as one event; 0 sends each alone. Two frames of a screen:
    nobody sees it, and a model's 100 tokens a second become 30 events."""

    delta_bytes: int = within(1, GIB, default=32 * KIB)
    """Text that a run may gather while its thread takes nothing: minutes of the fastest model. Escaped in the worst
    way it still fits into one event."""

    runs: int = within(1, MANY, default=1_000)
    """Runs started by messages, active or waiting, and closed ones whose code goes on. Each holds a task and what the
    application gives it."""

    runs_per_thread: int = within(1, MANY, default=16)
    """Of those in one thread: more messages than a person types while one answer is written."""

    ended_runs: int = within(1, MANY, default=10_000)
    """Ended runs remembered, so that a cancel that comes too late is told so."""

    authorize_seconds: float = within(MOMENT, YEAR, default=10.0)
    """What the application's ``authorize`` may take."""

    cancel_seconds: float = within(0.0, YEAR, default=5.0)
    """What a cancelled run gets to stop. Then whoever cancelled it is told that it did not, it is closed without its
    code, and its thread's next turn begins: a person who has pressed Stop waits no longer."""

    cancel_hold_seconds: float = within(0.0, YEAR, default=1.0)
    """How long a cancel for a run that is not known is kept: it may have overtaken the message that starts it."""

    disconnect_grace_seconds: float = within(0.0, YEAR, default=30.0)
    """With ``on_disconnect="cancel_after"``: what a user who has gone gets to come back. A tunnel, a reload."""

    requests: int = within(1, 1_024, default=16)
    """Of one connection, not answered yet. A client that waits for answers has one or two. Each may be of the largest
    size."""

    history_events: int = within(1, MANY, default=1_000)
    """In one answer to a read; all that a log retains by default."""

    history_bytes: int = within(1, 4 * MIB, default=256 * KIB)
    """In one answer to a read, unless one event alone is larger. Like ``event_bytes``, well below what clients take."""

    # --- what nobody confirms -------------------------------------------------

    undelivered_seconds: float = within(0.0, YEAR, default=60.0)
    """With ``on_undelivered``: what devices get to confirm an event before the application is told. A page that is
    loading, a phone that wakes up; and well within retention."""

    undelivered_events: int = within(1, MANY, default=100_000)
    """Events watched at once; beyond it the oldest are decided early. 10 MB."""

    undelivered_calls: int = within(1, MANY, default=16)
    """Calls of the hook at once. It talks to a mail server or a push service, one connection each."""

    undelivered_call_seconds: float = within(MOMENT, YEAR, default=30.0)
    """What a call gets before it counts as failed."""

    asks_per_thread: int = within(1, MANY, default=16)
    """Questions open at once in one thread. A person answers one at a time."""

    closed_asks: int = within(1, MANY, default=10_000)
    """Questions remembered after they were closed, so that a late answer is told so."""

    # --- what is remembered ---------------------------------------------------

    explained_events: int = within(1, MANY, default=100_000)
    """The newest events, which ``explain`` knows; 4 MB of columns. As many given ids are known by name."""

    failures: int = within(1, MANY, default=1_000)
    """Failures kept as text, 20 KB each at most. More in one process's life is a loop, and its beginning is what
    matters less."""

    dead_letters: int = within(1, MANY, default=1_000)
    """Records of drops kept, each for a range of events."""

    departures: int = within(0, MANY, default=8)
    """Closed connections remembered per user, so that ``explain`` can say why a device is gone."""

    warning_seconds: float = within(0.0, YEAR, default=60.0)
    """One warning per thread and this period about events that nobody can receive, and one about a system that has no
    room for another connection."""

    warnings: int = within(1, MANY, default=100)
    """Threads warned of in one period; of more, their number. Nobody reads 100,000 lines, and each costs 20 µs."""

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
    """How long the sessions of a user without devices are kept, and a retire period more: as long as a message that is
    sent again is known to be the same. What is retained is gone by then."""

    request_head_bytes: int = within(256, MIB, default=16 * KIB)
    """A request line and headers. Common servers allow 8 to 16 KiB."""

    request_head_seconds: float = within(MOMENT, YEAR, default=10.0)
    """From accept to the end of the head. A slow network needs two; a slow attack gets no more."""

    hello_seconds: float = within(MOMENT, YEAR, default=10.0)
    """From the upgrade to the hello."""

    authenticate_seconds: float = within(MOMENT, YEAR, default=10.0)
    """What the application's ``authenticate`` may take."""

    inbound_bytes: int = within(64, 16 * MIB, default=64 * KIB)
    """One message from a client, in at most a 64th as many fragments. People type less; uploads do not belong on this
    socket. A hello needs the least there may be."""

    inbound_messages_per_second: float = within(0.001, 1_000_000.0, default=50.0)
    """Per connection, sustained. A client acks once a second and a person types slower; each ping must be answered."""

    inbound_burst: int = within(1, 1_000_000, default=200)
    """Messages a connection may send at once, after a reconnect for example."""

    ack_events: int = within(1, 1_000_000, default=128)
    """What a client is asked to confirm at once. An acknowledgement costs as much as ten events; retention holds
    eight times as many, so none is lost for being late."""

    ack_seconds: float = within(0.0, 60.0, default=1.0)
    """How long a client may wait with a confirmation: what a person would not notice. Beyond a minute it would say
    nothing about what is on a screen; and a JavaScript timer of more than 24 days, or of infinity, is over at once."""

    write_bytes: int = within(1, 4 * MIB, default=64 * KIB)
    """Handed to a socket in one write, or joined in one batch. Larger gains nothing, and makes one slow device's turn
    long."""

    flush_ms: float = within(0.0, 1_000.0, default=0.0)
    """How long writes are held back, to join the frames of that time: 0 for the least delay, some milliseconds where
    system calls cost more than they are worth."""

    control_bytes: int = within(64, GIB, default=16 * KIB)
    """Control frames and replies waiting behind an unread socket; more is a flood of pings, and it is aborted."""

    write_deadline_seconds: float = within(MOMENT, YEAR, default=10.0)
    """A socket that took nothing for this long is aborted; its cursor is where it comes back to. The kernel of one that
    is read at 1 KB/s opens its window in steps, and shows nothing for 5.6 to 8.6 s in between: 5 s would end it."""

    ping_seconds: float = within(0.01, 600.0, default=15.0)
    """Silence from a client before it is asked; shorter than the 20 to 60 s after which proxies cut idle links. Clients
    give a server up that is silent for 10 s longer; beyond ten minutes that would be no use to anybody."""

    pong_seconds: float = within(0.01, 600.0, default=10.0)
    """What it has to answer. With ``ping_seconds``: a dead device is found within 25 s."""

    close_seconds: float = within(0.0, YEAR, default=2.0)
    """What a peer gets to answer our Close before the socket is aborted."""

    revoked_seconds: float = within(0.0, YEAR, default=0.8)
    """The same of a peer whose credentials were revoked: a second later it has no socket."""

    retry_seconds: float = within(0.0, 40.0, default=2.0)
    """What devices are told to wait when the server goes away, each between half and one and a half of it: a restart
    takes about as long, and all at once would be a second outage. A client waits for a minute at
    most."""

    accept_backlog: int = within(1, 65_535, default=1_024)
    """Connections the kernel completes for us while a burst of reconnects is worked off."""

    accept_retry_seconds: float = within(MOMENT, YEAR, default=0.1)
    """Pause after the system had no descriptor or memory left for another connection."""

    def asked(self) -> dict[str, float]:
        """What is asked of clients, by its names in the welcome."""
        return {
            "message_bytes": self.inbound_bytes,
            "messages_per_s": self.inbound_messages_per_second,
            "ack_events": self.ack_events,
            "ack_s": self.ack_seconds,
            "requests": self.requests,
        }

    def __attrs_post_init__(self) -> None:
        """Refuse what cannot work together."""
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
