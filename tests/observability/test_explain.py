"""What ``explain`` says: where an event is, step by step, and why."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from actors.connections.actor import Connection
from actors.connections.context import ConnectionContext
from actors.delivery.accounts import LOST, Accounts
from actors.environment import Environment
from actors.events.states import QUEUED, Queued
from actors.kernel.failures import Failure, Failures
from actors.kernel.mailbox import Mailbox
from actors.kernel.signals import Reply
from actors.limits import Limits
from actors.observability.explain import Surroundings, fate_of, forgotten
from actors.observability.instrument import Instruments
from actors.observability.owners import OwnerHistory
from actors.observability.refusals import Refusal, Refusals
from actors.receipts import Receipt
from actors.stages import Cause
from actors.stores.memory import MemoryView
from actors.stores.store import Append
from actors.users.actor import UserActor
from actors.users.context import UserContext
from actors.users.presence import Acked, Attach, Departure, Detach, Presence, Session, UserMessage
from actors.wire.readiness import Readiness
from actors.wire.traffic import Traffic
from tests.support.served import context_of
from tests.support.stores import append, bind, bounds_of, opened_store, state_of

AT = datetime(2026, 3, 1, 14, 2, 11).timestamp()
"""On the reader's own clock, as in the sentence."""

ALICE = "alice"


def receipt_of(event_id: str = "e1", seq: int | None = None) -> Receipt:
    return Receipt(event_id, "t1", AT, QUEUED, seq)


def said(receipt: Receipt, accounts: Accounts, **around: Any) -> str:
    """The sentence, without its beginning."""
    fate = fate_of(receipt, accounts, Surroundings(**around), 0.0)
    assert fate.receipt is receipt
    assert fate.known
    first, arrow, rest = str(fate).partition(" → ")
    assert (first, arrow) == ("accepted 14:02:11", " → ")
    return rest


async def _nothing_is_asked(request: object, user_id: str, session_id: str) -> bytes:
    raise AssertionError("nobody asks for anything here")


class Socket:
    """An endpoint that takes everything, or nothing."""

    peer = "test"
    carrier = None
    has_read_ahead = False

    def __init__(self) -> None:
        self.takes = True

    def send(self, data: bytes | bytearray | memoryview) -> int:
        return len(data) if self.takes else 0

    def fileno(self) -> int:
        return -1

    def pending_bytes(self) -> int:
        return 0

    def receive(self, most_bytes: int) -> bytes | None:
        return None

    def receive_ahead(self, most_bytes: int) -> bytes | None:
        return None

    async def wait_writable(self) -> None:
        await trio.sleep_forever()

    async def wait_readable(self) -> None:
        await trio.sleep_forever()

    def finish(self) -> None:
        """Nobody reads it."""

    def close(self) -> None:
        """Nobody reads it."""

    def abort(self) -> None:
        """Nobody reads it."""


