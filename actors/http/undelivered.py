"""Undelivered events, told to a program elsewhere, which may reach the user in another way."""

from __future__ import annotations

from functools import partial

import msgspec
import trio

from actors.http.events import receipt_answer
from actors.http.webhook import Webhook, WebhookFailed
from actors.kernel.failures import Failures
from actors.receipts import Fate
from actors.server.messages import name_of

_WAITING = 10_000
"""Events that wait to be told of: ten megabytes. A program that is away for long is told of those."""
_AT_ONCE = 16
_encode = msgspec.json.Encoder().encode


class Overflow(Exception):
    """So many undelivered events wait to be told that one is not told of."""


class UndeliveredNotices:
    """The ``on_undelivered`` of a program elsewhere: it takes each fate at once, and tasks of its own tell it."""

    def __init__(self, webhook: Webhook, *, waiting: int = _WAITING) -> None:
        self._webhook = webhook
        self._in, self._out = trio.open_memory_channel[tuple[str, bytes]](waiting)

    def __repr__(self) -> str:
        return f"<UndeliveredNotices to {self._webhook!r}, {self._in.statistics().current_buffer_used} wait>"

    async def on_undelivered(self, fate: Fate) -> None:
        """Take a fate. Raises :class:`Overflow`, which the runtime's failures then have, beyond the bound."""
        receipt = fate.receipt
        assert receipt is not None, "the watch knows its events"
        position = receipt.position
        told = msgspec.structs.asdict(receipt_answer(receipt))
        told |= {"steps": list(fate.steps), "user_id": None if position is None else position.user_id}
        id_ = f"undelivered_{name_of(receipt.thread_id, receipt.event_id)}"
        try:
            self._in.send_nowait((id_, _encode(told)))
        except trio.WouldBlock:
            raise Overflow(f"event {receipt.event_id}: expected fewer events to wait for {self._webhook!r}") from None

    async def run(self, failures: Failures) -> None:
        """Tell what waits, some at once, until cancelled; what is not taken goes to the runtime's failures."""
        async with trio.open_nursery() as nursery:
            for _ in range(_AT_ONCE):
                nursery.start_soon(partial(self._tell, failures))

    async def _tell(self, failures: Failures) -> None:
        async for id_, body in self._out.clone():
            try:
                response = await self._webhook.send(id_, body)
                await response.aclose()
            except WebhookFailed as error:
                failures.report("webhooks/undelivered", id_, error)
