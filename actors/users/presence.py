"""A user's devices, and the messages about them.

The registry owns a presence, above the user's actor, so that a crash of the
actor takes no device along. The actor and the connections know of each other
only this module; neither imports the other.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

import attrs
import msgspec
import trio

from actors.delivery.bounds import Bounds, Start
from actors.delivery.cursor import Cursor
from actors.delivery.ledger import Ledger
from actors.delivery.subscription import Subscription
from actors.errors import ActorsError
from actors.kernel.mailbox import Mailbox
from actors.kernel.signals import Reply
from actors.protocol.client_messages import Origin
from actors.stores.store import View


class Subscriber(Protocol):
    """A connection, as the user's actor and the flusher see it."""

    label: str
    user_id: str | None
    plain: bool
    renames: bool
    """True if its client knows that an epoch may go on under another name."""
    subscription: Subscription | None
    """Its subscription to the user's log, from attach on."""

    @property
    def caught_up(self) -> bool:
        """True if the device has been sent all that was there when it came; until then it is told nothing else."""
        ...

    def ended_by(self) -> str | None:
        """Return the row of the closing table by which the connection has ended, if either side has ended it by now."""
        ...

    def tell(self, text: bytes) -> bool:
        """Write a message about an active run or an open question, after the log's events, to a device of the protocol.

        Where its socket is full, it writes nothing: the device is told of all
        that is active and open once it has caught up. True if it was, or will be.
        """
        ...

    def begin(self, subscription: Subscription, start: Start, bounds: Bounds, session: str, presence: Presence) -> None:
        """Take a subscription to the user's log, and welcome the device."""

    def reset(self, bounds: Bounds, ledger: Ledger) -> None:
        """Go on in another epoch of the log, from its low, and tell the device."""

    def rename(self, bounds: Bounds, ledger: Ledger, fork: int) -> None:
        """Go on in an epoch that shares all up to ``fork`` with the present one, and tell the device."""

    def flush(self) -> None:
        """Write the log's new events, once, without blocking."""

    def end(self, name: str, text: str) -> None:
        """End the connection for a reason of the closing table."""

    def fail(self, error: BaseException) -> None:
        """End the connection for a failure of ours, and report it."""

    def describe(self, offset: int, now: float) -> str:
        """Describe how this device stands to one offset."""
        ...


@attrs.define(kw_only=True)
class Session:
    """The state of one client across its connections."""

    id: str
    cursor: Cursor | None = None
    """The cursor of this session's newest connection."""
    ledger: Ledger | None = None
    """The books of that cursor's epoch."""
    device: Subscriber | None = None
    first_offset: int | None = None
    """The offset at which a session of an earlier life began; ``None`` for one of this life, which has a cursor."""
    former: Cursor | None = None
    """The cursor of a connection before it. A late hello may supersede a newer connection, and then its device comes
    back with more than the newest cursor says."""

    def ack(self, offset: int) -> list[tuple[int, int]]:
        """Ack every offset up to ``offset`` that this session was handed; returns the spans newly acked.

        The former cursor counts only beyond the newest one's position, because
        up to there the newest connection has handed over, or told to be gone,
        all that there is.
        """
        if self.cursor is None:
            return []
        position = self.cursor.position
        spans = self.cursor.ack(min(offset, position))
        if self.former is not None and offset > position:
            handed = self.former.ack(min(offset, self.former.position))
            spans += [(max(first, position + 1), last) for first, last in handed if last > position]
        return spans

    def ack_resumed(self, offset: int, bounds: Bounds, ledger: Ledger) -> list[tuple[int, int]]:
        """Ack what a device that resumes at an offset has; returns the spans newly acked.

        Of an earlier life it is not known what the session was handed. Its
        device is trusted from the offset on at which it began, because it would
        not have a later cursor otherwise.
        """
        if self.cursor is None and self.first_offset is not None:
            first, last = max(self.first_offset, bounds.low), min(offset, bounds.head)
            return [(first, last)] if first <= last else []
        return self.ack(offset) if self.ledger is ledger else []

    def pass_to(self, device: Subscriber, subscription: Subscription) -> None:
        """Go on with another connection, or the same one in another epoch."""
        if self.ledger is not subscription.ledger:
            self.former = None
        elif self.cursor is not None and self.cursor.acked < self.cursor.position:
            self.former = self.cursor
        self.device, self.cursor, self.ledger = device, subscription.cursor, subscription.ledger

    def follow(self, bounds: Bounds, ledger: Ledger) -> None:
        """Go on in the log's present epoch, as far as it continues that of the cursor: what this session was handed
        beyond the fork is lost."""
        before = self.ledger
        fork = None if before is None or before is ledger else bounds.shared(before.epoch)
        if before is None or fork is None or ledger.of(before.epoch) is not before:
            return
        for cursor in (self.cursor, self.former):
            if cursor is not None:
                cursor.lose(fork)
        self.ledger = ledger

    def __repr__(self) -> str:
        device = "away" if self.device is None else self.device.label
        return f"<Session {self.id} {device} {self.cursor!r}>"


