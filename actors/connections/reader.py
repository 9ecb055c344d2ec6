"""The reader of a connection: the hello, a place among the user's devices, then acks, pings and requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import assert_never

import attrs
import trio

from actors.connections.ending import Ending
from actors.connections.pings import Pings
from actors.connections.request_queue import RequestQueue
from actors.context import Context
from actors.delivery.announcements import Announcements
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
from actors.wire.transport import Transport
from actors.wire.websocket import WebSocket

PONG = server_messages.encode(server_messages.Pong())


@attrs.frozen(kw_only=True)
class ReaderContext(Context):
    """The neighbours of a reader, shared by all of them."""

    follow: Callable[[str], Awaitable[Mailbox[UserMessage]]]
    """Follows a user's log; returns the address of the user's actor."""
    answer: Callable[[Request, str, str], Awaitable[bytes]]
    """Carries out a request of a user and a session; returns the reply."""


class Reader:
    """The messages of one device, from its hello to its end."""

    __slots__ = (
        "_announcements",
        "_context",
        "_device",
        "_ending",
        "_pings",
        "_requests",
        "_session_id",
        "_transport",
    )

    def __init__(
        self,
        device: Subscriber,
        context: ReaderContext,
        *,
        transport: Transport,
        pings: Pings,
        announcements: Announcements,
        ending: Ending,
    ) -> None:
        self._device = device
        self._context = context
        self._transport = transport
        self._pings = pings
        self._announcements = announcements
        self._ending = ending
        self._requests: RequestQueue
        self._session_id = ""

    def __repr__(self) -> str:
        return f"<Reader of {self._device.label}>"

    async def converse(
        self, websocket: WebSocket, nursery: trio.Nursery, identify: Callable[[str | None], Awaitable[str]]
    ) -> None:
        """Take the hello, attach the device to its user, and listen until the end.

        ``identify`` returns the user of a hello's token, or raises PeerError.
        Requests are carried out in the nursery.
        """
        device, address = self._device, None
        self._requests = RequestQueue(nursery, self._transport, answer=self._carry_out, context=self._context)
        try:
            with Barrier(self.end_for):
                hello = Hello(v=1) if device.plain else await self._greet(websocket)
                device.renames = hello.renames
                if device.user_id is None or hello.token is not None:
                    device.user_id = await identify(hello.token)
                address = await self._context.follow(device.user_id)
                subscription = await self._attach(hello, address)
                websocket.settle()
                await self._listen(websocket, subscription, address)
        finally:
            if address is not None:
                await self._detach(address)

    def end_for(self, error: BaseException) -> None:
        """End the connection for an error; the closing row tells the device whether to come back."""
        match error:
            case PeerError():
                self._ending.begin(error.name, str(error))
            case Quarantined():
                self._ending.begin("quarantined", "")
            case StoreUnavailable():
                self._ending.begin("unavailable", str(error))
            case RuntimeClosed():
                self._ending.begin("shutting_down", "")
            case _:
                self._device.fail(error)

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
        return hello

    async def _attach(self, hello: Hello, address: Mailbox[UserMessage]) -> Subscription:
        reply: Reply[Session] = Reply()
        resume = None if hello.resume is None else (hello.resume.epoch, hello.resume.offset)
        await address.send(Attach(self._device, hello.session, resume, hello.origin, reply))
        self._session_id = (await reply.wait()).id
        assert self._device.subscription is not None, "the answer to an attach comes after the subscription"
        return self._device.subscription

    async def _listen(self, websocket: WebSocket, subscription: Subscription, address: Mailbox[UserMessage]) -> None:
        limits, clock, plain = self._context.limits, self._context.environment.clock, self._device.plain
        bucket = TokenBucket(limits.inbound_burst, limits.inbound_messages_per_second, now=clock())
        while True:
            text = await websocket.receive()
            useful = not plain and await self._take(client_messages.decode(text), subscription, address)
            if not useful and not bucket.take(clock()):
                rate = f"{limits.inbound_messages_per_second:g} messages a second, {limits.inbound_burst} at once"
                raise PeerError("flooding", f"expected at most {rate}, got more")

    async def _take(self, message: ClientMessage, subscription: Subscription, address: Mailbox[UserMessage]) -> bool:
        """Carry out a message; true for one that acks something, of which there cannot be too many."""
        match message:
            case client_messages.Ack(offset):
                if self._pings.is_fenced:
                    return False
                spans = subscription.ack(offset)
                if spans:
                    await self._pass_on(Acked(subscription.ledger, spans), address)
                return bool(spans)
            case client_messages.Ping():
                if not self._announcements.postpone_pong():
                    self._transport.write_control(text_frame(PONG))
            case client_messages.Pong():
                self._pings.pong()
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
            case _:
                assert_never(message)
        return False

    async def _pass_on(self, acked: Acked, address: Mailbox[UserMessage]) -> None:
        """Pass acks on to the user's actor; a checkpoint only when the actor is behind."""
        try:
            address.tell(acked)
        except trio.WouldBlock:
            await address.send(acked)

    async def _carry_out(self, request: Request) -> bytes:
        assert self._device.user_id is not None, "a connection that listens has a user"
        return await self._context.answer(request, self._device.user_id, self._session_id)

    async def _detach(self, address: Mailbox[UserMessage]) -> None:
        """Leave the user's devices. Shielded, because nothing else removes a device that left by itself."""
        name, text = self._ending.outcome()
        departure = Departure(label=self._device.label, name=name, text=text, at=self._context.environment.wall_clock())
        with trio.CancelScope(shield=True):
            try:
                await address.send(Detach(self._device, departure))
            except ActorsError:
                return
