"""The connection: one socket of one user, a cursor into the user's log.

Its task is the reader: it says hello, then takes acks, pings and requests until
the connection ends, and closes the socket. Events are written in the flusher's
step, from the log, so that a device that does not read lags behind and nothing
queues up for it here.

It is an actor in that it has private state, a path, and failures that end it
alone. It is no :class:`~actors.kernel.mailbox.Actor`: it has no mailbox,
because the log is its mailbox and the cursor its position there. Any message
to it would say "read the log", and such bells coalesce in the user's presence
already. So the flusher calls :meth:`Connection.flush` directly, in its own
step: 0.1 µs for each device and tick, where an idle mailbox takes 0.6 and one
that has to wake a task 3 to 7 (``python -m benchmarks mailbox``). The user's
actor, the heartbeat and the drain call it in the same way. That is safe because
none of these calls waits, and each leaves the connection whole.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import assert_never

import attrs
import trio

from actors.connections.pings import Pings
from actors.connections.request_queue import RequestQueue
from actors.context import Context
from actors.delivery.announcements import Announcements, Item
from actors.delivery.cursor import Bounds, Start
from actors.delivery.frames import text_frame, text_frames
from actors.delivery.ledger import Ledger
from actors.delivery.subscription import EpochEnded, Outgoing, Subscription, opening
from actors.errors import ActorsError, PeerError, Quarantined, RuntimeClosed
from actors.kernel.bounded import TokenBucket
from actors.kernel.failures import Barrier
from actors.kernel.mailbox import Mailbox
from actors.kernel.signals import Reply
from actors.protocol import client_messages, server_messages
from actors.protocol.client_messages import AnswerAsk, CancelRun, ClientMessage, Hello, ReadThread, Request, Send
from actors.protocol.codes import CLOSINGS
from actors.users.presence import REWOUND, Acked, Attach, Departure, Detach, Presence, Session, UserMessage
from actors.wire.control_frames import PING
from actors.wire.endpoint import Endpoint
from actors.wire.http import RequestHead
from actors.wire.transport import Transport
from actors.wire.websocket import WebSocket, upgrade

_PONG = server_messages.encode(server_messages.Pong())

_UNSPEAKABLE = frozenset({"vanished", "stalled", "silent", "choked"})
"""Reasons to end a connection without another word, because its peer would not read it."""

_MIDWAY = frozenset({"too_big", "bad_frame", "bad_text"})
"""Reasons that arise in the middle of a message: the peer is still sending the rest of it."""


@attrs.frozen(kw_only=True)
class ConnectionContext(Context):
    """The neighbours of a connection, shared by all of them."""

    user: Callable[[str], Mailbox[UserMessage]]
    """The address of a user's actor."""
    mark: Callable[[Presence], None]
    """Asks the flusher to write to a user's devices in this tick."""
    hear: Callable[[Connection], None]
    """Notes a sign of life."""
    forget: Callable[[Connection], None]
    """Forgets a connection that listens no more."""
    pending: Callable[[str], list[Item]]
    """Lists the active runs and the open questions in a user's threads."""
    answer: Callable[[Request, str, str], Awaitable[bytes]]
    """Carries out a request of a user and a session; returns the reply."""


