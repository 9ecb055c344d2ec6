"""The books: every accepted event is in exactly one column, at every moment."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.delivery.accounts import Accounts
from actors.delivery.balance import Balance
from actors.delivery.bounds import Bounds, RestoredBounds
from actors.delivery.dead_letters import DeadLetter
from actors.delivery.lineage import Fork
from actors.events.event import encode, fingerprint
from actors.events.states import Queued
from actors.limits import Limits
from actors.receipts import Receipt
from actors.stages import Cause, Promise, Stage
from actors.stores.store import Act, Answer, Append, Bind, Binding, Placement
from actors.testing.store import FaultyMemoryStore
from tests.stores.desk import Hands

LIMITS = Limits(unbound_events=3, unbound_seconds=6.0, retained_events=4, retained_seconds=9.0)


def accepted(accounts: Accounts, event_id: str = "e1", thread_id: str = "t") -> Receipt:
    """An event that an emitter has handed over."""
    accounts.accepted += 1
    return Receipt(event_id, thread_id, 0.0, Queued())


class Office:
    """Books that are kept about what a store in memory does with random events."""

    def __init__(self) -> None:
        self.hands = Hands()
        self.store = FaultyMemoryStore()
        self.store.open(LIMITS, self.hands.environment())
        self.accounts = Accounts(10_000, present=self.store.known_bounds)
        self.former = {"alice": Balance(), "bob": Balance()}
        """The sums of users when they were last forgotten."""
        self.ids = itertools.count(1)
        self.queued: list[Receipt] = []
        self.settled: list[Receipt] = []
        self.repeated: list[str | None] = []
        """For each repetition, the user to whom the first event had gone."""

    @property
    def now(self) -> float:
        """The time that has passed."""
        return self.hands.now

    def answer_to(self, act: Act) -> Answer:
        """The store's answer, which comes at once."""
        answers: list[Answer] = []
        self.store.submit(act, lambda _, answer: answers.append(answer))
        return answers[0]

    def emit(self, thread_id: str) -> None:
        self.queued.append(accepted(self.accounts, f"e{next(self.ids)}", thread_id))

    def settle(self, _: str) -> None:
        if self.queued:
            receipt = self.queued.pop(0)
            self.append(receipt)
            self.settled.append(receipt)

    def repeat(self, _: str) -> None:
        again = next((r for r in reversed(self.settled) if r.cause is None and r.thread_id != "notice"), None)
        if again is not None:
            self.append(accepted(self.accounts, again.event_id, again.thread_id), again)

    def lose(self, _: str) -> None:
        if self.queued:
            receipt = self.queued.pop()
            self.accounts.lose(receipt, Cause.CRASHED, self.now)
            self.settled.append(receipt)

    def append(self, receipt: Receipt, first: Receipt | None = None) -> None:
        body = encode("say", {}, receipt.thread_id, None, receipt.event_id, 0.0, LIMITS)
        append = Append(receipt.thread_id, receipt.event_id, body, fingerprint=fingerprint(body))
        placement = self.answer_to(append)
        assert isinstance(placement, Placement)
        assert placement.again == ("" if first is None else "given")
        if first is not None:
            self.accounts.deduplicate(receipt, first, placement.user_id)
            self.repeated.append(placement.user_id)
        elif placement.user_id is None:
            self.accounts.hold(receipt, placement.seq, self.now)
            self.shed()
        else:
            place = placement.user_id, placement.epoch, placement.offset, placement.low
            self.accounts.note_placed(receipt, *place, self.now)

    def shed(self) -> None:
        for one in self.store.shed():
            self.accounts.shed(one.thread_id, one.first_seq, one.last_seq, one.cause, self.now)

    def bind_alice(self, thread_id: str) -> None:
        self.bind(thread_id, "alice")

    def bind_bob(self, thread_id: str) -> None:
        self.bind(thread_id, "bob")

    def unbind(self, thread_id: str) -> None:
        self.answer_to(Bind(thread_id, None, take=True))

    def bind(self, thread_id: str, user_id: str) -> None:
        changed = self.store.known_owner(thread_id) != user_id
        binding = self.answer_to(Bind(thread_id, user_id, take=True))
        assert isinstance(binding, Binding)
        placed = self.accounts.bind(
            thread_id, user_id, binding.epoch, binding.first_offset, binding.low, self.now, notice=binding.notice
        )
        assert changed or not placed, "what is in the books is not placed again"
        if changed:
            self.note_notice(binding, user_id)
            self.accounts.trim(user_id, binding.low, Cause.RETENTION, self.now)

    def note_notice(self, binding: Binding, user_id: str) -> None:
        if binding.notice:
            page = self.accounts.users[user_id].ledger.page(binding.first_offset)
            self.settled.append(Receipt("", "notice", 0.0, page, None, binding.first_offset))

    def write(self, thread_id: str) -> None:
        user_id = self.store.known_owner(thread_id)
        if user_id in self.accounts.users:
            ledger = self.accounts.users[user_id].ledger
            first = ledger.first_unwritten()
            ledger.write(first, min(first + 1, ledger.head))

    def ack(self, thread_id: str) -> None:
        user_id = self.store.known_owner(thread_id)
        if user_id in self.accounts.users:
            ledger = self.accounts.users[user_id].ledger
            ledger.ack(ledger.first_unacked(), ledger.first_unwritten() - 1)

    def wait(self, _: str) -> None:
        self.hands.now += 4
        lows = self.store.expire().lows
        self.shed()
        for user_id, low in lows:
            self.accounts.trim(user_id, low, Cause.RETENTION, self.now)

    def fork(self, thread_id: str) -> None:
        user_id = self.store.known_owner(thread_id)
        if user_id is not None:
            bounds = self.store.fork(user_id, max(self.store.bounds(user_id).head - 2, 0))
            self.accounts.account(user_id, bounds.epoch, bounds.low, self.now, lineage=bounds.lineage)

    def forget(self, thread_id: str) -> None:
        user_id = self.store.known_owner(thread_id)
        if user_id is not None and self.accounts.is_settled(user_id) and self.store.forget(user_id):
            self.former[user_id] = self.expected(user_id)
            self.accounts.forget(user_id)

    def expected(self, user_id: str | None) -> Balance:
        """A row of the books, read from the receipts; ``None`` for what no user owns."""

        def owner(receipt: Receipt) -> str | None:
            return None if receipt.position is None else receipt.position.user_id

        own = [receipt for receipt in [*self.queued, *self.settled] if owner(receipt) == user_id]
        repeated = sum(owner == user_id for owner in self.repeated)
        stages = Counter(receipt.stage for receipt in own)
        return Balance(
            accepted=len(own) + repeated,
            queued=stages[Stage.ACCEPTED],
            held=stages[Stage.BUFFERED],
            retained=stages[Stage.STORED] + stages[Stage.WRITTEN],
            acked=stages[Stage.ACKED],
            unconfirmed=stages[Stage.UNCONFIRMED],
            dropped=stages[Stage.DROPPED],
            deduplicated=repeated,
        )


