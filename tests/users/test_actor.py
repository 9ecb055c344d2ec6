"""The user actor: where a device begins, what its session remembers, and that nothing falls between replay and live."""

from __future__ import annotations

import itertools

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from actors.delivery.accounts import Accounts
from actors.delivery.bounds import Bounds, Start
from actors.delivery.cursor import start
from actors.delivery.ledger import Ledger
from actors.delivery.subscription import Subscription
from actors.environment import Environment
from actors.errors import PeerError
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
from actors.users.sessions import new_session_id
from tests.support.stores import append, bind, bounds_of, opened_store, state_of

ALICE = "alice"


class Screen:
    """A device that writes at once whatever the log has, and remembers what it showed."""

    def __init__(self, label: str, *, plain: bool = False, renames: bool = True) -> None:
        self.label = label
        self.user_id: str | None = ALICE
        self.plain = plain
        self.renames = renames
        self.subscription: Subscription | None = None
        self.begun: Start | None = None
        self.session_id = ""
        self.shown: list[int] = []
        self.resets: list[Bounds] = []
        self.renamed: list[int] = []
        self.ended: tuple[str, str] | None = None
        self.gone: str | None = None
        self._next = 0

    @property
    def place(self) -> Subscription:
        assert self.subscription is not None, "the device was attached"
        return self.subscription

    def begin(self, subscription: Subscription, start: Start, bounds: Bounds, session: str, presence: Presence) -> None:
        assert self.begun is None, "a device begins once"
        self.begun, self.session_id, self.subscription = start, session, subscription
        self._next = start.offset

    @property
    def caught_up(self) -> bool:
        return self.subscription is not None

    def tell(self, text: bytes) -> bool:
        raise AssertionError("the user's actor leaves talking to others")

    def reset(self, bounds: Bounds, ledger: Ledger) -> None:
        self.resets.append(bounds)
        self.place.reset(bounds, ledger)
        self._next = bounds.low
        self.shown.clear()

    def rename(self, bounds: Bounds, ledger: Ledger, fork: int) -> None:
        self.renamed.append(fork)
        self.place.rename(bounds, ledger, fork)
        self._next = min(self._next, fork + 1)

    def flush(self) -> None:
        outgoing = self.place.pull(1 << 20)
        if outgoing is None:
            return
        if outgoing.first > self._next:
            self._expect(self._next, outgoing.first - 1)
        if outgoing.last >= outgoing.first:
            self._expect(outgoing.first, outgoing.last)
            self.shown.extend(range(outgoing.first, outgoing.last + 1))
        self.place.wrote(outgoing)

    def end(self, name: str, text: str) -> None:
        self.ended = name, text

    def fail(self, error: BaseException) -> None:
        raise error

    def ended_by(self) -> str | None:
        return self.gone

    def describe(self, offset: int, now: float) -> str:
        return self.label

    def _expect(self, first: int, last: int) -> None:
        """Neither a hole nor a repetition."""
        assert first == self._next
        self._next = last + 1


def outcome(reply: Reply[Session]) -> Session | PeerError:
    """Return the answer to an attach, which must be there at once."""
    if reply._error is not None:
        assert isinstance(reply._error, PeerError)
        return reply._error
    assert reply._answer is not None, "an attach is answered in its own step"
    return reply._answer


