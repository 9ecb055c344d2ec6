"""The flusher: once per device and tick, and nobody pays for another one's failure."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

from actors.connections.flusher import Flusher
from actors.delivery.bounds import Bounds, Start
from actors.delivery.ledger import Ledger
from actors.delivery.subscription import Subscription
from actors.users.presence import Presence, Subscriber


class Pen:
    """A device that counts what it is asked to write, and does then what it was given to do."""

    def __init__(self, label: str, act: Callable[[], None] | None = None) -> None:
        self.label = label
        self.user_id: str | None = "alice"
        self.plain = False
        self.renames = True
        self.subscription: Subscription | None = None
        self.flushes = 0
        self._act = act

    def begin(self, subscription: Subscription, start: Start, bounds: Bounds, session: str, presence: Presence) -> None:
        raise AssertionError("the flusher places nobody")

    @property
    def caught_up(self) -> bool:
        return True

    def tell(self, text: bytes) -> bool:
        raise AssertionError("the flusher leaves talking to others")

    def reset(self, bounds: Bounds, ledger: Ledger) -> None:
        raise AssertionError("the flusher places nobody")

    def rename(self, bounds: Bounds, ledger: Ledger, fork: int) -> None:
        raise AssertionError("the flusher places nobody")

    def flush(self) -> None:
        self.flushes += 1
        if self._act is not None:
            self._act()

    def end(self, name: str, text: str) -> None:
        raise AssertionError("the flusher ends nobody")

    def fail(self, error: BaseException) -> None:
        raise AssertionError("the flusher leaves that to its owner")

    def ended_by(self) -> str | None:
        return None

    def describe(self, offset: int, now: float) -> str:
        return self.label


def unexpected(device: Subscriber, error: BaseException) -> None:
    raise error


def presence_of(*devices: Pen) -> Presence:
    presence = Presence(8)
    presence.devices.extend(devices)
    return presence


def broken() -> None:
    raise ZeroDivisionError("a bug in a device")


async def test_marks_coalesce(nursery: trio.Nursery) -> None:
    """However often users are marked in a tick, each device of theirs is written to once; others are not."""
    flusher = Flusher(unexpected)
    phone, laptop, bobs, carols = Pen("c1"), Pen("c2"), Pen("c3"), Pen("c4")
    alice, bob, _ = presence_of(phone, laptop), presence_of(bobs), presence_of(carols)
    await nursery.start(flusher.run)
    for _ in range(8):
        flusher.mark(alice)
        flusher.mark(bob)
    assert phone.flushes == 0, "nobody is written to in the marker's own step"
    await wait_all_tasks_blocked()
    assert [pen.flushes for pen in (phone, laptop, bobs, carols)] == [1, 1, 1, 0]
    flusher.mark(bob)
    await wait_all_tasks_blocked()
    assert [pen.flushes for pen in (phone, laptop, bobs, carols)] == [1, 1, 2, 0]
    nursery.cancel_scope.cancel()


async def test_a_window_joins_writes(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """With ``flush_ms`` a device is written to once for all that came in that time, and not before it is over."""
    flusher, pen = Flusher(unexpected, window_ms=5), Pen("c1")
    alice = presence_of(pen)
    await nursery.start(flusher.run)
    for _ in range(4):
        flusher.mark(alice)
        await trio.sleep(0.001)
        assert pen.flushes == 0
    await trio.sleep(0.002)
    assert pen.flushes == 1
    nursery.cancel_scope.cancel()


async def test_marked_before_it_runs(nursery: trio.Nursery) -> None:
    """Users marked before the flusher runs, or during its restart, are written to when it does."""
    flusher, pen = Flusher(unexpected), Pen("c1")
    alice = presence_of(pen)
    flusher.mark(alice)
    await nursery.start(flusher.run)
    await wait_all_tasks_blocked()
    assert pen.flushes == 1
    nursery.cancel_scope.cancel()


async def test_a_failure_costs_the_others_nothing(nursery: trio.Nursery) -> None:
    """A device that fails is reported with its error; its user's other devices and all other users are written to."""
    failed: list[tuple[Subscriber, str]] = []
    flusher = Flusher(lambda device, error: failed.append((device, repr(error))))
    bad, good, bobs = Pen("c1", broken), Pen("c2"), Pen("c3")
    alice, bob = presence_of(bad, good), presence_of(bobs)
    await nursery.start(flusher.run)
    for rounds in (1, 2):
        flusher.mark(alice)
        flusher.mark(bob)
        await wait_all_tasks_blocked()
        assert (good.flushes, bobs.flushes) == (rounds, rounds)
        assert failed == [(bad, "ZeroDivisionError('a bug in a device')")] * rounds
    nursery.cancel_scope.cancel()


async def test_marked_while_flushing(nursery: trio.Nursery) -> None:
    """A user marked in the middle of a round, by itself or by another, is served in the next round and not in this."""
    flusher = Flusher(unexpected)
    rounds: list[str] = []

    def again() -> None:
        rounds.append("alice")
        if len(rounds) == 1:
            flusher.mark(alice)
            flusher.mark(bob)

    alice, bob = presence_of(Pen("c1", again)), presence_of(Pen("c2", lambda: rounds.append("bob")))
    flusher.mark(alice)
    flusher.write_round()
    assert rounds == ["alice"]
    await nursery.start(flusher.run)
    await wait_all_tasks_blocked()
    assert rounds == ["alice", "alice", "bob"]
    nursery.cancel_scope.cancel()


async def test_marked_while_flushing_wakes_the_task(nursery: trio.Nursery) -> None:
    """The task itself comes back for what was marked during its own round, without another ring."""
    flusher = Flusher(unexpected)

    def once_more() -> None:
        if pen.flushes == 1:
            flusher.mark(alice)

    pen = Pen("c1", once_more)
    alice = presence_of(pen)
    await nursery.start(flusher.run)
    flusher.mark(alice)
    await wait_all_tasks_blocked()
    assert pen.flushes == 2
    nursery.cancel_scope.cancel()


def test_a_round_clears_the_marks() -> None:
    """After a round, a user that was marked can be marked anew; one marked during the round, after its turn, stays
    so."""
    flusher = Flusher(unexpected)
    alice = presence_of(Pen("c1"))
    bob = presence_of(Pen("c2", lambda: flusher.mark(alice)))
    flusher.mark(alice)
    flusher.mark(bob)
    flusher.write_round()
    assert (alice.marked, bob.marked, flusher.idle) == (True, False, False)


async def test_a_round_that_breaks_off(nursery: trio.Nursery) -> None:
    """Users whom a round did not come to are written to in the next one, and can be marked again after it."""
    flusher = Flusher(unexpected)
    pens = [Pen("c1", broken), Pen("c2"), Pen("c3")]
    presences = [presence_of(pen) for pen in pens]
    for presence in presences:
        flusher.mark(presence)
    with pytest.raises(ZeroDivisionError):
        flusher.write_round()
    assert not flusher.idle
    await nursery.start(flusher.run)
    await wait_all_tasks_blocked()
    assert [pen.flushes for pen in pens] == [1, 1, 1]
    for presence in presences[1:]:
        flusher.mark(presence)
    await wait_all_tasks_blocked()
    assert [pen.flushes for pen in pens] == [1, 2, 2]
    nursery.cancel_scope.cancel()


def test_nobody_marked() -> None:
    """A round with nobody marked writes to nobody, and a mark is good for one round."""
    flusher, pen = Flusher(unexpected), Pen("c1")
    alice = presence_of(pen)
    flusher.write_round()
    flusher.mark(alice)
    flusher.write_round()
    flusher.write_round()
    assert pen.flushes == 1
