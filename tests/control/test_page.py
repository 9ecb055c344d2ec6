"""The tree by page: what is shown, in which order, and that no more is looked at."""

from __future__ import annotations

from typing import Any

import pytest

import actors
from actors.control import page
from actors.control.evidence import ledger_of
from actors.control.page import MOST_USERS, tree, users_of
from tests.support.served import served


async def test_a_user_of_the_tree() -> None:
    """A user has devices, threads and runs, and how far the log is acked."""
    async with served() as server, server.peer() as peer:
        await peer.attach("alice")
        await server.emit(2)
        async with server.runtime.thread("thread-of-alice").run("assistant", run_id="r1"):
            (user,) = tree(server.runtime).users
        assert (user.user_id, user.low, user.head, user.unacked) == ("alice", 1, 3, 3)
        assert [one.label for one in user.devices] == ["c1"]
        assert [one.thread_id for one in user.threads] == ["thread-of-alice"]
        assert [(one.run_id, one.agent_name, one.state) for one in user.runs] == [("r1", "assistant", "active")]
        assert (user.away, user.quarantined) == (None, None)


async def test_a_user_who_left() -> None:
    """The last device and the reason stand where there is none."""
    async with served() as server:
        async with server.peer() as peer:
            await peer.attach("alice")
            await peer.leave()
        await server.gone()
        (user,) = tree(server.runtime).users
        assert user.away is not None
        assert user.away.endswith("(left: the device said goodbye (1000))")


async def test_pages() -> None:
    """Each page begins after the last name of the one before; the last has no next one, and no page is too long."""
    async with actors.open_runtime() as runtime:
        names = [f"u{number:03}" for number in range(MOST_USERS + 50)]
        for name in reversed(names):
            await runtime.thread(f"t-{name}").emit("x", {}, user_id=name)
        first = tree(runtime, limit=MOST_USERS * 2)
        assert [one.user_id for one in first.users] == names[:MOST_USERS]
        assert (first.total, first.after) == (len(names), names[MOST_USERS - 1])
        last = tree(runtime, first.after)
        assert [one.user_id for one in last.users] == names[MOST_USERS:]
        assert (last.after, users_of(runtime)) == (None, set(names))
        found = tree(runtime, prefix="u00", limit=3)
        assert ([one.user_id for one in found.users], found.total) == (["u000", "u001", "u002"], 10)


async def test_of_the_others_nothing_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of two users looks into the books of two."""
    looked: list[str] = []

    def counting(runtime: actors.Runtime, user_id: str) -> Any:
        looked.append(user_id)
        return ledger_of(runtime, user_id)

    monkeypatch.setattr(page, "ledger_of", counting)
    async with actors.open_runtime() as runtime:
        for name in ("carol", "alice", "bob", "dave"):
            await runtime.thread(f"t-{name}").emit("x", {}, user_id=name)
        tree(runtime, limit=2)
        assert looked == ["alice", "bob"]
