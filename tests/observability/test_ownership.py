"""Ownerships: who had a thread before, and since when that is so."""

from __future__ import annotations

from actors.observability.ownership import Ownership, Ownerships


def test_the_one_before() -> None:
    """A change is known with the owner before, also across a time without one; the same owner again is no change."""
    now = 0.0
    ownerships = Ownerships(10, wall_clock=lambda: now)
    assert ownerships.of("t1") is None
    for at, user_id in enumerate(("alice", "alice", None, "bob", "bob")):
        now = float(at)
        ownerships.note("t1", user_id)
    assert ownerships.of("t1") == Ownership(user_id="bob", former="alice", at=3.0)


def test_bounded() -> None:
    """Of very many threads the newest are known."""
    ownerships = Ownerships(10, wall_clock=lambda: 0.0)
    for number in range(1_000):
        ownerships.note(f"t{number}", "alice")
    assert ownerships.of("t999") is not None
    assert ownerships.of("t1") is None
    assert repr(ownerships) == "<Ownerships 10>"
