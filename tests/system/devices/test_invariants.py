"""Whatever happens to threads, logs and devices, and in whatever order: the invariants hold, against a small model."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors.delivery.accounts import Accounts
from actors.delivery.bounds import Bounds, Start
from actors.delivery.cursor import Cursor
from actors.delivery.frames import texts_of
from actors.delivery.ledger import Ledger
from actors.delivery.subscription import EpochEnded, Subscription
from actors.environment import Environment
from actors.errors import NotTheOwner, PeerError
from actors.events.states import QUEUED
from actors.kernel.failures import Failures
from actors.kernel.signals import Reply
from actors.limits import Limits
from actors.observability.instrument import Instruments
from actors.protocol.client_messages import Origin
from actors.receipts import Receipt
from actors.stages import Cause, Stage
from actors.stores.memory import MemoryView
from actors.stores.store import Append
from actors.users.actor import UserActor
from actors.users.context import UserContext
from actors.users.presence import REWOUND, Acked, Attach, Departure, Detach, Presence, Session
from actors.users.sessions import first_offset_of
from tests.support.stores import append, bind, bounds_of, opened_store, state_of

USERS, THREADS = ("alice", "bob"), ("t1", "t2")
LIMITS = Limits(retained_events=6, unbound_events=3, connections_per_user=3, sessions_per_user=4)

users, threads = st.sampled_from(USERS), st.sampled_from(THREADS)
small = st.integers(0, 7)
origins: st.SearchStrategy[Origin] = st.sampled_from(["unacked", "low", "head"])


class Naive:
    """A device that takes what its log has whenever it is looked after, and believes what it is told of the rest."""

    def __init__(self, user_id: str, *, plain: bool) -> None:
        self.label, self.plain, self.renames = "c", plain, False
        self.owner = user_id
        self.user_id: str | None = user_id
        self.subscription: Subscription | None = None
        self.ended: str | None = None
        self.read: dict[tuple[str, int], str] = {}
        """Event ids by epoch and offset."""
        self.session_id = ""
        self.rewound = False
        """The log is another one than was read."""

    @property
    def place(self) -> Subscription:
        assert self.subscription is not None, "the device was attached"
        return self.subscription

    @property
    def caught_up(self) -> bool:
        return True

    def begin(self, subscription: Subscription, start: Start, bounds: Bounds, session: str, presence: Presence) -> None:
        self.session_id, self.subscription = session, subscription

    def rename(self, bounds: Bounds, ledger: Ledger, fork: int) -> None:
        assert self.plain, "no other device says that it knows the word"
        self.place.rename(bounds, ledger, fork)
        self.rewound = False

    def reset(self, bounds: Bounds, ledger: Ledger) -> None:
        assert bounds.epoch != self.place.ledger.epoch, "a device is told of another log, or of nothing"
        self.place.reset(bounds, ledger)
        self.rewound = False

    def flush(self) -> None:
        """Take what there is."""
        try:
            outgoing = self.place.pull(300)
        except EpochEnded:
            self.rewound = True
            return
        if outgoing is None:
            return
        for offset, text in enumerate(texts_of(outgoing.frames), outgoing.first):
            event = json.loads(text)
            assert event["offset"] == offset
            epoch = self.place.ledger.epoch
            assert (epoch, offset) not in self.read, "nothing comes twice on a connection"
            self.read[epoch, offset] = event.get("event_id", "notice")
        self.place.wrote(outgoing)

    def end(self, name: str, text: str) -> None:
        self.ended = name

    def tell(self, text: bytes) -> bool:
        """Nothing is said here."""
        return False

    def fail(self, error: BaseException) -> None:
        raise error

    def ended_by(self) -> str | None:
        return None

    def describe(self, offset: int, now: float) -> str:
        return self.label


class Delivery(RuleBasedStateMachine):
    """Two users, two threads, their devices."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.numbers = itertools.count(1)
        environment = Environment(
            clock=lambda: self.now,
            wall_clock=lambda: self.now,
            entropy=lambda size: next(self.numbers).to_bytes(size, "big"),
        )
        self.store = opened_store(LIMITS, environment)
        self.accounts = Accounts(10)
        self.presences = {user_id: Presence(4) for user_id in USERS}
        for user_id, presence in self.presences.items():
            presence.view = MemoryView(state_of(self.store), user_id)
        failures = Failures(10, environment.wall_clock)
        context = UserContext(
            accounts=self.accounts,
            secret=lambda: self.store.secret,
            mark=lambda _: None,
            limits=LIMITS,
            environment=environment,
            failures=failures,
            instruments=Instruments(failures),
        )
        self.actors = {
            user_id: UserActor(user_id, presence, context=context) for user_id, presence in self.presences.items()
        }
        self.kept: list[tuple[str, str, tuple[str, int]]] = []
        """The sessions of each user, and the cursors they had."""
        # The model.
        self.receipts: dict[str, Receipt] = {}
        self.placed: dict[tuple[str, str, int], str] = {}
        """The events by user, epoch and offset."""
        self.meant_for: dict[str, str | None] = {}
        """By event: the owner of its thread when it was accepted, or the one that came to own what was held."""
        self.acked: set[tuple[str, str, int]] = set()

    # --- threads --------------------------------------------------------------

    @rule(thread_id=threads)
    def emit(self, thread_id: str) -> None:
        event_id = f"e{next(self.numbers)}"
        body = b'{"type":"tick","thread_id":"%b","event_id":"%b"' % (thread_id.encode(), event_id.encode())
        placement = append(self.store, Append(thread_id, event_id, body))
        receipt = self.receipts[event_id] = Receipt(event_id, thread_id, 0.0, QUEUED, seq=placement.seq)
        self.meant_for[event_id] = placement.user_id
        self.accounts.accepted += 1
        if placement.user_id is None:
            self.accounts.hold(receipt, placement.seq, self.now)
            self.shed()
            return
        self.accounts.note_placed(
            receipt, placement.user_id, placement.epoch, placement.offset, placement.low, self.now
        )
        self.placed[placement.user_id, placement.epoch, placement.offset] = event_id

    def shed(self) -> None:
        for one in self.store.shed():
            self.accounts.shed(one.thread_id, one.first_seq, one.last_seq, one.cause, self.now)

    @rule(thread_id=threads, user_id=users | st.none(), take=st.booleans())
    def change_owner(self, thread_id: str, user_id: str | None, take: bool) -> None:
        before = self.store.known_owner(thread_id)
        try:
            binding = bind(self.store, thread_id, user_id, take=take)
        except NotTheOwner:
            assert not take
            return
        if user_id in {before, None}:
            return
        held = [one for one in self.receipts.values() if one.thread_id == thread_id and one.stage is Stage.BUFFERED]
        self.accounts.bind(
            thread_id, user_id, binding.epoch, binding.first_offset, binding.low, self.now, notice=binding.notice
        )
        names = ["notice"] * binding.notice + [one.event_id for one in held]
        for offset, name in enumerate(names, binding.first_offset):
            self.placed[user_id, binding.epoch, offset] = name
            self.meant_for[name] = user_id if name != "notice" else None

    @rule(seconds=st.sampled_from([1.0, 40.0, 200.0, 400.0]))
    def expire(self, seconds: float) -> None:
        self.now += seconds
        lows = self.store.expire().lows
        self.shed()
        for user_id, low in lows:
            self.accounts.trim(user_id, low, Cause.RETENTION, self.now)

    @rule(user_id=users)
    def lose(self, user_id: str) -> None:
        """As a failover of an engine may: what the log had is lost, and the next epoch begins where it did."""
        bounds = state_of(self.store).fork(user_id, 0)
        self.accounts.account(user_id, bounds.epoch, bounds.low, self.now, lineage=bounds.lineage)

    # --- devices --------------------------------------------------------------

    def attach(
        self, user_id: str, origin: Origin, session: str | None, resume: tuple[str, int] | None, plain: bool
    ) -> None:
        presence, device, reply = self.presences[user_id], Naive(user_id, plain=plain), Reply[Session]()
        self.actors[user_id].handle(Attach(device, session, resume, origin, reply))
        if device.subscription is None:
            assert isinstance(reply._error, PeerError)
            assert len(presence.devices) == LIMITS.connections_per_user

    @rule(user_id=users, origin=origins, plain=st.booleans())
    def come(self, user_id: str, origin: Origin, plain: bool) -> None:
        self.attach(user_id, origin, None, None, plain)

    @precondition(lambda self: self.kept)
    @rule(user_id=users, which=small, ahead=st.integers(-2, 2), epoch=st.sampled_from([None, "ep_other"]))
    def come_back(self, user_id: str, which: int, ahead: int, epoch: str | None) -> None:
        """With a cursor as it was, an older one, one ahead of it, of another epoch, or another user's."""
        owner, session_id, (kept_epoch, offset) = self.kept[-1 - which % len(self.kept)]
        resume = (epoch or kept_epoch, max(offset + ahead, 0))
        known = self.presences[user_id].sessions.get(session_id)
        assert known is None or owner == user_id, "a session is worth nothing to another user"
        if known is not None and known.ledger is not None and known.ledger.epoch == resume[0]:
            assert known.cursor is not None
            if resume[0] == bounds_of(self.store, user_id).epoch:
                self.confirm(user_id, known.ledger, known.cursor, resume[1])
        if known is None and owner == user_id:
            self.confirm_signed(user_id, session_id, resume)
        self.attach(user_id, "unacked", session_id, resume, plain=False)

    def confirm_signed(self, user_id: str, session_id: str, resume: tuple[str, int]) -> None:
        """The model: of a session that was forgotten, what came since it began is acked."""
        bounds, first = bounds_of(self.store, user_id), first_offset_of(self.store.secret, user_id, session_id)
        assert first is not None, "a session is signed for its user"
        if resume[0] == bounds.epoch:
            offsets = range(max(first, bounds.low), min(resume[1], bounds.head) + 1)
            self.acked |= {(user_id, bounds.epoch, offset) for offset in offsets}

    def confirm(self, user_id: str, ledger: Ledger, cursor: Cursor, offset: int) -> None:
        """The model: what a cursor was handed up to an offset, and is still in the log, is acked."""
        spans = [(first, min(last, offset)) for first, last in cursor._unacked if first <= offset]
        for first, last in spans:
            self.acked |= {(user_id, ledger.epoch, one) for one in range(max(first, ledger.low), last + 1)}

    def device(self, which: int) -> Naive | None:
        here: list[Any] = [device for presence in self.presences.values() for device in presence.devices]
        return here[which % len(here)] if here else None

    @rule(which=small)
    def look_after(self, which: int) -> None:
        """One device takes something; the others lag."""
        device = self.device(which)
        if device is not None:
            device.flush()
            if device.rewound:
                self.actors[device.owner].handle(REWOUND)

    @rule(which=small, back=st.integers(-1, 4))
    def ack(self, which: int, back: int) -> None:
        device = self.device(which)
        if device is None or device.plain:
            return
        place = device.place
        offset = max(place.cursor.position - back, 0)
        if offset > place.cursor.position:
            before = self.accounts.audit()
            with pytest.raises(PeerError, match="ack: expected an offset of at most"):
                place.ack(offset)
            assert self.accounts.audit() == before
            return
        self.confirm(device.owner, place.ledger, place.cursor, offset)
        self.actors[device.owner].handle(Acked(place.ledger, place.ack(offset)))

    @rule(which=small)
    def leave(self, which: int) -> None:
        device = self.device(which)
        if device is None:
            return
        if not device.plain:
            kept = (device.place.ledger.epoch, device.place.cursor.position)
            self.kept.append((device.owner, device.session_id, kept))
        self.actors[device.owner].handle(Detach(device, Departure(label="c", name="left", text="", at=0.0)))

    # --- what holds -----------------------------------------------------------

    @invariant()
    def the_books_balance(self) -> None:
        assert self.accounts.audit().balanced

    @invariant()
    def who_reads_reads_what_was_placed(self) -> None:
        for user_id, presence in self.presences.items():
            for device in presence.devices:
                assert isinstance(device, Naive)
                for (epoch, offset), event_id in device.read.items():
                    assert self.placed[user_id, epoch, offset] == event_id
                    assert event_id == "notice" or self.meant_for[event_id] == user_id

    @invariant()
    def one_placement_and_its_stage(self) -> None:
        for where, event_id in self.placed.items():
            if event_id != "notice":
                receipt = self.receipts[event_id]
                position = receipt.position
                assert position is not None
                assert (position.user_id, position.epoch, position.offset) == where
                assert (receipt.stage is Stage.ACKED) == (where in self.acked)

    @invariant()
    def offsets_have_no_hole(self) -> None:
        for user_id in USERS:
            epochs = {epoch for owner, epoch, _ in self.placed if owner == user_id}
            for epoch in epochs:
                mine = sorted(offset for owner, own, offset in self.placed if (owner, own) == (user_id, epoch))
                assert mine == list(range(1, len(mine) + 1))


Delivery.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestDelivery = Delivery.TestCase