@attrs.frozen(kw_only=True)
class Departure:
    """A device that has gone, with the reason."""

    label: str
    name: str
    """A row of the closing table."""
    text: str
    at: float
    """Wall clock, seconds."""
    peer: str = ""
    """The address that it came from, if it came from one."""
    epoch: str = ""
    """The epoch of the log that it read last."""
    cursor: Cursor | None = None
    """The place where it stood there; ``None`` of one that had none."""


class Presence:
    """The devices of one user that are here, the sessions they belong to, and the last ones that left."""

    __slots__ = (
        "_most_departures",
        "absences",
        "acked_at",
        "address",
        "departures",
        "devices",
        "held",
        "marked",
        "rewound",
        "sessions",
        "unconfirmed",
        "view",
    )

    def __init__(self, departures: int) -> None:
        self.address: Mailbox[UserMessage]
        """The user's actor."""
        self.devices: list[Subscriber] = []
        self.sessions: OrderedDict[str, Session] = OrderedDict()
        self.departures: list[Departure] = []
        """The last ones; a list, because a deque of nothing takes 760 bytes."""
        self._most_departures = departures
        self.absences: int = 0
        """The number of looks in a row at which no device was here."""
        self.acked_at: float | None = None
        """The time of the last ack of any device: wall clock, seconds."""
        self.held: int = 0
        """Sockets of devices that have gone, and which the carriers of their messages have yet to let go of."""
        self.view: View | None = None
        """The user's log, from before the first device is attached until the user is forgotten."""
        self.unconfirmed: bool = False
        """True if the store has yet to be told what devices acked, or sockets took."""
        self.marked: bool = False
        """True while the flusher has it on its list. Rings coalesce here."""
        self.rewound: bool = False
        """True if a device has found the log in another epoch, and the user's actor has not looked yet."""

    def __repr__(self) -> str:
        devices = " ".join(device.label for device in self.devices) or "away"
        return f"<Presence {devices} sessions={len(self.sessions)}{' marked' if self.marked else ''}>"

    def rewind(self) -> None:
        """Have the user's actor look at the epoch of the log, because a device has found it in another one."""
        if self.rewound:
            return
        self.rewound = True
        try:
            self.address.tell(REWOUND)
        except trio.WouldBlock:
            return  # the actor looks after each message, and it has a queue of them
        except ActorsError:
            self.rewound = False  # the mailbox is closed, and what closed it ends the devices

    def remember(self, departure: Departure) -> None:
        """Remember a departure, among the last ones."""
        self.departures.append(departure)
        del self.departures[: -self._most_departures or None]

    def leave(self, device: Subscriber) -> None:
        """Remove a device; its session stays, without it."""
        self.absences = 0
        if device in self.devices:
            self.devices.remove(device)
        for session in self.sessions.values():
            if session.device is device:
                session.device = None


class Rewound(msgspec.Struct, frozen=True, gc=False):
    """The user's log is in another epoch than the one that some device reads."""


class Attach(msgspec.Struct, frozen=True):
    """A device's request for a subscription to the log."""

    device: Subscriber
    session_id: str | None
    resume: tuple[str, int] | None
    origin: Origin
    reply: Reply[Session]
    keeps_session: bool = True
    """False for a device that will not come back under a session."""


class Detach(msgspec.Struct, frozen=True):
    """A device's departure."""

    device: Subscriber
    departure: Departure


class Acked(msgspec.Struct, frozen=True):
    """A device's acks: spans of offsets, in the epoch in which it was sent them."""

    ledger: Ledger
    spans: list[tuple[int, int]]


UserMessage = Rewound | Attach | Detach | Acked

REWOUND = Rewound()