class Harness:
    """One user with his actor, log and books; what the runtime would do around them is done here in one step."""

    def __init__(self, **limits: int) -> None:
        numbers = itertools.count(1)
        environment = Environment(
            clock=lambda: 0.0, wall_clock=lambda: 0.0, entropy=lambda size: next(numbers).to_bytes(size, "big")
        )
        self.limits = Limits(**limits)
        self.store = opened_store(self.limits, environment)
        bind(self.store, "t1", ALICE)
        self.accounts = Accounts(10, present=self.store.known_bounds)
        self.presence = Presence(self.limits.departures)
        self.presence.view = MemoryView(state_of(self.store), ALICE)
        self.marked = 0
        self.screens: list[Screen] = []
        failures = Failures(10, environment.wall_clock)
        context = UserContext(
            accounts=self.accounts,
            secret=lambda: self.store.secret,
            mark=self._mark,
            limits=self.limits,
            environment=environment,
            failures=failures,
            instruments=Instruments(failures),
        )
        self.actor = UserActor(ALICE, self.presence, context=context)

    def _mark(self, presence: Presence) -> None:
        assert presence is self.presence
        if not presence.marked:
            presence.marked = True
            self.marked += 1

    @property
    def bounds(self) -> Bounds:
        return bounds_of(self.store, ALICE)

    def place(self) -> Receipt:
        """An event comes, and the user is rung."""
        placement = append(self.store, Append("t1", "e", b'{"type":"step"'))
        receipt = Receipt("e", "t1", 0.0, QUEUED, seq=placement.seq)
        self.accounts.accepted += 1
        self.accounts.note_placed(receipt, ALICE, placement.epoch, placement.offset, placement.low, 0.0)
        if self.presence.devices:
            self._mark(self.presence)
        return receipt

    def flush(self) -> None:
        """A round of the flusher."""
        if self.marked:
            self.marked = 0
            self.presence.marked = False
            for device in self.presence.devices:
                device.flush()

    def try_attach(
        self,
        session_id: str | None = None,
        resume: tuple[str, int] | None = None,
        origin: Origin = "unacked",
        *,
        plain: bool = False,
    ) -> tuple[Screen, Session | PeerError]:
        screen, reply = Screen(f"c{len(self.screens) + 1}", plain=plain), Reply[Session]()
        self.screens.append(screen)
        self.actor.handle(Attach(screen, session_id, resume, origin, reply))
        return screen, outcome(reply)

    def attach(self, session_id: str | None = None, resume_at: int | None = None, *, plain: bool = False) -> Screen:
        """A device comes, is let in, and is shown what there is."""
        resume = None if resume_at is None else (self.bounds.epoch, resume_at)
        screen, session = self.try_attach(session_id, resume, plain=plain)
        assert isinstance(session, Session)
        assert session.id == screen.session_id
        self.flush()
        return screen

    def ack(self, screen: Screen, offset: int) -> None:
        self.actor.handle(Acked(screen.place.ledger, screen.place.cursor.ack(offset)))

    def detach(self, screen: Screen, name: str = "left") -> Departure:
        departure = Departure(label=screen.label, name=name, text="why", at=5.0)
        self.actor.handle(Detach(screen, departure))
        return departure


# --- the seam -------------------------------------------------------------------


@attrs.define
class Books:
    """The expectations of a reader of the protocol, as plain sets."""

    acked: set[int] = attrs.field(factory=set)
    written: set[int] = attrs.field(factory=set)
    handed: dict[str, set[int]] = attrs.field(factory=dict)
    """By session: what its newest connection was shown."""
    former: dict[str, set[int]] = attrs.field(factory=dict)
    """By session: what the last connection before it was shown that had not confirmed everything."""

    def first_not_in(self, known: set[int], bounds: Bounds) -> int:
        return next(offset for offset in itertools.count(bounds.low) if offset > bounds.head or offset not in known)

    def ack(self, session_id: str, offset: int, low: int) -> None:
        confirmed = {one for one in self.handed[session_id] if low <= one <= offset}
        self.acked |= confirmed
        self.written |= confirmed

    def resume(self, session_id: str, offset: int, low: int, position: int) -> None:
        """Beyond the newest connection's position, what the former one was shown counts as well."""
        self.ack(session_id, offset, low)
        former = self.former.get(session_id, ())
        confirmed = {one for one in former if max(low, position + 1) <= one <= offset}
        self.acked |= confirmed
        self.written |= confirmed


Step = tuple[str, int, int, int]

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["place", "place", "flush", "attach", "attach", "ack", "detach"]),
        st.integers(0, 5),
        st.integers(0, 5),
        st.integers(0, 5),
    ),
    max_size=50,
)


