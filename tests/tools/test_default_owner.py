"""Threads that no line names a user for, where tokens are not checked."""

from __future__ import annotations

from tests.tools.command import SEED, device, events, running, stages


async def test_what_nobody_is_named_for_goes_to_the_first_who_connects() -> None:
    """Threads without a user wait for the first user where tokens are not checked, and are that user's from then on."""
    async with running("serve", "--stdin", "--receipts") as command:
        await command.feed(SEED)
        async with device(command.url, "alice") as websocket:
            await events(websocket, 1, ack=True)
            await command.feed('{"type":"x","thread_id":"another"}')
            await events(websocket, 1, ack=True)
            finished = await command.finish()
    assert (finished.status, finished.summary) == (0, "2 events: 2 ACKED")
    assert stages(finished)[1] == ["BUFFERED", "STORED", "WRITTEN", "ACKED"]
