"""The contract of a store: the one place that numbers events.

A store takes events of threads and places them in the logs of the threads'
owners. It knows nothing of actors, sockets or receipts. It has a life
(:meth:`Store.run`), in which every wait and every retry is its own; an act is
handed to it in one call that never waits (:meth:`Store.submit`), and answered
in one call back.

The promises of every store; ``tests/stores/contract.py`` holds each store to them:

- Each act is answered once, the acts of one thread in the order in which they
  were submitted: in the store's own step, perhaps before ``submit`` returns,
  when what the answer says is visible, and as safe as the answer's ``promise``.
  What is not answered is not visible. ``submit`` that raised took nothing.
- ``seq`` counts a thread's events from 1 without a hole, ``offset`` a log's.
- An event is placed once. A fingerprint that comes again under the same
  (thread, event id) gets the first placement, another fingerprint under that
  id is refused with :class:`~actors.errors.IdempotencyConflict`, for at least
  ``idempotency_seconds``, however many events without a fingerprint come
  meanwhile: those need no record, because no act is answered twice.
- A bind places the events that the thread held, in order, and no others; a
  notice of those that were shed stands before them, and takes an offset. Asked
  again, it answers the same until :meth:`Store.ack_binding`, because a process
  may end between the answer and what follows from it.
- ``shed`` reports the events that a hold had to drop, at once and once. No
  answer carries them.
- Of threads that never had an owner and hold nothing any more, the store
  remembers the newest ``vacant_threads``. A forgotten one begins again at
  ``seq`` 1, and a late owner gets no notice of the events that it had shed,
  because the store cannot tell it from a thread that never was, and a notice
  of events that may never have been would be no better. Receipts, ``shed`` and
  dead letters have told that loss when it happened.
- A ``generation`` changes with each change of a thread's owner, and never comes
  again. An append that names another one is refused: nothing accepted for one
  owner is placed for the next.
- A placement in a log names the thread's *route*: the store's own way to what it has of the thread. An append that
  brings it saves the store the look-ups, and is answered as one without it: the route is good for as long as the store
  is, and decides nothing, because owner, generation and epoch are read at its end.
- A run is *due* from the message that it answers, *open* from its first event
  to its last, and then over. Its events are taken only while it is open. Of a
  process that ended, the next life closes each open run once, with
  ``agent_failed``, and names each due one once (:meth:`Store.due`).
- Epoch, lineage, low and head are read together. An epoch never shows a log
  that has lost something it had shown, and ends for no other reason: a log that
  was forgotten, or restored whole, goes on in its epoch, after its head. No two
  logs have one epoch, because the books tell the logs of two owners apart by it.
- Ages are measured on the wall clock, made monotone in each life, so that they
  mean the same in the next one. A clock that is set back makes nothing come
  back; one that is set forward makes nothing older than by so much.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal, Protocol, TypeVar

import attrs
import msgspec
import trio

from actors.delivery.bounds import Bounds, Chunk, RestoredBounds, Spans
from actors.delivery.dead_letters import DeadLetter
from actors.delivery.history import Excerpt
from actors.environment import Environment
from actors.errors import StoreError
from actors.limits import Limits
from actors.stages import Cause, Promise

Edge = Literal["", "due", "opens", "closes", "whole"]
"""The part that an event has in its run: its message, its first event, its last one, its only one, or any between."""

Again = Literal["", "asked", "given"]
"""The way in which an event was there before, if it was: by this very act, the answer to which was lost, or by another
one of its id."""


class StaleGeneration(StoreError):
    """The thread changed owner since the appender last looked; the event was not taken."""

    def __init__(self, thread_id: str, expected: str, *, came: str) -> None:
        super().__init__(f"thread {thread_id}: expected generation {expected}, got {came}")
        self.generation = expected


class RunOver(StoreError):
    """The run has had its last event, or never had its first one; the event was not taken."""


class Append(msgspec.Struct, gc=False):
    """A request to take an event. A store keeps its parts, never the whole."""

    thread_id: str
    event_id: str
    body: bytes
    """The event's JSON object, up to where ``seq`` and ``offset`` go: without its closing brace."""
    generation: str | None = None
    """The thread's generation as the appender knows it, if it does. Opaque: equal, or not."""
    fingerprint: bytes | None = None
    """The digest by which two events of one id are the same; ``None`` for an id that cannot come twice."""
    user_id: str | None = None
    """The owner that the thread must have, if one is expected."""
    run_id: str | None = None
    """The run that guards the event, or that a message makes due."""
    edge: Edge = ""
    route: Any = None
    """The route in the last placement of this thread that named one. Opaque."""
    at: float | None = None
    """A reading of the wall clock, from when the event was offered: in most cases this very step, which then needs no
    other one. Without one, the store reads the clock."""


