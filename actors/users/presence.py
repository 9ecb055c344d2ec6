"""A user's devices, and the messages about them.

A presence is owned above the user's actor, so that a crash of the actor takes
no device along. What the actor and the connections know of each other is in
this module; neither imports the other.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Protocol

import attrs
import msgspec

from actors.delivery.cursor import Bounds, Cursor, Start
from actors.delivery.ledger import Ledger
from actors.delivery.subscription import Subscription
from actors.kernel.mailbox import Mailbox
from actors.kernel.signals import Reply
from actors.protocol.messages import Origin


class Subscriber(Protocol):
    """A connection, as the user's actor and the flusher see it."""

    label: str
    user_id: str | None
    plain: bool
    subscription: Subscription | None
    """The place in the log, from attach on."""

    @property
    def caught_up(self) -> bool:
        """Whether the device has been sent all that was there when it came; until then it is told nothing else."""
        ...

    def ended_by(self) -> str | None:
        """The row of the closing table by which the connection has ended, if it has by now, whichever side did it."""
        ...

    def tell(self, text: bytes) -> bool:
        """Write a message about what is active or open, after what the log has, to a device that speaks the protocol.

        Where its socket takes nothing, nothing is written: it is told all that
        is active and open, once it has caught up. True if it was, or will be.
        """
        ...

    def begin(self, subscription: Subscription, start: Start, bounds: Bounds, session: str, presence: Presence) -> None:
        """Take a place in the user's log, and say so to the device."""

    def reset(self, bounds: Bounds, ledger: Ledger) -> None:
        """Go on in another epoch of the log, from its low, and say so to the device."""

    def flush(self) -> None:
        """Write what the log has gained, once, without blocking."""

    def end(self, name: str, text: str) -> None:
        """End the connection for a reason of the closing table."""

    def fail(self, error: BaseException) -> None:
        """End the connection for a failure of ours, and report that."""

    def describe(self, offset: int, now: float) -> str:
        """Where this device stands, as seen from one offset."""
        ...


@attrs.define
class Session:
    """What one client keeps across its connections."""

    id: str
    cursor: Cursor | None = None
    """What the newest connection of this session was handed and has confirmed."""
    ledger: Ledger | None = None
    """The epoch of that cursor."""
    device: Subscriber | None = None
    former: Cursor | None = None
    """What a connection before it was handed: a hello that was long under way may take the place of a newer one, and
    its device comes back having more."""

    def ack(self, offset: int) -> list[tuple[int, int]]:
        """Confirm everything up to ``offset`` that was handed to this session; the spans newly confirmed.

        What the newest connection did not hand over up to its position is
        gone, and it said so: only beyond that the former one counts.
        """
        if self.cursor is None:
            return []
        position = self.cursor.position
        spans = self.cursor.ack(min(offset, position))
        if self.former is not None and offset > position:
            handed = self.former.ack(min(offset, self.former.position))
            spans += [(max(first, position + 1), last) for first, last in handed if last > position]
        return spans

    def pass_to(self, device: Subscriber, subscription: Subscription) -> None:
        """Go on with another connection, or the same one in another epoch."""
        if self.ledger is not subscription.ledger:
            self.former = None
        elif self.cursor is not None and self.cursor.acked < self.cursor.position:
            self.former = self.cursor
        self.device, self.cursor, self.ledger = device, subscription.cursor, subscription.ledger


@attrs.frozen
class Departure:
    """A device that has gone, and why."""

    label: str
    name: str
    """A row of the closing table."""
    text: str
    at: float
    """Wall clock, seconds."""


class Presence:
    """The devices of one user that are here, the sessions they belong to, and the last ones that left."""

    __slots__ = ("absences", "address", "departures", "devices", "rung", "sessions")

    def __init__(self, departures: int) -> None:
        self.address: Mailbox[UserMessage]
        """The user's actor."""
        self.devices: list[Subscriber] = []
        self.sessions: OrderedDict[str, Session] = OrderedDict()
        self.departures: deque[Departure] = deque(maxlen=departures)
        self.absences = 0
        """How often in a row nobody was here when it was looked."""
        self.rung = False
        """The log has grown, and the flusher has not been here since. Rings coalesce here."""

    def leave(self, device: Subscriber) -> None:
        """A device is here no more; its session stays, without it."""
        self.absences = 0
        if device in self.devices:
            self.devices.remove(device)
        for session in self.sessions.values():
            if session.device is device:
                session.device = None


class Ring(msgspec.Struct, frozen=True, gc=False):
    """The user's doorbell. Carries nothing: the presence knows that it was rung, the log what is new."""


class Rewound(msgspec.Struct, frozen=True, gc=False):
    """The user's log is not the one that some device reads: it was rebuilt, or has lost something."""


class Attach(msgspec.Struct, frozen=True):
    """A device wants a place in the log."""

    device: Subscriber
    session_id: str | None
    resume: tuple[str, int] | None
    origin: Origin
    reply: Reply[Session]


class Detach(msgspec.Struct, frozen=True):
    """A device has gone."""

    device: Subscriber
    departure: Departure


class Acked(msgspec.Struct, frozen=True):
    """A device confirmed spans of offsets, in the epoch in which it was sent them."""

    ledger: Ledger
    spans: list[tuple[int, int]]


UserMessage = Ring | Rewound | Attach | Detach | Acked

RING = Ring()
REWOUND = Rewound()
