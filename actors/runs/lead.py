"""Lead: how far an emitter may be ahead of the devices, and its wait for them.

A log retains so much, and what devices have not acked by the time it leaves is
lost to them. An emitter that can wait need not lose anything: with ``ahead=N``
it has at most N events that no device has acked.

To wait for ACKED is not the same as for WRITTEN. The socket buffers of one
connection hold thousands of events; against a client that took 500 a second,
waiting for the socket alone left 2,000 of 3,000 events unconfirmed. But a device
without the protocol acks nothing, and one that did not ack in time is waited
for no more than its socket is, until it acks again. Where nothing is taken in
time either, nothing is waited for until something is.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager

import trio

from actors.checks import described
from actors.context import Context
from actors.environment import check_seconds
from actors.errors import Dropped, StoreUnavailable
from actors.events.states import DOUBTFUL
from actors.kernel.bounded import RecentMap
from actors.limits import Limits
from actors.receipts import Receipt
from actors.stages import Stage
from actors.threads.messages import Emission
from actors.users.presence import Subscriber

_WINDOWS = 10_000
"""Users, threads and runs whose events are counted; of more, those longest without an event begin again at none."""


AHEAD_SECONDS = 10.0
"""The longest wait, unless another one is given: the time without progress after which a socket is aborted."""


def check_ahead(ahead: object, seconds: float, limits: Limits) -> None:
    """Raise ValueError or TypeError for a bound that cannot be meant: what a log does not retain is lost to devices."""
    if not isinstance(ahead, int) or isinstance(ahead, bool):
        raise TypeError(f"ahead: expected a number of events, got {described(ahead)}")
    if not 1 <= ahead <= limits.retained_events:
        raise ValueError(f"ahead: expected 1 to {limits.retained_events} events, which a log retains, got {ahead}")
    check_seconds("ahead_seconds", seconds)


class Window:
    """The events of one emitter that devices have yet to take, oldest first."""

    __slots__ = ("_acks_in_time", "_is_patient", "_owner", "_size_bytes", "events", "full_since")

    def __init__(self) -> None:
        self.events: deque[tuple[Receipt, int]] = deque()
        self.full_since: float | None = None
        """The time at which it was found to be full; ``None`` while it is not."""
        self._owner = ""
        self._size_bytes = 0
        self._acks_in_time = True
        """True unless the devices have been too slow to ack."""
        self._is_patient = True
        """True unless the devices have taken nothing in time."""

    def __repr__(self) -> str:
        state = "" if self._is_patient else ", which nothing waits for"
        return f"<Window {len(self.events)} events, {self._size_bytes} B{state}>"

    def note(self, receipt: Receipt, size: int) -> None:
        """Count an event that was emitted."""
        self.events.append((receipt, size))
        self._size_bytes += size

    async def emit(self, emission: Emission, emit: Awaitable[Receipt]) -> Receipt:
        """Count an event while it is being emitted, because others look meanwhile, and from then on if it is new."""
        entry = emission.receipt, len(emission.body)
        self.note(*entry)
        try:
            receipt = await emit
        except BaseException:
            self._forget(entry)
            raise
        if receipt is not emission.receipt:
            self._forget(entry)
        return receipt

    def clear(self) -> None:
        """Count no event any more, and expect the best of the devices to come."""
        self.events.clear()
        self._size_bytes = 0
        self.full_since = None
        self._acks_in_time = self._is_patient = True

    def awaited(self, *, acking: bool) -> Stage:
        """Return the stage to wait for: ACKED if there is a device that acks, and it did so in time, else WRITTEN."""
        return Stage.ACKED if acking and self._acks_in_time else Stage.WRITTEN

    def is_full(self, most_events: int, most_bytes: int, awaited: Stage) -> bool:
        """Forget the oldest events that have reached a stage, or never will; true if too many are left to wait for."""
        while self.events and _is_over(self.events[0][0], awaited):
            stage = self._pop()
            self._acks_in_time = self._acks_in_time or stage is Stage.ACKED
            self._is_patient = self._is_patient or stage.covers(Stage.WRITTEN)
        if len(self.events) < most_events and self._size_bytes < most_bytes:
            self.full_since = None
            return False
        if not self._is_patient:
            while len(self.events) >= most_events:
                self._pop()
        return self._is_patient

    def belong_to(self, owner: str) -> None:
        """Forget the events of a former owner of the thread, because nothing waits for the devices of that one."""
        if owner != self._owner:
            self._owner = owner
            self.events = deque(one for one in self.events if (at := one[0].position) is None or at.user_id == owner)
            self._size_bytes = sum(size for _, size in self.events)

    def give_up(self, awaited: Stage) -> None:
        """Wait for less from now on, because a stage was not reached in time."""
        self.full_since = None
        if awaited is Stage.ACKED:
            self._acks_in_time = False
        else:
            self._is_patient = False

    def _forget(self, entry: tuple[Receipt, int]) -> None:
        if entry in self.events:
            self.events.remove(entry)
            self._size_bytes -= entry[1]

    def _pop(self) -> Stage:
        receipt, size = self.events.popleft()
        self._size_bytes -= size
        return receipt.stage


class Lead:
    """The bound of the emitters of one thread or run, or of each user's together."""

    __slots__ = ("_leads", "_most_events", "_name", "_seconds")

    def __init__(self, leads: Leads, name: str | None, *, most_events: int, seconds: float) -> None:
        self._leads = leads
        self._name = name
        """The name under which its events are counted; ``None`` for that of the thread's owner."""
        self._most_events = most_events
        self._seconds = seconds

    def __repr__(self) -> str:
        return f"<Lead of {self._name or 'each user'}: {self._most_events} events, {self._seconds:g} s>"

    async def room(self, thread_id: str, user_id: str | None = None) -> Window | None:
        """Wait until another event may be emitted into a thread, and return the window to count it in, if any.

        Waits at most for the time that was given, and no longer than the
        thread's owner, or ``user_id`` where it has none, has a device. A
        checkpoint if it waits.
        """
        owner, window = self._find(thread_id, user_id)
        if owner is None or window is None or not self._is_full(owner, window):
            return window
        with self._leads.holding(owner), trio.move_on_after(self._seconds) as patience:
            while self._is_full(owner, window):
                await self._leads.wait(owner, window)
        if patience.cancelled_caught:
            self._leads.give_up(owner, window)
        return window

    def room_nowait(self, thread_id: str, user_id: str | None = None) -> Window | None:
        """Return the window to count an event in. Raises :class:`trio.WouldBlock` while :meth:`room` would wait."""
        owner, window = self._find(thread_id, user_id)
        if owner is None or window is None or not self._is_full(owner, window):
            return window
        now = self._leads.clock()
        window.full_since = now if window.full_since is None else window.full_since
        if now - window.full_since < self._seconds:
            raise trio.WouldBlock
        self._leads.give_up(owner, window)
        return window

    def note(self, receipt: Receipt, size: int) -> None:
        """Count an event that could not wait."""
        _, window = self._find(receipt.thread_id, None)
        if window is not None:
            window.note(receipt, size)

    def _find(self, thread_id: str, user_id: str | None) -> tuple[str | None, Window | None]:
        owner = self._leads.owner_of(thread_id) or (user_id if isinstance(user_id, str) else None)
        if owner is None:
            return None, None
        return owner, self._leads.window(self._name or f"users/{owner}")

    def _is_full(self, owner: str, window: Window) -> bool:
        return self._leads.is_full(owner, window, self._most_events)


