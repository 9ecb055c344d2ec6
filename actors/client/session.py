"""A session with a server: an async iterator of items, and methods that send requests, over many connections.

This is the part that waits. :mod:`actors.client.conversation` decides what to
do with each message, and what to send.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import msgspec
import trio

from actors.client.conversation import Conversation, Ended
from actors.client.errors import SessionEnded
from actors.client.inbox import Inbox, OutOfOrder
from actors.client.items import Cancellation, State
from actors.client.options import NoToken, Options, Token, token_of
from actors.client.pending import Request
from actors.delivery.activity import Activity
from actors.environment import Environment
from actors.errors import ActorsError, PeerError
from actors.events.delivered import Event, History
from actors.events.event import Payload, check_identifier, check_whole, encode
from actors.events.items import Cursor, Item, Sent
from actors.events.traceparent import check_traceparent
from actors.kernel.affinity import IN_A_SESSION, Affinity, check_trio
from actors.kernel.bounded import TokenBucket
from actors.kernel.failures import Barrier, cancels, complain, open_interruptible_nursery
from actors.limits import Limits
from actors.protocol import client_messages
from actors.protocol.client_messages import SUBPROTOCOL, AnswerAsk, CancelRun, Origin, ReadThread, Send
from actors.protocol.server_messages import CancelReply, ReadReply, SendReply
from actors.wire.dialled import Closed, DialledWebSocket, dial

QUEUED_ITEMS = 1_000
"""Bound of the queue for the application: as many events as a server retains by default."""
QUEUED_BYTES = 1 << 20
"""The same bound in bytes of text as received; the last message may exceed it."""
CONNECT_SECONDS = 10.0
"""Time from the first packet to the server's welcome."""

_CLOSE_SECONDS = 2.0
"""Time for the server to answer our Close frame."""
_LEAVE_SECONDS = 5.0
"""Time for leaving, with the last ack."""
_RATE_SHARE = 0.8
"""Share of the server's limit of messages per second that the client uses."""


