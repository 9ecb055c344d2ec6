"""The messages to a thread's actor: an event on its way to the store, or a change of owner.

Emitters and the actor know of each other only this module; neither imports the
other.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from actors.kernel.signals import Reply
from actors.observability.instrument import OwnerAct
from actors.receipts import Receipt
from actors.stores.store import Append, Binding


class Arrival(Protocol):
    """A continuation of an emit, for consequences of a placement that must follow even when the emitter has gone.

    The thread actor calls it in its own step, exactly once; it must not raise.
    """

    def placed(self) -> None:
        """Go on from a new event, which the store has placed in its owner's log."""

    def refused(self) -> None:
        """Go on from a repetition, a refusal or a loss."""


class Emission(Append, kw_only=True):
    """An event on its way to the store: an append, with the emitter's expectations and the outcome."""

    receipt: Receipt
    number: int
    """Counts the events whose id was made here; 0 for an id that the emitter chose."""
    user_id: str | None = None
    """The owner that the emitter expects."""
    claims: bool = True
    """True if a thread without an owner becomes this user's."""
    first: Receipt | None = None
    """The receipt of the first event of this id, if this one was a repetition."""
    refusal: Exception | None = None
    """The error for which the event was not taken."""
    arrival: Arrival | None = None
    """The continuation, called when the outcome is known."""
    bind_sent: bool = False
    """True while the store may have made that user the owner, and its reply is not in the books."""
    append_sent: bool = False
    """True while the store may have taken this event, because its reply has not come."""
    returned: bool = False
    """True once the emitter's call has returned: from then on the event is accepted, whatever its outcome."""

    @property
    def settled(self) -> bool:
        """True if no work is left for this event, because the store has answered or the event is known to be lost."""
        return self.receipt.seq is not None or self.refusal is not None or self.receipt.stage.final


class Bind(msgspec.Struct):
    """A change of owner."""

    act: OwnerAct
    user_id: str | None
    reply: Reply[Binding]
    bind_sent: bool = False
    """True while the store may have changed the owner, and its reply is not in the books."""

    @property
    def settled(self) -> bool:
        """True if the caller has an answer."""
        return self.reply.answered


ThreadMessage = Emission | Bind
