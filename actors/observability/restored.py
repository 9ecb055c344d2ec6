"""The events of an earlier life that no device has acked, with receipts of this one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from functools import partial

import attrs
import msgspec

from actors.delivery.accounts import Accounts
from actors.delivery.bounds import RestoredBounds
from actors.delivery.frames import texts_of
from actors.delivery.ledger import Ledger
from actors.delivery.log import NotAtHand
from actors.kernel.failures import Barrier
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


async def unacked(
    store: Store, accounts: Accounts, *, on_failed: Callable[[str, BaseException], object]
) -> AsyncGenerator[RestoredEvent]:
    """Yield the events that no device has acked, log by log, oldest first. Each log is let go of again.

    Of a log that cannot be read, ``on_failed`` is told the user.
    """
    for user_id in store.restored_users():
        restored = store.restored(user_id)
        if restored is None or _all_acked(restored):
            continue
        events: list[RestoredEvent] = []
        with Barrier(partial(on_failed, user_id)):
            view = await store.follow(user_id)
            bounds = view.bounds
            account = accounts.account(user_id, bounds.epoch, bounds.low, 0.0, lineage=bounds.lineage)
            events = await _unacked_of(view, account.ledger, restored)
            view.close()
            store.forget(user_id)
        for event in events:
            yield event


async def _unacked_of(view: View, ledger: Ledger, restored: RestoredBounds) -> list[RestoredEvent]:
    offset, events = ledger.first_unacked(), list[RestoredEvent]()
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
                events.append(RestoredEvent(receipt=receipt, text=text, until=restored.until))
        offset = chunk.last + 1
    return events


def _all_acked(restored: RestoredBounds) -> bool:
    return any(first <= restored.low and restored.head <= last for first, last in restored.acked)
