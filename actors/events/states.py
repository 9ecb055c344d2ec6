"""The states of events, from which receipts read.

A state answers for many events at once: those of one hold, or of 64 offsets of
one log. Here are what all states have in common, and those of events that are
nowhere: in a mailbox, lost, or in doubt.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from actors.events.delivered import Position
from actors.kernel.failures import Barrier, complain
from actors.stages import Cause, Promise, Stage


class EventState(Protocol):
    """The state of many events at once, each known in it by a number."""

    def stage(self, number: int) -> Stage:
        """Return the stage of the event with this number."""
        ...

    def cause(self, number: int) -> Cause | None:
        """Return the cause for which the event with this number was dropped, if it was."""
        ...

    def position(self, number: int) -> Position | None:
        """Return the position of the event with this number in its owner's log, once it has one."""
        ...

    def promise(self, number: int) -> Promise:
        """Return the worst that the event with this number survives."""
        ...

    def watch(self, callback: Callable[[], object]) -> Callable[[], object]:
        """Call back after each change here; returns the function that ends the watch."""
        ...

    def notify(self) -> None:
        """Call every watcher."""


class Safety:
    """The safety of consecutive events of one log or hold, which a store commits in order.

    So an answer that promises something says it of every event before it, and
    one that promises nothing, of itself and of those that follow.
    """

    __slots__ = ("_promise", "_volatile_from", "promises")

    def __init__(self) -> None:
        self.promises: bool = False
        """True if some event survives something. An attribute, because each placement asks."""
        self._promise = Promise.NOTHING
        self._volatile_from: int | None = None

    def note(self, number: int, promise: Promise) -> None:
        """Note the promise of the store's answer about an event."""
        if promise is not Promise.NOTHING:
            self._promise, self._volatile_from, self.promises = promise, None, True
        elif self._promise is not Promise.NOTHING and self._volatile_from is None:
            self._volatile_from = number

    def harden(self, promise: Promise) -> None:
        """Note that the store has caught up: every event is as safe as the store makes it, also where none was yet."""
        self._promise, self._volatile_from = promise, None
        self.promises = promise is not Promise.NOTHING

    def of(self, number: int) -> Promise:
        """Return the promise for one event."""
        is_volatile = self._volatile_from is not None and number >= self._volatile_from
        return Promise.NOTHING if is_volatile else self._promise

    def __repr__(self) -> str:
        volatile = "" if self._volatile_from is None else f", nothing from {self._volatile_from} on"
        return f"<Safety {self._promise}{volatile}>"


def _complain(error: BaseException) -> None:
    complain("a callback of Receipt.watch", error)


class Watchers:
    """The callbacks of one state; none, most of the time."""

    __slots__ = ("_callbacks",)

    def __init__(self) -> None:
        self._callbacks: set[Callable[[], object]] | None = None  # a set for each of many states would cost memory

    def watch(self, callback: Callable[[], object]) -> Callable[[], object]:
        """Add a callback; the returned function removes it, and may be called twice."""
        if self._callbacks is None:
            self._callbacks = set()
        callbacks = self._callbacks
        callbacks.add(callback)
        return lambda: callbacks.discard(callback)

    def notify(self) -> None:
        """Call every watcher; one that raises is logged, and stops no other."""
        if self._callbacks:
            for callback in tuple(self._callbacks):
                with Barrier(_complain):
                    callback()


class Queued(Watchers):
    """The state of one event that waits in a mailbox."""

    __slots__ = ()

    def stage(self, number: int) -> Stage:
        """Return ACCEPTED, because no more than that is known."""
        return Stage.ACCEPTED

    def cause(self, number: int) -> Cause | None:
        """Return no cause: it is not dropped."""
        return None

    def position(self, number: int) -> Position | None:
        """Return no position: it has none yet."""
        return None

    def promise(self, number: int) -> Promise:
        """Return NOTHING: it is in a mailbox."""
        return Promise.NOTHING


QUEUED = Queued()
"""The state of every event that is still in its emitter's own call: no receipt is out that could be watched."""


class Doubtful(Queued):
    """The state of events that the store may or may not have taken, and will not be asked about again."""

    __slots__ = ()

    def watch(self, callback: Callable[[], object]) -> Callable[[], object]:
        """Ignore the callback, because this state never changes."""
        return lambda: None


DOUBTFUL = Doubtful()


class Lost:
    """The state of events that were dropped for one cause before the store placed or held them."""

    __slots__ = ("_cause",)

    def __init__(self, cause: Cause) -> None:
        self._cause = cause

    def stage(self, number: int) -> Stage:
        """Return DROPPED, for ever."""
        return Stage.DROPPED

    def cause(self, number: int) -> Cause | None:
        """Return the one cause."""
        return self._cause

    def position(self, number: int) -> Position | None:
        """Return no position: it never had one."""
        return None

    def promise(self, number: int) -> Promise:
        """Return NOTHING: there is nothing to survive."""
        return Promise.NOTHING

    def watch(self, callback: Callable[[], object]) -> Callable[[], object]:
        """Ignore the callback, because this state never changes."""
        return lambda: None

    def notify(self) -> None:
        """Do nothing, because there are no watchers."""
