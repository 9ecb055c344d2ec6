"""Batches: what a local store has decided and its journal does not have yet.

The first batch is written, the last one gathers what is decided meanwhile. A
batch is closed when it is given to the journal, or has become large.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from actors.limits import MIB
from actors.stores.journal import Effect, LogRecord
from actors.stores.state import StoreState
from actors.stores.store import Act, Answer, Answered, Append, Shed

_BATCH_BYTES = MIB
"""The size at which a batch is closed, because a journal must have as much in reserve as its largest batch."""

_WAITING_BYTES = 16 * MIB
"""Acts that wait for the journal, together; of more, emitters wait. Two seconds of a slow disk."""

_ACT_BYTES = 200
"""The size of an act, beside that of its event."""


@attrs.define(eq=False, kw_only=True)
class Batch:
    """The effects of one commit, and the acts that it answers."""

    number: int
    effects: list[Effect] = attrs.field(factory=list)
    acts: deque[tuple[Act, Answered[Any], Answer]] = attrs.field(factory=deque)
    shed: Sequence[Shed] = ()
    """Drops of held events, which are told once they are committed."""
    size_bytes: int = 0
    concluded: int = 0
    """The number of effects that are shown."""
    closed: bool = False
    """True once it takes nothing more."""


class Batches:
    """The batches of one life, oldest first; there is always one."""

    __slots__ = ("_batches", "_size_bytes", "_state")

    def __init__(self, state: StoreState) -> None:
        self._state = state
        self._batches: deque[Batch] = deque()
        self._size_bytes = 0
        self._begin(1)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._batches)

    def __contains__(self, batch: Batch) -> bool:
        return batch in self._batches

    def __repr__(self) -> str:
        acts = sum(len(batch.acts) for batch in self)
        return f"<Batches {len(self._batches)} from {self.first.number}, {acts} acts, {self._size_bytes} bytes>"

    @property
    def first(self) -> Batch:
        """The batch that is written next."""
        return self._batches[0]

    @property
    def full(self) -> bool:
        """True if there is no room for another act."""
        return self._size_bytes >= _WAITING_BYTES

    @property
    def empty(self) -> bool:
        """True if nothing waits to be written, or answered."""
        return len(self._batches) == 1 and not self.first.effects and not self.first.acts

    def gathering(self) -> Batch:
        """Return the batch that takes what is decided now."""
        last = self._batches[-1]
        return self._begin(last.number + 1) if last.closed or last.size_bytes >= _BATCH_BYTES else last

    def last_with_effects(self) -> Batch | None:
        """Return the newest batch of which something is to be written, ``None`` if nothing is."""
        return next((batch for batch in reversed(self._batches) if batch.effects), None)

    def add(self, act: Act, answered: Answered[Any], answer: Answer) -> None:
        """Add an act that was decided into the batch that gathers, and so without a call of :meth:`gathering` since."""
        batch = self._batches[-1]
        size = _ACT_BYTES + (len(act.body) if isinstance(act, Append) else 0)
        batch.size_bytes += size
        self._size_bytes += size
        batch.acts.append((act, answered, answer))

    def close_first(self, more: Sequence[Effect]) -> Batch:
        """Close the batch that is written next, with some more effects if it still gathers."""
        batch = self.first
        if not batch.closed:
            batch.effects += more
            self._begin(batch.number + 1)
        return batch

    def drop_first(self) -> None:
        """Let go of a batch that was written."""
        self._size_bytes -= self._batches.popleft().size_bytes

    def renumber(self) -> int:
        """Give every batch, none of which is written, the next number; returns the one that is free now."""
        free = self.first.number
        for batch in self:
            batch.number += 1
        return free

    def record(self, user_id: str, before: int) -> None:
        """Add that a log goes on in another epoch, before the effects of what is placed in it."""
        log = self._state.log(user_id)
        self.gathering().effects.insert(before, LogRecord(user_id, log.epoch, log.lineage))

    def begun(self) -> set[str]:
        """Return the users whose logs have begun, or gone on in another epoch, in batches that are not written."""
        return {one.user_id for batch in self for one in batch.effects if isinstance(one, LogRecord)}

    def _begin(self, number: int) -> Batch:
        if self._batches:
            last = self._batches[-1]
            last.shed, last.closed = (*last.shed, *self._state.holds.report()), True
        batch = Batch(number=number)
        self._batches.append(batch)
        self._state.effects = batch.effects
        return batch