class Seam:
    """Plays steps against an actor and the books at once."""

    def __init__(self) -> None:
        self.harness = Harness(retained_events=6, connections_per_user=3, sessions_per_user=5)
        self.books = Books()

    @property
    def here(self) -> list[Screen]:
        """The devices that are attached."""
        return [screen for screen in self.harness.screens if screen in self.harness.presence.devices]

    def play(self, step: Step) -> None:
        act, *choices = step
        if act == "place":
            self.harness.place()
        elif act == "flush":
            self.flush()
        elif act == "attach":
            self.attach(*choices)
        elif self.here:
            screen = self.here[choices[0] % len(self.here)]
            if act == "ack":
                self.ack(screen, choices[1])
            else:
                self.harness.detach(screen)

    def flush(self) -> None:
        before = {screen.label: len(screen.shown) for screen in self.here}
        self.harness.flush()
        for screen in self.here:
            shown = screen.shown[before[screen.label] :]
            self.books.written.update(shown)
            self.books.handed[screen.session_id or screen.label].update(shown)

    def ack(self, screen: Screen, back: int) -> None:
        offset = max(screen.place.cursor.position - back, 0)
        self.books.ack(screen.session_id or screen.label, offset, self.harness.bounds.low)
        self.harness.ack(screen, offset)

    def attach(self, who: int, cursor: int, how: int) -> None:
        harness, books, bounds = self.harness, self.books, self.harness.bounds
        plain = how == 4
        sessions = [*harness.presence.sessions, "s_foreign"]
        session_id = None if who == 5 or plain else sessions[-1 - who % len(sessions)]
        known = harness.presence.sessions.get(session_id) if session_id is not None else None
        replaces = known is not None and known.device is not None
        before = None if known is None else known.cursor
        offset = max(bounds.head + 2 - 2 * cursor, 0)
        resume = [None, (bounds.epoch, offset), (bounds.epoch, offset), ("ep_other", offset)][how % 4]
        resume = None if plain else resume
        origins: tuple[Origin, ...] = ("unacked", "low", "head")
        origin = origins[cursor % 3]
        full = len(harness.presence.devices) - replaces >= harness.limits.connections_per_user
        screen, answer = harness.try_attach(session_id, resume, origin, plain=plain)
        if full:
            assert isinstance(answer, PeerError)
            assert screen.begun is None
            return
        assert isinstance(answer, Session)
        assert (answer.id == session_id) == (known is not None)
        if known is not None and resume is not None and resume[0] == bounds.epoch:
            assert before is not None, "a known session has had a connection"
            books.resume(answer.id, offset, bounds.low, before.position)
        unseen = books.first_not_in(books.written if plain else books.acked, bounds)
        assert screen.begun == start(bounds, resume, origin, unseen)
        if before is not None and before.acked < before.position:
            books.former[answer.id] = books.handed[answer.id]
        books.handed[answer.id or screen.label] = set()


@given(STEPS)
def test_the_seam_between_replay_and_live(steps: list[Step]) -> None:
    """A device begins where the cursor's rules say, and from there is shown every offset once, in order, or its gap.

    Whatever events, attaches, confirmations and goodbyes come in between.
    """
    seam = Seam()
    for step in steps:
        seam.play(step)
        presence = seam.harness.presence
        assert len(presence.devices) <= 3
        assert len(presence.sessions) <= 5
    seam.flush()
    bounds = seam.harness.bounds
    for screen in seam.here:
        assert screen.place.cursor.position >= bounds.head, "nothing is left behind"
    account = seam.harness.accounts.users.get(ALICE)
    retained = set(range(bounds.low, bounds.head + 1)) - seam.books.acked
    assert (0 if account is None else account.ledger.retained) == len(retained)
    assert seam.harness.accounts.audit().balanced


def test_placed_between_attach_and_its_first_write() -> None:
    """Events placed after a device attached, and before anything was written to it, come once and in order."""
    harness = Harness()
    harness.place()
    screen, _ = harness.try_attach()
    harness.place()
    harness.flush()
    harness.place()
    harness.flush()
    assert screen.begun == Start("fresh", 1)
    assert screen.shown == [1, 2, 3]


