"""The reader of a connection: the hello, a place among the user's devices, then acks, pings and requests.

The hello is awaited in a task, because it takes its time and the application is
asked about it. From then on nothing waits: what arrives is taken in the step of
the one task that watches all sockets. Only when the user's actor has fallen
behind does a connection stop reading, until a task has passed on what it had.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import assert_never

import trio

from actors.connections.context import ConnectionContext
from actors.connections.peer import Peer
from actors.connections.request_queue import RequestQueue
from actors.delivery.frames import text_frame
from actors.delivery.subscription import Subscription
from actors.errors import ActorsError, PeerError, Quarantined, RuntimeClosed, StoreUnavailable
from actors.kernel.bounded import TokenBucket
from actors.kernel.failures import Barrier
from actors.kernel.mailbox import Mailbox
from actors.kernel.signals import Reply
from actors.protocol import client_messages, server_messages
from actors.protocol.client_messages import AnswerAsk, CancelRun, ClientMessage, Hello, ReadThread, Request, Send
from actors.users.presence import Acked, Attach, Departure, Detach, Session, Subscriber, UserMessage
from actors.wire.websocket import text_of

PONG = server_messages.encode(server_messages.Pong())


class Reader:
    """The messages of one device, from its hello to its end."""

    __slots__ = (
        "_address",
        "_bucket",
        "_context",
        "_device",
        "_peer",
        "_requests",
        "_session_id",
        "_subscription",
        "_unread",
    )

    def __init__(self, device: Subscriber, peer: Peer, *, context: ConnectionContext) -> None:
        self._device = device
        self._context = context
        self._peer = peer
        self._requests = RequestQueue(peer.tasks, peer.transport, answer=self._carry_out, context=context)
        self._bucket: TokenBucket | None = None
        """The rate of messages that ack nothing, from the first one on."""
        self._session_id = ""
        self._address: Mailbox[UserMessage] | None = None
        self._subscription: Subscription
        self._unread: list[str | bytes] | None = None
        """Messages that arrived while the user's actor was behind; ``None`` while it is not, and the reader listens."""

    def __repr__(self) -> str:
        return f"<Reader of {self._device.label}>"

    async def greet(self, identify: Callable[[str | None], Awaitable[str]]) -> None:
        """Take the hello, and attach the device to its user.

        ``identify`` returns the user of a hello's token, or raises PeerError,
        as this does.
        """
        device = self._device
        hello = Hello(v=1) if device.plain else await self._receive_hello()
        device.renames = hello.renames
        if device.user_id is None or hello.token is not None:
            device.user_id = await identify(hello.token)
        address = await self._context.follow(device.user_id)
        self._address = address
        await self._attach(hello, address)

    def listen(self) -> None:
        """Take what arrives from now on, and what has arrived; nothing waits."""
        self._peer.transport.watch(self._context.readiness, self._take_arrived, self.end_for)
        self._take_arrived()

    def end_for(self, error: BaseException) -> None:
        """End the connection for an error; the closing row tells the device whether to come back."""
        match error:
            case PeerError():
                self._peer.ending.begin(error.name, str(error))
            case Quarantined():
                self._peer.ending.begin("quarantined", "")
            case StoreUnavailable():
                self._peer.ending.begin("unavailable", str(error))
            case RuntimeClosed():
                self._peer.ending.begin("shutting_down", "")
            case _:
                self._device.fail(error)

    async def _receive_hello(self) -> Hello:
        limits = self._context.limits
        try:
            with trio.fail_after(limits.hello_seconds):
                hello = client_messages.decode(await self._peer.websocket.receive())
        except trio.TooSlowError:
            raise PeerError("no_hello", f"expected a hello within {limits.hello_seconds:g} s, got none") from None
        if not isinstance(hello, Hello):
            raise PeerError("bad_message", f"expected a hello first, got {type(hello).__name__.lower()}")
        if hello.v != 1:
            raise PeerError("bad_message", f"hello: expected v 1, the version of this server, got {hello.v}")
        return hello

    async def _attach(self, hello: Hello, address: Mailbox[UserMessage]) -> None:
        reply: Reply[Session] = Reply()
        resume = None if hello.resume is None else (hello.resume.epoch, hello.resume.offset)
        await address.send(Attach(self._device, hello.session, resume, hello.origin, reply))
        self._session_id = (await reply.wait()).id
        assert self._device.subscription is not None, "the answer to an attach comes after the subscription"
        self._subscription = self._device.subscription

    # --- messages ---------------------------------------------------------------

    def _take_arrived(self) -> None:
        """Take the messages that have arrived; an error of any kind ends the connection, and stops no other."""
        websocket = self._peer.websocket
        with Barrier(self.end_for):
            self._take_all(websocket.read())
            if websocket.end is not None and self._unread is None:
                raise websocket.finish()

    def _take_all(self, messages: list[str | bytes]) -> None:
        for number, message in enumerate(messages, 1):
            if self._peer.ending.reason is not None:
                return
            behind = self._take(message)
            if behind is not None:
                self._unread = messages[number:]
                self._peer.transport.forget()
                self._peer.tasks.start_soon(self._catch_up, behind)
                return

    async def _catch_up(self, acked: Acked) -> None:
        """Pass acks on to a user's actor that is behind, then listen again."""
        with Barrier(self.end_for):
            assert self._address is not None, "a device that acks has a user"
            await self._address.send(acked)
            unread, self._unread = self._unread or [], None
            self._take_all(unread)
        if self._peer.ending.reason is None and self._unread is None:
            self.listen()

    def _take(self, message: str | bytes) -> Acked | None:
        """Carry out a message; returns acks that the user's actor has no room for."""
        text = text_of(message)
        for tap in self._peer.transport.taps:
            tap.received(text)
        if not self._device.plain:
            decoded = client_messages.decode(text)
            if isinstance(decoded, client_messages.Ack):
                spans = [] if self._peer.pings.is_fenced else self._subscription.ack(decoded.offset)
                if spans:  # of acks that ack something there cannot be too many
                    return self._pass_on(Acked(self._subscription.ledger, spans))
            else:
                self._carry(decoded)
        self._count()
        return None

    def _count(self) -> None:
        """Count a message that acked nothing. Raises PeerError if there are too many in a time."""
        limits, now = self._context.limits, self._context.environment.clock()
        if self._bucket is None:
            self._bucket = TokenBucket(limits.inbound_burst, limits.inbound_messages_per_second, now=now)
        if not self._bucket.take(now):
            rate = f"{limits.inbound_messages_per_second:g} messages a second, {limits.inbound_burst} at once"
            raise PeerError("flooding", f"expected at most {rate}, got more")

    def _carry(self, message: ClientMessage) -> None:
        match message:
            case client_messages.Ping():
                if not self._peer.announcements.postpone_pong():
                    self._peer.transport.write_control(text_frame(PONG))
            case client_messages.Pong():
                self._peer.pings.pong()
            case Send() | CancelRun() | ReadThread() | AnswerAsk():
                self._requests.take(message)
            case client_messages.Malformed(id_, text, op):
                self._requests.refuse(op, id_, "bad_request", text)
            case client_messages.Unknown(op, id_):
                if id_ is not None:
                    text = f"expected an op of {client_messages.SUBPROTOCOL} that this server carries out, got {op!r}"
                    self._requests.refuse("", id_, "unknown_op", text)
            case Hello():
                raise PeerError("bad_message", "expected one hello, got another")
            case client_messages.Ack():
                raise AssertionError("acks are carried out before")
            case _:
                assert_never(message)

    def _pass_on(self, acked: Acked) -> Acked | None:
        """Pass acks on to the user's actor; returns them if it has no room."""
        assert self._address is not None, "a device that acks has a user"
        try:
            self._address.tell(acked)
        except trio.WouldBlock:
            return acked
        return None

    async def _carry_out(self, request: Request) -> bytes:
        assert self._device.user_id is not None, "a connection that listens has a user"
        return await self._context.answer(request, self._device.user_id, self._session_id)

    async def detach(self) -> None:
        """Leave the user's devices, if it has come that far. Shielded, because nothing else removes a device that left
        by itself."""
        if self._address is None:
            return
        name, text = self._peer.ending.outcome()
        transport = self._peer.transport
        if transport.aborted and transport.carrier is not None:
            text = f"{text}; {transport.carrier.name} may keep its socket until the peer goes"
        departure = Departure(label=self._device.label, name=name, text=text, at=self._context.environment.wall_clock())
        with trio.CancelScope(shield=True):
            try:
                await self._address.send(Detach(self._device, departure))
            except ActorsError:
                return
