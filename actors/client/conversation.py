"""The client's side of ``actors.v1``, without a clock and without a network.

One conversation lasts over all connections of a session. Of each connection it
is told: it begins (:meth:`Conversation.hello`), this was heard
(:meth:`Conversation.take`), it has ended (:meth:`Conversation.end`); and it is
asked what to say (:meth:`Conversation.due`). What the application does goes
through :attr:`Conversation.arrivals` and :attr:`Conversation.requests`.
"""

from __future__ import annotations

import attrs

from actors.client.activity import Activity
from actors.client.backoff import asked, is_final, pause
from actors.client.inbox import Arrivals, OutOfOrder
from actors.client.items import Item
from actors.client.pending import Requests
from actors.client.questions import Questions
from actors.errors import PeerError
from actors.events.delivered import Event
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
    Reply,
    Reset,
    ServerLimits,
    Welcome,
    decode,
)

_SILENCE_SECONDS = 10.0
"""How much longer than the server's pings may take nothing is heard of it, before it is taken for dead."""
_SAID_CHARACTERS = 1_024
"""Of what a server says was wrong, this much is repeated."""
_BROKEN = 1006
_SUPERSEDED = 4500

_PING = client_messages.encode(client_messages.Ping())
_PONG = client_messages.encode(client_messages.Pong())


@attrs.frozen(kw_only=True)
class Ended:
    """How a connection ended."""

    text: str
    code: int = _BROKEN
    status: int | None = None
    final: bool = False
    """Whatever the code says."""


