"""The connection: one socket of one user, a cursor into the user's log.

Its task is the reader's until the connection ends; then it says why, and closes
the socket. Events are written in the flusher's step, from the log, so that a
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

import attrs
import trio

from actors.connections.ending import Ending
from actors.connections.loading import Loading
from actors.connections.pings import Pings
from actors.connections.reader import PONG, Reader, ReaderContext
from actors.delivery.announcements import Announcements, Item
from actors.delivery.bounds import Bounds, Start
from actors.delivery.frames import text_frame, text_frames
from actors.delivery.ledger import Ledger
from actors.delivery.log import NotAtHand
from actors.delivery.outgoing import Outgoing
from actors.delivery.subscription import EpochEnded, Subscription, opening
from actors.errors import PeerError
from actors.kernel.failures import Barrier
from actors.observability.instrument import Instruments
from actors.protocol import client_messages, server_messages
from actors.users.presence import Presence
from actors.wire.control_frames import PING
from actors.wire.endpoint import Endpoint
from actors.wire.http import RequestHead
from actors.wire.transport import Transport
from actors.wire.websocket import WebSocket, upgrade


@attrs.frozen(kw_only=True)
class ConnectionContext(ReaderContext):
    """The neighbours of a connection, shared by all of them."""

    mark: Callable[[Presence], None]
    """Asks the flusher to write to a user's devices in this tick."""
    hear: Callable[[Connection], None]
    """Notes a sign of life."""
    forget: Callable[[Connection], None]
    """Forgets a connection that listens no more."""
    pending: Callable[[str], list[Item]]
    """Lists the active runs and the open questions in a user's threads."""


