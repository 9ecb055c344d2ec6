"""A session with a server: what comes is iterated over, what is asked is awaited, connections come and go.

This is the part that waits. What to do with a message, and what to say, is
decided in :mod:`actors.client.conversation`.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import msgspec
import trio

from actors.client.activity import Activity
from actors.client.conversation import Conversation, Ended
from actors.client.errors import SessionEnded
from actors.client.inbox import Arrivals, OutOfOrder
from actors.client.items import Cancellation, Cursor, Item, Sent, State
from actors.client.options import NoToken, Options, Token, token_of
from actors.client.pending import Request
from actors.environment import Environment
from actors.errors import ActorsError, PeerError
from actors.events.delivered import Event
from actors.events.event import History, Payload, check_identifier, check_whole, encode
from actors.kernel.affinity import IN_A_SESSION, Affinity, check_trio
from actors.kernel.bounded import TokenBucket
from actors.kernel.failures import Barrier, cancels, complain, open_interruptible_nursery
from actors.limits import Limits
from actors.protocol import client_messages
from actors.protocol.client_messages import SUBPROTOCOL, AnswerAsk, CancelRun, Origin, ReadThread, Send
from actors.protocol.server_messages import CancelReply, ReadReply, SendReply
from actors.wire.websocket import Closed, DialledWebSocket, dial

QUEUED_ITEMS = 1_000
"""What may wait for the application: as many events as a server retains by default."""
QUEUED_BYTES = 1 << 20
"""The same, in bytes of text as it came; the last message may go beyond it."""
CONNECT_SECONDS = 10.0
"""What a server gets from the first packet to its welcome."""

_CLOSE_SECONDS = 2.0
"""What it gets to answer our Close."""
_LEAVE_SECONDS = 5.0
"""What leaving may take, with the last confirmation."""
_LIVELINESS = 0.8
"""How much of the messages per second that a server allows is made use of."""


class Session:
    """A session; made by :func:`connect`.

    Iterate over it in one task: what was iterated over before is confirmed
    when the application comes back for the next item, and not earlier. All
    methods may be called from any task of the same Trio run; from anywhere
    else they raise :class:`~actors.errors.ForeignThread` or
    :class:`~actors.errors.ForeignLoop`, and nothing has happened.
    """

    def __init__(self, conversation: Conversation, options: Options) -> None:
        self.state = State(name="connecting")
        """The newest state; ``on_state`` is called with each."""
        self._affinity = Affinity(IN_A_SESSION)
        self._conversation = conversation
        self._arrivals = conversation.arrivals
        self._options = options
        self._stirred = trio.Event()
        """Set when something happened that the tasks of this session may have to act upon; then replaced."""
        self._connecting: trio.CancelScope | None = None
        self._reading: trio.CancelScope | None = None
        self._pausing = trio.CancelScope()
        self._farewell = False
        """The connection is to be ended, with a last confirmation."""
        self._leaving = False
        self._error: Callable[[], SessionEnded] | None = None
        self._iterating = False

    # --- what comes -------------------------------------------------------------

    @property
    def cursor(self) -> Cursor | None:
        """The place of the last item that was iterated over, the one in hand included; ``None`` before there is one.

        Saved together with what the item has done, and given to :func:`connect`, nothing is missed and nothing is
        done twice.
        """
        return self._arrivals.given

    def __aiter__(self) -> Session:
        """The session itself."""
        return self

    async def __anext__(self) -> Item:
        """The next item; a checkpoint. Cancelled, it stays the next item.

        Raises :class:`~actors.client.SessionEnded` when the server has refused for good, after everything that came
        before; and after the ``connect`` block. Raises :class:`trio.BusyResourceError` when another task is iterating.
        """
        self._affinity.check_task("the next item")
        if self._iterating:
            raise trio.BusyResourceError("another task is iterating over this session")
        self._iterating = True
        try:
            self._arrivals.confirm()
            self._stir()
            await trio.lowlevel.checkpoint()
            while (item := self._arrivals.give()) is None:
                if self._error is not None:
                    raise self._error()
                await self._stirred.wait()
            return item
        finally:
            self._iterating = False

    # --- what is asked ----------------------------------------------------------

    async def send(
        self,
        payload: Payload,
        *,
        thread_id: str | None = None,
        type: str = "user_message",  # noqa: A002 - its name
    ) -> Sent:
        """Place a message in a thread, or in a new one; returns when the server has placed it.

        Idempotent over reconnects: without a reply it is sent again under the same id, and placed once.

        Raises :class:`~actors.errors.Unencodable` for what JSON cannot carry or the server will not take,
        :class:`~actors.client.RequestRefused` when the server refuses, :class:`~actors.client.SessionLost` when it
        may or may not have been placed, :class:`~actors.client.SessionEnded` when there is no way to ask any more.
        Waits for as long as the server cannot be reached: use a timeout. Cancelled after it was sent, it may or may
        not be placed, and is not sent again.
        """
        self._affinity.check_task("send")
        if thread_id is not None:
            check_identifier("thread_id", thread_id)
        encode(type, payload, thread_id or "new", None, "message", 0.0, Limits())
        ready = _ready(payload)
        reply = _decoded(await self._ask("send", lambda id_: Send(id_, ready, thread_id, type)), SendReply)
        return Sent(
            thread_id=reply.thread_id,
            event_id=reply.event_id,
            run_id=reply.run_id,
            epoch=reply.epoch,
            seq=reply.seq,
            offset=reply.offset,
        )

    async def answer(self, ask_id: str, payload: Payload) -> None:
        """Answer a question. Raises as :meth:`send` does; the first answer of all devices is the one that counts."""
        self._affinity.check_task("answer")
        check_identifier("ask_id", ask_id)
        encode("answer", payload, "none", None, ask_id, 0.0, Limits())
        ready = _ready(payload)
        await self._ask("answer", lambda id_: AnswerAsk(id_, ask_id, ready))

    async def cancel(self, run_id: str) -> Cancellation:
        """End a run and those below it; returns when they have ended, or after the server's patience, 5 seconds.

        Raises as :meth:`send` does; SessionLost only after ten minutes without a reply, for it is asked again.
        """
        check_identifier("run_id", run_id)
        reply = _decoded(await self._ask("cancel", lambda id_: CancelRun(id_, run_id)), CancelReply)
        return Cancellation(run_id=reply.run_id, stopped=reply.stopped, running=reply.running)

    async def read(self, thread_id: str, *, after_seq: int = 0, limit: int | None = None) -> History:
        """The events of one thread that are retained, after a ``seq``, at most ``limit`` of them.

        Raises as :meth:`cancel` does, and Unencodable, which is a ValueError,
        for an ``after_seq`` that is no whole number from 0 on or a ``limit``
        that is none from 1 to 2³¹. Changes nothing about what is iterated over.
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
        """Wait no longer before the next attempt: the machine has come online, somebody looks at it again."""
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
        self._stir()
        try:
            with patience:
                await settled.wait()
            requests.expire(trio.current_time())
        finally:
            requests.forget(request)
        if isinstance(request.outcome, ActorsError):
            raise request.outcome
        assert request.outcome is not None, "what is settled has an outcome"
        return request.outcome

    # --- connections --------------------------------------------------------------

    async def run(self) -> None:
        """Connect, again and again, until the application leaves or the server refuses for good."""
        while not self._leaving:
            if not self._conversation.wants_connection:
                self._tell(State(name="paused", text="the application has not taken what came"))
                await self._stirred.wait()
                continue
            ended = await self._attend()
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
        """The application leaves: what it has taken is confirmed, and goodbye said, if there is a connection."""
        self._leaving = True
        self._pausing.cancel()
        for scope in (self._connecting, self._reading):
            if scope is not None:
                scope.cancel()
        self._stir()

    def finish(self, text: str, code: int | None = None, status: int | None = None) -> None:
        """There will be no connection any more."""
        if self._error is None:
            self._error = lambda: SessionEnded(text, code, status=status)
            self._conversation.requests.end(self._error)
            self._tell(State(name="ended", text=text, code=code, failures=self._conversation.failures))
            self._stir()

    async def _pause(self, state: State) -> None:
        with trio.move_on_after(state.seconds) as self._pausing:
            self._tell(state)
            if not self._leaving:
                await trio.sleep_forever()

    async def _attend(self) -> Ended | None:
        """One connection; how it ended, ``None`` when this side wanted no more of it."""
        options, last = self._options, self.state
        self._tell(State(name="connecting", text=last.text, code=last.code, failures=self._conversation.failures))
        deadline = trio.current_time() + options.connect_seconds
        dialled = dial(
            options.url,
            subprotocol=SUBPROTOCOL,
            headers=options.headers,
            ssl_context=options.ssl_context,
            open_seconds=options.connect_seconds,
            close_seconds=_CLOSE_SECONDS,
            on_heard=self._heard,
        )
        try:
            with trio.CancelScope() as self._connecting:
                async with dialled as websocket:
                    # Before anything is said, and not before there is a server to say it to: asking may cost a request.
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
        """Read and write until one of both sides wants no more."""
        self._connecting = None
        if websocket.subprotocol != SUBPROTOCOL:
            return Ended(text=f"expected a server that speaks {SUBPROTOCOL}, got one that does not", final=True)
        self._farewell = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, websocket)
            ended = await self._read(websocket, deadline)
            if ended is not None or not self._conversation.welcomed:
                websocket.abort()  # it may have stopped in the middle of a frame
                nursery.cancel_scope.cancel()
            else:
                self._farewell = True
                self._stir()
                nursery.cancel_scope.deadline = trio.current_time() + _LEAVE_SECONDS
        if nursery.cancel_scope.cancelled_caught:
            websocket.abort()
        return ended

    async def _read(self, websocket: DialledWebSocket, deadline: float) -> Ended | None:
        """Say hello, and take what comes; how it ended, ``None`` when this side wants no more."""
        conversation = self._conversation
        text = conversation.hello()
        try:
            with trio.CancelScope(deadline=deadline) as self._reading:
                with suppress(Closed):  # what the server said before it closed is heard first
                    await websocket.send(text)
                while not (self._leaving or conversation.wants_to_leave):
                    conversation.take(await websocket.receive())
                    self._heard()
                    self._stir()
                return None
        except OutOfOrder as error:
            conversation.distrust(error)
            return Ended(text=str(error))
        except Closed as closed:
            return Ended(text=str(closed), code=closed.code)
        except PeerError as error:  # of which Closed is one
            return Ended(text=str(error))
        finally:
            self._reading = None
        if self._leaving or conversation.wants_to_leave:
            return None
        silence = conversation.silence_seconds if conversation.welcomed else self._options.connect_seconds
        return Ended(text=f"expected {'a sign of life' if conversation.welcomed else 'a welcome'} within {silence:g} s")

    async def _write(self, websocket: DialledWebSocket) -> None:
        """Say what is to be said, no faster than the server allows; whole messages, whatever is cancelled elsewhere."""
        conversation = self._conversation
        while not conversation.welcomed:
            await self._stirred.wait()
        pace = _Pace(conversation.asked.messages_per_s * _LIVELINESS)
        try:
            while True:
                stirred, farewell = self._stirred, self._farewell
                for text in conversation.due(trio.current_time(), everything=farewell):
                    await pace.keep()
                    await websocket.send(text)
                if farewell:
                    return
                with trio.move_on_at(conversation.due_at()):
                    await stirred.wait()
        except Closed:
            pass  # the reader hears of it, with the reason

    def _heard(self) -> None:
        """The server has said something: it is alive."""
        if self._reading is not None and self._conversation.welcomed:
            self._reading.deadline = trio.current_time() + self._conversation.silence_seconds

    def _stir(self) -> None:
        """Something happened: let everybody look."""
        stirred, self._stirred = self._stirred, trio.Event()
        stirred.set()
        conversation = self._conversation
        if self._reading is None or not conversation.welcomed:
            return
        if self.state.name != "open":
            self._tell(State(name="open"))
        if conversation.wants_to_leave:
            self._reading.cancel()

    def _tell(self, state: State) -> None:
        if state != self.state and self.state.name != "ended":
            self.state = state
            with Barrier(_complain):
                self._options.on_state(state)