class Session:
    """A session; made by :func:`connect`.

    Iterate over it in one task: an item is acked when the application comes
    back for the next one, and not earlier. All methods may be called from any
    task of the same Trio run; from anywhere else they raise
    :class:`~actors.errors.ForeignThread` or
    :class:`~actors.errors.ForeignLoop`, and have no effect.
    """

    def __init__(self, conversation: Conversation, options: Options) -> None:
        self.state: State = State(name="connecting")
        """The newest state; ``on_state`` is called with each."""
        self._affinity = Affinity(IN_A_SESSION)
        self._conversation = conversation
        self._inbox = conversation.inbox
        self._options = options
        self._changed = trio.Event()
        """Set when something changed that a task of this session may have to act upon; then replaced."""
        self._connecting: trio.CancelScope | None = None
        self._reading: trio.CancelScope | None = None
        self._pausing = trio.CancelScope()
        self._finishing = False
        """True once the writer is to send the last ack and stop."""
        self._leaving = False
        self._error: Callable[[], SessionEnded] | None = None
        self._iterating = False

    # --- items ------------------------------------------------------------------

    @property
    def cursor(self) -> Cursor | None:
        """The cursor of the last item that was yielded, the one being processed included; ``None`` before the first.

        If the application saves it atomically with the item's effect, and gives it to :func:`connect`, it misses
        nothing and does nothing twice.
        """
        return self._inbox.given

    def __aiter__(self) -> Session:
        """Return the session itself."""
        return self

    async def __anext__(self) -> Item:
        """Return the next item; a checkpoint. Cancelled, it stays the next item.

        Raises :class:`~actors.client.SessionEnded` when the server has refused for good, after the items queued
        before; and after the ``connect`` block. Raises :class:`trio.BusyResourceError` when another task is iterating.
        """
        self._affinity.check_task("the next item")
        if self._iterating:
            raise trio.BusyResourceError("another task is iterating over this session")
        self._iterating = True
        try:
            self._inbox.mark_taken()
            self._wake()
            await trio.lowlevel.checkpoint()
            while (item := self._inbox.give()) is None:
                if self._error is not None:
                    raise self._error()
                await self._changed.wait()
            return item
        finally:
            self._iterating = False

    # --- requests ---------------------------------------------------------------

    async def send(
        self,
        payload: Payload,
        *,
        thread_id: str | None = None,
        type: str = "user_message",  # noqa: A002 - its name
        traceparent: str | None = None,
    ) -> Sent:
        """Place a message in a thread, or in a new one; returns when the server has placed it.

        Idempotent over reconnects: without a reply it is sent again under the same id, and placed once. ``traceparent``
        is the W3C trace that it belongs to: the run that answers is below that span.

        Raises :class:`~actors.errors.Unencodable` for what JSON cannot carry or is too large for the server,
        :class:`~actors.client.RequestRefused` when the server refuses, :class:`~actors.client.SessionLost` when it
        may or may not have been placed, :class:`~actors.client.SessionEnded` when the session has ended.
        Waits for as long as the server cannot be reached: use a timeout. Cancelled after it was sent, it may or may
        not be placed, and is not sent again.
        """
        self._affinity.check_task("send")
        if thread_id is not None:
            check_identifier("thread_id", thread_id)
        if traceparent is not None:
            check_traceparent(traceparent)
        encode(type, payload, thread_id or "new", None, "message", 0.0, Limits())
        field = _as_field(payload)
        reply = _decoded(await self._ask("send", lambda id_: Send(id_, field, thread_id, type, traceparent)), SendReply)
        return Sent(
            thread_id=reply.thread_id,
            event_id=reply.event_id,
            run_id=reply.run_id,
            epoch=reply.epoch,
            seq=reply.seq,
            offset=reply.offset,
        )

    async def answer(self, ask_id: str, payload: Payload) -> None:
        """Answer a question; of several devices' answers the first one counts. Raises as :meth:`send` does."""
        self._affinity.check_task("answer")
        check_identifier("ask_id", ask_id)
        encode("answer", payload, "none", None, ask_id, 0.0, Limits())
        field = _as_field(payload)
        await self._ask("answer", lambda id_: AnswerAsk(id_, ask_id, field))

    async def cancel(self, run_id: str) -> Cancellation:
        """Cancel a run and those below it; returns when they have ended, or when the server's 5 seconds are over.

        Raises as :meth:`send` does; SessionLost only after ten minutes without a reply, because it can be repeated.
        """
        check_identifier("run_id", run_id)
        reply = _decoded(await self._ask("cancel", lambda id_: CancelRun(id_, run_id)), CancelReply)
        return Cancellation(run_id=reply.run_id, stopped=reply.stopped, running=reply.running)

    async def read(self, thread_id: str, *, after_seq: int = 0, limit: int | None = None) -> History:
        """Read at most ``limit`` of the events that one thread retains, after a ``seq``.

        Raises as :meth:`cancel` does, and Unencodable, which is a ValueError,
        for an ``after_seq`` that is no whole number from 0 on or a ``limit``
        that is none from 1 to 2³¹. Does not affect the iteration.
        """
        check_identifier("thread_id", thread_id)
        check_whole("after_seq", after_seq, 0)
        if limit is not None:
            check_whole("limit", limit, 1, 2**31)
        text = await self._ask("read", lambda id_: ReadThread(id_, thread_id, after_seq, limit))
        reply = _decoded(text, ReadReply[Event])
        return History(
            thread_id=reply.thread_id, events=reply.events, gone=reply.gone, head_seq=reply.head_seq, more=reply.more
        )

    def reconnect_now(self) -> None:
        """Make the next attempt now, because the machine has come online, or the user is looking at it again."""
        self._affinity.check()
        self._pausing.cancel()

    async def _ask(self, op: str, message_of: Callable[[str], client_messages.Request]) -> str:
        self._affinity.check_task(op)
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._error is not None:
            raise self._error()
        settled, patience, requests = trio.Event(), trio.CancelScope(), self._conversation.requests

        def expires(until: float) -> None:
            patience.deadline = until

        request: Request = requests.make(message_of, settled.set, expires)
        self._wake()
        try:
            with patience:
                await settled.wait()
            requests.expire(trio.current_time())
        finally:
            requests.forget(request)
        if isinstance(request.outcome, ActorsError):
            raise request.outcome
        assert request.outcome is not None, "a settled request has an outcome"
        return request.outcome

    # --- connections --------------------------------------------------------------

    async def run(self) -> None:
        """Connect, again and again, until the application leaves or the server refuses for good."""
        while not self._leaving:
            if not self._conversation.wants_connection:
                self._set_state(State(name="paused", text="the application has not taken what came"))
                await self._changed.wait()
                continue
            ended = await self._connect()
            if ended is None:
                continue
            seconds = self._conversation.end(ended, self._options.environment.random.random(), trio.current_time())
            text = self._conversation.explain(ended.text)
            if seconds is None:
                self.finish(text, ended.code, ended.status)
                return
            await self._pause(
                State(name="waiting", text=text, code=ended.code, failures=self._conversation.failures, seconds=seconds)
            )

    def leave(self) -> None:
        """Leave: ack what the application has taken, and close the connection, if there is one."""
        self._leaving = True
        self._pausing.cancel()
        for scope in (self._connecting, self._reading):
            if scope is not None:
                scope.cancel()
        self._wake()

    def finish(self, text: str, code: int | None = None, status: int | None = None) -> None:
        """End the session for good, and fail its requests; it makes no more connections."""
        if self._error is None:
            self._error = lambda: SessionEnded(text, code, status=status)
            self._conversation.requests.end(self._error)
            self._set_state(State(name="ended", text=text, code=code, failures=self._conversation.failures))
            self._wake()

    async def _pause(self, state: State) -> None:
        with trio.move_on_after(state.seconds) as self._pausing:
            self._set_state(state)
            if not self._leaving:
                await trio.sleep_forever()

    async def _connect(self) -> Ended | None:
        """Run one connection to its end; ``None`` when this side ended it."""
        options, last = self._options, self.state
        self._set_state(State(name="connecting", text=last.text, code=last.code, failures=self._conversation.failures))
        deadline = trio.current_time() + options.connect_seconds
        dialled = dial(
            options.url,
            subprotocol=SUBPROTOCOL,
            headers=options.headers,
            ssl_context=options.ssl_context,
            open_seconds=options.connect_seconds,
            close_seconds=_CLOSE_SECONDS,
            on_received=self._note_life,
        )
        try:
            with trio.CancelScope() as self._connecting:
                async with dialled as websocket:
                    # Only now, because the token's function may cost a request, which is wasted without a server.
                    self._conversation.token = await token_of(options, deadline)
                    return await self._converse(websocket, deadline)
        except Closed as closed:
            return Ended(text=str(closed), code=closed.code, status=closed.status, final=closed.final)
        except NoToken as error:
            return Ended(text=str(error))
        finally:
            self._connecting = None
        return None

    async def _converse(self, websocket: DialledWebSocket, deadline: float) -> Ended | None:
        """Read and write until either side ends the connection."""
        self._connecting = None
        if websocket.subprotocol != SUBPROTOCOL:
            return Ended(text=f"expected a server that speaks {SUBPROTOCOL}, got one that does not", final=True)
        self._finishing = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, websocket)
            ended = await self._read(websocket, deadline)
            if ended is not None or not self._conversation.welcomed:
                websocket.abort()  # the writer may have stopped in the middle of a frame
                nursery.cancel_scope.cancel()
            else:
                self._finishing = True
                self._wake()
                nursery.cancel_scope.deadline = trio.current_time() + _LEAVE_SECONDS
        if nursery.cancel_scope.cancelled_caught:
            websocket.abort()
        return ended

    async def _read(self, websocket: DialledWebSocket, deadline: float) -> Ended | None:
        """Say hello, and take messages to the end of the connection; ``None`` when this side ends it."""
        conversation = self._conversation
        text = conversation.hello()
        try:
            with trio.CancelScope(deadline=deadline) as self._reading:
                with suppress(Closed):  # messages that the server sent before it closed can still be received
                    await websocket.send(text)
                while not (self._leaving or conversation.wants_to_leave):
                    conversation.take(await websocket.receive())
                    self._note_life()
                    self._wake()
                return None
        except OutOfOrder as error:
            conversation.distrust(error)
            return Ended(text=str(error))
        except Closed as closed:
            return Ended(text=str(closed), code=closed.code)
        except PeerError as error:  # the base class of Closed
            return Ended(text=str(error))
        finally:
            self._reading = None
        if self._leaving or conversation.wants_to_leave:
            return None
        silence = conversation.silence_seconds if conversation.welcomed else self._options.connect_seconds
        return Ended(text=f"expected {'a sign of life' if conversation.welcomed else 'a welcome'} within {silence:g} s")

    async def _write(self, websocket: DialledWebSocket) -> None:
        """Send the messages that are due, no faster than the server allows; each one whole, because leaving
        ends the reader first, and aborts the socket of a writer that is cancelled."""
        conversation = self._conversation
        while not conversation.welcomed:
            await self._changed.wait()
        throttle = _Throttle(conversation.limits.messages_per_s * _RATE_SHARE)
        try:
            while True:
                changed, finishing = self._changed, self._finishing
                for text in conversation.due(trio.current_time(), everything=finishing):
                    await throttle.wait()
                    await websocket.send(text)
                if finishing:
                    return
                with trio.move_on_at(conversation.due_at()):
                    await changed.wait()
        except Closed:
            pass  # the reader gets it as well, with the reason

    def _note_life(self) -> None:
        """Move the reader's deadline, because bytes from the server show that it is alive."""
        if self._reading is not None and self._conversation.welcomed:
            self._reading.deadline = trio.current_time() + self._conversation.silence_seconds

    def _wake(self) -> None:
        """Wake the tasks that wait for a change, and act upon it."""
        changed, self._changed = self._changed, trio.Event()
        changed.set()
        conversation = self._conversation
        if self._reading is None or not conversation.welcomed:
            return
        if self.state.name != "open":
            self._set_state(State(name="open"))
        if conversation.wants_to_leave:
            self._reading.cancel()

    def _set_state(self, state: State) -> None:
        if state != self.state and self.state.name != "ended":
            self.state = state
            with Barrier(_complain):
                self._options.on_state(state)