# --- the flusher ----------------------------------------------------------------


def test_attaching_marks() -> None:
    """A device that was let in is marked for the flusher without anybody ringing: it may have a log to catch up."""
    harness = Harness()
    harness.try_attach()
    assert harness.marked == 1


async def test_nothing_waits() -> None:
    """A user's actor never has to wait: to settle is a bug in whoever thinks it does."""
    with pytest.raises(AssertionError, match="nothing to settle"):
        await Harness().actor.settle()


# --- confirmations --------------------------------------------------------------


def test_acked() -> None:
    """A device's acks are in the books, span by span, and nothing between."""
    harness = Harness()
    phone = harness.attach()
    receipts = [harness.place() for _ in range(4)]
    harness.flush()
    harness.actor.handle(Acked(phone.place.ledger, [(1, 1), (3, 4)]))
    assert [receipt.stage for receipt in receipts] == [Stage.ACKED, Stage.WRITTEN, Stage.ACKED, Stage.ACKED]


def test_acked_before_a_reset() -> None:
    """A confirmation of one epoch that comes up behind the reset to another confirms nothing of the other."""
    harness = Harness()
    phone = harness.attach()
    lost = harness.place()
    harness.flush()
    late = Acked(phone.place.ledger, [(1, 1)])
    bounds = state_of(harness.store).fork(ALICE, 0)
    harness.actor.handle(REWOUND)
    receipt = harness.place()
    harness.actor.handle(late)
    assert (receipt.offset, receipt.stage) == (1, Stage.STORED)
    assert (lost.stage, lost.cause) == (Stage.UNCONFIRMED, Cause.LOST)
    assert phone.resets == [bounds]
    assert harness.accounts.audit().balanced


@pytest.mark.parametrize(("offset", "stays"), [(3, True), (2, True), (1, False)])
def test_another_name(offset: int, stays: bool) -> None:
    """A device that has seen nothing of what is lost goes on, and its acks count; one that has begins again."""
    harness = Harness()
    receipts = [harness.place(), harness.place()]
    phone = harness.attach()
    behind = harness.place()
    late = Acked(phone.place.ledger, [(1, 2)])
    state_of(harness.store).fork(ALICE, offset)
    harness.actor.handle(REWOUND)
    harness.actor.handle(late)
    new = harness.place()
    harness.flush()
    assert (len(phone.renamed), len(phone.resets)) == ((1, 0) if stays else (0, 1))
    assert phone.shown == list(range(1, new.position.offset + 1)) if new.position is not None else []
    assert [receipt.stage for receipt in receipts] == [Stage.ACKED, Stage.ACKED if stays else Stage.UNCONFIRMED]
    assert behind.stage is (Stage.WRITTEN if offset == 3 else Stage.DROPPED)
    assert new.stage is Stage.WRITTEN
    harness.ack(phone, offset + 1)
    assert harness.accounts.audit().total.acked == (3 if stays else 2) + (offset == 3)


def test_a_client_from_before_is_reset() -> None:
    """A device that does not know the word is reset, and one without the protocol goes on at the fork."""
    harness = Harness()
    harness.place()
    old, plain = harness.attach(), harness.attach(plain=True)
    old.renames = False
    harness.place()
    harness.flush()
    state_of(harness.store).fork(ALICE, 1)
    harness.actor.handle(REWOUND)
    harness.place()
    harness.flush()
    assert (old.resets, old.shown) == ([Bounds(harness.bounds.epoch, 1, 1, harness.bounds.lineage)], [1, 2])
    assert (plain.resets, plain.shown) == ([], [2, 2])


def test_coming_back_under_another_name() -> None:
    """What a device took before the fork is acked when it comes back after it, and what it had of another event at an
    offset is not."""
    harness = Harness()
    phone = harness.attach()
    kept, lost = harness.place(), harness.place()
    harness.flush()
    epoch = harness.bounds.epoch
    harness.detach(phone)
    state_of(harness.store).fork(ALICE, 1)
    new = harness.place()
    again, _ = harness.try_attach(phone.session_id, (epoch, 1))
    assert again.begun == Start("renamed", 2, fork=1)
    assert (kept.stage, lost.stage, new.stage) == (Stage.ACKED, Stage.UNCONFIRMED, Stage.STORED)
    harness.detach(again)
    beyond, _ = harness.try_attach(phone.session_id, (epoch, 2))
    assert beyond.begun == Start("reset", 1)
    assert new.stage is Stage.STORED


