"""UndeliveredWatch: tells the application of events that no device acked in time.

It can then reach the user in another way, by a push notification or a mail.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import trio

from actors.checks import awaitable
from actors.context import Context
from actors.events.event import Lifecycle
from actors.kernel.bounded import RecentMap
from actors.kernel.failures import Barrier
from actors.observability.instrument import Instrument
from actors.observability.restored import RestoredEvent
from actors.receipts import Fate, Receipt
from actors.stages import Stage

OnUndelivered = Callable[[Fate], Awaitable[None]]
"""The application's function: takes the fate of an event that no device acked in time."""

_DELTA = b'{"type":"' + Lifecycle.AGENT_DELTA.encode() + b'"'


class UndeliveredWatch(Instrument):
    """Watches every event until it is acked or its time is up; of tokens, their run's last event stands for them.

    The hook is called once for each event, several at a time; a call that
    raises or takes too long is a failure of its own and of nothing else.
    """

    def __init__(
        self,
        context: Context,
        hook: OnUndelivered,
        *,
        explain: Callable[[Receipt], Fate],
        restored: Callable[[], AsyncGenerator[RestoredEvent]],
    ) -> None:
        limits = context.limits
        self._hook = hook
        self._explain = explain
        self._restored = restored
        self._limits = limits
        self._environment = context.environment
        self._failures = context.failures
        self._waiting: deque[tuple[float, Receipt]] = deque()
        self._repeatable: RecentMap[tuple[str, str], bool] = RecentMap(limits.idempotency_ids)
        """Events whose id was given, and may be emitted again."""
        self._calls = trio.Semaphore(limits.undelivered_calls)

    def __repr__(self) -> str:
        return f"<UndeliveredWatch {len(self._waiting)} events wait for an ack>"

    def accepted(self, receipt: Receipt, body: bytes, given: bool) -> None:
        """Begin the time of an event that was accepted."""
        if body.startswith(_DELTA):
            return
        if given:
            key = receipt.thread_id, receipt.event_id
            if self._repeatable.get(key):
                return
            self._repeatable.put(key, True)
        self._waiting.append((self._environment.clock() + self._limits.undelivered_seconds, receipt))
        if len(self._waiting) > 2 * self._limits.undelivered_events:
            self._waiting = deque(one for one in self._waiting if one[1].stage is not Stage.ACKED)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Call the hook for events that no device acked, until cancelled."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            await self._restore()
            while True:
                await trio.sleep(self._limits.sweep_seconds)
                for receipt in self._due():
                    await self._calls.acquire()
                    nursery.start_soon(self._call, receipt)

    async def _restore(self) -> None:
        """Go on with the time of events of an earlier life, but for those whose time was up before that life ended."""
        seconds, now, wall = self._limits.undelivered_seconds, self._environment.clock(), self._environment.wall_clock()
        waiting = []
        async with aclosing(self._restored()) as restored:
            async for event in restored:
                due = event.receipt.accepted_at + seconds
                if due > event.until and not event.text.startswith(_DELTA):
                    waiting.append((now + max(due - wall, 0.0), event.receipt))
        waiting.sort(key=lambda one: one[0])
        self._waiting.extendleft(reversed(waiting))

    def _due(self) -> list[Receipt]:
        """Take the events that were not acked, of those whose time is up; when there are too many, of the oldest."""
        now, waiting = self._environment.clock(), self._waiting
        due = []
        while waiting and (waiting[0][0] <= now or len(waiting) > self._limits.undelivered_events):
            receipt = waiting.popleft()[1]
            if receipt.stage is not Stage.ACKED:
                due.append(receipt)
        return due

    async def _call(self, receipt: Receipt) -> None:
        """Make one call, bounded in time, and give back its place."""

        def report(error: BaseException) -> None:
            self._failures.report("undelivered", f"event {receipt.event_id}", error)

        try:
            with Barrier(report), trio.fail_after(self._limits.undelivered_call_seconds):
                await awaitable("on_undelivered", self._hook(self._explain(receipt)))
        finally:
            self._calls.release()