class Bind(msgspec.Struct):
    """A request to make a user the owner of a thread; ``None`` leaves it without one."""

    thread_id: str
    user_id: str | None
    take: bool
    """True to take the thread from another owner as well."""
    only_new: bool = False
    """True to refuse a thread that has had an event, with NotTheOwner, unless it is this user's."""


class Shed(msgspec.Struct, gc=False, frozen=True):
    """A drop of the oldest held events of a thread."""

    thread_id: str
    first_seq: int
    last_seq: int
    cause: Cause


class Placement(msgspec.Struct, gc=False):
    """The answer to an append that was taken."""

    seq: int
    generation: str
    user_id: str | None = None
    """The owner in whose log it is; ``None`` while it is held."""
    epoch: str = ""
    offset: int = 0
    low: int = 0
    """The first offset of the owner's log, now that this event is in."""
    again: Again = ""
    promise: Promise = Promise.NOTHING
    route: Any = None
    """The store's way to the thread, which a later append may bring, to save look-ups. Opaque."""


class Binding(msgspec.Struct, gc=False):
    """The answer to a bind, or to the one that gave the thread its present owner."""

    thread_id: str
    generation: str
    user_id: str | None
    epoch: str = ""
    """The epoch of the owner's log, if anything is in it."""
    first_offset: int = 0
    """The offset of the notice, or else of the first event that was held."""
    notice: bool = False
    """True if the bind placed a notice of shed events."""
    low: int = 0
    """The first offset of the owner's log, once all of them were in."""
    promise: Promise = Promise.NOTHING


Act = Append | Bind

Answer = Placement | Binding | Exception
"""A refusal is an exception: IdempotencyConflict, NotTheOwner, :class:`StaleGeneration`, :class:`RunOver`, or
StoreUnavailable where the store ended before it knew."""

A = TypeVar("A", bound=Act)

Answered = Callable[[A, Answer], None]
"""Takes the answer to an act, in the store's step. It must not raise, nor submit another act."""


class Expiry(msgspec.Struct, gc=False, frozen=True):
    """The logs that lost events for their age; :meth:`Store.shed` reports held events."""

    lows: tuple[tuple[str, int], ...]
    """The users whose logs lost something, and the first offsets that they have now."""
    more: bool = False
    """True if there is more to drop."""
    damaged: tuple[tuple[str, int, int], ...] = ()
    """The users, and ranges of their offsets, of events that were found damaged."""


@attrs.frozen
class Trouble:
    """The reason for which nothing can be stored at present."""

    text: str
    since: float
    """Wall clock, seconds since 1970."""

    def __str__(self) -> str:
        return self.text


class DueRun(msgspec.Struct, gc=False, frozen=True):
    """A run of an earlier life that has yet to begin."""

    run_id: str
    thread_id: str
    user_id: str
    """The sender of its message."""
    message: bytes
    """The message, as the body of its event."""


class RestoredHold(msgspec.Struct, gc=False, frozen=True):
    """The events that a thread held when this life began."""

    thread_id: str
    first_seq: int
    last_seq: int


class View(Protocol):
    """One user's log, while it is followed."""

    @property
    def bounds(self) -> Bounds:
        """The log's epoch, lineage, low and head, read together."""
        ...

    def read(self, first: int, most_bytes: int) -> Chunk:
        """Read events from offset ``first`` on, or from low if that is later, as frames.

        As many as ``most_bytes`` allow, at least one if there is one. Raises
        :class:`~actors.delivery.log.NotAtHand` for events that are retained,
        but have to be brought by :meth:`fill`.
        """
        ...

    async def fill(self, first: int) -> None:
        """Bring events from offset ``first`` on to hand. A checkpoint; cancelled, it may be called again.

        Raises :class:`~actors.errors.StoreError` when they cannot be read now.
        """

    def confirm(self, epoch: str, acked: Spans, written: int) -> None:
        """Take note of what devices have acked of an epoch, and up to where sockets took everything. It may lag."""

    def close(self) -> None:
        """Follow the log no longer. Idempotent."""


