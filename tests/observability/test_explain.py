"""What ``explain`` says: where an event is, step by step, and why."""

from __future__ import annotations

from datetime import datetime

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
from actors.observability.explain import fate_of, forgotten
from actors.observability.instrument import Instruments
from actors.receipts import Receipt
from actors.stages import Cause
from actors.stores.memory import MemoryView
from actors.stores.store import Append
from actors.users.actor import UserActor
from actors.users.context import UserContext
from actors.users.presence import Acked, Attach, Departure, Detach, Presence, Session, UserMessage
from actors.wire.readiness import Readiness
from actors.wire.traffic import Traffic
from tests.support.stores import append, bind, bounds_of, opened_store, state_of

AT = datetime(2026, 3, 1, 14, 2, 11).timestamp()
"""On the reader's own clock, as in the sentence."""

ALICE = "alice"


def receipt_of(event_id: str = "e1", seq: int | None = None) -> Receipt:
    return Receipt(event_id, "t1", AT, QUEUED, seq)


def said(
    receipt: Receipt, accounts: Accounts, presence: Presence | None = None, quarantine: Failure | None = None
) -> str:
    """The sentence, without its beginning."""
    fate = fate_of(receipt, accounts, presence, quarantine, 0.0)
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
        return str(fate_of(receipt, self.accounts, self.presence, None, trio.current_time())).split(" → ", 4)[4]


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
    stalled = "c3 3 behind, its socket took nothing for 3.1 s"
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


async def test_a_device_that_has_gone(nursery: trio.Nursery) -> None:
    """When no device is here, the last one that was is named, with the time and the reason of its going."""
    home = Harness(nursery)
    receipt = home.place()
    for label, name in (("c1", "left"), ("c2", "stalled")):
        device, _ = home.attach(label)
        home.actor.handle(Detach(device, Departure(label=label, name=name, text="its socket took nothing", at=AT + 60)))
    last = "no device is here; the last, c2, went at 14:03:11 (stalled: its socket took nothing)"
    assert home.explain(receipt) == f"written to a device → {last}"
    device, _ = home.attach("c3")
    assert home.explain(receipt) == "written to a device → 1 device: c3 written, not confirmed yet"


# --- quarantine -----------------------------------------------------------------


def test_a_quarantined_owner() -> None:
    """An event that still waits for an owner who is out of service says so, and for what failure; one that waits for
    nobody any more does not."""
    accounts, failure = (
        Accounts(10),
        Failure(path="users/alice", handling="Attach", error="ValueError: cannot", traceback="", at=AT),
    )
    waiting, gone = receipt_of("e1", 1), receipt_of("e2", 2)
    accounts.note_placed(gone, ALICE, "ep", 1, 1, 0.0)
    accounts.trim(ALICE, 2, Cause.RETENTION, 0.0)
    accounts.note_placed(waiting, ALICE, "ep", 2, 2, 0.0)
    assert said(waiting, accounts, Presence(8), failure).endswith(
        "stored, not written to any device yet → no device of alice is here, or was lately "
        "→ owner alice is out of service: ValueError: cannot"
    )
    assert "out of service" not in said(gone, accounts, Presence(8), failure)
