"""The contract of a journal: what a local store has decided, kept.

A :class:`~actors.stores.local.LocalStore` decides in memory; its *effects* are
what a journal writes. Effects are logged and not commands, because a limit that
changes between two lives must not renumber the past.

The promises of every journal; ``tests/stores/journal_contract.py`` holds each
journal to them:

- What a commit wrote is whole, and there, or not there at all; of the commits
  of a life that ended without :meth:`Journal.aclose`, a prefix is there.
- :meth:`Journal.commit` that returned wrote its effects as safely as
  ``promise`` says. One that raised :class:`NotTaken` wrote nothing; the same
  effects may be committed again. After any other exception it is not known;
  :meth:`Journal.reopen` says.
- One writer: :meth:`Journal.open` refuses a journal that is open elsewhere, and
  changes nothing in it.
- A text or a record that is not what was written is never returned: a damaged
  event is a row without a text, and anything else that is damaged a
  :class:`~actors.errors.StoreError` that names it.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Protocol

import msgspec

from actors.delivery.bounds import Spans
from actors.delivery.lineage import Lineage
from actors.errors import StoreError
from actors.limits import Limits
from actors.stages import Cause, Promise


class NotTaken(StoreError):
    """A commit wrote nothing, and may be tried again; the text is the cause, "the disk is full" for example."""


# --- effects ------------------------------------------------------------------


class LogRecord(msgspec.Struct, gc=False, frozen=True):
    """A log began, or goes on in another epoch."""

    user_id: str
    epoch: str
    lineage: Lineage = ()


class Placed(msgspec.Struct, gc=False, frozen=True):
    """An event was placed; offsets of a log come without a hole."""

    user_id: str
    offset: int
    thread_id: str
    seq: int
    at: float
    text: bytes
    """The event as devices get it, complete with ``seq`` and ``offset``."""


class ThreadRecord(msgspec.Struct, gc=False, frozen=True):
    """A thread's owner and numbering. It has lost all that it held, if it has an owner."""

    thread_id: str
    user_id: str | None
    generation: str
    """Empty in the record of a thread that never had an owner, which a journal makes up for what it holds."""
    seq: int
    shed: tuple[tuple[Cause, int], ...] = ()
    """The numbers of held events that it shed for each cause, and has not told an owner of."""
    binding: bytes = b""
    """The answer to the last change of owner, until that was acked."""


class Held(msgspec.Struct, gc=False, frozen=True):
    """An event of a thread without an owner is held."""

    thread_id: str
    seq: int
    at: float
    body: bytes


class HoldShed(msgspec.Struct, gc=False, frozen=True):
    """A thread's hold lost its events up to ``last_seq``, ``count`` of them, for a cause."""

    thread_id: str
    last_seq: int
    cause: Cause
    count: int


class ThreadForgotten(msgspec.Struct, gc=False, frozen=True):
    """A thread that never had an owner was forgotten."""

    thread_id: str


class GivenId(msgspec.Struct, gc=False, frozen=True):
    """An event came under an id that its emitter chose; again, when it was placed after a hold."""

    thread_id: str
    event_id: str
    fingerprint: bytes
    seq: int
    at: float
    user_id: str | None = None
    epoch: str = ""
    offset: int = 0


class GivenIdsExpired(msgspec.Struct, gc=False, frozen=True):
    """The ids that came before a time are forgotten."""

    before: float


class RunRecord(msgspec.Struct, gc=False, frozen=True):
    """A run is due, or open."""

    run_id: str
    thread_id: str
    open: bool
    message: bytes = b""
    """The event that it answers, if it answers one: the body of the user's message."""
    user_id: str | None = None
    """The sender of that message."""


class RunClosed(msgspec.Struct, gc=False, frozen=True):
    """A run is over."""

    run_id: str


class Marks(msgspec.Struct, gc=False, frozen=True):
    """A log's low, and what its devices have acked and sockets have taken. May lag behind, never lead."""

    user_id: str
    low: int
    acked: Spans
    written: int
    """The last offset up to which everything was written to a socket."""


class Letter(msgspec.Struct, gc=False, frozen=True):
    """A dead letter: a range of events that were dropped, for people to read later."""

    cause: Cause
    count: int
    at: float
    user_id: str | None = None
    thread_id: str | None = None
    event_id: str | None = None
    first: int | None = None
    last: int | None = None


Effect = (
    LogRecord
    | Placed
    | ThreadRecord
    | Held
    | HoldShed
    | ThreadForgotten
    | GivenId
    | GivenIdsExpired
    | RunRecord
    | RunClosed
    | Marks
    | Letter
)


# --- what a life begins with ----------------------------------------------------


class RestoredLog(msgspec.Struct):
    """A log as the journal has it, without its events."""

    user_id: str
    epoch: str
    lineage: Lineage
    low: int
    head: int
    """``low - 1`` where no event is left."""
    times: array[float]
    """The times of the events from low to head."""
    sizes: array[int]
    """The sizes of their texts, in bytes."""
    acked: Spans = ()
    written: int = 0


class RestoredThread(msgspec.Struct):
    """A thread, with what it holds."""

    record: ThreadRecord
    held: list[Held] = msgspec.field(default_factory=list)


class Restored(msgspec.Struct):
    """The state that a journal begins a life with. No event of a log is in it."""

    life: int
    """The number of this life, from 1."""
    clean: bool
    """True if the life before was closed in order, so that nothing can be missing. True in the first."""
    secret: bytes
    """32 random bytes, the same in every life."""
    now: float
    """The latest time in the journal, in seconds since 1970; 0 in the first life."""
    logs: list[RestoredLog]
    threads: list[RestoredThread]
    given_ids: list[GivenId]
    """Oldest first."""
    runs: list[RunRecord]
    """Oldest first."""


class Row(msgspec.Struct, gc=False, frozen=True):
    """An event that was loaded; ``None`` as its text says that it is damaged."""

    offset: int
    text: bytes | None


class Journal(Protocol):
    """Keeps the effects of one local store. Its calls come one at a time, but for :meth:`load`."""

    promise: Promise
    """The worst that an effect survives once its commit has returned."""

    async def open(self, limits: Limits, secret: bytes) -> Restored:
        """Begin a life; a new journal takes ``secret``.

        Raises :class:`~actors.errors.StoreError` for what is no journal, or
        one that this version cannot read, is damaged, or is open elsewhere: the
        text says what it is and what was expected.
        """
        ...

    async def commit(self, number: int, effects: Sequence[Effect]) -> None:
        """Write the effects of one batch, whole or not at all; batches of a life are numbered from 1.

        Raises :class:`NotTaken`, or any exception where it is not known
        whether they were written. Not cancelled halfway: it is shielded.
        """
        ...

    async def reopen(self) -> int:
        """Open again after a commit of which the outcome is not known; returns the number of the last batch there.

        Raises as :meth:`commit` does while that is not possible.
        """
        ...

    async def load(self, user_id: str, first: int, last: int) -> list[Row]:
        """Read events of a log, as placed, first to last; one at least, and no more than a second may take."""
        ...

    async def aclose(self, *, clean: bool) -> None:
        """Close; ``clean`` says that every effect was committed, so that the next life need not fork. Shielded."""
        ...