class Store(Protocol):
    """The operations of a store."""

    promise: Promise
    """The most that its answers promise."""
    secret: bytes
    """32 bytes that no client knows, the same in each life: with them the runtime signs what clients keep."""

    @property
    def trouble(self) -> Trouble | None:
        """The reason for which nothing can be stored at present; ``None`` while all is well."""
        ...

    async def run(
        self,
        limits: Limits,
        environment: Environment,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Open the store, and keep it until cancelled; then store, and answer, what was submitted, and close.

        Nothing else may be called before it has started, nor :meth:`submit`
        after it has ended. Raises :class:`~actors.errors.StoreError` for what
        cannot be opened, or not kept: the text says what it is and what was
        expected.
        """
        ...

    def submit(self, act: A, answered: Answered[A]) -> None:
        """Take an act; never waits. The answer goes to ``answered``.

        Raises :class:`trio.WouldBlock` when there is no room, and
        :class:`~actors.errors.StoreUnavailable` where the store is in trouble
        and takes nothing meanwhile: then nothing was taken.
        """
        ...

    async def room(self) -> None:
        """Wait until there is room for an act again; a checkpoint. Another task may take the room first."""
        ...

    async def settled(self) -> None:
        """Wait until every act that was submitted before is answered; a checkpoint."""
        ...

    def ack_binding(self, thread_id: str, generation: str) -> None:
        """Acknowledge the reply to the bind that made this generation; the store may discard it."""

    def known_owner(self, thread_id: str) -> str | None:
        """Return the owner of a thread, as far as this process knows, or ``None``. It authorises nothing."""
        ...

    def known_bounds(self, user_id: str) -> Bounds | None:
        """Return what is shown of a user's log, as far as this process knows, or ``None``."""
        ...

    async def owner(self, thread_id: str) -> str | None:
        """Return the owner of a thread, or ``None``. A checkpoint. Raises StoreUnavailable when it cannot be known."""
        ...

    async def history(
        self, thread_id: str, user_id: str | None, after_seq: int, most_events: int, most_bytes: int
    ) -> Excerpt:
        """Read events of a thread after ``after_seq`` from its owner's log, at least one if there is one. A checkpoint.

        The excerpt says which ranges are gone; events placed for a former owner
        are gone for this one. With a ``user_id``, it raises
        :class:`~actors.errors.NotTheOwner` for a thread that is not this user's.
        """
        ...

    async def follow(self, user_id: str) -> View:
        """Follow a user's log, which is begun if there is none. A checkpoint."""
        ...

    def shed(self) -> Sequence[Shed]:
        """Return the drops of held events since the last call, in order: for room, or for their age.

        Answers at once. It may name an event whose append is not answered yet.
        """
        ...

    def expire(self) -> Expiry:
        """Drop events and records that became too old, no more at once than other tasks can wait for."""
        ...

    def forget(self, user_id: str) -> bool:
        """Let go of a user's log, where no event of it need be at hand; true if it did.

        A log that outlives the process is let go of whole; another one only
        when it is empty, to its epoch and head. Later events go on from there.
        """
        ...

    def keep(self, letter: DeadLetter) -> None:
        """Keep a dead letter for people to read later, as far as there is room. Answers at once; may lose it."""

    def restored_users(self) -> Collection[str]:
        """Return the users whose logs had something when this life began."""
        ...

    def restored(self, user_id: str) -> RestoredBounds | None:
        """Return a user's log as it was when this life began; ``None`` where there was none."""
        ...

    def restored_holds(self) -> Sequence[RestoredHold]:
        """Return the events that threads held when this life began, and still hold."""
        ...

    def due(self) -> Sequence[DueRun]:
        """Return the runs of earlier lives that have yet to begin, oldest first."""
        ...