class Harness:
    """Alice with her log, her books and her devices: real connections, over sockets that do as the test says."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.limits = Limits()
        environment = Environment(wall_clock=lambda: AT)
        self.store = opened_store(self.limits, environment)
        bind(self.store, "t1", ALICE)
        self.accounts = Accounts(10)
        self.presence = Presence(8)
        self.presence.view = MemoryView(state_of(self.store), ALICE)
        self.pinged: dict[Connection, float] = {}
        failures = Failures(10, environment.wall_clock)
        instruments = Instruments(failures)
        context = UserContext(
            accounts=self.accounts,
            secret=lambda: self.store.secret,
            mark=lambda _: None,
            limits=self.limits,
            environment=environment,
            failures=failures,
            instruments=instruments,
        )
        self.actor = UserActor(ALICE, self.presence, context=context)
        self._context = ConnectionContext(
            limits=self.limits,
            environment=environment,
            failures=failures,
            instruments=instruments,
            follow=self._follow,
            mark=lambda _: None,
            pending=lambda *_: [],
            answer=_nothing_is_asked,
            hear=lambda *_: None,
            forget=lambda _: None,
            readiness=Readiness(),
            heard_at=lambda _: 0.0,
            pinged_at=self.pinged.get,
            traffic=Traffic(),
        )

    async def _follow(self, user_id: str) -> Mailbox[UserMessage]:
        raise AssertionError("these connections have a place already")

    def device(self, label: str, *, plain: bool = False) -> tuple[Connection, Socket]:
        """A connection that has not said hello."""
        socket = Socket()
        connection = Connection(label, socket, context=self._context, tasks=self._nursery)
        connection.plain, connection.user_id = plain, ALICE
        return connection, socket

    def attach(self, label: str, *, plain: bool = False) -> tuple[Connection, Socket]:
        connection, socket = self.device(label, plain=plain)
        self.actor.handle(Attach(connection, None, None, "unacked", Reply[Session]()))
        connection.flush()
        return connection, socket

    def place(self) -> Receipt:
        placement = append(self.store, Append("t1", "e", b'{"type":"step"'))
        receipt = receipt_of(f"e{placement.seq}", placement.seq)
        self.accounts.accepted += 1
        self.accounts.note_placed(receipt, ALICE, placement.epoch, placement.offset, placement.low, 0.0)
        for device in self.presence.devices:
            device.flush()
        return receipt

    def ack(self, connection: Connection, offset: int) -> None:
        subscription = connection.subscription
        assert subscription is not None
        self.actor.handle(Acked(subscription.ledger, subscription.ack(offset)))

    def explain(self, receipt: Receipt) -> str:
        return str(fate_of(receipt, self.accounts, Surroundings(presence=self.presence), trio.current_time())).split(
            " → ", 4
        )[4]


# --- each stage -----------------------------------------------------------------


def test_forgotten() -> None:
    """An event beyond memory is said to be that, and nothing is guessed."""
    fate = forgotten("e_9")
    assert str(fate) == "e_9: forgotten, or never accepted here"
    assert (fate.event_id, fate.receipt, fate.known) == ("e_9", None, False)


def test_queued() -> None:
    """An event that waits for its thread has a thread and no number yet."""
    receipt = receipt_of()
    receipt.move(Queued(), 0)
    assert said(receipt, Accounts(10)) == "thread t1 → queued for the store"


def test_held() -> None:
    """An event without an owner is held, and counted among those held with it now."""
    accounts = Accounts(10)
    receipts = [receipt_of(f"e{seq}", seq) for seq in range(1, 6)]
    for seq, receipt in enumerate(receipts, 1):
        accounts.hold(receipt, seq, 0.0)
    accounts.shed("t1", 1, 2, Cause.UNBOUND_OVERFLOW, 0.0)
    assert said(receipts[2], accounts) == "thread t1, seq 3 → held, 1 of 3, until the thread is bound to a user"
    assert said(receipts[4], accounts) == "thread t1, seq 5 → held, 3 of 3, until the thread is bound to a user"
    sentence = "its thread had no owner, and its hold was full"
    assert said(receipts[0], accounts) == f"thread t1, seq 1 → dropped (unbound_overflow): {sentence}"


def test_placed() -> None:
    """An event in its owner's log is followed to each stage there; what left the log asks for no device."""
    accounts = Accounts(10)
    receipts = [receipt_of(f"e{seq}", seq) for seq in (1, 2, 3, 4)]
    for offset, receipt in enumerate(receipts, 41):
        accounts.note_placed(receipt, ALICE, "ep", offset, 41, 0.0)
    ledger = accounts.users[ALICE].ledger
    ledger.write(42, 43)
    ledger.ack(43, 43)
    nobody = "no device of alice is here, or was lately"
    owner = "owner alice → offset"
    stored, written, acked, dropped = receipts
    assert said(stored, accounts) == (
        f"thread t1, seq 1 → {owner} 41 → stored, not written to any device yet → {nobody}"
    )
    assert said(written, accounts) == f"thread t1, seq 2 → {owner} 42 → written to a device → {nobody}"
    assert said(acked, accounts) == f"thread t1, seq 3 → {owner} 43 → acked by a device → {nobody}"
    accounts.trim(ALICE, 45, Cause.RETENTION, 0.0)
    unconfirmed = "written, and left the log before any device confirmed it"
    assert said(written, accounts) == f"thread t1, seq 2 → {owner} 42 → {unconfirmed}"
    assert said(acked, accounts) == f"thread t1, seq 3 → {owner} 43 → acked by a device → {nobody}"
    never = "dropped (retention): left the log before any socket took it"
    assert said(dropped, accounts) == f"thread t1, seq 4 → {owner} 44 → {never}"