acts = st.sampled_from(
    [
        Office.emit, Office.emit, Office.emit, Office.settle, Office.settle, Office.settle, Office.repeat, Office.lose,
        Office.bind_alice, Office.bind_bob, Office.unbind, Office.write, Office.ack, Office.wait,
        Office.wait, Office.forget, Office.fork,
    ]
)  # fmt: skip


@given(st.lists(st.tuples(acts, st.sampled_from("ab")), max_size=80))
def test_books_agree_with_the_receipts(steps: list[tuple[object, str]]) -> None:
    """Whatever happens to events, the books say of each user what the receipts say, and every row adds up; also
    of users who are forgotten and come back."""
    office = Office()
    for act, thread_id in steps:
        assert callable(act)
        act(office, thread_id)
        audit = office.accounts.audit()
        assert audit.balanced
        assert office.accounts.totals() == audit.total
        assert office.accounts.dropped.total() == audit.total.dropped
        assert audit.unowned == office.expected(None)
        for user_id in ("alice", "bob"):
            assert audit.users.get(user_id, Balance()) + office.former[user_id] == office.expected(user_id)
        assert audit.former == sum(office.former.values(), Balance())
        assert sum(letter.count for letter in office.accounts.dead_letters) == audit.total.dropped
        positions = [receipt.position for receipt in office.settled if receipt.position is not None]
        assert len(set(positions)) == len(positions)
    office.accounts.close(Cause.SHUTDOWN, office.now)
    total = office.accounts.audit().total
    assert (total.held, total.retained, total.balanced) == (0, 0, True)
    assert all(receipt.stage.final for receipt in office.settled)


