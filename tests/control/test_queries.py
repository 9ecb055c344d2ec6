"""The queries: what each says, and that none adds up what grows."""

from __future__ import annotations

import pytest
import trio
import trio.testing

import actors
from actors.control import queries
from tests.support.crashing import crash
from tests.support.served import served


async def test_status_when_all_is_well() -> None:
    """The sentence says so; the numbers are those of the statistics."""
    async with served() as server, server.peer() as peer:
        await peer.attach("alice")
        await server.emit(2)
        told = queries.status(server.runtime)
        assert told.text == "open, 2 events accepted and accounted for"
        assert (told.state, told.connections, told.users, told.events.accepted) == ("open", 1, 1, 2)
        assert (told.balanced, told.quarantined, told.standstill) == (True, [], None)


async def test_status_when_something_is_the_matter(autojump_clock: trio.testing.MockClock) -> None:
    """An actor that is out of service is named, with the way out; so is a drain."""
    async with actors.open_runtime() as runtime:
        for _ in range(runtime.limits.restarts + 1):
            runtime.tree.users.mailbox("alice").tell(crash())
            await trio.sleep(0.5)
        told = queries.status(runtime)
        assert told.text.startswith("users/alice is out of service (ZeroDivisionError: a bug in the books); `actors")
        assert [(one.path, told.quarantined_now) for one in told.quarantined] == [("users/alice", 1)]
        assert queries.release(runtime, "users/alice").path == "users/alice"
        with pytest.raises(ValueError, match="expected the path of a quarantined actor"):
            queries.release(runtime, "users/alice")
        runtime.tree.messages.refusing = True
        assert queries.status(runtime).text == "it is draining, so what is new is refused: runs left 0, connections 0"


async def test_explain() -> None:
    """The sentence, its steps, and where the event is; what is not known is said to be so."""
    async with actors.open_runtime() as runtime:
        await runtime.thread("t1").emit("x", {}, event_id="e1", user_id="alice")
        await runtime.thread("t2").emit("x", {}, event_id="e1")
        told = queries.explain(runtime, "e1", "t1")
        assert (told.known, told.thread_id, told.stage, told.user_id, told.offset) == (True, "t1", "stored", "alice", 1)
        assert told.text == " → ".join(told.steps)
        assert queries.explain(runtime, "e1").threads == ("t1", "t2")
        assert queries.explain(runtime, "e9").known is False


async def test_the_books_are_not_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is of the totals, however many users there are."""
    async with actors.open_runtime() as runtime:
        await runtime.thread("t1").emit("x", {}, user_id="alice")
        with monkeypatch.context() as patch:
            patch.setattr(type(runtime), "audit", lambda _: pytest.fail("it stops the loop"))
            told = queries.audit(runtime)
        assert (told.balanced, told.users, told.total.accepted, told.total.retained) == (True, 1, 1, 1)
        assert told.text.startswith("accepted 1 = queued 0 + held 0 + retained 1 + ")


async def test_books_that_do_not_add_up() -> None:
    """The answer says so, and so does the status."""
    async with actors.open_runtime() as runtime:
        runtime.tree.accounts.tally.acked += 1
        assert queries.audit(runtime).balanced is False
        assert "≠" in queries.audit(runtime).text
        assert queries.status(runtime).text == "the books do not add up"
        runtime.tree.accounts.tally.acked -= 1


async def test_connections() -> None:
    """They come by page, of one user, or those alone that lack something; followers come last."""
    async with served() as server, server.peer() as one, server.peer() as two, server.runtime.follow("carol"):
        await one.attach("alice")
        await two.attach("bob")
        first = queries.connections(server.runtime, limit=1)
        assert ([found.label for found in first.connections], first.total, first.after) == (["c1"], 3, "c1")
        rest = queries.connections(server.runtime, first.after)
        assert ([found.user_id for found in rest.connections], rest.after) == (["bob", "carol"], None)
        theirs = queries.connections(server.runtime, user_id="bob")
        assert [found.label for found in theirs.connections] == ["c2"]
        assert [found.kind for found in queries.connections(server.runtime, behind=True).connections] == ["follower"]


async def test_what_went_wrong() -> None:
    """Failures and drops are the newest, oldest first."""
    async with actors.open_runtime(limits=actors.Limits(retained_events=1)) as runtime:
        for _ in range(2):
            await runtime.thread("t1").emit("x", {}, user_id="alice")
        runtime.failures.report("users/alice", "a test", ValueError("a bug"))
        (letter,) = queries.dead_letters(runtime).dead_letters
        assert (letter.cause, letter.user_id, letter.first) == ("retention", "alice", 1)
        told = queries.failures(runtime)
        assert ([one.error for one in told.failures], told.total) == (["ValueError: a bug"], 1)