def test_another_epoch_is_looked_at_once() -> None:
    """Devices that find another epoch ask once; an actor that cannot be asked looks after its next message."""
    harness = Harness()

    class Full:
        asked = 0

        def tell(self, message: object) -> None:
            self.asked += 1
            raise trio.WouldBlock

    harness.presence.address = full = Full()  # type: ignore[assignment]
    phone, laptop = harness.attach(), harness.attach()
    state_of(harness.store).fork(ALICE, 0)
    harness.presence.rewind()
    harness.presence.rewind()
    assert (full.asked, phone.renamed) == (1, [])
    harness.detach(laptop)
    assert phone.renamed == [0]


def test_fresh_starts_at_the_first_hole() -> None:
    """A device without a cursor begins at the first offset that no device confirmed, later confirmations or not."""
    harness = Harness()
    phone = harness.attach()
    for _ in range(4):
        harness.place()
    harness.flush()
    harness.actor.handle(Acked(phone.place.ledger, [(1, 1), (3, 3)]))
    assert harness.attach().begun == Start("fresh", 2)


def test_plain_starts_at_the_first_unwritten() -> None:
    """A plain device begins at the first offset that was written to nobody, confirmed or not."""
    harness = Harness()
    harness.attach()
    harness.place()
    harness.flush()
    harness.place()
    plain, _ = harness.try_attach(plain=True)
    assert plain.begun == Start("fresh", 2)


# --- sessions -------------------------------------------------------------------


def test_a_new_session() -> None:
    """A device that names no session gets one of its own."""
    harness = Harness()
    phone, laptop = harness.attach(), harness.attach()
    assert phone.session_id != laptop.session_id
    assert list(harness.presence.sessions) == [phone.session_id, laptop.session_id]


@pytest.mark.parametrize("session_id", ["s_unknown", "", "' or 1=1"])
def test_a_foreign_session(session_id: str) -> None:
    """A session id that is not this user's is worth nothing: the device gets a new one, under another id."""
    harness = Harness()
    screen = harness.attach(session_id)
    assert screen.session_id != session_id
    assert list(harness.presence.sessions) == [screen.session_id]


def test_resuming_confirms_what_the_session_was_shown() -> None:
    """Resuming at N confirms N and what came before; the device goes on behind it."""
    harness = Harness()
    phone = harness.attach()
    receipts = [harness.place() for _ in range(4)]
    harness.flush()
    harness.detach(phone)
    again = harness.attach(phone.session_id, resume_at=2)
    assert again.session_id == phone.session_id
    assert again.begun == Start("replayed", 3)
    assert again.shown == [3, 4]
    stages = [receipt.stage for receipt in receipts]
    assert stages == [Stage.ACKED, Stage.ACKED, Stage.WRITTEN, Stage.WRITTEN]


def test_a_late_hello_takes_nothing_away() -> None:
    """A hello that was long under way takes the place of a newer connection of its session: what that one was shown
    is still confirmed by the cursor that the device comes back with, however often this happens."""
    harness = Harness()
    phone = harness.attach()
    receipts = [harness.place() for _ in range(4)]
    harness.flush()
    harness.attach(phone.session_id, resume_at=0)
    harness.attach(phone.session_id, resume_at=0)
    again = harness.attach(phone.session_id, resume_at=3)
    assert [receipt.stage for receipt in receipts] == [*[Stage.ACKED] * 3, Stage.WRITTEN]
    assert again.begun == Start("replayed", 4)


