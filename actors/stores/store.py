"""The contract of a store: the one place that numbers events.

A store takes events of threads and places them in the logs of the threads'
owners. It has no clock (time comes as an argument) and knows nothing of
actors, sockets or receipts. Each operation that may have to wait has a
``_nowait`` half, which a store that can answer at once implements, and which
raises :class:`trio.WouldBlock` in one that cannot.

What every store promises; ``tests/stores/contract.py`` holds each of them to it:

- ``seq`` counts a thread's events from 1 without a hole, ``offset`` a log's.
- An event is placed once. A fingerprint that comes again under the same
  (thread, event id) gets the first placement, another fingerprint under that
  id raises :class:`~actors.errors.IdempotencyConflict`, for at least
  ``idempotency_seconds``.
- A bind places what the thread held, in order, and nothing else; a notice of
  what had been shed stands before it, and takes an offset. Asked again, it
  answers the same until :meth:`Store.ack_binding`, because the first answer may
  have been lost.
- What a hold had to let go of is told by ``shed``, at hand and once. No answer
  that may get lost carries it.
- Of threads that never had an owner and hold nothing any more, the newest
  ``vacant_threads`` are remembered. One that was forgotten begins again at
  ``seq`` 1, and an owner who comes after all gets no notice of what it had
  shed: from one that never was it cannot be told apart, and a notice of what
  may not have been would be no better. Receipts, ``shed`` and dead letters
  have told that loss when it happened.
- A ``generation`` counts a thread's changes of owner. An append that names an
  older one is refused: nothing accepted for one owner is placed for the next.
- Epoch, low and head are read together. An epoch never shows a log that has
  lost something it had shown, and ends for no other reason: a log that was
  forgotten goes on in its epoch, after its head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from actors.delivery.cursor import Bounds
from actors.delivery.history import Excerpt
from actors.delivery.log import Chunk
from actors.errors import StoreError
from actors.stages import Cause


class StaleGeneration(StoreError):  # noqa: N818 - what the append's generation is
    """The thread changed owner since the appender last looked; the event was not taken."""

    def __init__(self, thread_id: str, expected: int, came: int) -> None:
        super().__init__(f"thread {thread_id}: expected generation {expected}, got {came}")
        self.generation = expected


class Append(msgspec.Struct, gc=False):
    """An event to be taken. A store keeps its parts, never the whole."""

    thread_id: str
    event_id: str
    body: bytes
    """The event's JSON object, up to where ``seq`` and ``offset`` go: without its closing brace."""
    generation: int | None = None
    """The thread's generation as the appender knows it, if it does."""
    fingerprint: bytes | None = None
    """What makes two events of one id the same; ``None`` for an id that cannot come twice."""


class Shed(msgspec.Struct, gc=False, frozen=True):
    """Held events of a thread that were let go, the oldest first."""

    thread_id: str
    last_seq: int
    cause: Cause


class Placement(msgspec.Struct, gc=False, frozen=True):
    """What the store made of an append."""

    seq: int
    generation: int
    user_id: str | None = None
    """The owner in whose log it is; ``None`` while it is held."""
    epoch: str = ""
    offset: int = 0
    low: int = 0
    """The first offset of the owner's log, now that this event is in."""
    duplicate: bool = False
    """Whether this is an earlier append's placement."""


class Binding(msgspec.Struct, gc=False, frozen=True):
    """What the store made of a bind, or of the one that gave the thread the owner whom it still has."""

    thread_id: str
    generation: int
    user_id: str | None
    epoch: str = ""
    """Of the owner's log, if anything is in it."""
    first_offset: int = 0
    """The offset of the notice, or else of the first event that was held."""
    notice: bool = False
    """Whether a notice of what had been shed was placed."""
    low: int = 0
    """The first offset of the owner's log, once all of it was in."""


class Expiry(msgspec.Struct, gc=False, frozen=True):
    """What a store let go of for its age; held events are told by :meth:`Store.shed`."""

    lows: tuple[tuple[str, int], ...]
    """The users whose logs lost something, and the first offsets that they have now."""
    more: bool = False
    """Whether there is more of it."""


class Store(Protocol):
    """What a runtime asks of its store. Times are monotonic seconds, given by the caller."""

    outlives_process: bool
    """Whether what it holds is still there after a restart."""

    def append_nowait(self, append: Append, now: float) -> Placement:
        """Take one event.

        Raises IdempotencyConflict or StaleGeneration when it was not and will
        not be taken, WouldBlock when this store has to be waited for.
        """
        ...

    async def append(self, appends: Sequence[Append], now: float) -> Sequence[Placement | Exception]:
        """Take events of one thread in order; each is answered by a placement or the refusal.

        Raises :class:`~actors.errors.StoreUnavailable` when it is not known
        whether they were taken: they may be given again, with fingerprints.
        Cancelled, they may or may not have been taken.
        """
        ...

    def bind_nowait(self, thread_id: str, user_id: str | None, now: float, *, take: bool) -> Binding:
        """Make a user the owner of a thread; ``None`` leaves it without one.

        A thread that another user owns is only taken when ``take`` is set;
        otherwise raises :class:`~actors.errors.NotTheOwner`. Raises WouldBlock
        when this store has to be waited for.
        """
        ...

    async def bind(self, thread_id: str, user_id: str | None, now: float, *, take: bool) -> Binding:
        """As :meth:`bind_nowait`, waiting for the answer."""
        ...

    def ack_binding(self, thread_id: str, generation: int) -> None:
        """Acknowledge the reply to the bind that made this generation; the store may discard it."""

    def owner(self, thread_id: str) -> str | None:
        """Who owns a thread, as far as this process knows; ``None`` for nobody."""
        ...

    def bounds(self, user_id: str) -> Bounds:
        """Epoch, low and head of a user's log, together; an empty log is begun if there is none."""
        ...

    def read(self, user_id: str, first: int, most_bytes: int) -> Chunk:
        """Events of a log from offset ``first`` on, or from its low if that is later, as frames.

        As many as ``most_bytes`` allow, at least one if there is one. Answers
        at once: what is retained is what a store keeps at hand.
        """
        ...

    def history(self, thread_id: str, after_seq: int, most_events: int, most_bytes: int) -> Excerpt:
        """Events of a thread after ``after_seq`` from its owner's log, at least one if there is one; and what is gone.

        What was placed for a former owner is gone for this one. Answers at
        once, as :meth:`read` does.
        """
        ...

    def shed(self) -> Sequence[Shed]:
        """Held events that were let go of since this was last asked, in order: for room, or for their age.

        Answers at once. It may speak of an event whose append is not answered yet.
        """
        ...

    def expire(self, now: float) -> Expiry:
        """Let go of what became too old, so much at once as costs nobody else a pause."""
        ...

    def release(self, thread_id: str) -> None:
        """Let go of everything a thread holds: it was quarantined."""

    def forget(self, user_id: str) -> bool:
        """Keep of a user's log its epoch and head alone, if nothing is in it; true if nothing is.

        What comes later goes on from there, so that no cursor of a device that
        has seen everything is worth less than before.
        """
        ...

    def renew(self, user_id: str) -> Bounds:
        """Empty a user's log and give it another epoch: it was quarantined."""
        ...

    async def aclose(self) -> None:
        """Close the store; a checkpoint."""
