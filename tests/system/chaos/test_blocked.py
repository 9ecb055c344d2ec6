"""An agent that blocks the whole loop: everything waits for it, and nothing else happens."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from actors.client import Event, connect
from tests.system.chaos.journals import Journal, lost_unreported
from tests.system.chaos.processes import PATIENCE_SECONDS, served, settled, until, watched
from tests.system.chaos.report import Report
from tests.system.chaos.serving import BLOCK_SECONDS, BLOCKS

DEVICES = 20
EVENTS = 120


@pytest.mark.slow
async def test_an_agent_that_blocks_the_loop(tmp_path: Path, report: Report) -> None:
    """The devices of twenty other users, each in the middle of a stream, lose nothing and stay connected; they get it
    in order, late by as long as the loop stood still."""
    users = [f"user{number}" for number in range(DEVICES)]
    devices = [(user_id, Journal(tmp_path / user_id)) for user_id in users]
    every = set(range(EVENTS))
    async with served() as (server, url), watched(url, *devices):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: server.ask("emit", users=users, count=EVENTS, pause_seconds=0.01))
            await until(lambda: all(journal.numbers for _, journal in devices))
            await block(url)
        await until(lambda: all(journal.numbers >= every for _, journal in devices))
        for user_id in users:
            await settled(server, user_id, EVENTS)
        assert await server.ask("failures") == []
    pauses = [journal.longest_pause_seconds for _, journal in devices]
    report(
        f"an agent that blocks the loop, {BLOCKS} times for {BLOCK_SECONDS * 1000:.0f} ms",
        lost_unreported=0,
        others_hurt=sum(lost_unreported(every, [journal]) + journal.openings - 1 for _, journal in devices),
        note=f"{DEVICES} other streams; the longest pause in one was {max(pauses):.2f} s",
    )


async def block(url: str) -> None:
    """Be the user of the agent that does it, and wait until it is through."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with connect(url, token="blocker") as session:
            sent = await session.send({"text": "block"})
            async for item in session:
                if isinstance(item, Event) and (item.type, item.run_id) == ("agent_completed", sent.run_id):
                    break