def test_what_was_said_to_be_gone_is_not_confirmed() -> None:
    """Events that a connection was handed, and that the next one tells its device are gone, stay unacked."""
    harness = Harness(retained_events=1)
    phone = harness.attach()
    receipts = []
    for _ in range(3):
        receipts.append(harness.place())
        harness.flush()
    newer = harness.attach(phone.session_id, resume_at=0)
    assert newer.begun == Start("gap", 3, (1, 2))
    harness.flush()
    harness.attach(phone.session_id, resume_at=3)
    assert [receipt.stage for receipt in receipts] == [Stage.UNCONFIRMED, Stage.UNCONFIRMED, Stage.ACKED]


def test_resuming_confirms_no_more() -> None:
    """A cursor confirms nothing that its session was not shown, however far ahead it claims to be."""
    harness = Harness()
    phone, laptop = harness.attach(), harness.attach()
    first = harness.place()
    harness.flush()
    harness.detach(phone)
    second = harness.place()
    harness.flush()
    assert laptop.shown == [1, 2]
    harness.attach(phone.session_id, resume_at=2)
    assert (first.stage, second.stage) == (Stage.ACKED, Stage.WRITTEN)


def test_another_sessions_cursor_confirms_nothing() -> None:
    """A cursor that comes with a new session only says where to go on."""
    harness = Harness()
    harness.attach()
    receipt = harness.place()
    harness.flush()
    thief = harness.attach("s_unknown", resume_at=1)
    assert thief.begun == Start("replayed", 2)
    assert receipt.stage is Stage.WRITTEN


def test_a_cursor_of_another_epoch_confirms_nothing() -> None:
    """A cursor from another log is a reset: the device begins at the low, and nothing is confirmed."""
    harness = Harness()
    phone = harness.attach()
    receipt = harness.place()
    harness.flush()
    again, answer = harness.try_attach(phone.session_id, ("ep_other", 1))
    assert isinstance(answer, Session)
    assert again.begun == Start("reset", 1)
    assert receipt.stage is Stage.WRITTEN


def test_a_session_has_one_connection() -> None:
    """A second connection of a session ends the first as superseded, takes its place, and goes on from its cursor."""
    harness = Harness()
    older = harness.attach()
    harness.place()
    harness.flush()
    newer = harness.attach(older.session_id, resume_at=1)
    assert older.ended == ("superseded", "another connection of this session took over")
    assert harness.presence.devices == [newer]
    harness.place()
    harness.flush()
    assert (older.shown, newer.shown) == ([1], [2])


@pytest.mark.parametrize("how", ["left", "vanished", "shutting_down"])
def test_a_device_that_has_gone_takes_no_place(how: str) -> None:
    """A connection that had ended by the time its hello was taken supersedes none, and what it resumed at confirms
    nothing."""
    harness = Harness()
    receipt = harness.place()
    older = harness.attach()
    late, reply = Screen("late"), Reply[Session]()
    late.gone = how
    harness.actor.handle(Attach(late, older.session_id, (harness.bounds.epoch, 1), "unacked", reply))
    refused = outcome(reply)
    assert isinstance(refused, PeerError)
    assert refused.name == how
    assert (older.ended, late.begun) == (None, None)
    assert harness.presence.devices == [older]
    assert receipt.stage is Stage.WRITTEN
    harness.place()
    harness.flush()
    assert older.shown == [1, 2]


def test_the_goodbye_of_a_superseded_device() -> None:
    """When a superseded device has gone, its session stays with the newer one, which stays here."""
    harness = Harness()
    older = harness.attach()
    newer = harness.attach(older.session_id)
    harness.detach(older, "superseded")
    assert harness.presence.devices == [newer]
    newest = harness.attach(older.session_id)
    assert newer.ended is not None
    assert harness.presence.devices == [newest]


def test_cap() -> None:
    """One device more than a user may have is refused and gets no session; the others stay, and a place is reused."""
    harness = Harness(connections_per_user=2)
    phone, laptop = harness.attach(), harness.attach()
    extra, answer = harness.try_attach()
    assert isinstance(answer, PeerError)
    assert answer.name == "too_many_devices"
    assert str(answer) == "expected at most 2 connections of one user, this is one more"
    assert extra.begun is None
    assert harness.presence.devices == [phone, laptop]
    assert len(harness.presence.sessions) == 2
    harness.detach(phone)
    assert harness.presence.devices == [laptop, harness.attach()]


