"""A long input, and a device that is slow."""

from __future__ import annotations

import msgspec
import trio

from tests.tools.command import device, events, running

EVENT = '{"type":"x","thread_id":"t","user_id":"alice"}'


async def test_a_long_input_waits_for_the_device() -> None:
    """Five times what a log retains, piped in at once: a device that acks gets and acks all of it."""
    async with running("serve", "--stdin") as command, device(command.url, "alice") as websocket:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: command.feed(*[EVENT] * 5000))
            offsets: list[int] = []
            while len(offsets) < 5000:
                texts = await events(websocket, 250)
                offsets += [msgspec.json.decode(text)["offset"] for text in texts]
                await websocket.send(f'{{"op":"ack","offset":{offsets[-1]}}}')
        finished = await command.finish()
    assert offsets == list(range(1, 5001))
    assert (finished.status, finished.summary) == (0, "5000 events: 5000 ACKED")