class Leads:
    """The windows of the bounded emitters of one runtime, and the devices that they wait for."""

    def __init__(
        self,
        context: Context,
        *,
        owner_of: Callable[[str], str | None],
        devices_of: Callable[[str], Collection[Subscriber]],
    ) -> None:
        self.owner_of = owner_of
        """Returns the owner of a thread."""
        self.clock: Callable[[], float] = context.environment.clock
        self._devices_of = devices_of
        self._most_bytes = max(context.limits.retained_bytes // 2, 1)
        """Half of what a log retains, because the other half is for what it had already."""
        self._look_seconds = context.limits.sweep_seconds
        self._windows: RecentMap[str, Window] = RecentMap(_WINDOWS)
        self.held: Counter[str] = Counter()
        """Emitters that wait for devices, by the user whose devices they are."""

    def __repr__(self) -> str:
        return f"<Leads {len(self._windows)} windows>"

    def of(self, name: str | None, most_events: int, seconds: float) -> Lead:
        """Return the bound of what is counted under a name; with ``None``, under that of each thread's owner."""
        return Lead(self, name, most_events=most_events, seconds=seconds)

    def window(self, name: str) -> Window:
        """Return the window of a name, opened if there is none."""
        window = self._windows.get(name) or Window()
        self._windows.put(name, window)
        return window

    def is_full(self, owner: str, window: Window, most_events: int) -> bool:
        """Return true if an emitter has to wait for a user's devices; without any, nothing is waited for."""
        if not self._devices_of(owner):
            window.clear()
            return False
        window.belong_to(owner)
        return window.is_full(most_events, self._most_bytes, self._awaited(owner, window))

    async def wait(self, owner: str, window: Window) -> None:
        """Wait for the oldest event of a window, but only for a moment, because devices may have gone by then."""
        with trio.move_on_after(self._look_seconds):
            try:
                await window.events[0][0].reached(self._awaited(owner, window))
            except (Dropped, StoreUnavailable):
                await trio.lowlevel.checkpoint()

    @contextmanager
    def holding(self, owner: str) -> Iterator[None]:
        """Count an emitter in the block as one that waits for a user's devices."""
        self.held[owner] += 1
        try:
            yield
        finally:
            self.held[owner] -= 1
            if not self.held[owner]:
                del self.held[owner]

    def give_up(self, owner: str, window: Window) -> None:
        """Wait for less, because the time is up."""
        window.give_up(self._awaited(owner, window))

    def _awaited(self, owner: str, window: Window) -> Stage:
        return window.awaited(acking=any(not device.plain for device in self._devices_of(owner)))


def _is_over(receipt: Receipt, awaited: Stage) -> bool:
    stage = receipt.stage
    return stage.final or stage.covers(awaited) or receipt.state is DOUBTFUL
