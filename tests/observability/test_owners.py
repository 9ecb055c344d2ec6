"""Owners: who had a thread before, since when that is so, and who else names it."""

from __future__ import annotations

from actors.observability.instrument import OwnerChange
from actors.observability.owners import Dispute, OwnerHistory, Ownership


class World:
    """Owners, and a clock that is set."""

    def __init__(self) -> None:
        self.owners: dict[str, str | None] = {}
        self.now = 0.0
        self.history = OwnerHistory(self.owners.get, lambda: self.now, most=10)

    def note(self, thread_id: str, user_id: str | None) -> None:
        self.owners[thread_id] = user_id
        self.history.note(thread_id, user_id)


def test_the_one_before() -> None:
    """A change is known with the owner before, also across a time without one; the same owner again is no change."""
    world = World()
    assert world.history.of("t1") is None
    for at, user_id in enumerate(("alice", "alice", None, "bob", "bob")):
        world.now = float(at)
        world.note("t1", user_id)
    assert world.history.of("t1") == Ownership(thread_id="t1", user_id="bob", former="alice", at=3.0)


def test_an_owner_from_before_this_process() -> None:
    """The owner that only the store knows is the one before the first change that is noted."""
    world = World()
    world.owners["t1"] = "alice"
    change = OwnerChange(thread_id="t1", act="rebind", user_id="bob")
    world.history.owner_changing(change)
    world.note("t1", "bob")
    world.history.owner_changed(change, None)
    ownership = world.history.of("t1")
    assert ownership is not None
    assert ownership.former == "alice"


def test_what_a_user_has_lost() -> None:
    """The threads that were a user's, the newest change first, but not those that the user has again."""
    world = World()
    for thread_id in ("t1", "t2", "t3"):
        world.note(thread_id, "alice")
    for thread_id, user_id in (("t1", "bob"), ("t3", None), ("t2", "bob"), ("t2", "alice"), ("t3", "bob")):
        world.note(thread_id, user_id)
    assert [one.thread_id for one in world.history.lost_by("alice")] == ["t3", "t1"]


def test_disputes() -> None:
    """A thread that is named for another user is remembered with the last time, until that user has it."""
    world = World()
    world.note("t1", "alice")
    for at in (1.0, 2.0):
        world.now = at
        world.history.disputed("t1", "bob")
    dispute = Dispute(thread_id="t1", user_id="bob", at=2.0, count=2)
    assert list(world.history.disputes(thread_id="t1")) == list(world.history.disputes(user_id="bob")) == [dispute]
    assert list(world.history.disputes(user_id="alice")) == []
    world.note("t1", "bob")
    assert list(world.history.disputes(thread_id="t1")) == []


def test_bounded() -> None:
    """Of very many threads and disputes the newest are known."""
    world = World()
    for number in range(1_000):
        world.note(f"t{number}", "alice")
        world.history.disputed(f"t{number}", "bob")
    assert world.history.of("t999") is not None
    assert world.history.of("t1") is None
    assert repr(world.history) == "<OwnerHistory 10 threads, 10 disputes>"
