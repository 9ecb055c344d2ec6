"""The contract of a store: the one place that numbers events.

A store takes events of threads and places them in the logs of the threads'
owners. It has no clock (time comes as an argument) and knows nothing of
actors, sockets or receipts. Each operation that may have to wait has a
``_nowait`` half, which a store that can answer at once implements, and which
raises :class:`trio.WouldBlock` in one that cannot.

The promises of every store; ``tests/stores/contract.py`` holds each store to them:

- ``seq`` counts a thread's events from 1 without a hole, ``offset`` a log's.
- An event is placed once. A fingerprint that comes again under the same
  (thread, event id) gets the first placement, another fingerprint under that
  id raises :class:`~actors.errors.IdempotencyConflict`, for at least
  ``idempotency_seconds``.
- A bind places the events that the thread held, in order, and no others; a
  notice of those that were shed stands before them, and takes an offset. Asked
  again, it answers the same until :meth:`Store.ack_binding`, because the first
  answer may have been lost.
- ``shed`` reports the events that a hold had to drop, at once and once. No
  answer that may get lost carries them.
- Of threads that never had an owner and hold nothing any more, the store
  remembers the newest ``vacant_threads``. A forgotten one begins again at
  ``seq`` 1, and a late owner gets no notice of the events that it had shed,
  because the store cannot tell it from a thread that never was, and a notice
  of events that may never have been would be no better. Receipts, ``shed`` and
  dead letters have told that loss when it happened.
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


class StaleGeneration(StoreError):
    """The thread changed owner since the appender last looked; the event was not taken."""

    def __init__(self, thread_id: str, expected: int, *, came: int) -> None:
        super().__init__(f"thread {thread_id}: expected generation {expected}, got {came}")
        self.generation = expected


class Append(msgspec.Struct, gc=False):
    """A request to take an event. A store keeps its parts, never the whole."""

    thread_id: str
    event_id: str
    body: bytes
    """The event's JSON object, up to where ``seq`` and ``offset`` go: without its closing brace."""
    generation: int | None = None
    """The thread's generation as the appender knows it, if it does."""
    fingerprint: bytes | None = None
    """The digest by which two events of one id are the same; ``None`` for an id that cannot come twice."""


class Shed(msgspec.Struct, gc=False, frozen=True):
    """A drop of held events of a thread, the oldest first."""

    thread_id: str
    last_seq: int
    cause: Cause


class Placement(msgspec.Struct, gc=False, frozen=True):
    """The store's answer to an append that it took."""

    seq: int
    generation: int
    user_id: str | None = None
    """The owner in whose log it is; ``None`` while it is held."""
    epoch: str = ""
    offset: int = 0
    low: int = 0
    """The first offset of the owner's log, now that this event is in."""
    duplicate: bool = False
    """True if this is an earlier append's placement."""


class Binding(msgspec.Struct, gc=False, frozen=True):
    """The store's answer to a bind, or to the one that gave the thread its present owner."""

    thread_id: str
    generation: int
    user_id: str | None
    epoch: str = ""
    """The epoch of the owner's log, if anything is in it."""
    first_offset: int = 0
    """The offset of the notice, or else of the first event that was held."""
    notice: bool = False
    """True if the bind placed a notice of shed events."""
    low: int = 0
    """The first offset of the owner's log, once all of them were in."""


class Expiry(msgspec.Struct, gc=False, frozen=True):
    """The logs that lost events for their age; :meth:`Store.shed` reports held events."""

    lows: tuple[tuple[str, int], ...]
    """The users whose logs lost something, and the first offsets that they have now."""
    more: bool = False
    """True if there is more to drop."""


class Store(Protocol):
    """The operations of a store. Times are monotonic seconds, from the caller."""

    outlives_process: bool
    """True if its events are still there after a restart of the process."""

    def append_nowait(self, append: Append, now: float) -> Placement:
        """Take one event.

        Raises IdempotencyConflict or StaleGeneration when the store did not
        and will not take it, WouldBlock when this store has to be waited for.
        """
        ...

    async def append(self, appends: Sequence[Append], now: float) -> Sequence[Placement | Exception]:
        """Take events of one thread in order; the answer to each is a placement or the refusal.

        Raises :class:`~actors.errors.StoreUnavailable` when it is not known
        whether the store took them: the caller may append them again, with
        fingerprints. Cancelled, the store may or may not have taken them.
        """
        ...

    def bind_nowait(self, thread_id: str, user_id: str | None, now: float, *, take: bool) -> Binding:
        """Make a user the owner of a thread; ``None`` leaves it without one.

        It takes a thread from another owner only when ``take`` is set, and
        otherwise raises :class:`~actors.errors.NotTheOwner`. Raises WouldBlock
        when this store has to be waited for.
        """
        ...

    async def bind(self, thread_id: str, user_id: str | None, now: float, *, take: bool) -> Binding:
        """Bind as :meth:`bind_nowait` does, and wait for the answer."""
        ...

    def ack_binding(self, thread_id: str, generation: int) -> None:
        """Acknowledge the reply to the bind that made this generation; the store may discard it."""

    def owner(self, thread_id: str) -> str | None:
        """Return the owner of a thread, as far as this process knows, or ``None``."""
        ...

    def bounds(self, user_id: str) -> Bounds:
        """Return epoch, low and head of a user's log, read together; an empty log is begun if there is none."""
        ...

    def read(self, user_id: str, first: int, most_bytes: int) -> Chunk:
        """Read events of a log from offset ``first`` on, or from its low if that is later, as frames.

        As many as ``most_bytes`` allow, at least one if there is one. Answers
        at once, because a store keeps retained events at hand.
        """
        ...

    def history(self, thread_id: str, after_seq: int, most_events: int, most_bytes: int) -> Excerpt:
        """Read events of a thread after ``after_seq`` from its owner's log, at least one if there is one.

        The excerpt says which ranges are gone; events placed for a former owner
        are gone for this one. Answers at once, as :meth:`read` does.
        """
        ...

    def shed(self) -> Sequence[Shed]:
        """Return the drops of held events since the last call, in order: for room, for their age, or for a quarantine.

        Answers at once. It may name an event whose append is not answered yet.
        """
        ...

    def expire(self, now: float) -> Expiry:
        """Drop events and records that became too old, no more at once than other tasks can wait for."""
        ...

    def release(self, thread_id: str) -> None:
        """Drop every event that a quarantined thread holds."""

    def forget(self, user_id: str) -> bool:
        """Reduce a user's log to its epoch and head, if it is empty; true if it is.

        Later events go on from there, so that the cursor of a device that has
        seen everything stays valid.
        """
        ...

    def renew(self, user_id: str) -> Bounds:
        """Empty the log of a quarantined user, and begin another epoch."""
        ...

    async def aclose(self) -> None:
        """Close the store; a checkpoint."""
