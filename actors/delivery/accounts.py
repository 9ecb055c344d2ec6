"""The runtime's books: every accepted event is in exactly one column, at every moment.

    accepted = queued + held + retained + acked + unconfirmed + dropped + deduplicated

``accepted`` is counted where an emitter hands an event over, ``queued`` is what
of that has not arrived anywhere yet; ``held`` and ``retained`` are counted from
the holds and the ledgers when somebody asks, the others as they happen. So the
equation can fail, in total and for each user, and a test that checks it says
something.

The books outlive the actors that write into them: an actor that crashes takes
no account along.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import attrs

from actors.delivery.cursor import Bounds
from actors.delivery.hold import Hold
from actors.delivery.ledger import Ledger
from actors.receipts import DOUBTFUL, QUEUED, Lost, Receipt
from actors.stages import Cause, Stage

LOST = {cause: Lost(cause) for cause in Cause}


@attrs.define
class Balance:
    """One row of the books: the columns, and whether they add up."""

    accepted: int = 0
    queued: int = 0
    held: int = 0
    retained: int = 0
    acked: int = 0
    unconfirmed: int = 0
    dropped: int = 0
    deduplicated: int = 0

    @property
    def balanced(self) -> bool:
        """Whether every accepted event is in exactly one column."""
        if min(attrs.astuple(self)) < 0:
            return False
        return self.accepted == (
            self.queued + self.held + self.retained + self.acked + self.unconfirmed + self.dropped + self.deduplicated
        )

    def __add__(self, other: Balance) -> Balance:
        mine, theirs = attrs.astuple(self), attrs.astuple(other)
        return Balance(*(a + b for a, b in zip(mine, theirs, strict=True)))


@attrs.frozen
class Audit:
    """The books at one moment: a row per user, one for those who have gone, one for what no user owns, the total."""

    total: Balance
    unowned: Balance
    users: dict[str, Balance]
    former: Balance = attrs.field(factory=Balance)
    """What users came to who have gone, and of whose logs nothing is left."""

    @property
    def balanced(self) -> bool:
        """Whether every row adds up."""
        return all(row.balanced for row in [self.total, self.unowned, self.former, *self.users.values()])


@attrs.frozen
class DeadLetter:
    """A run of events that were dropped for one cause: sequence numbers of a thread, or offsets of a log.

    ``first`` and ``last`` are ``None`` for an event that was dropped before it had a number.
    """

    cause: Cause
    count: int
    at: float
    """When the last of them was dropped: wall clock, seconds since 1970."""
    user_id: str | None = None
    thread_id: str | None = None
    event_id: str | None = None
    first: int | None = None
    last: int | None = None


_ENDED_EPOCHS = 4
"""Of one user. An epoch ends with a quarantine, and a store's answer takes less time than four of those."""


class UserAccount:
    """One user's books: the ledger of the log's present epoch, and what earlier epochs came to."""

    __slots__ = ("_closed", "_ended", "accepted", "deduplicated", "ledger")

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.accepted = 0
        self.deduplicated = 0
        self._ended: list[Ledger] = []
        """Ledgers of earlier epochs: the newest, and those in which a socket still had something to take."""
        self._closed = Balance()

    def renew(self, ledger: Ledger) -> None:
        """Begin another epoch; what the one that ended still has open is in flight."""
        self.end(self.ledger)
        self.ledger = ledger

    def end(self, ledger: Ledger) -> Ledger:
        """Keep the ledger of an epoch that has ended for a while."""
        self._ended.append(ledger)
        for ended in [one for one in self._ended[:-_ENDED_EPOCHS] if not one.retained]:
            self._ended.remove(ended)
            self._closed += _row(ended)
        return ledger

    def ended(self, epoch: str) -> Ledger | None:
        """The ledger of an earlier epoch, while an answer of the store may still speak of it."""
        return next((one for one in self._ended if one.epoch == epoch), None)

    def balance(self) -> Balance:
        """This user's row."""
        row = sum(map(_row, self._ended), self._closed + _row(self.ledger))
        return attrs.evolve(row, accepted=self.accepted, deduplicated=self.deduplicated)


