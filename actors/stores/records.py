"""The records of a store's state: what it keeps of an event that is held, of an id, of a run, and of an empty log."""

from __future__ import annotations

import msgspec

from actors.delivery.lineage import Lineage


class FirstAppend(msgspec.Struct, gc=False):
    """The first append of an event id: its fingerprint, and where the store put it (offset 0 while held)."""

    fingerprint: bytes
    seq: int
    at: float
    user_id: str | None = None
    epoch: str = ""
    offset: int = 0


class HeldEvent(msgspec.Struct, gc=False, frozen=True):
    """An event of a thread without an owner."""

    body: bytes
    seq: int
    at: float
    first_append: FirstAppend | None
    event_id: str = ""


class RunMark(msgspec.Struct, gc=False):
    """A run that is due or open."""

    run_id: str
    thread_id: str
    open: bool
    message: bytes = b""
    """The body of the message that it answers, while it is due."""
    user_id: str | None = None
    """The sender of that message."""
    inherited: bool = False
    """True if an earlier life made it."""


class LogEnd(msgspec.Struct, gc=False, frozen=True):
    """The end of an empty log, with which a cursor into it is compared."""

    epoch: str
    head: int
    lineage: Lineage = ()