CAUSES = {
    "retention": "left the log before any socket took it",
    "unbound_overflow": "its thread had no owner, and its hold was full",
    "unbound_expired": "its thread had no owner for as long as a hold lasts",
    "owner_changed": "its owner lost the thread before it was placed",
    "conflict": "its id already named another event of the thread",
    "not_the_owner": "it was emitted for a user who does not own the thread",
    "crashed": "its thread's actor crashed with it in hand",
    "lost": "the store lost it, and the log goes on in another epoch",
    "quarantined": "its thread was taken out of service before the store had it",
    "run_over": "its run had ended by the time it came to the store",
    "damaged": "the store can no longer read it",
    "trouble": "the store could not store, and took nothing meanwhile",
    "shutdown": "the runtime closed before it was written",
}


@pytest.mark.parametrize("cause", Cause)
def test_dropped(cause: Cause) -> None:
    """Whatever an event was dropped for, explain names the cause and says what it means."""
    receipt = receipt_of()
    receipt.move(LOST[cause], 0)
    assert said(receipt, Accounts(10)) == f"thread t1 → dropped ({cause}): {CAUSES[cause]}"


# --- devices --------------------------------------------------------------------


async def test_devices(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Each device that is here is named, with how far it has come and what its socket does."""
    home = Harness(nursery)
    confirms, _ = home.attach("c1")
    home.attach("c2")
    _, stuck = home.attach("c3")
    home.attach("c4", plain=True)
    receipts = [home.place()]
    stuck.takes = False
    receipts += [home.place() for _ in range(3)]
    home.ack(confirms, 2)
    await trio.sleep(3.125)
    plain = "c4 written (a plain client, which does not confirm)"
    stalled = "c3 3 behind, its socket took nothing for 3.1 s (36 bytes wait)"
    waits = "c2 written, not confirmed yet"
    assert [home.explain(receipt) for receipt in receipts] == [
        f"acked by a device → 4 devices: c1 acked; {waits}; c3 written, not confirmed yet; {plain}",
        f"acked by a device → 4 devices: c1 acked; {waits}; {stalled}; {plain}",
        f"written to a device → 4 devices: c1 written, not confirmed yet; {waits}; {stalled}; {plain}",
        f"written to a device → 4 devices: c1 written, not confirmed yet; {waits}; {stalled}; {plain}",
    ]
    nursery.cancel_scope.cancel()


async def test_a_device_behind(nursery: trio.Nursery) -> None:
    """A device that was not written to yet is behind by what the log has and it has not."""
    home = Harness(nursery)
    home.place()
    device, _ = home.device("c1")
    home.actor.handle(Attach(device, None, None, "unacked", Reply[Session]()))
    receipt = receipt_of("e2", 2)
    home.accounts.note_placed(receipt, ALICE, bounds_of(home.store, ALICE).epoch, 2, 1, 0.0)
    assert home.explain(receipt) == "stored, not written to any device yet → 1 device: c1 2 behind"


async def test_a_device_that_began_after_it(nursery: trio.Nursery) -> None:
    """A device that was never to be sent an event is not said to have it, whatever others have done with it."""
    home = Harness(nursery)
    first = home.place()
    device, _ = home.device("c1")
    home.actor.handle(Attach(device, None, None, "head", Reply[Session]()))
    device.flush()
    second = home.place()
    assert home.explain(first) == "stored, not written to any device yet → 1 device: c1 began after it"
    assert home.explain(second) == "written to a device → 1 device: c1 written, not confirmed yet"


async def test_a_device_saying_hello(nursery: trio.Nursery) -> None:
    """A device without a place in the log yet is said to be just that."""
    home = Harness(nursery)
    device, _ = home.device("c1")
    home.presence.devices.append(device)
    receipt = home.place()
    assert home.explain(receipt) == "stored, not written to any device yet → 1 device: c1 is saying hello"


def departure(label: str, name: str = "left", at: float = AT + 60, **more: Any) -> Departure:
    return Departure(label=label, name=name, text="its socket took nothing", at=at, **more)


async def test_devices_that_have_gone(nursery: trio.Nursery) -> None:
    """When no device is here, the last ones that were are named, newest first, each with the time and the reason of its
    going, and whether it had the event; one that went before the event was there is said to have."""
    home = Harness(nursery)
    home.actor.handle(Detach(home.device("c0")[0], departure("c0", at=AT - 60)))
    receipt = home.place()
    await trio.lowlevel.checkpoint()
    for label, name in (("c1", "left"), ("c2", "stalled")):
        device, _ = home.attach(label)
        assert device.subscription is not None
        if label == "c1":
            home.ack(device, 1)
        where: dict[str, Any] = {"epoch": device.subscription.ledger.epoch, "cursor": device.subscription.cursor}
        home.actor.handle(Detach(device, departure(label, name, **where)))
    went = "went at 14:03:11"
    assert home.explain(receipt) == (
        f"acked by a device → no device is here; the last, c2, {went} (stalled: its socket took nothing), and had begun"
        " after it;"
        f" c1 {went} (left: its socket took nothing), and had acked the event;"
        " c0 went at 14:01:11 (left: its socket took nothing), before the event was there"
    )
    home.actor.handle(Detach(home.device("c3")[0], departure("c3")))
    assert home.explain(receipt).endswith("and had acked the event; and 1 before")
    home.attach("c4")
    assert home.explain(receipt) == "acked by a device → 1 device: c4 began after it"


async def test_a_device_that_is_silent(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A device that has not answered a ping is said to be silent, and for how long, but for what it has acked."""
    home = Harness(nursery)
    device, _ = home.attach("c1")
    receipt = home.place()
    await trio.sleep(15)
    home.pinged[device] = trio.current_time()
    await trio.sleep(4)
    assert home.explain(receipt) == (
        "written to a device → 1 device: c1 written, not confirmed yet, silent for 19 s: no answer to a ping in 4 s"
    )
    home.ack(device, 1)
    assert home.explain(receipt) == "acked by a device → 1 device: c1 acked"


# --- who was not let in -----------------------------------------------------------


def refused(at: float, user_id: str | None, peer: str = "10.0.0.7:1") -> Refusal:
    return Refusal(peer=peer, source="hello", reason="its token has expired", at=at, user_id=user_id)


def test_an_expired_token() -> None:
    """Where no device is here, explain says of the user's last refused one when that was, and why; where it is not
    known whose credentials were refused, how many, and that they came from where the last device had come."""
    accounts, presence, refusals = Accounts(10), Presence(8), Refusals(context_of(lambda: 0.0))
    receipt = receipt_of("e1", 1)
    accounts.note_placed(receipt, ALICE, "ep", 1, 1, 0.0)
    around: dict[str, Any] = {"presence": presence, "refusals": refusals}
    assert said(receipt, accounts, **around).endswith("no device of alice is here, or was lately")
    refusals.note(refused(AT - 1, None))
    assert "refused" not in said(receipt, accounts, **around)
    refusals.note(refused(AT + 1, None))
    assert said(receipt, accounts, **around).endswith(
        "lately; since then a client was refused for credentials, at 14:02:12: its token has expired"
    )
    presence.remember(departure("c1", at=AT + 1, peer="10.0.0.7:99"))
    refusals.note(refused(AT + 2, "bob"))
    refusals.note(refused(AT + 3, None, "10.0.0.8:1"))
    assert said(receipt, accounts, **around).endswith(
        "since then 2 clients were refused, from where c1 had come, for credentials, the last at 14:02:14: its token"
        " has expired"
    )
    refusals.note(refused(AT + 4, ALICE))
    assert said(receipt, accounts, **around).endswith(
        "a device of alice was refused at 14:02:15, from 10.0.0.7:1: its token has expired"
    )


# --- owners -----------------------------------------------------------------------


def test_a_thread_that_has_changed_hands() -> None:
    """Of a thread that had another owner before, or has one now, explain says which, and since when."""
    accounts, receipt = Accounts(10), receipt_of("e1", 1)
    accounts.note_placed(receipt, ALICE, "ep", 1, 1, 0.0)
    ownerships = OwnerHistory(lambda thread_id: None, lambda: AT, most=10)
    for user_id, expected in (
        (ALICE, "owner alice → offset 1"),
        ("bob", "owner alice (then; the thread has the owner bob since 14:02:11) → offset 1"),
        (None, "owner alice (then; the thread has no owner since 14:02:11) → offset 1"),
        (ALICE, "owner alice (since 14:02:11; before that bob) → offset 1"),
    ):
        ownerships.note("t1", user_id)
        ownerships.note("t1", user_id)
        assert expected in said(receipt, accounts, ownership=ownerships.of("t1"))


# --- quarantine -----------------------------------------------------------------


FAILURE = Failure(path="users/alice", handling="Attach", error="ValueError: cannot", traceback="", at=AT)


def test_a_quarantined_owner() -> None:
    """An event that still waits for an owner who is out of service says so, since when, for what failure, and what to
    do, before it says that no device is here; one that waits for nobody any more does not."""
    accounts = Accounts(10)
    waiting, gone = receipt_of("e1", 1), receipt_of("e2", 2)
    accounts.note_placed(gone, ALICE, "ep", 1, 1, 0.0)
    accounts.trim(ALICE, 2, Cause.RETENTION, 0.0)
    accounts.note_placed(waiting, ALICE, "ep", 2, 2, 0.0)
    around: dict[str, Any] = {"presence": Presence(8), "owner_failure": FAILURE}
    assert said(waiting, accounts, **around).endswith(
        "stored, not written to any device yet → owner alice is out of service since 14:02:11, until 'actors release"
        " users/alice': it crashed again and again, the last time with ValueError: cannot"
        " → no device of alice is here, or was lately"
    )
    assert "out of service" not in said(gone, accounts, **around)


def test_a_quarantined_thread() -> None:
    """An event on its way in a thread that is out of service says so, and one that is in a log does not."""
    failure = attrs.evolve(FAILURE, path="threads/t1")
    accounts, queued, placed, lost = Accounts(10), receipt_of(), receipt_of("e2", 2), receipt_of("e3")
    queued.move(Queued(), 0)
    accounts.note_placed(placed, ALICE, "ep", 1, 1, 0.0)
    lost.move(LOST[Cause.QUARANTINED], 0)
    out = "thread t1 is out of service since 14:02:11, until 'actors release threads/t1': it crashed again and again"
    assert out in said(queued, accounts, thread_failure=failure)
    assert out in said(lost, accounts, thread_failure=failure)
    assert out not in said(placed, accounts, thread_failure=failure)


def test_a_crash_with_an_event_in_hand() -> None:
    """An event that was lost in a crash says which, where that is remembered."""
    lost = receipt_of()
    lost.move(LOST[Cause.CRASHED], 0)
    assert said(lost, Accounts(10), last_failure=FAILURE).endswith(
        f"{CAUSES['crashed']} → the last failure of thread t1, at 14:02:11: ValueError: cannot"
    )


def test_a_thread_that_is_about_to_be_started_again() -> None:
    """An event that waits while its thread's actor is being started again says when that crashed, and for what."""
    queued = receipt_of()
    queued.move(Queued(), 0)
    assert said(queued, Accounts(10), restarting=FAILURE).endswith(
        "queued for the store → its thread's actor crashed at 14:02:11 (ValueError: cannot), and is about to be started"
        " again"
    )
