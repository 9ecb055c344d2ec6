"""Requests that have no reply yet.

A request has an id, unique in its session. Without a reply it is written again
on the next connection of that session, and the server carries it out once,
because it knows the id. A server that has forgotten the session has forgotten
its ids: then the idempotent requests are repeated, and the others fail, with
their outcome unknown. It forgets an id after ten minutes as well, so a request
without a reply fails that long after it was first written.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs

from actors.client.errors import RequestRefused, SessionLost
from actors.errors import ActorsError, Unencodable
from actors.protocol import client_messages
from actors.protocol.client_messages import CancelRun, ReadThread, op_of
from actors.protocol.server_messages import Reply

_WINDOW = 8
"""Requests of one connection in flight at once, unless the server allows fewer; it allows 16 by default."""

_IDEMPOTENT = (CancelRun, ReadThread)
"""Requests that may be carried out twice."""


REMEMBERED_SECONDS = 600.0
"""The time for which a server remembers an id: section 7 of the protocol page."""

_LOST = "expected a reply within ten minutes in one session, got none: it may have been carried out"


@attrs.define(eq=False, kw_only=True)
class Request:
    """One request, until it has an outcome."""

    id: str
    message: client_messages.Request
    text: str
    settled: Callable[[], None]
    """Takes the call when there is an outcome."""
    expires: Callable[[float], None]
    """Takes the call when it is first written, with the time at which it expires."""
    until: float = math.inf
    outcome: str | ActorsError | None = None
    """The text of the reply, whose type the caller knows, or the error to raise."""
    sent_in_session: bool = False
    """True if it was written on a connection of this session."""
    in_flight: bool = False
    """True if it was written on this connection."""


class Requests:
    """One session's requests without a reply, in the order in which they were made."""

    def __init__(self) -> None:
        self._made = 0
        self._open: dict[str, Request] = {}

    def __len__(self) -> int:
        """Return the number of requests without a reply."""
        return len(self._open)

    def make(
        self,
        message_of: Callable[[str], client_messages.Request],
        settled: Callable[[], None],
        expires: Callable[[float], None],
    ) -> Request:
        """Make a request with the next id, which :meth:`due` returns in its turn."""
        self._made += 1
        id_ = f"c{self._made}"
        message = message_of(id_)
        request = self._open[id_] = Request(
            id=id_, message=message, text=client_messages.encode(message), settled=settled, expires=expires
        )
        return request

    def forget(self, request: Request) -> None:
        """Forget a request whose caller waits no longer: it is not written again."""
        self._open.pop(request.id, None)

    def begin(self) -> None:
        """Begin a connection, on which no request was written yet."""
        for request in self._open.values():
            request.in_flight = False

    def lose_session(self) -> None:
        """Fail the requests that a server which forgot the session could carry out twice."""
        for request in [*self._open.values()]:
            if request.sent_in_session and not isinstance(request.message, _IDEMPOTENT):
                self._resolve(request, SessionLost(_LOST))
            request.sent_in_session = False

    def expire(self, now: float) -> None:
        """Fail the requests that the server may have forgotten, because it could carry them out twice."""
        for request in [*self._open.values()]:
            if now >= request.until:
                self._resolve(request, SessionLost(_LOST))

    def due(self, most_bytes: int, most_in_flight: int, now: float) -> Request | None:
        """Return the next request to write, and count it as written; one that is too large is refused instead."""
        self.expire(now)
        while (request := self._next(most_in_flight)) is not None:
            if len(request.text.encode()) <= most_bytes:
                self._note_written(request, now)
                return request
            size = f"{len(request.text.encode())} bytes"
            self._resolve(
                request, Unencodable(op_of(request.message), f"a message of at most {most_bytes} bytes", came=size)
            )
        return None

    def answer(self, reply: Reply, text: str) -> None:
        """Take a reply; one to a request that is no longer open is ignored."""
        request = self._open.get(str(reply.id))
        if request is None:
            return
        problem = reply.error
        if problem is None:
            self._resolve(request, text)
        else:
            refused = RequestRefused(problem.code, problem.name, temporary=problem.temporary, text=problem.message)
            self._resolve(request, refused)

    def end(self, error: Callable[[], ActorsError]) -> None:
        """Fail every request, because no reply will come."""
        for request in [*self._open.values()]:
            self._resolve(request, error())

    @staticmethod
    def _note_written(request: Request, now: float) -> None:
        if request.until == math.inf:
            request.until = now + REMEMBERED_SECONDS
            request.expires(request.until)
        request.sent_in_session = request.in_flight = True

    def _next(self, most_in_flight: int) -> Request | None:
        if sum(request.in_flight for request in self._open.values()) >= min(_WINDOW, most_in_flight):
            return None
        return next((request for request in self._open.values() if not request.in_flight), None)

    def _resolve(self, request: Request, outcome: str | ActorsError) -> None:
        del self._open[request.id]
        request.outcome = outcome
        request.settled()
