"""The stages of an event on its way to a device, what it survives there, and the causes for which it may be dropped."""

from __future__ import annotations

import enum

_INTEGER_FORMATS = "bcdoxXn"
"""The last letters of a format that ask for the number."""


class Stage(enum.IntEnum):
    """A stage of an event. The first five are a ladder; the last three are final.

    As a text it is its name, as a number and in JSON its rung on the ladder.
    """

    ACCEPTED = 1
    """The runtime took it from its emitter."""
    BUFFERED = 2
    """Held by the store: its thread has no owner yet."""
    STORED = 3
    """The store placed it in its owner's log."""
    WRITTEN = 4
    """Its bytes were handed to at least one socket."""
    ACKED = 5
    """A device acked it. Final."""
    UNCONFIRMED = 6
    """Written, and left retention before a device acked it. Final."""
    DROPPED = 7
    """It will not be delivered; there is a :class:`Cause`. Final."""

    def __str__(self) -> str:
        return self.name

    def __format__(self, spec: str) -> str:
        return int.__format__(self, spec) if spec and spec[-1] in _INTEGER_FORMATS else format(self.name, spec)

    @property
    def final(self) -> bool:
        """True if no stage comes after this one."""
        return self >= Stage.ACKED

    def covers(self, awaited: Stage) -> bool:
        """True if an event in this stage has been through ``awaited``."""
        if self is Stage.UNCONFIRMED:
            return awaited <= Stage.WRITTEN or awaited is Stage.UNCONFIRMED
        if self is Stage.DROPPED:
            return awaited is Stage.ACCEPTED or awaited is Stage.DROPPED
        return awaited <= self


class Promise(enum.IntEnum):
    """The worst that an event which is STORED, or BUFFERED, survives. As a text it is its name."""

    NOTHING = 0
    """Nothing: it is in the memory of this process."""
    PROCESS = 1
    """The end of this process, in whatever way."""
    POWER = 2
    """The loss of power as well, if the disk keeps its word."""

    def __str__(self) -> str:
        return self.name


class Cause(enum.StrEnum):
    """The cause for which an event was dropped."""

    RETENTION = "retention"
    """It left its owner's log before any socket took it."""
    UNBOUND_OVERFLOW = "unbound_overflow"
    """Its thread had no owner and its hold was full; the oldest go first."""
    UNBOUND_EXPIRED = "unbound_expired"
    """Its thread had no owner for as long as a hold lasts."""
    OWNER_CHANGED = "owner_changed"
    """Accepted for an owner who lost the thread before the event was placed."""
    CONFLICT = "conflict"
    """Its id already named another event of the thread; found by a store that had to be waited for."""
    NOT_THE_OWNER = "not_the_owner"
    """Emitted for a user who does not own the thread; found after acceptance."""
    CRASHED = "crashed"
    """The actor that was handling it crashed before the store took it."""
    LOST = "lost"
    """The store lost it: the log goes on in another epoch."""
    QUARANTINED = "quarantined"
    """Its thread crashed too often, and was taken out of service before the store had the event."""
    RUN_OVER = "run_over"
    """Its run had ended by the time it came to the store."""
    DAMAGED = "damaged"
    """The store can no longer read it."""
    TROUBLE = "trouble"
    """The store could not store, and took nothing meanwhile."""
    SHUTDOWN = "shutdown"
    """The runtime closed, with a store that does not outlive it, before it was written."""