class _Pace:
    """No more than so many a second, and as many at once as a second allows."""

    def __init__(self, per_second: float) -> None:
        self._pause_seconds = 1 / per_second
        self._bucket = TokenBucket(max(1, int(per_second)), per_second, now=trio.current_time())

    async def keep(self) -> None:
        """Wait until another one may be sent."""
        while not self._bucket.take(trio.current_time()):  # noqa: ASYNC110 - it is time that is waited for
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
    """A session with the server at a URL, for as long as the block runs.

    ``ws://host/ws`` or ``wss://host/ws``; ``http:`` and ``https:`` stand for
    them, and a URL without a path means ``/ws``.

    Does not wait for the server: each connection, the first one too, is made
    in the background. ``session.state`` is the newest state; ``on_state`` is
    called with each, and what it raises is logged.

    - ``token`` travels in the first message, never in the URL. A function,
      ``async`` or not, is called for it on each connection, so that a session
      outlives its token; when it raises, that connection has failed, and the
      next one is tried after the usual wait.
    - ``cursor``: the place of an earlier session (``session.cursor``). Without
      it ``origin`` says where to begin.
    - ``headers`` of the upgrade, a cookie for example; ``ssl_context`` for
      ``wss:``, Python's default one if left out.
    - ``connect_seconds``: what reaching the server, the token and the welcome may take together.
    - ``queued_items``, ``queued_bytes``: what may wait for the application.
      Beyond it nothing is kept: the session ends the connection, unless a
      request waits for its answer, and resumes when the application has taken
      everything (the state is ``paused``).

    When the block ends, the session acks what was taken (not the last item in
    hand) and says goodbye, in at most 7 seconds. Cancelled, or with no
    connection, it waits for nothing.

    Raises, before anything is started, :class:`TypeError` for an option of
    another kind and :class:`ValueError` for one that cannot be meant: a URL of
    another kind, headers that HTTP cannot carry or that the upgrade has itself,
    a time that cannot be waited, no room at all, an ``ssl_context`` without
    TLS. Raises :class:`~actors.errors.ForeignLoop` where Trio does not run (an
    asyncio program calls :func:`trio.run` in a thread of its own). The body's
    own exceptions pass through.
    """
    check_trio("connect")
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
    arrivals = Arrivals(cursor, queued_items, most_bytes=queued_bytes, is_news=activity.is_news)
    session = Session(Conversation(None, arrivals, origin=origin, activity=activity), options)
    async with _running(session):
        yield session


@asynccontextmanager
async def _running(session: Session) -> AsyncIterator[None]:
    """Run the session's tasks around the body, and raise what ended it outside of the nursery, and so bare."""
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
    """A reply's fields. Raises :class:`~actors.errors.PeerError` when they are not those of the protocol."""
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError as error:
        raise PeerError("bad_message", f"expected a reply with the fields of the protocol, got {error}") from None


def _ready(payload: Payload) -> Any:
    """Ready JSON, marked as such."""
    return msgspec.Raw(bytes(payload)) if isinstance(payload, bytes | bytearray | memoryview) else payload
