"""The connection: one socket of one user, a cursor into the user's log.

While it is idle it is a record, and has no task: :meth:`Connection.open` takes
the hello in the task of the one who accepted the socket, and returns;
:meth:`Connection.close` says why it ends, and closes the socket, in another.
Between the two its messages are read in the step of the one task that watches
all sockets, and tasks of its own come and go with what has to wait.

Events are written in the flusher's step, from the log, so that a
device that does not read lags behind and nothing queues up for it here.

It is an actor in that it has private state, a path, and failures that end it
alone. It is no :class:`~actors.kernel.mailbox.Actor`: it has no mailbox,
because the log is its mailbox and the cursor its position there. Any message
to it would say "read the log", and such bells coalesce in the user's presence
already. So the flusher calls :meth:`Connection.flush` directly, in its own
step: a bare call, 0.06 µs, where an idle mailbox takes 0.33 and one that has to
wake a task 10 (``python -m benchmarks mailbox``). The user's actor, the pulse,
the roster, the questions, the server and the drain call it in the same way. That is safe because
none of these calls waits, and each leaves the connection whole.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import trio

from actors.connections.context import ConnectionContext
from actors.connections.ending import Ending
from actors.connections.loading import Loading
from actors.connections.peer import Peer
from actors.connections.pings import Pings
from actors.connections.reader import PONG, Reader
from actors.delivery.announcements import Announcements
from actors.delivery.batches import bundle
from actors.delivery.bounds import Bounds, Start
from actors.delivery.frames import text_frame, text_frames
from actors.delivery.ledger import Ledger
from actors.delivery.log import NotAtHand
from actors.delivery.outgoing import Outgoing
from actors.delivery.subscription import EpochEnded, State, Subscription, opening
from actors.kernel.failures import Barrier
from actors.kernel.task_set import Starter, TaskSet
from actors.observability.connection_state import ConnectionState, compose
from actors.protocol import client_messages, server_messages
from actors.users.presence import Presence
from actors.wire.control_frames import PING
from actors.wire.endpoint import Endpoint
from actors.wire.http import RequestHead
from actors.wire.transport import Transport, tell
from actors.wire.websocket import WebSocket


class Connection:
    """One WebSocket: its session, its subscription to the log, its end.

    open ─ greeting ─ idle ─ end() ─ close
    """

    __slots__ = (
        "_context",
        "_loading",
        "_peer",
        "_reader",
        "_transport",
        "label",
        "pings",
        "plain",
        "presence",
        "renames",
        "since",
        "subscription",
        "user_id",
    )

    def __init__(self, label: str, endpoint: Endpoint, *, context: ConnectionContext, tasks: Starter) -> None:
        self.label: str = label
        self.plain: bool = False
        self.renames: bool = False
        """True once its client has said that it knows that an epoch may go on under another name."""
        self.subscription: Subscription | None = None
        """Its subscription to the user's log, from attach on."""
        self.user_id: str | None = None
        """Known from the request for plain clients and tickets; else from the hello."""
        self.presence: Presence
        """The devices of its user, from attach on."""
        self.since: float = context.environment.wall_clock()
        """The time at which it came."""
        self._context = context
        clock, own_tasks, ending = context.environment.clock, TaskSet(tasks, self.fail), Ending()
        self._transport = transport = Transport(
            endpoint, own_tasks, limits=context.limits, clock=clock, on_drained=self._drained, on_failed=self.end
        )
        self.pings: Pings = Pings(transport)
        self._peer = Peer(
            transport=transport,
            websocket=WebSocket(transport, context.limits, on_received=partial(context.hear, self), clock=clock),
            pings=self.pings,
            announcements=Announcements(),
            ending=ending,
            tasks=own_tasks,
        )
        self._reader = Reader(self, self._peer, context=context)
        self._loading = Loading(
            own_tasks, on_loaded=lambda: self._context.mark(self.presence), on_failed=self._reader.end_for
        )

    @property
    def path(self) -> str:
        """The path in the tree: ``users/alice/connections/c3``."""
        return f"users/{self.user_id or '?'}/connections/{self.label}"

    def __repr__(self) -> str:
        state = "saying hello" if self.subscription is None else repr(self.subscription)
        reason = self._peer.ending.reason
        return f"<Connection {self.path} {state}{'' if reason is None else f' ending={reason[0]}'}>"

    @property
    def writing(self) -> bool:
        """True if the socket has yet to take something that was written to it."""
        return self.subscription is not None and self._transport.backlog_bytes > 0

    @property
    def caught_up(self) -> bool:
        """True if nothing is left to catch up with; see :attr:`Subscription.caught_up`."""
        return self.subscription is not None and self.subscription.caught_up

    @property
    def awaits_ack(self) -> bool:
        """True if this device may still ack something that no device has."""
        return self.subscription is not None and self.subscription.awaits_ack

    @property
    def aborted(self) -> bool:
        """True if the socket took nothing any more, or broke, so that no goodbye was possible."""
        return self._transport.aborted

    # --- its life -----------------------------------------------------------------

    async def open(
        self,
        head: RequestHead,
        user_id: str | None,
        identify: Callable[[str | None], Awaitable[str]],
        on_end: Callable[[], object],
    ) -> bool:
        """Answer the upgrade request, take the hello and attach the device.

        True if the connection is idle then: it needs no task, and ``on_end`` is
        called, once, when it ends. ``identify`` returns the user of a hello's
        token, or raises PeerError. A failure of ours is reported, ends this
        connection, and is not raised. Whatever comes of it, also of a
        cancellation, :meth:`close` must follow.
        """
        self.plain, self.user_id = client_messages.SUBPROTOCOL not in head.offers(), user_id
        subprotocol = None if self.plain else client_messages.SUBPROTOCOL
        self._context.hear(self, self._context.environment.clock())
        ending = self._peer.ending
        with trio.CancelScope() as scope:
            ending.stops(scope.cancel)
            with Barrier(self._reader.end_for):
                self._peer.websocket.open(head, subprotocol)
                await self._reader.greet(identify)
        if ending.reason is None:
            self._reader.listen()
        if ending.reason is None:
            ending.stops(on_end)
        return ending.reason is None

    async def close(self) -> tuple[str, str]:
        """Leave the user's devices, say goodbye, and close the socket; returns the row of the closing table, and the
        reason in words.

        A failure of ours is reported, and is not raised. Cancelled, it closes
        the socket as it stands; and so it does when nothing but a cancellation
        ends the connection, because a Close would say that the device had left.
        """
        peer, transport = self._peer, self._transport
        transport.forget()
        try:
            with Barrier(self.fail):
                await self._reader.detach()
                if peer.ending.reason is None:
                    self.end("vanished", "its task was cancelled")
                else:
                    await peer.ending.say_goodbye(peer.websocket, transport, self._context.limits, plain=self.plain)
                    transport.close()
                    await peer.ending.finish_requests(peer.tasks, self._context.limits)
        finally:
            transport.close()
            peer.tasks.cancel()
            await peer.tasks.wait_ended()
            if self.subscription is not None:
                # At most once, because a plain client may have read a part and cannot say so: it is not sent again.
                self.subscription.end(written=self.plain)
            self._context.forget(self)
            tell(transport, self._context.traffic)
        return peer.ending.outcome()

    # --- the writer's side, called from other actors' steps ----------------------

    def ended_by(self) -> str | None:
        """Return the row of the closing table by which the connection has ended, if either side has ended it by now."""
        ending = self._peer.ending
        return self._peer.websocket.ended_by() if ending.reason is None else ending.reason[0]

    def begin(self, subscription: Subscription, start: Start, bounds: Bounds, session: str, presence: Presence) -> None:
        """Take a subscription to the user's log, and welcome the device."""
        self.presence = presence
        self.subscription = subscription
        self._context.note_resume(self.path, start.kind)
        if self.plain:
            return
        said = opening(start, bounds, session, self._context.limits)
        self._transport.hold(text_frames(said), len(said))

    def reset(self, bounds: Bounds, ledger: Ledger) -> None:
        """Go on in another epoch of the log, and tell the device."""
        assert self.subscription is not None, "only a device with a subscription is reset"
        said = self.subscription.reset(bounds, ledger)
        self._context.note_resume(self.path, "reset")
        if said:
            self.pings.write(text_frames(said), lambda frames: self._transport.write(frames, len(said)))
            self.pings.fence()

    def rename(self, bounds: Bounds, ledger: Ledger, fork: int) -> None:
        """Go on in an epoch that shares all up to ``fork`` with the present one, and tell the device."""
        assert self.subscription is not None, "only a device with a subscription is renamed"
        said = self.subscription.rename(bounds, ledger, fork)
        self._context.note_resume(self.path, "renamed")
        if said:
            self._transport.write(text_frames(said), len(said))

    def flush(self) -> None:
        """Write the next range of the log, once, unless the socket still has something to take.

        The head of this module says why the flusher calls it directly.
        """
        subscription, transport = self.subscription, self._transport
        if subscription is None or not transport.is_ready:
            return
        try:
            outgoing = subscription.pull(self._context.limits.write_bytes)
        except EpochEnded:
            self.presence.rewind()
            return
        except NotAtHand:
            assert self.presence.view is not None, "a log is followed while it has devices"
            transport.release()  # loading takes its time, and a client waits for its welcome for so long only
            self._loading.begin(self.presence.view, subscription.cursor.position + 1)
            return
        if outgoing is not None:
            self._write(outgoing, subscription)
        if not subscription.caught_up or not self._peer.announcements.is_over:
            self._announce(subscription)

    def _write(self, outgoing: Outgoing, subscription: Subscription) -> None:
        """Write a range; its offsets count as written when the socket has taken the last of them."""
        if self._transport.carrier is not None and not self.plain:
            _bundle(outgoing)
        if outgoing.before:
            is_taken = self._transport.write(outgoing.as_frames(), outgoing.count)
        else:
            is_taken = self._transport.write(outgoing.frames, outgoing.last - outgoing.first + 1)
        if is_taken:
            if subscription.wrote(outgoing):
                self._context.mark(self.presence)
        elif not self._transport.sealed:
            subscription.begin_write(outgoing)

    def _announce(self, subscription: Subscription) -> None:
        """Tell a device that has caught up what is active and open: some of it, the rest when the socket has taken
        that."""
        if subscription.catch_up_is_due and self._peer.announcements.is_over:
            last = subscription.catch_up()
            self._peer.announcements.begin([lambda: last, *self._context.pending(subscription.user_id, None)])
        if self._peer.announcements.is_over:
            return
        said = self._peer.announcements.take(self._context.limits.write_bytes, PONG)
        if self._transport.write(text_frames(said), len(said)) and not self._peer.announcements.is_over:
            self._context.mark(self.presence)

    def tell(self, text: bytes) -> bool:
        """Write a message about an active run or an open question; if the socket is full, announce all of them later.

        So a device that does not read is never owed more than a list of the present ones.
        """
        if self.subscription is None or self.plain:
            return False
        self.flush()
        if not self._transport.backlog_bytes and self._peer.announcements.is_over:
            self._transport.write(text_frame(text))
        else:
            self.subscription.catch_up_again()
        return True

    def say(self, text: bytes) -> None:
        """Write a message after the next range of the log, if this device speaks the protocol and has said hello."""
        if self.subscription is not None and not self.plain:
            self.flush()
            self._transport.write(text_frame(text))

    def ping(self) -> None:
        """Ping the device; leave one alone whose pong its carrier keeps, because the carrier pings it."""
        if self.plain and self._transport.carrier is not None:
            self._context.forget(self)
            return
        head = 0 if self.subscription is None else self.subscription.ledger.head
        ping = PING if self.plain else text_frame(server_messages.encode(server_messages.Ping(head)))
        self.pings.write(ping, self._transport.write_control)

    def end(self, name: str, text: str = "") -> None:
        """End the connection for a reason of the closing table; the first reason counts."""
        self._peer.ending.begin(name, text)

    def cut(self) -> None:
        """Abort a socket that has yet to take something; leave any other to its goodbye."""
        if self.writing:
            self._transport.abort()

    def fail(self, error: BaseException) -> None:
        """End the connection for a failure of ours: reported once, and to the device without its text."""
        self._context.failures.report(self.path, "its connection", error)
        self.end("failed")

    def describe(self, offset: int, now: float) -> str:
        """Say how this device stands to one offset: ``c3 acked``, ``c4 (over ASGI) 12 behind``; and whether it is
        silent."""
        carrier = self._transport.carrier
        label = self.label if carrier is None else f"{self.label} (over {carrier.name})"
        if self.subscription is None:
            return f"{label} is saying hello"
        stalled, backlog = self._transport.stalled_since, self._transport.backlog_bytes
        seconds = None if stalled is None else now - stalled
        text = f"{label} {self.subscription.describe(offset, seconds, backlog)}"
        heard_at, pinged_at = self._context.heard_at(self), self._context.pinged_at(self)
        if heard_at is None or pinged_at is None or self.subscription.is_acked(offset):
            return text
        return f"{text}, silent for {now - heard_at:.0f} s: no answer to a ping in {now - pinged_at:.0f} s"

    def _drained(self) -> None:
        """Note that the socket took everything; the log may have more."""
        if self.subscription is not None:
            self.subscription.finish_write(written=True)
            self._context.mark(self.presence)


