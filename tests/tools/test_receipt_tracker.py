"""Receipts in groups: what is counted, and whose confirmations are awaited."""

from __future__ import annotations

import actors
from actors.tools.receipt_tracker import Tally
from tests.support.served import served


async def test_a_group_that_emptied_is_not_the_next_one() -> None:
    """Of a log whose events were all confirmed once, later events of the same range are awaited as any others."""
    async with served() as house, house.peer() as peer:
        await peer.attach("alice")
        tally = Tally()
        (first,) = await house.emit(1)
        tally.add(1, first)
        await peer.next_event()
        await peer.ack(1)
        await first.reached(actors.Stage.ACKED)
        tally.look()
        assert tally.awaited == set()
        for line in (2, 3):
            (receipt,) = await house.emit(1)
            tally.add(line, receipt)
            await receipt.reached(actors.Stage.WRITTEN)
            tally.look()
        assert tally.awaited == {"alice"}
