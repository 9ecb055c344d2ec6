"""The client's side of ``actors.v1``. Sans-I/O: no clock, no network.

One conversation lasts over all connections of a session. For each connection
the session calls :meth:`Conversation.hello` when it begins,
:meth:`Conversation.take` with each message, :meth:`Conversation.due` for the
messages to send, and :meth:`Conversation.end` when it has ended. The
application's side goes through :attr:`Conversation.inbox` and
:attr:`Conversation.requests`.
"""

from __future__ import annotations

import attrs

from actors.client.backoff import is_final, pause, retry_after
from actors.client.inbox import Inbox, OutOfOrder
from actors.client.pending import Requests
from actors.delivery.activity import Activity
from actors.delivery.questions import Questions
from actors.errors import PeerError
from actors.events.delivered import Event
from actors.events.items import Item
from actors.kernel.failures import printable
from actors.protocol import client_messages
from actors.protocol.client_messages import Ack, Hello, Origin, ResumePoint
from actors.protocol.server_messages import (
    Active,
    Ask,
    AskClosed,
    Batch,
    Beginning,
    CaughtUp,
    Error,
    Gap,
    GoingAway,
    Inactive,
    Ping,
    Pong,
    Question,
    Renamed,
    Reply,
    Reset,
    ServerLimits,
    Welcome,
    decode,
)

_SILENCE_SECONDS = 10.0
"""Silence beyond the server's ping interval, after which the connection is dead."""
_ERROR_CHARACTERS = 1_024
"""Length to which a server's error message is cut."""
_BROKEN = 1006
_SUPERSEDED = 4500

_PING = client_messages.encode(client_messages.Ping())
_PONG = client_messages.encode(client_messages.Pong())


@attrs.frozen(kw_only=True)
class Ended:
    """The end of a connection: its reason, close code, and the HTTP status of a refused upgrade."""

    text: str
    code: int = _BROKEN
    status: int | None = None
    final: bool = False
    """True if the client must not reconnect, whatever the code."""


