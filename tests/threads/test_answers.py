"""The store's answers, noted in the books and told to those whom they concern."""

from __future__ import annotations

import attrs
import pytest

from actors.delivery.accounts import Accounts
from actors.delivery.balance import Balance
from actors.delivery.bounds import RestoredBounds
from actors.errors import IdempotencyConflict, NotTheOwner, StoreUnavailable
from actors.events.states import QUEUED
from actors.kernel.bounded import RecentMap
from actors.kernel.failures import Failures
from actors.kernel.signals import Reply
from actors.observability.instrument import Instruments
from actors.receipts import Receipt
from actors.stages import Cause, Promise, Stage
from actors.stores.memory import MemoryStore
from actors.stores.store import Answer, Binding, Placement, RunOver, Shed, StaleGeneration
from actors.threads.answers import doubt, note_owner, note_placement, note_refusal, note_reply, refuse
from actors.threads.context import ThreadContext
from actors.threads.messages import Claim, Emission, OwnerRequest
from actors.threads.route import Route
from actors.users.presence import Presence


class Shedding(MemoryStore):
    """Reports what a test has it report, and keeps which bindings were acked."""

    def __init__(self) -> None:
        super().__init__()
        self.drops: list[Shed] = []
        self.acked: list[tuple[str, str]] = []

    def shed(self) -> list[Shed]:
        drops, self.drops = self.drops, []
        return drops

    def ack_binding(self, thread_id: str, generation: str) -> None:
        self.acked.append((thread_id, generation))


@attrs.define
class Arrived:
    """An arrival, and what became of it."""

    went: list[str] = attrs.field(factory=list)

    def placed(self) -> None:
        self.went.append("placed")

    def refused(self) -> None:
        self.went.append("refused")


class Desk:
    """A context, and what it was told."""

    def __init__(self, restored: RestoredBounds | None = None) -> None:
        self.store = Shedding()
        self.accounts = Accounts(10, restored=lambda user_id: restored)
        self.rung: list[tuple[str | None, str]] = []
        self.owners: list[tuple[str, str | None]] = []
        self.sampled: list[Receipt] = []
        self.context = ThreadContext(
            store=self.store,
            accounts=self.accounts,
            instruments=Instruments(Failures(10, lambda: 0.0)),
            wall_clock=lambda: 0.0,
            sample=self.sampled.append,
            ring=self._ring,
            mark=lambda presence: None,
            receipts_by_id=RecentMap(100),
            owner_changed=lambda thread_id, user_id: self.owners.append((thread_id, user_id)),
            unopened=RecentMap(100),
            answered=lambda thread_id, answer: None,
        )

    def _ring(self, user_id: str | None, thread_id: str) -> Presence | None:
        self.rung.append((user_id, thread_id))
        return None

    def emission(self, event_id: str = "e1", *, number: int = 0, returned: bool = False) -> Emission:
        """An event that was accepted."""
        self.accounts.accepted += 1
        receipt = Receipt(event_id, "t", 0.0, QUEUED)
        return Emission("t", event_id, b"{", receipt=receipt, number=number, arrival=Arrived(), returned=returned)

    def note(self, answer: Answer, event_id: str = "e1", *, number: int = 0) -> Emission:
        """An event that was answered."""
        emission = self.emission(event_id, number=number)
        if isinstance(answer, Placement):
            note_placement(emission, answer, self.context, Route())
        else:
            note_refusal(emission, answer, self.context)
        assert self.accounts.audit().balanced
        return emission


def went(emission: Emission) -> list[str]:
    """What became of the arrival of an event."""
    assert isinstance(emission.arrival, Arrived)
    return emission.arrival.went


def test_an_event_that_was_placed() -> None:
    """Its receipt is stored, its owner is rung, and what follows from it follows."""
    desk = Desk()
    emission = desk.note(Placement(3, "1", "alice", "e", 7, 7))
    assert (emission.receipt.stage, emission.receipt.seq, emission.receipt.offset) == (Stage.STORED, 3, 7)
    assert (desk.rung, went(emission)) == ([("alice", "t")], ["placed"])


def test_an_event_that_is_held() -> None:
    """Its receipt is buffered, what had to go for it is noted, and nothing follows yet."""
    desk = Desk()
    first = desk.note(Placement(1, "0"))
    desk.store.drops.append(Shed("t", 1, 1, Cause.UNBOUND_OVERFLOW))
    second = desk.note(Placement(2, "0"), number=1)
    assert (first.receipt.stage, second.receipt.stage) == (Stage.DROPPED, Stage.BUFFERED)
    assert (desk.rung, went(second)) == ([(None, "t")] * 2, ["refused"])


