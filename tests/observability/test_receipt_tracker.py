"""Receipts in groups: what is counted, and which acks are awaited."""

from __future__ import annotations

import actors
from actors.observability.receipt_tracker import ReceiptTracker
from tests.support.served import served


async def test_a_group_that_emptied_is_not_the_next_one() -> None:
    """In a log of which all events were acked once, later events of the same range are awaited as any others."""
    async with served() as server, server.peer() as peer:
        await peer.attach("alice")
        tracker = ReceiptTracker()
        (first,) = await server.emit(1)
        tracker.add(1, first)
        await peer.next_event()
        await peer.ack(1)
        await first.reached(actors.Stage.ACKED)
        tracker.look()
        assert tracker.awaited == set()
        for line in (2, 3):
            (receipt,) = await server.emit(1)
            tracker.add(line, receipt)
            await receipt.reached(actors.Stage.WRITTEN)
            tracker.look()
        assert tracker.awaited == {"alice"}