def test_epochs_that_the_books_have_not_seen() -> None:
    """Books that begin late, or miss an epoch, find the events of former epochs where the log has them."""
    present = Bounds("e2", 1, 4, (Fork("e0", 3), Fork("e1", 4)))
    accounts = Accounts(10, present=lambda user_id: present)
    kept, lost, later = (accepted(accounts, f"e{number}") for number in range(3))
    accounts.note_placed(later, "alice", "e1", 4, 1, 0.0)
    accounts.note_placed(kept, "alice", "e0", 3, 1, 0.0)
    accounts.note_placed(lost, "alice", "e0", 4, 1, 0.0)
    assert (kept.stage, lost.stage, lost.cause, later.stage) == (Stage.STORED, Stage.DROPPED, Cause.LOST, Stage.STORED)
    assert accounts.users["alice"].ledger.ack(1, 4) == 2
    assert (kept.stage, lost.stage, later.stage) == (Stage.ACKED, Stage.DROPPED, Stage.ACKED)
    assert accounts.audit().balanced
    assert [(letter.cause, letter.first) for letter in accounts.dead_letters] == [(Cause.LOST, 4)]


def test_an_audit_can_fail() -> None:
    """An event that the store placed, and that nobody had accepted, does not go unnoticed."""
    accounts = Accounts(10)
    assert accounts.audit().balanced
    accounts.note_placed(Receipt("e1", "t", 0.0, Queued()), "alice", "e", 1, 1, 0.0)
    assert accounts.audit().total.queued == -1


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_answers_are_noted_in_any_order(order: tuple[int, int]) -> None:
    """Answers of one commit may be noted in any order, a user's very first ones too."""
    accounts = Accounts(10)
    for offset in order:
        accounts.note_placed(accepted(accounts, f"e{offset}"), "alice", "e", offset, 1, 0.0)
    audit = accounts.audit()
    assert audit.balanced
    assert audit.total.retained == 2


@pytest.mark.parametrize("order", [(1, 2, 3), (1, 3, 2)])
def test_every_drop_has_a_dead_letter(order: tuple[int, ...]) -> None:
    """The dead letters count what was dropped, also what had left its log before the answer was noted."""
    accounts = Accounts(10)
    for offset in order:
        accounts.note_placed(accepted(accounts, f"e{offset}"), "alice", "e", offset, offset, 0.0)
    assert accounts.audit().total.dropped == 2
    assert sum(letter.count for letter in accounts.dead_letters) == 2


def test_a_lost_event_is_buried_by_name() -> None:
    """An event that was dropped before it had a number is found among the dead letters by its id."""
    accounts = Accounts(10)
    receipt = accepted(accounts, "e1", "t1")
    accounts.lose(receipt, Cause.CRASHED, 5.0)
    assert (receipt.stage, receipt.cause) == (Stage.DROPPED, Cause.CRASHED)
    assert list(accounts.dead_letters) == [
        DeadLetter(cause=Cause.CRASHED, count=1, at=5.0, thread_id="t1", event_id="e1")
    ]


def test_dead_letters_of_one_run_are_one() -> None:
    """Drops that continue each other are one dead letter; those of another log, thread or cause are not."""
    accounts = Accounts(10)
    for user_id in ("alice", "bob"):
        for offset in range(1, 6):
            accounts.note_placed(accepted(accounts), user_id, "e", offset, 1, 0.0)
    for low, now in ((2, 1.0), (4, 2.0)):
        accounts.trim("alice", low, Cause.RETENTION, now)
    accounts.trim("bob", 2, Cause.RETENTION, 3.0)
    accounts.trim("alice", 5, Cause.RETENTION, 4.0)
    accounts.trim("alice", 6, Cause.SHUTDOWN, 5.0)
    letters = [(letter.user_id, letter.first, letter.last, letter.count, letter.at) for letter in accounts.dead_letters]
    assert letters == [("alice", 1, 3, 3, 2.0), ("bob", 1, 1, 1, 3.0), ("alice", 4, 4, 1, 4.0), ("alice", 5, 5, 1, 5.0)]


def test_what_a_hold_shed_is_buried_by_thread() -> None:
    """The sheds of a thread's hold are one run of its sequence numbers."""
    accounts = Accounts(10)
    for seq in range(1, 6):
        accounts.hold(accepted(accounts), seq, 0.0)
    accounts.shed("t", 1, 1, Cause.UNBOUND_OVERFLOW, 1.0)
    accounts.shed("t", 2, 3, Cause.UNBOUND_OVERFLOW, 2.0)
    accounts.shed("t", 3, 3, Cause.UNBOUND_OVERFLOW, 3.0)
    assert list(accounts.dead_letters) == [
        DeadLetter(cause=Cause.UNBOUND_OVERFLOW, count=3, at=2.0, thread_id="t", first=1, last=3),
    ]
    assert accounts.audit().total == Balance(accepted=5, held=2, dropped=3)