def transport_of(connection: Connection) -> Transport:
    """Return the way to a device's socket, for those who look at how it stands and change nothing."""
    return connection._transport


def state_of(connection: Connection) -> ConnectionState:
    """Look at a connection, for operators; one system call, for what its socket has not delivered."""
    return compose(
        connection.subscription,
        label=connection.label,
        user_id=connection.user_id,
        kind="plain" if connection.plain else "v1",
        is_ending=connection._peer.ending.reason is not None,
        backlog_bytes=connection._transport.pending_bytes,
        since=connection.since,
    )


def standing_of(connection: Connection) -> tuple[int, bool, int]:
    """Return how many events a connection lacks, if it is behind and not only about to be written to, and the bytes
    that wait for its socket; what it has written is added to the totals."""
    tell(connection._transport, connection._context.traffic)
    subscription = connection.subscription
    if subscription is None:
        return 0, False, 0
    lag = subscription.lag_events
    return lag, lag > 0 and subscription.state is not State.LIVE, connection._transport.backlog_bytes


def _bundle(outgoing: Outgoing) -> None:
    """Put several events in the one message that a carrier is paid for."""
    batch = bundle(outgoing.first, outgoing.last, outgoing.frames)
    if batch is not None:
        outgoing.before, outgoing.frames = (*outgoing.before, batch), b""
