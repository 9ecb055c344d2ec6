"""What was asked of the server and is not answered yet.

A request has an id of its own session's, for ever. Without an answer it is
written again on the next connection of that session, and carried out once.
When the server has forgotten the session, it does not know the id any more:
what can be repeated without harm is; the others have failed, with nobody
knowing how far. It forgets an id after ten minutes as well, so a request that
has waited that long since it was first written is given up.
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
"""Requests of one connection that wait for their answers at once, unless the server allows fewer; 16 by default."""

_HARMLESS = (CancelRun, ReadThread)
"""What may be carried out twice."""


REMEMBERED_SECONDS = 600.0
"""How long a server remembers an id: section 7 of the protocol page."""

_LOST = "expected a reply within ten minutes in one session, got none: it may have been carried out"


@attrs.define(eq=False, kw_only=True)
class Request:
    """One request, until its outcome is there."""

    id: str
    message: client_messages.Request
    text: str
    settled: Callable[[], None]
    """Called when there is an outcome."""
    expires: Callable[[float], None]
    """Called when it is first written, with the time at which it is to be given up."""
    until: float = math.inf
    outcome: str | ActorsError | None = None
    """The text of the reply, of which the one that asked knows the kind."""
    known: bool = False
    """It was written on a connection of this session."""
    waiting: bool = False
    """It was written on this connection."""


class Requests:
    """The ledger of one session's requests, in the order in which they were made."""

    def __init__(self) -> None:
        self._made = 0
        self._open: dict[str, Request] = {}

    def __len__(self) -> int:
        """Requests without an answer."""
        return len(self._open)

    def make(
        self,
        message_of: Callable[[str], client_messages.Request],
        settled: Callable[[], None],
        expires: Callable[[float], None],
    ) -> Request:
        """Note a request, made with the next id, which the next call of :meth:`due` gives out."""
        self._made += 1
        id_ = f"c{self._made}"
        message = message_of(id_)
        request = self._open[id_] = Request(
            id=id_, message=message, text=client_messages.encode(message), settled=settled, expires=expires
        )
        return request

    def forget(self, request: Request) -> None:
        """Nobody waits for it any more: it is not written again."""
        self._open.pop(request.id, None)

    def begin(self) -> None:
        """A connection begins: nothing was written on it."""
        for request in self._open.values():
            request.waiting = False

    def lose_session(self) -> None:
        """The server has forgotten the session: what it may have carried out cannot be asked for again."""
        for request in [*self._open.values()]:
            if request.known and not isinstance(request.message, _HARMLESS):
                self._resolve(request, SessionLost(_LOST))
            request.known = False

    def expire(self, now: float) -> None:
        """Give up what the server may have forgotten: asked again, it could be carried out twice."""
        for request in [*self._open.values()]:
            if now >= request.until:
                self._resolve(request, SessionLost(_LOST))

    def due(self, most_bytes: int, most_waiting: int, now: float) -> Request | None:
        """The next request to write; it counts as written. One that is too large is refused instead."""
        self.expire(now)
        while (request := self._next(most_waiting)) is not None:
            if len(request.text.encode()) <= most_bytes:
                self._note_written(request, now)
                return request
            size = f"{len(request.text.encode())} bytes"
            self._resolve(
                request, Unencodable(op_of(request.message), f"a message of at most {most_bytes} bytes", came=size)
            )
        return None

    def answer(self, reply: Reply, text: str) -> None:
        """An answer has come; one to nothing that waits is left alone."""
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
        """There will be no answers any more."""
        for request in [*self._open.values()]:
            self._resolve(request, error())

    @staticmethod
    def _note_written(request: Request, now: float) -> None:
        if request.until == math.inf:
            request.until = now + REMEMBERED_SECONDS
            request.expires(request.until)
        request.known = request.waiting = True

    def _next(self, most_waiting: int) -> Request | None:
        if sum(request.waiting for request in self._open.values()) >= min(_WINDOW, most_waiting):
            return None
        return next((request for request in self._open.values() if not request.waiting), None)

    def _resolve(self, request: Request, outcome: str | ActorsError) -> None:
        del self._open[request.id]
        request.outcome = outcome
        request.settled()
