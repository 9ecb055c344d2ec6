"""What is said to a thread's actor: an event on its way to the store, or a change of owner.

What emitters and the actor know of each other is in this module; neither
imports the other.
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from actors.kernel.signals import Reply
from actors.receipts import Receipt
from actors.stores.store import Append, Binding


class Arrival(Protocol):
    """Somebody who waits to hear what the store made of an event, and does something about it at once.

    Called in the thread actor's own step, exactly once, and must not raise.
    So what follows from a placement follows even when the emitter has gone.
    """

    def placed(self) -> None:
        """The event is new, and in its owner's log."""

    def refused(self) -> None:
        """It is not: a repetition, refused, or lost."""


class Emission(Append, kw_only=True):
    """An event on its way to the store: an append, and what its emitter has to do with it."""

    receipt: Receipt
    number: int
    """Counts the events whose id was made here; 0 for an id that was given."""
    user_id: str | None = None
    """The user whom the emitter takes for the owner."""
    claims: bool = True
    """Whether a thread that nobody owns becomes this user's."""
    first: Receipt | None = None
    """The receipt of the first event of this id, if this one was a repetition."""
    refusal: Exception | None = None
    """Why the event was not taken."""
    arrival: Arrival | None = None
    """Who is to be told when this event is placed."""
    bind_sent: bool = False
    """True while the store may have made that user the owner, and its reply is not in the books."""
    append_sent: bool = False
    """True while the store may have taken this event, because its reply has not come."""
    returned: bool = False
    """Whether the emitter's call has returned: from then on the event is accepted, whatever becomes of it."""

    @property
    def settled(self) -> bool:
        """Whether the store has answered, or the event is known to be lost: nothing more is to be done with it."""
        return self.receipt.seq is not None or self.refusal is not None or self.receipt.stage.final


class Bind(msgspec.Struct):
    """A change of owner."""

    act: Literal["bind", "rebind", "unbind"]
    user_id: str | None
    reply: Reply[Binding]
    bind_sent: bool = False
    """True while the store may have changed the owner, and its reply is not in the books."""

    @property
    def settled(self) -> bool:
        """Whether whoever asked for it has an answer."""
        return self.reply.answered


ThreadMessage = Emission | Bind
