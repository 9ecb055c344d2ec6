"""The runtime's books: every accepted event is in exactly one column, at every moment.

    accepted + restored = queued + held + retained + acked + unconfirmed + dropped + deduplicated

``restored`` are the events that an earlier life of the store left, from when
their user or thread is first met here. ``accepted`` is counted where an emitter hands an event over, and ``queued`` are
those of them that have not arrived anywhere yet; ``held`` and ``retained`` are
counted from the holds and the ledgers at each audit, the others as they happen.
So the equation can fail, in total and for each user, and a test that checks it
proves something.

The books outlive the actors that write into them, so that a crash of an actor
takes no account along.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from itertools import groupby

import attrs

from actors.delivery.balance import Audit, Balance
from actors.delivery.bounds import Bounds, RestoredBounds
from actors.delivery.dead_letters import DeadLetter, DeadLetters
from actors.delivery.hold import Hold
from actors.delivery.ledger import Ledger, damage, restore
from actors.delivery.lineage import Lineage
from actors.delivery.tally import Tally
from actors.events.states import DOUBTFUL, QUEUED, EventState, Lost
from actors.receipts import Receipt
from actors.stages import Cause, Promise, Stage

LOST = {cause: Lost(cause) for cause in Cause}


_ENDED_EPOCHS = 4
"""Ended epochs remembered per user. An epoch ends with a fork, and a store's reply takes less time than four."""


class UserAccount:
    """One user's books: the ledger of the log's present epoch, and the sums of earlier ones."""

    __slots__ = ("_ended", "accepted", "closed", "deduplicated", "ledger", "restored")

    def __init__(self, ledger: Ledger) -> None:
        self.ledger: Ledger = ledger
        self.accepted: int = 0
        """Accepted events that a bind placed, or that were repetitions; the ledgers count the others."""
        self.deduplicated: int = 0
        self.restored: int = 0
        self._ended: list[Ledger] = []
        """Ledgers of earlier epochs: the newest, and those in which a write was still unfinished."""
        self.closed: Balance = Balance()
        """The sums of those before, in which everything is settled."""

    def renew(self, ledger: Ledger) -> None:
        """Begin another epoch; what is open in the one that ended still counts there."""
        self.end(self.ledger)
        self.ledger = ledger

    def end(self, ledger: Ledger) -> Ledger:
        """Keep the ledger of an ended epoch for a while."""
        ledger.present = ""
        self._ended.append(ledger)
        for ended in [one for one in self._ended[:-_ENDED_EPOCHS] if not one.open]:
            self._ended.remove(ended)
            self.closed += _row(ended)
        return ledger

    def of(self, epoch: str) -> Ledger | None:
        """Return the ledger of an epoch, of an earlier one while a reply of the store may still speak of it."""
        return self.ledger.of(epoch) or next((one for one in self._ended if one.epoch == epoch), None)

    def knows(self, epoch: str, offset: int) -> bool:
        """True if the books know of an offset, or are beyond its epoch."""
        ledger = self.of(epoch)
        return ledger is None or ledger.knows(offset)

    @property
    def placed(self) -> int:
        """Accepted events that were placed at once."""
        return self.closed.accepted + self.ledger.accepted + sum(ledger.accepted for ledger in self._ended)

    @property
    def ledgers(self) -> list[Ledger]:
        """The ledgers that are not in the sums."""
        return [self.ledger, *self._ended]

    def balance(self) -> Balance:
        """Return this user's row."""
        row = sum(map(_row, self._ended), self.closed + _row(self.ledger))
        counts = {
            "accepted": row.accepted + self.accepted,
            "deduplicated": self.deduplicated,
            "restored": self.restored,
        }
        return attrs.evolve(row, **counts)

    def __repr__(self) -> str:
        return f"<UserAccount {self.ledger!r} accepted={self.placed + self.accepted} ended={len(self._ended)}>"


def _row(ledger: Ledger) -> Balance:
    return Balance(
        accepted=ledger.accepted,
        retained=ledger.open,
        acked=ledger.acked,
        unconfirmed=ledger.unconfirmed,
        dropped=ledger.dropped,
    )