def test_what_was_shed_before_it_was_noted_is_dropped_when_it_is() -> None:
    """A store may let go of an event before its own answer for it arrives; the receipt says so as soon as that does."""
    accounts = Accounts(10)
    accounts.hold(accepted(accounts), 1, 0.0)
    accounts.shed("t", 1, 2, Cause.UNBOUND_OVERFLOW, 1.0)
    accounts.shed("t", 3, 3, Cause.UNBOUND_EXPIRED, 2.0)
    receipts = [accepted(accounts, f"e{seq}") for seq in (2, 3, 4)]
    for seq, receipt in enumerate(receipts, 2):
        accounts.hold(receipt, seq, 3.0)
    causes = [Cause.UNBOUND_OVERFLOW, Cause.UNBOUND_EXPIRED, None]
    assert [receipt.cause for receipt in receipts] == causes
    assert accounts.audit().total == Balance(accepted=4, held=1, dropped=3)
    assert [(letter.first, letter.last) for letter in accounts.dead_letters] == [(1, 2), (3, 3)]


def test_an_answer_about_an_epoch_that_ended_is_booked_there() -> None:
    """A late reply about an epoch does not take the books back into it, because a quarantine has settled it."""
    accounts = Accounts(10)
    accounts.note_placed(accepted(accounts), "alice", "e1", 1, 1, 0.0)
    late, held = accepted(accounts), accepted(accounts, "held")
    accounts.hold(held, 1, 0.0)
    accounts.trim("alice", 4, Cause.QUARANTINED, 1.0)
    accounts.account("alice", "e2", 1, 1.0)
    accounts.note_placed(late, "alice", "e1", 2, 1, 2.0)
    assert accounts.bind("t", "alice", "e1", 3, 1, 2.0, notice=False) == 1
    assert [receipt.cause for receipt in (late, held)] == [Cause.QUARANTINED] * 2
    assert accounts.users["alice"].ledger.epoch == "e2"
    assert accounts.audit().users == {"alice": Balance(accepted=3, dropped=3)}
    assert accounts.audit().balanced


def test_an_answer_about_what_had_left_before_the_books_began() -> None:
    """Books that begin in the middle of a log take a late answer about its beginning for what it is."""
    accounts = Accounts(10)
    accounts.note_placed(accepted(accounts), "alice", "e1", 3, 3, 0.0)
    late = accepted(accounts, "late")
    accounts.note_placed(late, "alice", "e1", 1, 3, 1.0)
    assert (late.stage, late.cause) == (Stage.DROPPED, Cause.RETENTION)
    assert accounts.audit().users == {"alice": Balance(accepted=2, retained=1, dropped=1)}


def test_dead_letters_are_bounded() -> None:
    """Of dead letters the newest are kept; the books count all of them."""
    accounts = Accounts(3)
    for number in range(10):
        accounts.lose(accepted(accounts, f"e{number}"), Cause.CRASHED, 0.0)
    assert [letter.event_id for letter in accounts.dead_letters] == ["e7", "e8", "e9"]
    assert accounts.audit().total == Balance(accepted=10, dropped=10)


def test_an_epoch_that_ended_stays_in_the_books() -> None:
    """A user's row counts what earlier epochs of his log came to."""
    accounts = Accounts(10)
    for offset in (1, 2, 3):
        accounts.note_placed(accepted(accounts), "alice", "e1", offset, 1, 0.0)
    ledger = accounts.users["alice"].ledger
    ledger.write(1, 2)
    ledger.ack(1, 1)
    accounts.trim("alice", 4, Cause.QUARANTINED, 1.0)
    late = accepted(accounts)
    accounts.note_placed(late, "alice", "e2", 1, 1, 2.0)
    assert accounts.audit().users == {
        "alice": Balance(accepted=4, retained=1, acked=1, unconfirmed=1, dropped=1),
    }
    assert late.position is not None
    assert (late.position.epoch, late.offset) == ("e2", 1)
    assert accounts.audit().balanced


def test_a_thread_that_was_forgotten_begins_again() -> None:
    """Where the store forgot a thread whose events had all gone, its numbers begin again and the books follow."""
    accounts = Accounts(10)
    accounts.hold(accepted(accounts), 1, 0.0)
    accounts.shed("t", 1, 1, Cause.UNBOUND_EXPIRED, 1.0)
    receipt = accepted(accounts, "e2")
    accounts.hold(receipt, 1, 0.0)
    assert receipt.stage is Stage.BUFFERED
    assert accounts.audit().total == Balance(accepted=2, held=1, dropped=1)


def test_an_empty_hold_is_let_go() -> None:
    """Threads whose events have all expired take no room in the books, however many there were."""
    accounts = Accounts(10)
    for number in range(100):
        accounts.hold(accepted(accounts, thread_id=f"t{number}"), 1, 0.0)
        accounts.shed(f"t{number}", 1, 1, Cause.UNBOUND_EXPIRED, 1.0)
    assert len(accounts.holds) == 0