def test_a_repetition_reads_from_the_first() -> None:
    """The receipt of an event that came again reads as the first one of its id, and nobody is rung for it."""
    desk = Desk()
    first = desk.note(Placement(1, "1", "alice", "e", 1, 1))
    again = desk.note(Placement(1, "1", "alice", "e", 1, 1, "given"))
    assert again.first is first.receipt
    desk.accounts.users["alice"].ledger.ack(1, 1)
    assert again.receipt.stage is first.receipt.stage is Stage.ACKED
    assert (len(desk.rung), went(again)) == (1, ["refused"])
    assert desk.accounts.audit().users["alice"] == Balance(accepted=2, acked=1, deduplicated=1)


def test_a_repetition_of_an_event_of_an_earlier_life() -> None:
    """Of an id that an earlier life was given the first receipt is made anew, once, with what is known of its event."""
    desk = Desk(RestoredBounds(epoch="e", low=1, head=2, acked=((1, 1),), written=1, promise=Promise.POWER))
    again = desk.note(Placement(1, "1", "alice", "e", 1, 1, "given"))
    assert again.first is not None
    assert (again.first.stage, again.first.seq, again.receipt.stage) == (Stage.ACKED, 1, Stage.ACKED)
    assert desk.note(Placement(1, "1", "alice", "e", 1, 1, "given")).first is again.first
    gone = desk.note(Placement(9, "1", "alice", "e", 1, 2, "given"), "gone")
    assert (gone.receipt.stage, gone.receipt.cause) == (Stage.DROPPED, Cause.RETENTION)
    assert went(again) == ["refused"], "the event is no new one, and no run follows from it"


@pytest.mark.parametrize(
    ("refusal", "cause"),
    [
        (IdempotencyConflict("another body"), Cause.CONFLICT),
        (NotTheOwner("another owner"), Cause.NOT_THE_OWNER),
        (RunOver("it is over"), Cause.RUN_OVER),
        (StaleGeneration("t", "2", came="1"), Cause.OWNER_CHANGED),
    ],
)
def test_a_refusal_is_the_emitters(refusal: Exception, cause: Cause) -> None:
    """An emit that has not returned raises the refusal; of one that has, the receipt says the cause, and the refusal is
    kept for who waits for the outcome."""
    desk = Desk()
    waiting, returned = desk.emission(), desk.emission(returned=True)
    note_refusal(waiting, refusal, desk.context)
    note_refusal(returned, refusal, desk.context)
    assert (waiting.refusal, waiting.receipt.stage) == (refusal, Stage.ACCEPTED)
    assert (returned.refusal, returned.receipt.stage, returned.receipt.cause) == (refusal, Stage.DROPPED, cause)
    assert went(waiting) == went(returned) == ["refused"]


def test_a_store_that_takes_nothing() -> None:
    """An event that a store in trouble did not take is dropped, with that as its cause."""
    desk = Desk()
    emission = desk.emission(returned=True)
    refuse(emission, StoreUnavailable("the disk is full"), desk.context)
    assert (emission.receipt.stage, emission.receipt.cause) == (Stage.DROPPED, Cause.TROUBLE)


def test_an_outcome_that_is_not_known() -> None:
    """An event of which the store ended before it knew stays in doubt, and the books say so."""
    desk = Desk()
    noted, doubted = desk.note(StoreUnavailable("the store was closed")), desk.emission()
    doubt(doubted, desk.context)
    assert desk.accounts.doubtful == 2
    assert [one.receipt.stage for one in (noted, doubted)] == [Stage.ACCEPTED] * 2
    assert went(noted) == went(doubted) == ["refused"]


def test_an_owner_is_noted() -> None:
    """A bind's events are in the books before anybody is told of the owner, who is rung; the store may forget the
    answer."""
    desk = Desk()
    held = desk.note(Placement(1, "0"))
    desk.rung.clear()
    for _ in range(2):
        note_owner(Binding("t", "1", "alice", "e", 1, low=1), desk.context)
    assert held.receipt.position is not None
    assert held.receipt.position.offset == 1
    assert (desk.rung, desk.owners) == ([("alice", "t")], [("t", "alice")] * 2)
    assert desk.store.acked == [("t", "1")] * 2


def test_a_thread_that_lost_its_owner_is_noted() -> None:
    """A thread without an owner is told of as one, and nobody is rung."""
    desk = Desk()
    note_owner(Binding("t", "2", None), desk.context)
    assert (desk.owners, desk.rung, desk.store.acked) == ([("t", None)], [], [])


async def test_a_reply_is_given() -> None:
    """Who asked for a change of owner gets the binding, or the refusal; a claim is settled either way."""
    binding, refusal = Binding("t", "1", "alice"), NotTheOwner("it is bob's")
    requests = [OwnerRequest("t", "alice", take=False, act="bind", reply=Reply()) for _ in range(2)]
    note_reply(requests[0], binding)
    note_reply(requests[1], refusal)
    assert await requests[0].reply.wait() is binding
    with pytest.raises(NotTheOwner):
        await requests[1].reply.wait()
    claim = Claim("t", "alice", take=False)
    note_reply(claim, refusal)
    assert claim.settled
