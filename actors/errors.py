"""The errors of this package. A type says which side must act.

    ActorsError
    ├── EmitterError            the caller of this API: change the call
    │   ├── Unencodable         the payload cannot travel (also a ValueError)
    │   ├── IdempotencyConflict this event id already names another event
    │   ├── NotTheOwner         the thread belongs to another user
    │   ├── RunEnded            the run has emitted its last event
    │   ├── ForeignThread       called from outside the runtime's own thread
    │   └── ForeignLoop         called from asyncio, or from no event loop
    ├── RuntimeClosed           the runtime takes no more events
    ├── Quarantined             the operator: this actor crashed too often
    ├── Busy                    no side: there is no room; ask again later
    ├── Unanswered              no side: the question was not answered, and the text says why
    ├── Dropped                 no side: the stage waited for will never come
    │   └── Unconfirmed         it was written to a socket, and no device acked it
    ├── StoreError              the operator: the store refused or failed
    │   └── StoreUnavailable    no side yet: the store's answer is unknown, the runtime asks again
    ├── RestartsExhausted       the operator: a supervisor gave up, the runtime ends
    ├── Refused                 the application's authenticate: these credentials are not valid, or not any more
    └── PeerError               the client at the other end of a socket

Each text says what was expected and what was got.
"""

from __future__ import annotations

from actors.stages import Cause


class ActorsError(Exception):
    """The base of every error that this package raises on its own account."""


class EmitterError(ActorsError):
    """The call itself was wrong; the same call will fail again."""


class Unencodable(EmitterError, ValueError):
    """A payload that JSON cannot carry, or that is over a limit.

    Raised by ``emit`` before the event takes a number: nothing was accepted.
    ``path`` is that of the offending value, ``payload.args[2]`` for example.
    """

    def __init__(self, path: str, expected: str, *, came: str) -> None:
        self.path: str = path.encode(errors="backslashreplace").decode()
        super().__init__(f"{self.path}: expected {expected}, got {came}")


class IdempotencyConflict(EmitterError):
    """An event id under which this thread already has an event with another body."""


class NotTheOwner(EmitterError):
    """The thread is owned by another user than the one this call names."""


class RunEnded(EmitterError):
    """The run has emitted its terminal event, or was closed because it did not stop; nothing follows that."""


class ForeignThread(EmitterError, RuntimeError):
    """A runtime, or a client's session, was called from an operating system thread that is not its own.

    Nothing has happened.
    """


class ForeignLoop(EmitterError, RuntimeError):
    """Something that needs Trio was called from another event loop, or from none. Nothing has happened."""


class RuntimeClosed(ActorsError):
    """The runtime is closing or closed; the event was not accepted."""


class Quarantined(ActorsError):
    """An actor spent its restart budget; until it is released it takes nothing."""


class Busy(ActorsError):
    """There is no room for another message of a thread, or device of a user; the same call may succeed later."""


class Unanswered(ActorsError):
    """A question that no device answered in time, or that no device was there to answer."""


class Dropped(ActorsError):
    """The awaited stage will never be reached; ``cause`` says why."""

    def __init__(self, text: str, cause: Cause) -> None:
        super().__init__(text)
        self.cause = cause


class Unconfirmed(Dropped):
    """The event was written to a socket, and left retention before any device acked it."""


class StoreError(ActorsError):
    """The store failed in a way that a retry does not mend."""


class StoreUnavailable(StoreError):
    """The store did not say whether it took the events; the runtime appends them again under their ids."""


class RestartsExhausted(ActorsError):
    """More restarts than a supervisor allows within its period; it has stopped its children."""


class Refused(ActorsError):
    """Raised by the application's ``authenticate``: the credentials are not valid, and the text says why.

    The device is told no more than by ``None``. The text is for the log and
    ``explain``, which tells it of ``user_id``'s events: the user whose
    credentials they were, where that is known, as of an expired token.
    """

    def __init__(self, text: str, *, user_id: str | None = None) -> None:
        super().__init__(text)
        self.user_id = user_id


class PeerError(ActorsError):
    """The other end of a connection broke the protocol, or was refused.

    ``name`` is a row of :data:`actors.protocol.codes.CLOSINGS`, which gives the close code.
    """

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name
