"""What is in threads is found by thread and by owner, whatever moves."""

from __future__ import annotations

import random

from actors.runs.thread_index import ThreadIndex


def test_by_thread_and_by_owner() -> None:
    """Things are found oldest first, under the current owner of their thread."""
    owners: dict[str, str | None] = {"t1": "alice", "t2": "alice", "t3": None}
    things: ThreadIndex[str] = ThreadIndex(owners.get)
    for thread_id, thing in (("t1", "a"), ("t2", "b"), ("t1", "c"), ("t3", "d")):
        things.add(thread_id, thing)
    assert things.of("alice") == ["a", "b", "c"]
    assert things.of("bob") == []
    assert things.in_thread("t1") == ("a", "c")
    things.move("t1", "bob")
    things.move("t3", "bob")
    things.move("elsewhere", "bob")
    assert (things.of("alice"), things.of("bob")) == (["b"], ["a", "c", "d"])
    assert things.belongs("t1", "a", "bob")
    assert not things.belongs("t1", "a", "alice")
    things.move("t1", None)
    assert (things.of("bob"), things.owner("t1")) == (["d"], None)


def test_nothing_is_left_of_what_is_removed() -> None:
    """Whatever comes, moves and goes, in whatever order: in the end there is nothing, and in between what there is."""
    dice = random.Random(7)
    owners: dict[str, str | None] = {}
    things: ThreadIndex[int] = ThreadIndex(owners.get)
    here: dict[int, str] = {}
    for number in range(3_000):
        thread_id = f"t{dice.randrange(5)}"
        match dice.randrange(3):
            case 0:
                things.add(thread_id, number)
                here[number] = thread_id
            case 1:
                owners[thread_id] = dice.choice(["alice", "bob", None])
                things.move(thread_id, owners[thread_id])
            case _ if here:
                gone = dice.choice(list(here))
                things.remove(here.pop(gone), gone)
        for user_id in ("alice", "bob"):
            assert things.of(user_id) == [one for one, where in here.items() if owners.get(where) == user_id]
    for thing, thread_id in here.items():
        things.remove(thread_id, thing)
        things.remove(thread_id, thing)
    assert len(things) == 0
    assert not things._owners
    assert not things._users