class Conversation:
    """What to do with each message, and what to say."""

    def __init__(
        self, token: str | None, arrivals: Arrivals, *, origin: Origin = "unacked", activity: Activity | None = None
    ) -> None:
        self.arrivals = arrivals
        self.requests = Requests()
        self.welcomed = False
        """Whether the server has answered this connection's hello."""
        self.asked = ServerLimits()
        self.silence_seconds = 0.0
        """After the welcome: how long a server that is alive may say nothing."""
        self.failures = 0
        """Connections in a row that came to nothing."""
        self.token = token
        """Who this is, as the next hello says it."""
        self._origin: Origin = origin
        self._session: str | None = None
        self._questions = Questions()
        self._activity = activity or Activity()
        self._say: list[str] = []
        """What is to be said before anything else."""
        self._lost_at: float | None = None
        """When the last connection that came to something ended, or the first attempt, if none has since."""
        self._before: tuple[int, float | None] = 0, None
        """Failures and loss as they stood when this connection began."""
        self._settled_in = False
        """Everything that was there has come on this connection."""
        self._retry_seconds: float | None = None
        self._complaint = ""
        self._pings = 0
        """Of this connection, without a pong. What does not come between the last ``caught_up`` and the pong to the
        ping that followed it, which is the last pong, is over."""
        self._greeting = False
        """This connection's hello, in a session, has no answer."""
        self._late_hellos = 0
        """Connections of this session that were given up after their hello, before its answer: one of those may
        reach the server after a newer one, and supersede it."""

    # --- what is wanted ---------------------------------------------------------

    @property
    def wants_connection(self) -> bool:
        """Whether there is something to connect for."""
        return not self.arrivals.overrun or self.arrivals.drained or len(self.requests) > 0

    @property
    def wants_to_leave(self) -> bool:
        """Whether this connection can bring nothing any more, or another one more."""
        return self.arrivals.overrun and (self.arrivals.drained or not len(self.requests))

    # --- a connection -----------------------------------------------------------

    def hello(self) -> str:
        """A connection begins: the first thing to say on it."""
        self.welcomed = self._settled_in = False
        self._say.clear()
        self._retry_seconds = None
        self._complaint = ""
        self._before = self.failures, self._lost_at
        self._questions.begin()
        self._pings = 0
        self.requests.begin()
        self._late_hellos += self._greeting
        self._greeting = self._session is not None
        resume = self.arrivals.begin()
        point = None if resume is None else ResumePoint(resume.epoch, resume.offset)
        origin: Origin = "low" if self.arrivals.starting_over else self._origin
        return client_messages.encode(
            Hello(1, self.token, self._session, point, origin if point is None else "unacked")
        )

    def take(self, text: str) -> None:
        """A message has come.

        Raises :class:`~actors.client.inbox.OutOfOrder` or
        :class:`~actors.errors.PeerError` when the connection is to be
        given up because of it; :meth:`distrust` is told of the former.
        """
        heard = decode(text)
        if heard is None:
            return
        if not self.welcomed and not isinstance(
            heard,
            Welcome | Error | GoingAway | Ping | Pong,
        ):
            raise PeerError("bad_message", f"expected a welcome first, got {text[:80]!r}")
        if self._settled_in:
            self._held()
        match heard:
            case Event() | Batch():
                self._arrived(heard, len(text))
            case Gap():
                self.arrivals.gap(heard)
            case Reset():
                self.arrivals.reset(heard)
            case CaughtUp():
                self._catch_up(heard)
            case Welcome():
                self._welcome(heard)
            case Reply():
                self.requests.answer(heard, text)
                self._held()
            case Ask() | AskClosed() | Active() | Inactive():
                self._stand(heard, len(text))
            case _:
                self._keep_in_touch(heard)

    def due(self, now: float, *, everything: bool = False) -> list[str]:
        """What to say at ``now``; with ``everything``, confirm all that is taken."""
        if not self.welcomed:
            return []
        said, self._say = self._say, []
        offset = self.arrivals.ack(now, self.asked, everything=everything)
        if offset is not None:
            said.append(client_messages.encode(Ack(offset)))
        while (request := self.requests.due(self.asked.message_bytes, self.asked.requests, now)) is not None:
            said.append(request.text)
        return said

    def due_at(self) -> float:
        """When there will be something to say, if nothing happens before."""
        return self.arrivals.acks.due_at(self.asked)

    def end(self, ended: Ended, jitter: float, now: float) -> float | None:
        """The connection has ended, or there was none: seconds to wait before the next, ``None`` if it is for good."""
        if self._lost_at is None:
            self._lost_at = now
        if ended.code != _BROKEN:
            self._greeting = False  # a server that says that it closes has heard the hello
        if ended.code == _SUPERSEDED and self._late_hellos:
            self._late_hellos -= 1
        elif ended.final or is_final(ended.code, ended.status):
            return None
        if self._retry_seconds is not None:
            return self._retry_seconds
        self.failures += 1
        return pause(now - self._lost_at, jitter)

    def distrust(self, error: OutOfOrder) -> None:
        """What came could not be: the next connection asks for everything anew, and a server that keeps doing this
        is asked ever more rarely."""
        self.arrivals.distrust(str(error))
        self.failures, self._lost_at = self._before

    def explain(self, text: str) -> str:
        """Why a connection ended, with what the server said of it: on one line, whatever that was."""
        return f"{text} ({self._complaint})" if self._complaint and self._complaint not in text else text

    # --- messages ---------------------------------------------------------------

    def _welcome(self, said: Welcome) -> None:
        if self.welcomed:
            raise PeerError("bad_message", "expected one welcome, got another")
        self._greeting = False
        if said.session != self._session:
            self._late_hellos = 0
            self._session = said.session
            self.requests.lose_session()
        self.welcomed = True
        self.asked = said.limits
        self.silence_seconds = said.ping_s + _SILENCE_SECONDS
        self.arrivals.welcome(said)

    def _arrived(self, heard: Event | Batch[Event], size: int) -> None:
        """Something of the log came; if it was new, this connection came to something."""
        before = self.arrivals.received
        for event in (heard,) if isinstance(heard, Event) else heard.events:
            self._activity.event(event)
        if isinstance(heard, Event):
            self.arrivals.event(heard, size)
        else:
            self.arrivals.batch(heard, size)
        if self.arrivals.received != before:
            self._held()

    def _held(self) -> None:
        """This connection came to something: whatever was lost before it is over."""
        self.failures, self._lost_at = 0, None

    def _catch_up(self, said: CaughtUp) -> None:
        self.arrivals.caught_up(said)
        self._settled_in = True
        doubts = self._questions.caught_up(), self._activity.caught_up()
        if any(doubts):
            self._pings += 1
            self._say.append(_PING)

    def _stand(
        self,
        heard: Ask[Question] | AskClosed | Active[Beginning] | Inactive,
        size: int,
    ) -> None:
        """Without room it is not heard: what is open and active then comes again on the next connection."""
        if not self.arrivals.has_room():
            return
        item: Item | None
        match heard:
            case Ask():
                item = self._questions.ask(heard)
            case AskClosed():
                item = self._questions.close(heard)
            case Active():
                item = self._activity.told(heard)
            case Inactive():
                item = self._activity.ended(heard)
        if item is not None:
            self.arrivals.add(item, size)

    def _resolve(self) -> None:
        """A pong: what was open or active and has not come again before the last one is over."""
        if self._pings == 1 and self.arrivals.has_room():
            over: list[Item] = [*self._questions.pong(), *self._activity.pong()]
            for item in over:
                self.arrivals.add(item)
        self._pings = max(0, self._pings - 1)

    def _keep_in_touch(self, heard: Ping | Pong | GoingAway | Error) -> None:
        match heard:
            case Ping():
                if _PONG not in self._say:
                    self._say.append(_PONG)
            case Pong():
                self._resolve()
            case GoingAway(retry_ms):
                self._retry_seconds = asked(retry_ms)
            case Error(error):
                self._complaint = printable(error.message[:_SAID_CHARACTERS])
