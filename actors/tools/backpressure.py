"""Backpressure on the input: how far it may run ahead of the devices.

Standard input can wait, so retention need not shed a long input: while the user
has a device, the feed is ahead of it by at most half of what a log retains. The
other half is for events that the log already had.

For devices that ack, waiting for WRITTEN is not enough. The socket buffers of
one connection hold thousands of events; against a client that took 500 a
second, waiting for the socket alone left 2,000 of 3,000 events unconfirmed.
"""

from __future__ import annotations

from collections import deque

import trio

from actors.errors import Dropped
from actors.receipts import Receipt
from actors.runtime import Runtime
from actors.stages import Stage
from actors.tools.serving import connections

_ENVELOPE_BYTES = 256
"""The size of an event besides its line: id, timestamp, numbers."""


class _Outstanding:
    """One user's events that devices have yet to take, oldest first."""

    __slots__ = ("acks_in_time", "events", "size_bytes")

    def __init__(self) -> None:
        self.events: deque[tuple[Receipt, int]] = deque()
        self.size_bytes = 0
        self.acks_in_time = True
        """True unless the user's devices have been too slow to ack."""

    def put(self, receipt: Receipt, size: int) -> None:
        self.events.append((receipt, size))
        self.size_bytes += size

    def pop(self) -> None:
        receipt, size = self.events.popleft()
        self.size_bytes -= size
        self.acks_in_time = self.acks_in_time or receipt.stage is Stage.ACKED

    def settle(self, awaited: Stage) -> None:
        """Forget the oldest events that have reached ``awaited``, or never will."""
        while self.events and _is_over(self.events[0][0], awaited):
            self.pop()

    def skip(self, awaited: Stage) -> None:
        """Forget the oldest event, and the ones before the first that reached ``awaited``, if any did."""
        passed = any(_is_over(receipt, awaited) for receipt, _ in self.events)
        self.pop()
        while passed and self.events and not _is_over(self.events[0][0], awaited):
            self.pop()


class Backpressure:
    """The wait of the input for the devices of its users."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._most_events = max(runtime.limits.retained_events // 2, 1)
        self._most_bytes = runtime.limits.retained_bytes // 2
        self._users: dict[str, _Outstanding] = {}

    async def wait(self, receipt: Receipt, size: int) -> None:
        """Count an emitted event of ``size`` bytes, and wait while its user's devices are too far behind."""
        position = receipt.position
        if position is None:
            return
        user_id = position.user_id
        if not self._runtime.devices(user_id):
            self._users.pop(user_id, None)
            return
        outstanding = self._users.setdefault(user_id, _Outstanding())
        outstanding.put(receipt, size + _ENVELOPE_BYTES)
        while self._is_too_far(outstanding) and self._runtime.devices(user_id):
            awaited = self._awaited(user_id, outstanding)
            outstanding.settle(awaited)
            if self._is_too_far(outstanding):
                await self._wait(outstanding, awaited)

    def _is_too_far(self, outstanding: _Outstanding) -> bool:
        return len(outstanding.events) > self._most_events or outstanding.size_bytes > self._most_bytes

    def _awaited(self, user_id: str, outstanding: _Outstanding) -> Stage:
        """Return the stage to wait for: ACKED if a device of the user acks, and did so in time, else WRITTEN."""
        acking = outstanding.acks_in_time and any(
            device.user_id == user_id and not device.plain for device in connections(self._runtime)
        )
        return Stage.ACKED if acking else Stage.WRITTEN

    async def _wait(self, outstanding: _Outstanding, awaited: Stage) -> None:
        """Wait for the oldest event, as long as a device may take nothing before it is aborted."""
        with trio.move_on_after(self._runtime.limits.write_deadline_seconds) as patience:
            try:
                await outstanding.events[0][0].reached(awaited)
            except Dropped:
                return
        if not patience.cancelled_caught:
            return
        if awaited is Stage.ACKED:
            outstanding.acks_in_time = False
        else:
            outstanding.skip(awaited)


def _is_over(receipt: Receipt, awaited: Stage) -> bool:
    stage = receipt.stage
    return stage.final or stage.covers(awaited)