class Accounts:
    """The books of one runtime."""

    def __init__(
        self,
        dead_letters: int,
        *,
        present: Callable[[str], Bounds | None] = lambda user_id: None,
        restored: Callable[[str], RestoredBounds | None] = lambda user_id: None,
        on_dropped: Callable[[DeadLetter], None] = lambda letter: None,
        on_unconfirmed: Callable[[str, int], None] = lambda user_id, count: None,
    ) -> None:
        self._on_unconfirmed = on_unconfirmed
        """Takes a user and a number of events that were written, and left the log before a device acked them."""
        self._letters = DeadLetters(dead_letters, on_dropped=on_dropped)
        self.dead_letters: deque[DeadLetter] = self._letters.newest
        self.dropped: Counter[Cause] = self._letters.counts
        """Events that were dropped, by cause."""
        self.present = present
        """Reads a user's log as it is now, where that is known; a reply may be about an earlier epoch or low."""
        self._restored = restored
        """Finds what an earlier life of the store left in a user's log."""
        self.accepted: int = 0
        """Events that emitters handed over; the emitter counts them."""
        self.doubtful: int = 0
        """Queued events of which the runtime will never learn whether the store has taken them."""
        self._arrived = 0
        """Events that the store has answered for, or that are known to be lost; the ledgers count those placed at
        once."""
        self.tally: Tally = Tally()
        """The totals of ledgers and holds: of those that begin, and of those that an inspection has come by."""
        self.uninspected: Tally = Tally()
        """The totals of those that it has yet to come by."""
        self.departed: Tally = Tally()
        """The totals of users that have gone."""
        self.users: dict[str, UserAccount] = {}
        self.holds: dict[str, Hold] = {}
        self.unowned: Balance = Balance()
        """Events that are in no user's books, but for those in holds."""
        self.former: Balance = Balance()
        """The sum of the rows of users that have gone."""
        self._shed_ahead: dict[str, list[tuple[int, int, Cause]]] = {}
        """Early sheds by thread: first and last number and the cause, of events that are not noted as held yet."""

    def __repr__(self) -> str:
        counts = f"accepted={self.accepted} queued={_queued(self)}"
        return f"<Accounts {counts} users={len(self.users)} holds={len(self.holds)}>"

    # --- an event's way through the columns -----------------------------------

    def note_placed(
        self,
        receipt: Receipt,
        user_id: str,
        epoch: str,
        offset: int,
        low: int,
        now: float,
        promise: Promise = Promise.NOTHING,
    ) -> Ledger:
        """Note that the store placed an accepted event in its owner's log, which now begins at ``low``.

        Returns the ledger of its epoch. A caller that keeps it may have
        :meth:`Ledger.place` note the next one.
        """
        account = self.users.get(user_id)
        if account is None or account.ledger.epoch != epoch:
            account, ledger = self._books_of(user_id, epoch, low, now)
        else:
            ledger = account.ledger
        ledger.accepted += 1
        ledger.tally.accepted += 1
        page = ledger.add(offset)
        if promise is not Promise.NOTHING or ledger.safety.promises:
            ledger.safety.note(offset, promise)
        if receipt.state is QUEUED:
            receipt.state, receipt.number = page, offset
        else:
            receipt.move(page, offset)
        if offset < ledger.low:
            _note_late(receipt, now, self._letters)
        if ledger is not account.ledger:
            self._note_ended(receipt, account, ledger, now)
        elif low > ledger.low:
            self.trim(user_id, low, Cause.RETENTION, now)
        return ledger

    def hold(self, receipt: Receipt, seq: int, now: float, promise: Promise = Promise.NOTHING) -> None:
        """Note that the store holds an accepted event, or has held it, because its thread has no owner."""
        hold = self.holds.get(receipt.thread_id)
        if hold is None:
            hold = self.holds[receipt.thread_id] = Hold(seq, tally=self.tally)
        hold.take(seq)
        self._arrived += 1
        hold.tally.held += 1
        hold.safety.note(seq, promise)
        receipt.move(hold, seq)
        if self._shed_ahead:
            self._note_shed_ahead(receipt.thread_id, now)

    def deduplicate(self, receipt: Receipt, first: Receipt, user_id: str | None) -> None:
        """Note that an accepted event repeats one in the books; its receipt reads from where the first one reads."""
        self._arrived += 1
        account = self.users.get(user_id) if user_id is not None else None
        if account is None:
            self.unowned.deduplicated += 1
        else:
            account.accepted += 1
            account.deduplicated += 1
            account.ledger.tally.deduplicated += 1
        receipt.follow(first)

    def doubt(self, receipt: Receipt) -> None:
        """Note that the store's reply about an accepted event will never come: it stays queued, and says so."""
        self.doubtful += 1
        receipt.move(DOUBTFUL, 0)

    def lose(self, receipt: Receipt, cause: Cause, now: float) -> None:
        """Note that the store has not placed an accepted event, and will not."""
        self._arrived += 1
        self.unowned.dropped += 1
        receipt.move(LOST[cause], 0)
        self._letters.bury(cause, 1, now, thread_id=receipt.thread_id, event_id=receipt.event_id)

    def shed(self, thread_id: str, first_seq: int, last_seq: int, cause: Cause, now: float) -> None:
        """Note that the store shed the oldest held events of a thread.

        Of those that are not noted as held yet the shed is kept, and applied
        when they are: a store may shed an event before its append is answered,
        and even before a bind is that took what was held before it.
        """
        hold = self.holds.get(thread_id)
        if hold is None or last_seq > hold.high:
            ahead = first_seq if hold is None else max(first_seq, hold.high + 1)
            self._shed_ahead.setdefault(thread_id, []).append((ahead, last_seq, cause))
        if hold is None or first_seq > hold.high:
            return
        first, last = hold.low, min(last_seq, hold.high)
        count = hold.shed(last, cause)
        if not hold.held:
            del self.holds[thread_id]
        if count:
            hold.tally.held -= count
            self.unowned.dropped += count
            self._letters.bury(cause, count, now, thread_id=thread_id, first=first, last=last)

    def _note_shed_ahead(self, thread_id: str, now: float) -> None:
        """Apply sheds that the store reported before this hold was noted."""
        for first_seq, last_seq, cause in self._shed_ahead.pop(thread_id, ()):
            self.shed(thread_id, first_seq, last_seq, cause, now)

    def bind(
        self,
        thread_id: str,
        user_id: str,
        epoch: str,
        first_offset: int,
        low: int,
        now: float,
        *,
        notice: bool,
        promise: Promise = Promise.NOTHING,
    ) -> int:
        """Note that a thread got an owner, in whose log the held events stand from ``first_offset`` on.

        A ``notice`` of those shed stands before them, as an event that the
        runtime itself emitted. Returns the number of events placed: none by a
        bind that is in the books already.
        """
        hold = self.holds.pop(thread_id, None)
        count = 0
        if hold is not None:
            count = hold.held
            hold.tally.held -= count
        if not count and (not notice or _knows(self, user_id, epoch, first_offset)):
            return 0
        account, ledger = self._books_of(user_id, epoch, min(first_offset, low), now)
        dropped = ledger.dropped
        ledger.safety.note(first_offset, promise)
        places: list[tuple[EventState, int]] = [(ledger.add(first_offset), first_offset)] if notice else []
        restored = 0 if hold is None else hold.restored
        account.accepted += count + notice - restored
        account.restored += restored
        account.ledger.tally.restored += restored
        self.unowned.restored -= restored
        self.accepted += notice
        self._arrived += notice
        if hold is not None:
            hold.bind(ledger, first_offset + notice)
            places += [(hold, seq) for seq in range(hold.low, hold.high + 1)]
        if ledger.dropped > dropped:  # they had left the log before they were noted here
            _note_late_bind(user_id, places, now, self._letters)
        if ledger is account.ledger:
            self.trim(user_id, low, Cause.RETENTION, now)
        elif account.ledger.of(epoch) is not ledger:
            _drop_late(ledger, now, self._letters)
        return count + notice

    # --- a log's way through the columns --------------------------------------

    def _books_of(self, user_id: str, epoch: str, low: int, now: float) -> tuple[UserAccount, Ledger]:
        """Find a user's account, and the ledger of an epoch, because a late reply may be about one that has ended."""
        account = self.users.get(user_id)
        ended = None if account is None else account.of(epoch)
        if account is not None and ended is not None:
            return account, ended
        present = self.present(user_id)
        if present is None or present.epoch == epoch:
            # Books that begin late begin where the log does, because what left it before is never trimmed again.
            low, lineage = (low, ()) if present is None else (max(low, present.low), present.lineage)
            account = self.account(user_id, epoch, low, now, lineage=lineage)
            return account, account.ledger
        account = self.account(user_id, present.epoch, present.low, now, lineage=present.lineage)
        ended = account.of(epoch)
        return account, ended or account.end(Ledger(user_id, epoch, tally=account.ledger.tally, low=low))

    def _note_ended(self, receipt: Receipt, account: UserAccount, ledger: Ledger, now: float) -> None:
        """Account for an event that a late reply placed in an epoch that has already ended."""
        if receipt.number > ledger.end:
            _note_late(receipt, now, self._letters)
        elif account.ledger.of(ledger.epoch) is not ledger:
            _drop_late(ledger, now, self._letters)

    def account(self, user_id: str, epoch: str, low: int, now: float, *, lineage: Lineage = ()) -> UserAccount:
        """Find a user's account, or open one, in the epoch that the store names, with the former epochs of the log.

        Events that an epoch still retains when another one follows are lost,
        but for those that the other one continues.
        """
        account = self.users.get(user_id)
        if account is None:
            restored = self._restored(user_id)
            first = next((fork.epoch for fork in lineage if fork.offset >= low and restored is None), epoch)
            account = self.users[user_id] = UserAccount(Ledger(user_id, first, tally=self.tally, low=low))
            if restored is not None:
                _restore(account, restored)
        if account.ledger.epoch != epoch:
            self._go_on(account, epoch, low, now, lineage)
        return account

    def _go_on(self, account: UserAccount, epoch: str, low: int, now: float, lineage: Lineage) -> None:
        """Begin the present epoch, after those between the one in the books and it."""
        user_id, tally, known = account.ledger.user_id, account.ledger.tally, [fork.epoch for fork in lineage]
        if account.ledger.epoch not in known:
            self.trim(user_id, account.ledger.head + 1, Cause.LOST, now)
            account.renew(Ledger(user_id, epoch, tally=tally, low=low))
            return
        after = known.index(account.ledger.epoch)
        for fork, following in zip(lineage[after:], [*known[after + 1 :], epoch], strict=True):
            ledger = account.ledger
            last, dropped = ledger.head, ledger.lose(fork.offset)
            if dropped:
                self._letters.bury(Cause.LOST, dropped, now, user_id=user_id, first=fork.offset + 1, last=last)
            account.renew(Ledger(user_id, following, tally=tally, former=ledger))
        self.trim(user_id, low, Cause.RETENTION, now)

    def restore_hold(self, thread_id: str, first_seq: int, last_seq: int, promise: Promise) -> None:
        """Enter the events that a thread held when this life of the store began."""
        hold = self.holds[thread_id] = Hold(first_seq, tally=self.tally)
        hold.high = hold.restored_to = last_seq
        hold.safety.note(last_seq, promise)
        self.unowned.restored += last_seq - first_seq + 1
        hold.tally.held += last_seq - first_seq + 1

    def state_of(
        self, thread_id: str, user_id: str | None, epoch: str, *, seq: int, offset: int, low: int
    ) -> tuple[EventState, int]:
        """Find the state of an event of an earlier life, and its number there."""
        if user_id is not None and offset >= low:
            _, ledger = self._books_of(user_id, epoch, low, 0.0)
            return ledger.page(offset), offset
        if user_id is not None:
            return LOST[Cause.RETENTION], 0
        hold = self.holds.get(thread_id)
        return (LOST[Cause.UNBOUND_EXPIRED], 0) if hold is None else (hold, seq)

    def trim(self, user_id: str, low: int, cause: Cause, now: float, ledger: Ledger | None = None) -> None:
        """Note that offsets below ``low`` left a user's log, of which the caller may know the present ledger."""
        if ledger is None:
            account = self.users.get(user_id)
            if account is None:
                return
            ledger = account.ledger
        first, unconfirmed = ledger.low, ledger.unconfirmed
        dropped = ledger.trim(low, cause)
        if dropped:
            self._letters.bury(cause, dropped, now, user_id=user_id, first=first, last=low - 1)
        if ledger.unconfirmed > unconfirmed:
            self._on_unconfirmed(user_id, ledger.unconfirmed - unconfirmed)

    def is_settled(self, user_id: str) -> bool:
        """True if no event of this account is retained, so that it can only change with a new one."""
        account = self.users.get(user_id)
        return account is None or not account.balance().retained

    def forget(self, user_id: str) -> None:
        """Close the account of a user that has gone, whose log is empty, and keep its sum. Another one may be opened
        later, in the same epoch."""
        account = self.users.pop(user_id, None)
        if account is not None:
            account.ledger.present = ""
            row, part = account.balance(), part_of(account)
            account.ledger.tally.move(part, self.departed)
            self.departed.accepted -= part.accepted
            self._arrived += part.accepted
            self.former += row

    def harden(self, promise: Promise) -> None:
        """Note that the store has caught up with what it had delivered from memory, and what it promises."""
        for account in self.users.values():
            account.ledger.safety.harden(promise)
        for hold in self.holds.values():
            hold.safety.harden(promise)

    def damage(self, user_id: str, first: int, last: int, now: float) -> None:
        """Note that the store can no longer read some events of a log."""
        account = self.users.get(user_id)
        if account is not None and (dropped := damage(account.ledger, first, last)):
            self._letters.bury(Cause.DAMAGED, dropped, now, user_id=user_id, first=first, last=last)

    def close(self, cause: Cause, now: float) -> None:
        """Drop all that is still held or retained, because the store that had it is gone."""
        for thread_id, hold in tuple(self.holds.items()):
            self.shed(thread_id, hold.low, hold.high, cause, now)
        for user_id, account in self.users.items():
            self.trim(user_id, account.ledger.head + 1, cause, now)

    def totals(self) -> Balance:
        """Return the row of totals, from what was counted as it happened: at no cost, however many users there are.

        :meth:`audit` finds the same by adding up the books.
        """
        here, there, gone, unowned = self.tally, self.uninspected, self.departed, self.unowned
        return Balance(
            accepted=self.accepted,
            queued=self.accepted - self._arrived - here.accepted - there.accepted,
            held=here.held + there.held,
            retained=here.retained + there.retained,
            acked=here.acked + there.acked + gone.acked,
            unconfirmed=here.unconfirmed + there.unconfirmed + gone.unconfirmed,
            dropped=here.dropped + there.dropped + gone.dropped + unowned.dropped,
            deduplicated=here.deduplicated + there.deduplicated + gone.deduplicated + unowned.deduplicated,
            restored=here.restored + there.restored + gone.restored + unowned.restored,
        )

    def audit(self) -> Audit:
        """Add up the books as they stand, user by user."""
        users = {user_id: account.balance() for user_id, account in self.users.items()}
        unowned = attrs.evolve(
            self.unowned,
            accepted=self.accepted - self.former.accepted - sum(row.accepted for row in users.values()),
            queued=_queued(self),
            held=sum(hold.held for hold in self.holds.values()),
        )
        total = sum(users.values(), unowned + self.former)
        return Audit(total=total, unowned=unowned, users=users, former=self.former)


