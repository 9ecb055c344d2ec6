"""The record that a thread's actor is given: its neighbours, and the acts that wait for the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import attrs

from actors.delivery.accounts import Accounts
from actors.kernel.bounded import RecentMap
from actors.observability.instrument import Instruments
from actors.receipts import Receipt
from actors.stores.store import Store
from actors.threads.messages import Claim, Emission, OwnerRequest, StoreAnswer
from actors.users.presence import Presence


@attrs.frozen(kw_only=True)
class ThreadContext:
    """The neighbours of a thread actor: the store, the books, and the way to the owners."""

    store: Store
    accounts: Accounts
    instruments: Instruments
    wall_clock: Callable[[], float]
    ring: Callable[[str | None, str], Presence | None]
    """Rings a thread's owner, ``None`` where there is none; returns the owner's presence, if a device is there."""
    mark: Callable[[Presence], None]
    """Rings the owner whose presence is known: asks the flusher to write to the devices in this tick."""
    receipts_by_id: RecentMap[tuple[str, str], Receipt]
    """The first receipts of ids that emitters chose, by thread and id."""
    owner_changed: Callable[[str, str | None], None]
    """Takes a thread's owner, or ``None``, whenever that may have changed."""
    binds: dict[str, list[OwnerRequest | Claim]] = attrs.field(factory=dict)
    """Changes of owner that the store has yet to answer, by thread: until then a generation is not known. Here, because
    actors come and go meanwhile."""
    unanswered: Counter[str] = attrs.field(factory=Counter)
    """Events that the store has yet to answer, by thread."""
    unopened: RecentMap[str, str]
    """The runs of which the first event was lost on its way to the store, with their threads: the next one opens
    them."""
    sample: Callable[[Receipt], None]
    """Takes one of 64 events once it is placed, to measure how long it takes to be delivered."""
    answered: Callable[[str, StoreAnswer], None]
    """Takes the answer to an act of a thread, where the store had to be waited for."""

    def begin_event(self, emission: Emission) -> None:
        """Note that the store has to be waited for with an event."""
        emission.unanswered = True
        self.unanswered[emission.thread_id] += 1

    def end_event(self, emission: Emission) -> None:
        """Note that the store has answered an event for which it had to be waited."""
        emission.unanswered = False
        self.unanswered[emission.thread_id] -= 1
        if not self.unanswered[emission.thread_id]:
            del self.unanswered[emission.thread_id]

    def begin_bind(self, bind: OwnerRequest | Claim) -> None:
        """Note that a change of owner is on its way to the store."""
        bind.former = self.store.known_owner(bind.thread_id)
        self.binds.setdefault(bind.thread_id, []).append(bind)

    def end_bind(self, bind: OwnerRequest | Claim) -> None:
        """Note that the store has answered a change of owner, or refused to take it. Idempotent, because an answer
        whose notes crashed is noted again."""
        left = [one for one in self.binds.pop(bind.thread_id, ()) if one is not bind]
        if left:
            self.binds[bind.thread_id] = left

    def changing_owners(self) -> set[str | None]:
        """Return the owners whose threads are on their way to others, and the others: answers to acts from before the
        change may still place events in either's log."""
        return {owner for binds in self.binds.values() for bind in binds for owner in (bind.former, bind.user_id)}

    def note_shed(self) -> None:
        """Note in the books the events that the store has shed."""
        now = self.wall_clock()
        for shed in self.store.shed():
            self.accounts.shed(shed.thread_id, shed.first_seq, shed.last_seq, shed.cause, now)