class Conversation:
    """The protocol state of a session: what to do with each message, and what to send."""

    def __init__(
        self, token: str | None, inbox: Inbox, *, origin: Origin = "unacked", activity: Activity | None = None
    ) -> None:
        self.inbox = inbox
        self.requests: Requests = Requests()
        self.welcomed: bool = False
        """True once the server has answered this connection's hello."""
        self.limits: ServerLimits = ServerLimits()
        self.silence_seconds: float = 0.0
        """The time for which a server that is alive may send nothing, from the welcome on."""
        self.failures: int = 0
        """Failed connections in a row: those that brought nothing new."""
        self.token = token
        """The token for the next hello."""
        self._origin: Origin = origin
        self._session: str | None = None
        self._questions = Questions()
        self._activity = activity or Activity()
        self._control: list[str] = []
        """Pings and pongs to send before anything else."""
        self._lost_at: float | None = None
        """The time at which the outage began: the end of the last connection that did not fail, or of the first try."""
        self._before: tuple[int, float | None] = 0, None
        """``failures`` and ``_lost_at`` as they were when this connection began."""
        self._caught_up = False
        """True once this connection has brought everything that was in the log when it began."""
        self._retry_seconds: float | None = None
        self._server_error = ""
        self._pings = 0
        """Pings of this connection without a pong. When the last of them is answered, a run or a question that the
        server has not sent again since the last ``caught_up`` is over."""
        self._hello_pending = False
        """True while this connection's hello, which names a session, has no answer."""
        self._late_hellos = 0
        """Connections of this session that were given up with their hello unanswered: such a hello may reach the
        server after that of a newer connection, and supersede it."""

    # --- what is wanted ---------------------------------------------------------

    @property
    def wants_connection(self) -> bool:
        """True if there is room for items, or a request without a reply."""
        return not self.inbox.overrun or self.inbox.drained or len(self.requests) > 0

    @property
    def wants_to_leave(self) -> bool:
        """True if this connection is of no more use, or another one would be of more."""
        return self.inbox.overrun and (self.inbox.drained or not len(self.requests))

    # --- a connection -----------------------------------------------------------

    def hello(self) -> str:
        """Begin a connection; returns its first message."""
        self.welcomed = self._caught_up = False
        self._control.clear()
        self._retry_seconds = None
        self._server_error = ""
        self._before = self.failures, self._lost_at
        self._questions.begin()
        self._pings = 0
        self.requests.begin()
        self._late_hellos += self._hello_pending
        self._hello_pending = self._session is not None
        resume = self.inbox.begin()
        point = None if resume is None else ResumePoint(resume.epoch, resume.offset)
        origin: Origin = "low" if self.inbox.starting_over else self._origin
        return client_messages.encode(
            Hello(1, self.token, self._session, point, origin if point is None else "unacked", renames=True)
        )

    def take(self, text: str) -> None:
        """Take a message.

        Raises :class:`~actors.client.inbox.OutOfOrder` or
        :class:`~actors.errors.PeerError` when the session must give up the
        connection because of it; after the former it calls :meth:`distrust`.
        """
        message = decode(text)
        if message is None:
            return
        if not self.welcomed and not isinstance(
            message,
            Welcome | Error | GoingAway | Ping | Pong,
        ):
            raise PeerError("bad_message", f"expected a welcome first, got {text[:80]!r}")
        if self._caught_up:
            self._succeed()
        match message:
            case Event() | Batch():
                self._take_events(message, len(text))
            case Gap():
                self.inbox.gap(message)
            case Reset():
                self.inbox.reset(message)
            case Renamed():
                self.inbox.rename(message)
            case CaughtUp():
                self._catch_up(message)
            case Welcome():
                self._welcome(message)
            case Reply():
                self.requests.answer(message, text)
                self._succeed()
            case Ask() | AskClosed() | Active() | Inactive():
                self._take_current(message, len(text))
            case _:
                self._take_control(message)

    def due(self, now: float, *, everything: bool = False) -> list[str]:
        """Return the messages to send at ``now``; with ``everything``, ack all that is taken."""
        if not self.welcomed:
            return []
        texts, self._control = self._control, []
        offset = self.inbox.ack(now, self.limits, everything=everything)
        if offset is not None:
            texts.append(client_messages.encode(Ack(offset)))
        while (request := self.requests.due(self.limits.message_bytes, self.limits.requests, now)) is not None:
            texts.append(request.text)
        return texts

    def due_at(self) -> float:
        """Return the time at which a message will be due, if nothing happens before."""
        return self.inbox.acks.due_at(self.limits)

    def end(self, ended: Ended, jitter: float, now: float) -> float | None:
        """End a connection, or an attempt; returns the seconds to wait before the next, ``None`` to not reconnect."""
        if self._lost_at is None:
            self._lost_at = now
        if ended.code != _BROKEN:
            self._hello_pending = False  # a server that sends a close code has read the hello
        if ended.code == _SUPERSEDED and self._late_hellos:
            self._late_hellos -= 1
        elif ended.final or is_final(ended.code, ended.status):
            return None
        if self._retry_seconds is not None:
            return self._retry_seconds
        self.failures += 1
        return pause(now - self._lost_at, jitter)

    def distrust(self, error: OutOfOrder) -> None:
        """Ask for the whole log on the next connection, because the server contradicted itself; counts as a failure,
        so that a server which keeps doing so is asked ever more rarely."""
        self.inbox.distrust(str(error))
        self.failures, self._lost_at = self._before

    def explain(self, text: str) -> str:
        """Return the reason for the end of a connection, with the server's error message; on one line."""
        return f"{text} ({self._server_error})" if self._server_error and self._server_error not in text else text

    # --- messages ---------------------------------------------------------------

    def _welcome(self, welcome: Welcome) -> None:
        if self.welcomed:
            raise PeerError("bad_message", "expected one welcome, got another")
        self._hello_pending = False
        if welcome.session != self._session:
            self._late_hellos = 0
            self._session = welcome.session
            self.requests.lose_session()
        self.welcomed = True
        self.limits = welcome.limits
        self.silence_seconds = welcome.ping_s + _SILENCE_SECONDS
        self.inbox.welcome(welcome)

    def _take_events(self, message: Event | Batch[Event], size: int) -> None:
        before = self.inbox.received
        for event in (message,) if isinstance(message, Event) else message.events:
            self._activity.event(event)
        if isinstance(message, Event):
            self.inbox.event(message, size)
        else:
            self.inbox.batch(message, size)
        if self.inbox.received != before:
            self._succeed()

    def _succeed(self) -> None:
        """End the outage, because this connection brought something new."""
        self.failures, self._lost_at = 0, None

    def _catch_up(self, message: CaughtUp) -> None:
        self.inbox.caught_up(message)
        self._caught_up = True
        doubtful = self._questions.caught_up(), self._activity.caught_up()
        if any(doubtful):
            self._pings += 1
            self._control.append(_PING)

    def _take_current(
        self,
        message: Ask[Question] | AskClosed | Active[Beginning] | Inactive,
        size: int,
    ) -> None:
        """Queue an item about an open question or an active run.

        Without room it is dropped, because the server sends the open questions
        and the active runs again on the next connection.
        """
        if not self.inbox.has_room():
            return
        item: Item | None
        match message:
            case Ask():
                item = self._questions.ask(message)
            case AskClosed():
                item = self._questions.close(message)
            case Active():
                item = self._activity.active(message)
            case Inactive():
                item = self._activity.inactive(message)
        if item is not None:
            self.inbox.add(item, size)

    def _pong(self) -> None:
        if self._pings == 1 and self.inbox.has_room():
            over: list[Item] = [*self._questions.pong(), *self._activity.pong()]
            for item in over:
                self.inbox.add(item)
        self._pings = max(0, self._pings - 1)

    def _take_control(self, message: Ping | Pong | GoingAway | Error) -> None:
        match message:
            case Ping():
                if _PONG not in self._control:
                    self._control.append(_PONG)
            case Pong():
                self._pong()
            case GoingAway(retry_ms):
                self._retry_seconds = retry_after(retry_ms)
            case Error(error):
                self._server_error = printable(error.message[:_ERROR_CHARACTERS])