class Connection:
    """One WebSocket: its session, its subscription to the log, its end."""

    def __init__(
        self,
        label: str,
        endpoint: Endpoint,
        *,
        head: RequestHead,
        context: ConnectionContext,
        identify: Callable[[str | None], Awaitable[str]],
        user_id: str | None,
    ) -> None:
        self.label = label
        self.plain = client_messages.SUBPROTOCOL not in head.offers()
        self.renames = False
        """True once its client has said that it knows that an epoch may go on under another name."""
        self.subscription: Subscription | None = None
        """Its subscription to the user's log, from attach on."""
        self.user_id = user_id
        """Known from the request for plain clients and tickets; else from the hello."""
        self.pings: Pings
        """The pings, from the start of :meth:`run` on."""
        self._endpoint = endpoint
        self._head = head
        self._context = context
        self._identify = identify
        self._ending = Ending()
        self._transport: Transport
        self._websocket: WebSocket | None = None
        """The WebSocket, once it is open."""
        self._presence: Presence
        self._loading: Loading
        self._announcements = Announcements()
        self._reader: Reader

    @property
    def path(self) -> str:
        """The path in the tree: ``users/alice/connections/c3``."""
        return f"users/{self.user_id or '?'}/connections/{self.label}"

    def __repr__(self) -> str:
        state = "saying hello" if self.subscription is None else repr(self.subscription)
        reason = self._ending.reason
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

    # --- the task -------------------------------------------------------------

    async def run(self) -> tuple[str, str]:
        """Serve the connection to its end; returns the row of the closing table, and the reason in words.

        A failure of ours is reported, ends this connection, and is not raised.
        Cancelled, it closes the socket as it stands.
        """
        context = self._context
        context.hear(self)
        try:
            with Barrier(self.fail):
                async with trio.open_nursery() as nursery:
                    self._transport = Transport(
                        self._endpoint,
                        nursery,
                        limits=context.limits,
                        clock=context.environment.clock,
                        on_drained=self._drained,
                        on_failed=self.end,
                    )
                    self.pings = Pings(self._transport)
                    await self._serve(nursery)
                    nursery.cancel_scope.cancel()
        finally:
            if self.subscription is not None:
                # At most once, because a plain client may have read a part and cannot say so: it is not sent again.
                self.subscription.end(written=self.plain)
            context.forget(self)
            self._endpoint.close()
        return self._ending.reason or ("left", "the device has gone")

    async def _serve(self, nursery: trio.Nursery) -> None:
        subprotocol = None if self.plain else client_messages.SUBPROTOCOL
        self._reader = Reader(
            self,
            self._context,
            transport=self._transport,
            pings=self.pings,
            announcements=self._announcements,
            ending=self._ending,
        )
        self._loading = Loading(
            nursery, on_loaded=lambda: self._context.mark(self._presence), on_failed=self._reader.end_for
        )
        try:
            async with upgrade(
                self._transport,
                self._head.upgrade_request,
                self._head.rest,
                subprotocol,
                self._context.limits,
                partial(self._context.hear, self),
            ) as websocket:
                self._websocket = websocket
                with self._ending.scope:
                    await self._reader.converse(websocket, nursery, self._identify)
                await self._ending.say_goodbye(websocket, self._transport, self._context.limits, plain=self.plain)
        except PeerError as error:
            self.end(error.name, str(error))
        finally:
            self._transport.close()

    # --- the writer's side, called from other actors' steps ----------------------

    def ended_by(self) -> str | None:
        """Return the row of the closing table by which the connection has ended, if either side has ended it by now."""
        if self._ending.reason is not None:
            return self._ending.reason[0]
        return None if self._websocket is None else self._websocket.ended_by()

    def begin(self, subscription: Subscription, start: Start, bounds: Bounds, session: str, presence: Presence) -> None:
        """Take a subscription to the user's log, and welcome the device."""
        self._presence = presence
        self.subscription = subscription
        _note_resume(self._context.instruments, self.path, start.kind)
        if self.plain:
            return
        said = opening(start, bounds, session, self._context.limits)
        self._transport.write(text_frames(said))

    def reset(self, bounds: Bounds, ledger: Ledger) -> None:
        """Go on in another epoch of the log, and tell the device."""
        assert self.subscription is not None, "only a device with a subscription is reset"
        said = self.subscription.reset(bounds, ledger)
        _note_resume(self._context.instruments, self.path, "reset")
        if said:
            self.pings.write(text_frames(said), self._transport.write)
            self.pings.fence()

    def rename(self, bounds: Bounds, ledger: Ledger, fork: int) -> None:
        """Go on in an epoch that shares all up to ``fork`` with the present one, and tell the device."""
        assert self.subscription is not None, "only a device with a subscription is renamed"
        said = self.subscription.rename(bounds, ledger, fork)
        _note_resume(self._context.instruments, self.path, "renamed")
        if said:
            self._transport.write(text_frames(said))

    def flush(self) -> None:
        """Write the next range of the log, once, unless the socket still has something to take.

        The head of this module says why the flusher calls it directly.
        """
        subscription, transport = self.subscription, self._transport
        if subscription is None or transport.sealed or transport.backlog_bytes:
            return
        try:
            outgoing = subscription.pull(self._context.limits.write_bytes)
        except EpochEnded:
            self._presence.rewind()
            return
        except NotAtHand:
            assert self._presence.view is not None, "a log is followed while it has devices"
            self._loading.begin(self._presence.view, subscription.cursor.position + 1)
            return
        if outgoing is not None:
            self._write(outgoing, subscription)
        if subscription.catch_up_is_due and self._announcements.is_over:
            said = subscription.catch_up()
            self._announcements.begin([lambda: said, *self._context.pending(subscription.user_id)])
        if not self._announcements.is_over:
            self._tell_more()

    def _write(self, outgoing: Outgoing, subscription: Subscription) -> None:
        """Write a range; its offsets count as written when the socket has taken the last of them."""
        if self._transport.write(outgoing.as_frames()):
            if subscription.wrote(outgoing):
                self._context.mark(self._presence)
        elif not self._transport.sealed:
            subscription.begin_write(outgoing)

    def _tell_more(self) -> None:
        """Write some of the announcements; the rest when the socket has taken these."""
        said = self._announcements.take(self._context.limits.write_bytes, PONG)
        if self._transport.write(text_frames(said)) and not self._announcements.is_over:
            self._context.mark(self._presence)

    def tell(self, text: bytes) -> bool:
        """Write a message about an active run or an open question; if the socket is full, announce all of them later.

        So a device that does not read is never owed more than a list of the present ones.
        """
        if self.subscription is None or self.plain:
            return False
        self.flush()
        if not self._transport.backlog_bytes and self._announcements.is_over:
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
        """Ping the device."""
        head = 0 if self.subscription is None else self.subscription.ledger.head
        ping = PING if self.plain else text_frame(server_messages.encode(server_messages.Ping(head)))
        self.pings.write(ping, self._transport.write_control)

    def end(self, name: str, text: str = "") -> None:
        """End the connection for a reason of the closing table; the first reason counts."""
        self._ending.begin(name, text)

    def abort(self) -> None:
        """End the connection now, without a goodbye."""
        self._transport.abort()

    def fail(self, error: BaseException) -> None:
        """End the connection for a failure of ours: reported once, and to the device without its text."""
        self._context.failures.report(self.path, "its connection", error)
        self.end("failed")

    def describe(self, offset: int, now: float) -> str:
        """Say how this device stands to one offset: ``c3 acked``, ``c4 12 behind``."""
        if self.subscription is None:
            return f"{self.label} is saying hello"
        stalled = self._transport.stalled_since
        return f"{self.label} {self.subscription.describe(offset, None if stalled is None else now - stalled)}"

    def _drained(self) -> None:
        """Note that the socket took everything; the log may have more."""
        if self.subscription is not None:
            self.subscription.finish_write(written=True)
            self._context.mark(self._presence)


def _note_resume(instruments: Instruments, path: str, verdict: str) -> None:
    if instruments.resumed is not None:
        instruments.resumed(path, verdict)