class Connection:
    """One WebSocket: its session, its subscription to the log, its end."""

    def __init__(
        self,
        label: str,
        endpoint: Endpoint,
        head: RequestHead,
        context: ConnectionContext,
        *,
        identify: Callable[[str | None], Awaitable[str]],
        user_id: str | None,
    ) -> None:
        self.label = label
        self.plain = client_messages.SUBPROTOCOL not in head.offers()
        self.subscription: Subscription | None = None
        """Its subscription to the user's log, from attach on."""
        self.user_id = user_id
        """Known from the request for plain clients and tickets; else from the hello."""
        self._endpoint = endpoint
        self._head = head
        self._context = context
        self._identify = identify
        """Returns the user of a hello's token; raises PeerError."""
        self._scope = trio.CancelScope()
        self._ending: tuple[str, str] | None = None
        self._transport: Transport
        self._websocket: WebSocket | None = None
        """Once it is open."""
        self._presence: Presence
        self._announcements = Announcements()
        self._pings = Pings()
        self._fence = 0
        """The ping that went out with the last reset, because acks before its pong are of an ended epoch."""
        self._requests: RequestQueue
        self._session_id = ""

    @property
    def path(self) -> str:
        """The path in the tree: ``users/alice/connections/c3``."""
        return f"users/{self.user_id or '?'}/connections/{self.label}"

    def __repr__(self) -> str:
        state = "saying hello" if self.subscription is None else repr(self.subscription)
        return f"<Connection {self.path} {state}{'' if self._ending is None else f' ending={self._ending[0]}'}>"

    @property
    def writing(self) -> bool:
        """True if the socket has yet to take something that was written to it."""
        return self.subscription is not None and self._transport.backlog_bytes > 0

    @property
    def caught_up(self) -> bool:
        """True if the device has been sent every event that was there when it came."""
        return self.subscription is not None and self.subscription.caught_up

    @property
    def awaits_ack(self) -> bool:
        """True if this device may still ack something that no device has."""
        return self.subscription is not None and self.subscription.awaits_ack

    def ping_still_queued(self) -> bool:
        """True if the last ping is behind unsent bytes, and the device has taken some since the previous call.

        Called once per pong timeout, because it records the progress: such a
        device is slow and not silent, and gets the time once more.
        """
        return self._pings.still_queued(self._transport.delivered_bytes)

    @property
    def aborted(self) -> bool:
        """True if the socket took nothing any more, or broke, so that no goodbye was possible."""
        return self._transport.aborted

    # --- the reader -----------------------------------------------------------

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
                        context.limits,
                        clock=context.environment.clock,
                        on_drained=self._drained,
                        on_failed=self._failed,
                    )
                    self._requests = RequestQueue(nursery, self._transport, self._carry_out, context)
                    await self._serve()
                    nursery.cancel_scope.cancel()
        finally:
            if self.subscription is not None:
                # At most once, because a plain client may have read a part and cannot say so: it is not sent again.
                self.subscription.end(written=self.plain)
            context.forget(self)
            self._endpoint.close()
        return self._ending or ("left", "the device has gone")

    async def _serve(self) -> None:
        subprotocol = None if self.plain else client_messages.SUBPROTOCOL
        try:
            async with upgrade(
                self._transport,
                self._head.upgrade_request,
                self._head.rest,
                subprotocol,
                self._context.limits,
                self._hear,
            ) as websocket:
                with self._scope:
                    await self._converse(websocket)
                await self._see_out(websocket)
        except PeerError as error:
            self._ending = self._ending or (error.name, str(error))
        finally:
            self._transport.close()

    async def _converse(self, websocket: WebSocket) -> None:
        """Say hello, subscribe to the log, and listen until the end."""
        address: Mailbox[UserMessage] | None = None
        self._websocket = websocket
        try:
            with Barrier(self._fall):
                hello = Hello(v=1) if self.plain else await self._greet(websocket)
                assert self.user_id is not None, "a connection has a user before it has a subscription"
                address = self._context.user(self.user_id)
                subscription = await self._attach(hello, address)
                await self._listen(websocket, subscription, address)
        finally:
            if address is not None:
                await self._detach(address)

    def _fall(self, error: BaseException) -> None:
        """End the conversation for an error; the closing row tells the device whether to come back."""
        match error:
            case PeerError():
                self.end(error.name, str(error))
            case Quarantined():
                self.end("quarantined", "")
            case RuntimeClosed():
                self.end("shutting_down", "")
            case _:
                self.fail(error)

    async def _attach(self, hello: Hello, address: Mailbox[UserMessage]) -> Subscription:
        reply: Reply[Session] = Reply()
        resume = None if hello.resume is None else (hello.resume.epoch, hello.resume.offset)
        await address.send(Attach(self, hello.session, resume, hello.origin, reply))
        self._session_id = (await reply.wait()).id
        assert self.subscription is not None, "the answer to an attach comes after the subscription"
        return self.subscription

    async def _greet(self, websocket: WebSocket) -> Hello:
        limits = self._context.limits
        try:
            with trio.fail_after(limits.hello_seconds):
                hello = client_messages.decode(await websocket.receive())
        except trio.TooSlowError:
            raise PeerError("no_hello", f"expected a hello within {limits.hello_seconds:g} s, got none") from None
        if not isinstance(hello, Hello):
            raise PeerError("bad_message", f"expected a hello first, got {type(hello).__name__.lower()}")
        if hello.v != 1:
            raise PeerError("bad_message", f"hello: expected v 1, the version of this server, got {hello.v}")
        if self.user_id is None or hello.token is not None:
            self.user_id = await self._identify(hello.token)
        return hello

    async def _listen(self, websocket: WebSocket, subscription: Subscription, address: Mailbox[UserMessage]) -> None:
        limits, clock = self._context.limits, self._context.environment.clock
        bucket = TokenBucket(limits.inbound_burst, limits.inbound_messages_per_second, clock())
        while True:
            text = await websocket.receive()
            useful = not self.plain and await self._take(client_messages.decode(text), subscription, address)
            if not useful and not bucket.take(clock()):
                rate = f"{limits.inbound_messages_per_second:g} messages a second, {limits.inbound_burst} at once"
                raise PeerError("flooding", f"expected at most {rate}, got more")

    async def _take(self, message: ClientMessage, subscription: Subscription, address: Mailbox[UserMessage]) -> bool:
        """Carry out a message; true for one that acks something, of which there cannot be too many."""
        match message:
            case client_messages.Ack(offset):
                if not self._pings.is_answered(self._fence):
                    return False
                spans = subscription.ack(offset)
                if spans:
                    await self._pass_on(Acked(subscription.ledger, spans), address)
                return bool(spans)
            case client_messages.Ping():
                if not self._announcements.postpone_pong():
                    self._transport.write_control(text_frame(_PONG))
            case client_messages.Pong():
                self._pings.pong()
            case Send() | CancelRun() | ReadThread() | AnswerAsk():
                self._requests.take(message)
            case client_messages.Malformed(id_, text):
                self._requests.refuse("", id_, "bad_request", text)
            case client_messages.Unknown(op, id_):
                if id_ is not None:
                    text = f"expected an op of {client_messages.SUBPROTOCOL} that this server carries out, got {op!r}"
                    self._requests.refuse("", id_, "unknown_op", text)
            case Hello():
                raise PeerError("bad_message", "expected one hello, got another")
            case _:
                assert_never(message)
        return False

    async def _carry_out(self, request: Request) -> bytes:
        assert self.user_id is not None, "a connection that listens has a user"
        return await self._context.answer(request, self.user_id, self._session_id)

    # --- acks -----------------------------------------------------------------

    async def _pass_on(self, acked: Acked, address: Mailbox[UserMessage]) -> None:
        """Pass acks on to the user's actor; a checkpoint only when the actor is behind."""
        try:
            address.tell(acked)
        except trio.WouldBlock:
            await address.send(acked)

    # --- the writer's side, called from other actors' steps ----------------------

    def ended_by(self) -> str | None:
        """Return the row of the closing table by which the connection has ended, if either side has ended it by now."""
        if self._ending is not None:
            return self._ending[0]
        return None if self._websocket is None else self._websocket.ended_by()

    def begin(self, subscription: Subscription, start: Start, bounds: Bounds, session: str, presence: Presence) -> None:
        """Take a subscription to the user's log, and welcome the device."""
        self._presence = presence
        self.subscription = subscription
        self._note_resume(start.kind)
        if self.plain:
            return
        said = opening(start, bounds, session, self._context.limits)
        self._transport.write(text_frames(said))

    def reset(self, bounds: Bounds, ledger: Ledger) -> None:
        """Go on in another epoch of the log, and tell the device."""
        assert self.subscription is not None, "only a device with a subscription is reset"
        said = self.subscription.reset(bounds, ledger)
        self._note_resume("reset")
        if said:
            self._fence = self._write_ping(text_frames(said), self._transport.write)

    def _note_resume(self, verdict: str) -> None:
        if self._context.instruments.resumed is not None:
            self._context.instruments.resumed(self.path, verdict)

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
            self._rewind()
            return
        if outgoing is not None:
            self._write(outgoing, subscription)
        if subscription.is_at_mark and self._announcements.is_over:
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
        said = self._announcements.take(self._context.limits.write_bytes, _PONG)
        if self._transport.write(text_frames(said)) and not self._announcements.is_over:
            self._context.mark(self._presence)

    def _rewind(self) -> None:
        """Ask the user's actor for the bounds of the new epoch, because the log is in another one."""
        try:
            self._presence.address.tell(REWOUND)
        except trio.WouldBlock:
            self._context.mark(self._presence)
        except ActorsError:
            return  # the mailbox is closed, and the quarantine or the shutdown that closed it ends the devices

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
        """Write a message of the protocol, after the log's events, if this device speaks it and has said hello."""
        if self.subscription is not None and not self.plain:
            self.flush()
            self._transport.write(text_frame(text))

    def ping(self) -> None:
        """Ping the device."""
        head = 0 if self.subscription is None else self.subscription.ledger.head
        ping = PING if self.plain else text_frame(server_messages.encode(server_messages.Ping(head)))
        self._write_ping(ping, self._transport.write_control)

    def _write_ping(self, frames: bytes, write: Callable[[bytes], object]) -> int:
        """Write frames that end with a ping, and note it; with no bytes before it on their way, it arrives at once."""
        transport = self._transport
        delivered = transport.delivered_bytes if transport.pending_bytes else math.inf
        write(frames)
        return self._pings.ping(delivered, transport.delivered_bytes + transport.pending_bytes)

    def end(self, name: str, text: str) -> None:
        """End the connection for a reason of the closing table; the first reason counts."""
        if self._ending is None:
            self._ending = name, text
        self._scope.cancel()

    def abort(self) -> None:
        """End the connection now, without a goodbye."""
        self._transport.abort()

    def fail(self, error: BaseException) -> None:
        """End the connection for a failure of ours: reported once, and to the device without its text."""
        self._context.failures.report(self.path, "its connection", error)
        self.end("failed", CLOSINGS["failed"].text)

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

    def _failed(self, name: str) -> None:
        self.end(name, CLOSINGS[name].text)

    def _hear(self) -> None:
        self._context.hear(self)

    # --- the end --------------------------------------------------------------

    async def _see_out(self, websocket: WebSocket) -> None:
        """Send the reason for the end to a peer that listens, and give it a moment to answer."""
        name, text = self._ending or ("left", "")
        if name in _UNSPEAKABLE:
            self._transport.abort()
            return
        row, limits = CLOSINGS[name], self._context.limits
        with trio.move_on_after(limits.revoked_seconds if name == "revoked" else limits.close_seconds):
            if not self.plain and row.code >= 4000:
                said = server_messages.encode(server_messages.Error(server_messages.problem(row, text)))
                self._transport.write(text_frame(said))
            await websocket.close(row.code, text or row.text)
            await self._transport.drain()
            if name in _MIDWAY:
                await self._transport.discard()

    async def _detach(self, address: Mailbox[UserMessage]) -> None:
        """Leave the user's devices. Shielded, because no other message removes this device from them."""
        name, text = self._ending or ("left", "")
        departure = Departure(self.label, name, text or CLOSINGS[name].text, self._context.environment.wall_clock())
        with trio.CancelScope(shield=True):
            try:
                await address.send(Detach(self, departure))
            except ActorsError:
                return