# --- what an earlier life left ------------------------------------------------------------


def restored_accounts(low: int = 1, head: int = 5) -> Accounts:
    """Books whose store has restored alice's log, of which 1 and 2 are acked, and 3 is written."""
    bounds = RestoredBounds(epoch="e", low=low, head=head, acked=((1, 2),), written=3, promise=Promise.POWER)
    return Accounts(10, restored=lambda user_id: bounds if user_id == "alice" else None)


def test_a_log_of_an_earlier_life_is_in_the_books() -> None:
    """From when its user is first met, a restored log is in the books with what became of its events, beside those of
    this life; another user's books begin empty."""
    accounts = restored_accounts()
    assert accounts.audit().users == {}
    accounts.note_placed(accepted(accounts), "alice", "e", 6, 1, 0.0)
    accounts.note_placed(accepted(accounts), "bob", "e", 1, 1, 0.0)
    audit = accounts.audit()
    assert audit.users["alice"] == Balance(accepted=1, restored=5, acked=2, retained=4)
    assert audit.users["bob"] == Balance(accepted=1, retained=1)
    assert audit.balanced
    accounts.trim("alice", 5, Cause.RETENTION, 1.0)
    assert accounts.audit().users["alice"] == Balance(
        accepted=1, restored=5, acked=2, unconfirmed=1, dropped=1, retained=2
    )


def test_what_has_left_a_log_was_never_in_these_books() -> None:
    """Of a restored log that has lost something by the time its user is met only the rest is entered; of one that has
    lost everything nothing is."""
    accounts = restored_accounts()
    accounts.account("alice", "e", 4, 0.0)
    assert accounts.audit().users["alice"] == Balance(restored=2, retained=2)
    accounts = restored_accounts()
    accounts.note_placed(accepted(accounts), "alice", "e", 6, 6, 0.0)
    assert accounts.audit().users["alice"] == Balance(accepted=1, retained=1)


def test_a_hold_of_an_earlier_life_is_in_the_books() -> None:
    """Restored holds are in the books, are shed with a dead letter, and are placed by a bind, as those of this life
    are."""
    accounts = Accounts(10)
    accounts.restore_hold("t", 3, 6, Promise.POWER)
    assert accounts.audit().unowned == Balance(restored=4, held=4)
    accounts.shed("t", 3, 4, Cause.UNBOUND_EXPIRED, 1.0)
    accounts.hold(accepted(accounts), 7, 1.0)
    assert accounts.audit().unowned == Balance(accepted=1, restored=4, held=3, dropped=2)
    assert [(letter.first, letter.last) for letter in accounts.dead_letters] == [(3, 4)]
    assert accounts.bind("t", "alice", "e", 1, 1, 2.0, notice=True) == 4
    audit = accounts.audit()
    assert audit.users["alice"] == Balance(accepted=2, restored=2, retained=4)
    assert audit.unowned == Balance(restored=2, dropped=2)
    assert audit.balanced


def test_a_bind_of_an_earlier_life_that_is_repeated() -> None:
    """A bind whose answer is given again in the next life places nothing: its notice is one of the restored events."""
    accounts = restored_accounts()
    assert accounts.bind("t", "alice", "e", 4, 1, 0.0, notice=True) == 0
    accounts.note_placed(accepted(accounts), "alice", "e", 6, 1, 0.0)
    assert accounts.bind("t", "alice", "e", 4, 1, 0.0, notice=True) == 0
    audit = accounts.audit()
    assert audit.users == {"alice": Balance(accepted=1, restored=5, acked=2, retained=4)}
    assert audit.balanced


def test_the_state_of_an_event_of_an_earlier_life() -> None:
    """What became of an event that an earlier life took is known where it is in a log or a hold; otherwise it has left
    it."""
    accounts = restored_accounts()
    accounts.restore_hold("h", 1, 2, Promise.POWER)

    def stage_of(user_id: str | None, offset: int = 0, *, thread_id: str = "t", low: int = 1) -> Stage:
        state, number = accounts.state_of(thread_id, user_id, "e", seq=2, offset=offset, low=low)
        return state.stage(number)

    stages = [stage_of("alice", 1), stage_of("alice", 3), stage_of("alice", 5), stage_of("alice", 1, low=2)]
    assert stages == [Stage.ACKED, Stage.WRITTEN, Stage.STORED, Stage.DROPPED]
    assert [stage_of(None, thread_id="h"), stage_of(None)] == [Stage.BUFFERED, Stage.DROPPED]
    assert accounts.audit().balanced
