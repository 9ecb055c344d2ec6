"""The beginning of a run: its message ``active`` exists once it was emitted, or while it waits for its turn."""

from __future__ import annotations

import msgspec
import trio

from actors.runs.beginning import Beginning
from tests.runs.emitting import opened
from tests.stores.waiting import WaitingStore


async def test_it_stands_once_it_was_emitted() -> None:
    """A run is announced once it was emitted, with its event; its first owner is known once that is placed."""
    async with opened(store=WaitingStore()) as runtime:
        run = runtime.tree.runs.new("t1", "bot", "r1")
        beginning = run.beginning
        assert (beginning.emitted, beginning.standing, beginning.first_owner) == (False, None, None)
        assert repr(run) == "<Run r1 of bot in t1: not begun>"
        async with run.open():
            assert beginning.emitted
            assert repr(run) == "<Run r1 of bot in t1: active>"
            message = msgspec.json.decode(beginning.standing or b"")
            assert (message["op"], message["event"]["payload"]) == ("active", {"agent_name": "bot"})
            with trio.fail_after(60):
                while beginning.first_owner is None:
                    await trio.lowlevel.checkpoint()
            await runtime.rebind("t1", "bob")
            assert beginning.first_owner == "alice"
            run.cancel()
            assert repr(run) == "<Run r1 of bot in t1: active, asked to end>"
        assert repr(run) == "<Run r1 of bot in t1: agent_cancelled>"


def test_it_stands_while_it_waits() -> None:
    """A run that waits for its turn is announced as one that waits; its log has nothing of it."""
    beginning = Beginning("t1", "r1", about={"agent_name": "bot"})
    assert beginning.standing is None
    beginning.waiting = True
    message = msgspec.json.decode(beginning.standing or b"")
    assert (message["waiting"], message["event"]["run_id"]) == (True, "r1")
