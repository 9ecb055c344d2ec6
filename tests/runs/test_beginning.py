"""The beginning of a run: devices are told of it from when the log will say so, or while it waits for its turn."""

from __future__ import annotations

import msgspec
import trio

import actors
from actors.runs.beginning import Beginning
from tests.runs.speaking import StalledStore, opened


async def test_it_stands_once_it_was_emitted() -> None:
    """A run is told once it was emitted, with its event; its first owner is known once that is placed."""
    store = StalledStore(actors.Limits())
    store.gate.set()
    async with opened(store=store) as runtime:
        run = runtime.tree.runs.new("t1", "bot", "r1")
        beginning = run.beginning
        assert (beginning.emitted, beginning.standing, beginning.first_owner) == (False, None, None)
        assert repr(run) == "<Run r1 of bot in t1: not begun>"
        async with run.open():
            assert beginning.emitted
            assert repr(run) == "<Run r1 of bot in t1: active>"
            told = msgspec.json.decode(beginning.standing or b"")
            assert (told["op"], told["event"]["payload"]) == ("active", {"agent_name": "bot"})
            with trio.fail_after(5):
                while beginning.first_owner is None:
                    await trio.lowlevel.checkpoint()
            await runtime.rebind("t1", "bob")
            assert beginning.first_owner == "alice"
            run.cancel()
            assert repr(run) == "<Run r1 of bot in t1: active, asked to end>"
        assert repr(run) == "<Run r1 of bot in t1: agent_cancelled>"


def test_it_stands_while_it_waits() -> None:
    """A run that waits for its turn is told as one that waits; its log has nothing of it."""
    beginning = Beginning("t1", "r1", about={"agent_name": "bot"})
    assert beginning.standing is None
    beginning.waiting = True
    told = msgspec.json.decode(beginning.standing or b"")
    assert (told["waiting"], told["event"]["run_id"]) == (True, "r1")