def _queued(accounts: Accounts) -> int:
    return accounts.accepted - accounts._arrived - sum(account.placed for account in accounts.users.values())


def _knows(accounts: Accounts, user_id: str, epoch: str, offset: int) -> bool:
    """True if the books know of an offset, or will, once they meet its user."""
    account = accounts.users.get(user_id)
    if account is not None:
        return account.knows(epoch, offset)
    restored = accounts._restored(user_id)
    return restored is not None and offset <= restored.head


def part_of(account: UserAccount) -> Tally:
    """Add up an account's part of the tally in which it counts."""
    part, closed = Tally(), account.closed
    part.accepted, part.acked = closed.accepted, closed.acked
    part.unconfirmed, part.dropped = closed.unconfirmed, closed.dropped
    part.deduplicated, part.restored = account.deduplicated, account.restored
    retained = 0
    for ledger in account.ledgers:
        part.accepted += ledger.accepted
        part.acked += ledger.acked
        part.unconfirmed += ledger.unconfirmed
        part.dropped += ledger.dropped
        retained += ledger.open
    part.placed = retained + part.acked + part.unconfirmed + part.dropped
    return part


def _restore(account: UserAccount, restored: RestoredBounds) -> None:
    """Enter what an earlier life left of a log; what has left it since then was never in these books."""
    ledger = account.ledger
    if restored.head >= ledger.low:
        restore(ledger, max(restored.low, ledger.low), restored.head, restored.acked, restored.written)
        ledger.safety.note(restored.head, restored.promise)
        account.restored = restored.head - max(restored.low, ledger.low) + 1
        ledger.tally.restored += account.restored


