"""The possible owners of a thread: certain where callers were told, and never fewer than possible."""

from __future__ import annotations

from actors.testing.owners import Owners


def test_nobody_at_first() -> None:
    """Without a call it has no owner."""
    assert Owners().at(1, 2) == {None}


def test_certain() -> None:
    """A call that was answered before leaves one possibility."""
    owners = Owners()
    owners.end(owners.begin("alice", 1), 2, happened=True)
    assert owners.at(3, 4) == {"alice"}
    owners.end(owners.begin("bob", 5), 6, happened=True)
    assert owners.at(3, 4) == {"alice"}
    assert owners.at(7, 8) == {"bob"}


def test_at_the_same_time() -> None:
    """While a call lasts, both are possible."""
    owners = Owners()
    owners.end(owners.begin("alice", 1), 2, happened=True)
    owners.end(owners.begin("bob", 5), 9, happened=True)
    assert owners.at(6, 7) == {"alice", "bob"}


def test_refused() -> None:
    """A call that was refused changes nothing."""
    owners = Owners()
    owners.end(owners.begin("alice", 1), 2, happened=False)
    assert owners.at(3, 4) == {None}


def test_cut_short() -> None:
    """A call that was cancelled may be carried out at any time, until it is known that it cannot be any more."""
    owners = Owners()
    owners.end(owners.begin("alice", 1), 2, happened=True)
    act = owners.begin("bob", 3)
    owners.end(act, 4, happened=None)
    assert owners.at(50, 51) == {"alice", "bob"}
    act.pending = lambda: False
    owners.look(52)
    owners.end(owners.begin("carol", 60), 61, happened=True)
    assert owners.at(70, 71) == {"carol"}


def test_held_for_the_next_owner() -> None:
    """An event accepted while a thread had no owner goes to its next owner, and to no later one."""
    owners = Owners()
    owners.end(owners.begin("alice", 10), 12, happened=True)
    owners.end(owners.begin("bob", 20), 22, happened=True)
    assert owners.after(1, 2) == {None, "alice"}
