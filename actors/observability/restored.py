"""The events of an earlier life that no device has acked, with receipts of this one."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import attrs
import msgspec

from actors.delivery.accounts import Accounts
from actors.delivery.frames import texts_of
from actors.delivery.ledger import Ledger
from actors.delivery.log import NotAtHand, RestoredBounds
from actors.receipts import Receipt
from actors.stages import Stage
from actors.stores.store import Store, View

_READ_BYTES = 64 * 1024


class _Head(msgspec.Struct):
    thread_id: str
    seq: int
    timestamp: float
    event_id: str | None = None


_decode = msgspec.json.Decoder(_Head).decode


@attrs.frozen(kw_only=True)
class RestoredEvent:
    """An event that an earlier life left."""

    receipt: Receipt
    text: bytes
    until: float
    """The latest time of the life before, in seconds since 1970."""


async def unacked(store: Store, accounts: Accounts) -> AsyncGenerator[RestoredEvent]:
    """Yield the events that no device has acked, log by log, oldest first. Each log is let go of again."""
    for user_id in store.restored_users():
        restored = store.restored(user_id)
        if restored is None or _all_acked(restored):
            continue
        view = await store.follow(user_id)
        bounds = view.bounds
        account = accounts.account(user_id, bounds.epoch, bounds.low, 0.0, lineage=bounds.lineage)
        async for event in _unacked_of(view, account.ledger, restored):
            yield event
        view.close()
        store.forget(user_id)


async def _unacked_of(view: View, ledger: Ledger, restored: RestoredBounds) -> AsyncGenerator[RestoredEvent]:
    offset = ledger.first_unacked()
    while offset <= restored.head:
        try:
            chunk = view.read(offset, _READ_BYTES)
        except NotAtHand:
            await view.fill(offset)
            continue
        for at, text in enumerate(texts_of(chunk.frames), chunk.first):
            page, head = ledger.page(at), _decode(text)
            if at <= restored.head and head.event_id is not None and page.stage(at) < Stage.ACKED:
                receipt = Receipt(head.event_id, head.thread_id, head.timestamp, page, head.seq, at)
                yield RestoredEvent(receipt=receipt, text=text, until=restored.until)
        offset = chunk.last + 1


def _all_acked(restored: RestoredBounds) -> bool:
    return any(first <= restored.low and restored.head <= last for first, last in restored.acked)