def _note_late(receipt: Receipt, now: float, letters: DeadLetters) -> None:
    """Record the drop of an event that was noted after it had left the log, unless a socket took it before."""
    position = receipt.position
    if receipt.stage is Stage.DROPPED and position is not None:
        cause = receipt.cause or Cause.RETENTION
        letters.bury(cause, 1, now, user_id=position.user_id, first=position.offset, last=position.offset)


def _note_late_bind(user_id: str, places: list[tuple[EventState, int]], now: float, letters: DeadLetters) -> None:
    """Record the drops of bound events that had left the log before they were noted: the oldest, the newest, or
    both."""
    dropped = [place for place in places if place[0].stage(place[1]) is Stage.DROPPED]
    for cause, run in groupby(dropped, lambda place: place[0].cause(place[1]) or Cause.RETENTION):
        offsets = [position.offset for state, number in run if (position := state.position(number)) is not None]
        letters.bury(cause, len(offsets), now, user_id=user_id, first=offsets[0], last=offsets[-1])


def _drop_late(ledger: Ledger, now: float, letters: DeadLetters) -> None:
    """Drop events that a late reply placed in an epoch that has already ended."""
    first, last = ledger.low, ledger.head
    dropped = ledger.trim(last + 1, Cause.RETENTION)
    if dropped:
        letters.bury(Cause.RETENTION, dropped, now, user_id=ledger.user_id, first=first, last=last)