class _Throttle:
    """A limit of messages per second, with a burst of one second's worth."""

    def __init__(self, per_second: float) -> None:
        self._pause_seconds = 1 / per_second
        self._bucket = TokenBucket(max(1, int(per_second)), per_second, now=trio.current_time())

    async def wait(self) -> None:
        """Wait until another message may be sent."""
        while not self._bucket.take(trio.current_time()):  # noqa: ASYNC110 - the condition is the time
            await trio.sleep(self._pause_seconds)


@asynccontextmanager
async def connect(
    url: str,
    *,
    token: Token | None = None,
    cursor: Cursor | None = None,
    origin: Origin = "unacked",
    headers: Mapping[str, str] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    connect_seconds: float = CONNECT_SECONDS,
    queued_items: int = QUEUED_ITEMS,
    queued_bytes: int = QUEUED_BYTES,
    on_state: Callable[[State], None] = lambda state: None,
    environment: Environment | None = None,
) -> AsyncIterator[Session]:
    """Open a session with the server at a URL, for as long as the block runs.

    The URL is ``ws://host/ws`` or ``wss://host/ws``; ``http:`` and ``https:``
    stand for them, and a URL without a path means ``/ws``.

    Does not wait for the server: each connection, the first one too, is made
    in the background. ``session.state`` is the newest state; ``on_state`` is
    called with each, and an exception that it raises is logged.

    - ``token`` travels in the first message, never in the URL. A function,
      ``async`` or not, is called for it on each connection, so that a session
      outlives its token; when it raises, that connection has failed, and the
      next one is tried after the usual wait.
    - ``cursor``: ``session.cursor`` of an earlier session. Without it
      ``origin`` says where to begin.
    - ``headers`` of the upgrade, a cookie for example; ``ssl_context`` for
      ``wss:``, Python's default one if left out.
    - ``connect_seconds`` to reach the server, get the token and be welcomed.
    - ``queued_items``, ``queued_bytes``: the bound of the queue for the
      application. Beyond it nothing is queued: the session ends the connection
      (unless a request waits for its reply) and is ``paused``; it resumes when
      the application has taken everything.

    When the block ends, the session acks the items that were taken (not the
    one being processed) and closes the connection, in at most 7 seconds.
    Cancelled, or with no connection, it waits for nothing.

    Raises, before anything is started, :class:`TypeError` for an option of the
    wrong type and :class:`ValueError` for one that makes no sense: a URL of
    another scheme, headers that HTTP cannot carry or that the upgrade sets
    itself, an impossible time, an empty queue, an ``ssl_context`` without TLS.
    Raises :class:`~actors.errors.ForeignLoop` where Trio does not run (an
    asyncio program uses :func:`actors.aio.connect`). The body's own exceptions
    pass through.
    """
    check_trio("connect", "call trio.run(main), or from asyncio use actors.aio.connect")
    options = Options(
        url=url,
        token=token,
        cursor=cursor,
        origin=origin,
        headers={} if headers is None else headers,
        ssl_context=ssl_context,
        connect_seconds=connect_seconds,
        queued_items=queued_items,
        queued_bytes=queued_bytes,
        on_state=on_state,
        environment=Environment() if environment is None else environment,
    )
    activity = Activity()
    inbox = Inbox(cursor, queued_items, most_bytes=queued_bytes, is_news=activity.is_news)
    session = Session(Conversation(None, inbox, origin=origin, activity=activity), options)
    async with _running(session):
        yield session


@asynccontextmanager
async def _running(session: Session) -> AsyncIterator[None]:
    """Run the session's tasks around the body; raises its exception outside of the nursery, and so not in a group."""
    outcome: BaseException | None = None
    async with open_interruptible_nursery() as nursery:
        nursery.start_soon(session.run)
        try:
            yield
        except BaseException as error:
            if cancels(error):
                raise
            outcome = error
        finally:
            session.leave()
            session.finish("the connect block has ended")
    if outcome is not None:
        raise outcome


def _complain(error: BaseException) -> None:
    complain("on_state", error)


T = TypeVar("T")


def _decoded(text: str, kind: type[T]) -> T:
    """Decode a reply. Raises :class:`~actors.errors.PeerError` when its fields are not those of the protocol."""
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError as error:
        raise PeerError("bad_message", f"expected a reply with the fields of the protocol, got {error}") from None


def _as_field(payload: Payload) -> Any:
    """Mark bytes as JSON that is not to be encoded again."""
    return msgspec.Raw(bytes(payload)) if isinstance(payload, bytes | bytearray | memoryview) else payload