def _row(ledger: Ledger) -> Balance:
    return Balance(retained=ledger.retained, acked=ledger.acked, unconfirmed=ledger.unconfirmed, dropped=ledger.dropped)


class Accounts:
    """The books of one runtime."""

    def __init__(
        self,
        dead_letters: int,
        present: Callable[[str], Bounds | None] = lambda user_id: None,
        wall_time_of: Callable[[float], float] = lambda now: now,
    ) -> None:
        self._wall_time_of = wall_time_of
        """Turns the time of a call, which is on a clock of the process's own, into one that people read."""
        self.present = present
        """A user's log as it is now, where that is known; an answer may be about an earlier epoch or low."""
        self.accepted = 0
        """Events that emitters handed over; counted by whoever takes them from an emitter."""
        self.doubtful = 0
        """Queued events of which nobody will learn whether the store has taken them."""
        self._arrived = 0
        """Events that the store has answered for, or that are known to be lost."""
        self.users: dict[str, UserAccount] = {}
        self.holds: dict[str, Hold] = {}
        self.dead_letters: deque[DeadLetter] = deque(maxlen=dead_letters)
        self._unowned = Balance()
        self._former = Balance()
        self._shed_ahead: dict[str, list[tuple[int, Cause]]] = {}
        """What was shed of a thread before it was noted as held: up to which number, and why."""

    # --- an event's way through the columns -----------------------------------

    def note_placed(self, receipt: Receipt, user_id: str, epoch: str, offset: int, low: int, now: float) -> None:
        """The store placed an accepted event in its owner's log, which now begins at ``low``."""
        self._arrived += 1
        account = self.users.get(user_id)
        if account is None or account.ledger.epoch != epoch:
            account, ledger = self._books_of(user_id, epoch, low, now)
        else:
            ledger = account.ledger
        account.accepted += 1
        page = ledger.add(offset)
        if receipt.state is QUEUED:
            receipt.state, receipt.number = page, offset
        else:
            receipt.move(page, offset)
        if offset < ledger.low:
            self._note_late(receipt, now)
        if ledger is not account.ledger:
            self._settle_ended(ledger, now)
        elif low > ledger.low:
            self.trim(user_id, low, Cause.RETENTION, now)

    def hold(self, receipt: Receipt, seq: int, now: float) -> None:
        """The store holds an accepted event, or has held it: its thread has no owner."""
        self._arrived += 1
        hold = self.holds.get(receipt.thread_id)
        if hold is None:
            hold = self.holds[receipt.thread_id] = Hold(seq)
        hold.take(seq)
        receipt.move(hold, seq)
        if self._shed_ahead:
            self._note_shed_ahead(receipt.thread_id, now)

    def deduplicate(self, receipt: Receipt, first: Receipt, user_id: str | None) -> None:
        """An accepted event is another copy of one in the books: its receipt stands where the first one stands."""
        self._arrived += 1
        account = self.users.get(user_id) if user_id is not None else None
        if account is None:
            self._unowned.deduplicated += 1
        else:
            account.accepted += 1
            account.deduplicated += 1
        receipt.follow(first)

    def doubt(self, receipt: Receipt) -> None:
        """Nobody will learn what the store made of an accepted event: it stays queued, and says so."""
        self.doubtful += 1
        receipt.move(DOUBTFUL, 0)

    def lose(self, receipt: Receipt, cause: Cause, now: float) -> None:
        """An accepted event was definitely not placed, and will not be."""
        self._arrived += 1
        self._unowned.dropped += 1
        receipt.move(LOST[cause], 0)
        self._record(DeadLetter(cause, 1, now, thread_id=receipt.thread_id, event_id=receipt.event_id))

    def shed(self, thread_id: str, last_seq: int, cause: Cause, now: float) -> None:
        """The store let go of the oldest held events of a thread, up to ``last_seq``; some may be noted as held yet."""
        hold = self.holds.get(thread_id)
        last_held = hold.high if hold is not None else 0
        if last_seq > last_held:
            self._shed_ahead.setdefault(thread_id, []).append((last_seq, cause))
        if hold is None:
            return
        first, last = hold.low, min(last_seq, last_held)
        count = hold.shed(last, cause)
        if not hold.held:
            del self.holds[thread_id]
        if count:
            self._unowned.dropped += count
            self._record(DeadLetter(cause, count, now, thread_id=thread_id, first=first, last=last))

    def forget_shed(self, thread_id: str) -> None:
        """Nothing more of a thread's hold will be noted: it was quarantined."""
        self._shed_ahead.pop(thread_id, None)

    def _note_shed_ahead(self, thread_id: str, now: float) -> None:
        """What was let go of before it was noted as held is let go of now."""
        for last_seq, cause in self._shed_ahead.pop(thread_id, ()):
            self.shed(thread_id, last_seq, cause, now)

    def bind(
        self, thread_id: str, user_id: str, epoch: str, first_offset: int, low: int, now: float, *, notice: bool
    ) -> int:
        """A thread got an owner: what was held is in the owner's log from ``first_offset`` on.

        A ``notice`` of what had been shed stands before it, as an event that
        the runtime itself emitted. Returns how many events were placed. A bind
        that is in the books already places nothing.
        """
        hold = self.holds.pop(thread_id, None)
        self._shed_ahead.pop(thread_id, None)
        count = hold.held if hold is not None else 0
        if not count and (not notice or self._is_noted(user_id, epoch, first_offset)):
            return 0
        account, ledger = self._books_of(user_id, epoch, min(first_offset, low), now)
        dropped = ledger.dropped
        for offset in range(first_offset, first_offset + count + notice):
            ledger.add(offset)
        account.accepted += count + notice
        self.accepted += notice
        self._arrived += notice
        if hold is not None:
            hold.bind(ledger, first_offset + notice)
        if ledger.dropped > dropped:  # it had left the log before it was noted here
            last, late = first_offset + ledger.dropped - dropped - 1, ledger.dropped - dropped
            cause = ledger.page(first_offset).cause(first_offset) or Cause.RETENTION
            self._record(DeadLetter(cause, late, now, user_id=user_id, first=first_offset, last=last))
        if ledger is account.ledger:
            self.trim(user_id, low, Cause.RETENTION, now)
        else:
            self._settle_ended(ledger, now)
        return count + notice

    def _is_noted(self, user_id: str, epoch: str, offset: int) -> bool:
        """Whether the books know of an offset, or are beyond its epoch."""
        account = self.users.get(user_id)
        if account is None:
            return False
        ledger = account.ledger if account.ledger.epoch == epoch else account.ended(epoch)
        return ledger is None or ledger.knows(offset)

    # --- a log's way through the columns --------------------------------------

    def _books_of(self, user_id: str, epoch: str, low: int, now: float) -> tuple[UserAccount, Ledger]:
        """A user's account, and the ledger of an epoch: an answer that was under way may be about one that ended."""
        account = self.users.get(user_id)
        ended = None if account is None else account.ended(epoch)
        if account is not None and ended is not None:
            return account, ended
        present = self.present(user_id)
        if present is None or present.epoch == epoch:
            # Books that begin late begin where the log does: what left it before is never trimmed again.
            account = self.account(user_id, epoch, low if present is None else max(low, present.low), now)
            return account, account.ledger
        account = self.account(user_id, present.epoch, present.low, now)
        return account, account.end(Ledger(user_id, epoch, low))

    def _settle_ended(self, ledger: Ledger, now: float) -> None:
        """What an answer that was long under way has added to an epoch that has ended is gone with it."""
        first, last = ledger.low, ledger.head
        dropped = ledger.trim(last + 1, Cause.RETENTION)
        if dropped:
            self._record(DeadLetter(Cause.RETENTION, dropped, now, user_id=ledger.user_id, first=first, last=last))

    def account(self, user_id: str, epoch: str, low: int, now: float) -> UserAccount:
        """A user's account, opened when it is first needed, in the epoch that the store names.

        What an epoch still has when another one follows is lost.
        """
        account = self.users.get(user_id)
        if account is None:
            account = self.users[user_id] = UserAccount(Ledger(user_id, epoch, low))
        elif account.ledger.epoch != epoch:
            self.trim(user_id, account.ledger.head + 1, Cause.LOST, now)
            account.renew(Ledger(user_id, epoch, low))
        return account

    def trim(self, user_id: str, low: int, cause: Cause, now: float) -> None:
        """Offsets below ``low`` left a user's log."""
        account = self.users.get(user_id)
        if account is None:
            return
        first = account.ledger.low
        dropped = account.ledger.trim(low, cause)
        if dropped:
            self._record(DeadLetter(cause, dropped, now, user_id=user_id, first=first, last=low - 1))

    def is_settled(self, user_id: str) -> bool:
        """Whether nothing more can become of what a user had: nothing of it is retained, and nothing of anybody's is on
        its way to the store, for it might be his."""
        if self.accepted - self._arrived > self.doubtful:
            return False
        account = self.users.get(user_id)
        return account is None or not account.balance().retained

    def forget(self, user_id: str) -> None:
        """A user has gone, and the log is empty: of the account the sum is kept. Another one may be opened later, in
        the same epoch."""
        account = self.users.pop(user_id, None)
        if account is not None:
            self._former += account.balance()

    def close(self, cause: Cause, now: float) -> None:
        """Settle everything that is still held or retained: the store that had it is gone."""
        for thread_id, hold in tuple(self.holds.items()):
            self.shed(thread_id, hold.high, cause, now)
        for user_id, account in self.users.items():
            self.trim(user_id, account.ledger.head + 1, cause, now)

    def audit(self) -> Audit:
        """The books as they stand."""
        users = {user_id: account.balance() for user_id, account in self.users.items()}
        unowned = attrs.evolve(
            self._unowned,
            accepted=self.accepted - self._former.accepted - sum(row.accepted for row in users.values()),
            queued=self.accepted - self._arrived,
            held=sum(hold.held for hold in self.holds.values()),
        )
        total = sum(users.values(), unowned + self._former)
        return Audit(total, unowned, users, self._former)

    def _note_late(self, receipt: Receipt, now: float) -> None:
        """An event was noted after it had left the log; if nobody had taken it, that is said now."""
        position = receipt.position
        if receipt.stage is Stage.DROPPED and position is not None:
            letter = DeadLetter(
                Cause.RETENTION, 1, now, user_id=position.user_id, first=position.offset, last=position.offset
            )
            self._record(letter)

    def _record(self, letter: DeadLetter) -> None:
        """Keep a dead letter; one that continues the newest of the same log is joined to it."""
        last = self.dead_letters[-1] if self.dead_letters else None
        cause, count, at = letter.cause, letter.count, self._wall_time_of(letter.at)
        user_id, thread_id, event_id, first = letter.user_id, letter.thread_id, letter.event_id, letter.first
        if last is not None and _continues(last, letter):
            self.dead_letters.pop()
            count, event_id, first = last.count + count, last.event_id, last.first
        # Not evolved: of a user without a device each event that comes has another one dropped.
        self.dead_letters.append(DeadLetter(cause, count, at, user_id, thread_id, event_id, first, letter.last))


def _continues(before: DeadLetter, after: DeadLetter) -> bool:
    same = (before.cause, before.user_id, before.thread_id) == (after.cause, after.user_id, after.thread_id)
    return same and before.last is not None and after.first == before.last + 1