def test_replaced_at_the_cap() -> None:
    """At the cap a session may still replace its own connection: who reconnects is not one more."""
    harness = Harness(connections_per_user=2)
    phone, laptop = harness.attach(), harness.attach()
    again = harness.attach(phone.session_id)
    assert phone.ended is not None
    assert laptop.ended is None
    assert harness.presence.devices == [laptop, again]


def test_sessions_are_bounded() -> None:
    """Of the sessions that nobody uses, the one longest without a connection is forgotten first; used ones stay."""
    harness = Harness(sessions_per_user=3)
    stays = harness.attach()
    gone = [harness.attach() for _ in range(2)]
    for screen in gone:
        harness.detach(screen)
    harness.detach(harness.attach(gone[0].session_id))
    fresh = harness.attach()
    assert list(harness.presence.sessions) == [stays.session_id, gone[0].session_id, fresh.session_id]
    for _ in range(10):
        harness.detach(harness.attach())
    assert len(harness.presence.sessions) == 3
    assert {stays.session_id, fresh.session_id} < harness.presence.sessions.keys()


def test_a_forgotten_session_is_known_by_its_signature() -> None:
    """A session that was forgotten goes on, because its id says where it began: what its device has had since then is
    acked, and nothing before."""
    harness = Harness(sessions_per_user=1, connections_per_user=1)
    before = harness.place()
    harness.detach(harness.attach(resume_at=1))
    phone = harness.attach(resume_at=1)
    receipts = [harness.place() for _ in range(2)]
    harness.flush()
    harness.detach(phone)
    harness.detach(harness.attach())
    assert phone.session_id not in harness.presence.sessions
    back = harness.attach(phone.session_id, resume_at=2)
    assert back.session_id == phone.session_id
    assert back.begun == Start("replayed", 3)
    assert [receipt.stage for receipt in (before, *receipts)] == [Stage.WRITTEN, Stage.ACKED, Stage.WRITTEN]


def test_a_session_of_somebody_else_is_a_new_one() -> None:
    """A session that was made for another user, or by another store, or made up, is unknown; its cursor still says
    where to go on, and acks nothing."""
    harness = Harness()
    receipt = harness.place()
    environment = Environment()
    forgeries = [
        new_session_id(harness.store.secret, "bob", 1, environment),
        new_session_id(b"another store's", ALICE, 1, environment),
        "s_000000000000000000000000" + "1_0123456789abcdef01234567",
        "s_",
    ]
    for forgery in forgeries:
        back = harness.attach(forgery, resume_at=1)
        assert back.session_id != forgery
        assert back.begun == Start("replayed", 2)
    assert receipt.stage is Stage.STORED


# --- goodbyes -------------------------------------------------------------------


def test_a_departure_is_remembered() -> None:
    """A device that has gone is written to no more, and leaves word why."""
    harness = Harness()
    phone, laptop = harness.attach(), harness.attach()
    departure = harness.detach(phone, "stalled")
    harness.place()
    harness.flush()
    assert list(harness.presence.departures) == [departure]
    assert harness.presence.devices == [laptop]
    assert (phone.shown, laptop.shown) == ([], [1])
    assert harness.presence.sessions[phone.session_id].device is None


def test_departures_are_bounded() -> None:
    """The last few departures are remembered."""
    harness = Harness(departures=2)
    left = [harness.detach(harness.attach()) for _ in range(3)]
    assert list(harness.presence.departures) == left[1:]


def test_a_refused_device_that_has_gone() -> None:
    """A device that never got a place leaves word like any other, and takes nobody along."""
    harness = Harness(connections_per_user=1)
    phone = harness.attach()
    extra, _ = harness.try_attach()
    departure = harness.detach(extra, "too_many_devices")
    assert harness.presence.devices == [phone]
    assert list(harness.presence.departures) == [departure]
