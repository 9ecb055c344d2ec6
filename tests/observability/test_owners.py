"""The history of owners: who lost a thread, and who is refused one."""

from __future__ import annotations

import pytest

from actors.errors import NotTheOwner
from actors.observability.instrument import OwnerAct, OwnerChange
from actors.observability.owners import OwnerHistory


class Threads:
    """A history, the owners as the store has them, and a clock."""

    def __init__(self, most: int = 10) -> None:
        self.owners: dict[str, str | None] = {}
        self.now = 0.0
        self.history = OwnerHistory(self.owners.get, lambda: self.now, most=most)

    def change(
        self, thread_id: str, user_id: str | None, *, act: OwnerAct = "rebind", error: Exception | None = None
    ) -> None:
        """Change an owner, as the runtime does, or fail to."""
        change = OwnerChange(thread_id=thread_id, act=act, user_id=user_id)
        self.history.owner_changing(change)
        if error is None:
            self.owners[thread_id] = user_id
        self.history.owner_changed(change, error)
        self.now += 1


def test_who_lost_a_thread() -> None:
    """The newest loss of each thread is told, as long as the user does not have it again."""
    threads = Threads()
    threads.change("t1", "alice")
    threads.change("t1", "bob")
    threads.change("t2", "alice")
    threads.change("t2", None)
    assert [(one.thread_id, one.user_id, one.at) for one in threads.history.lost_by("alice")] == [
        ("t2", None, 3.0), ("t1", "bob", 1.0),
    ]  # fmt: skip
    threads.change("t1", "alice")
    assert [one.thread_id for one in threads.history.lost_by("alice")] == ["t2"]
    last = threads.history.last_of("t1")
    assert last is not None
    assert (last.former, last.user_id) == ("bob", "alice")
    assert threads.history.last_of("t9") is None


def test_what_did_not_happen() -> None:
    """A change that was refused, and one to the same owner, are none."""
    threads = Threads()
    threads.change("t1", "alice")
    threads.change("t1", "bob", act="bind", error=NotTheOwner("it is alice's"))
    threads.change("t1", "alice", act="bind")
    assert list(threads.history.lost_by("alice")) == []
    assert list(threads.history.lost_by("bob")) == []


def test_disputes() -> None:
    """The newest comes first, counted; one that is settled by now, or about a thread without an owner, is none."""
    threads = Threads()
    threads.owners |= {"t1": "bob", "t2": "bob", "t3": None}
    for thread_id in ("t1", "t2", "t3", "t1"):
        threads.now += 1
        threads.history.disputed(thread_id, "alice")
    found = list(threads.history.disputes(user_id="alice"))
    assert [(one.thread_id, one.count, one.at) for one in found] == [("t1", 2, 4.0), ("t2", 1, 2.0)]
    assert [one.user_id for one in threads.history.disputes(thread_id="t2")] == ["alice"]
    assert list(threads.history.disputes(user_id="carol")) == []
    threads.owners["t1"] = "alice"
    assert [one.thread_id for one in threads.history.disputes(user_id="alice")] == ["t2"]


@pytest.mark.parametrize("most", [1, 5])
def test_it_is_bounded(most: int) -> None:
    """Of more changes and disputes than that, the oldest are forgotten."""
    threads = Threads(most)
    for number in range(10):
        threads.owners[f"d{number}"] = "bob"
        threads.history.disputed(f"d{number}", "alice")
        threads.change(f"t{number}", "alice")
        threads.change(f"t{number}", "bob")
    assert len(list(threads.history.disputes(user_id="alice"))) == most
    assert len(list(threads.history.lost_by("alice"))) == (most + 1) // 2
