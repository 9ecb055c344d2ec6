"""The messages to a thread's actor: an event on its way to the store, a change of owner, and the store's answers.

Emitters and the actor know of each other only this module; neither imports the
other.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from actors.kernel.signals import Reply
from actors.observability.instrument import OwnerAct
from actors.receipts import Receipt
from actors.stores.store import Answer, Append, Bind, Binding


class Arrival(Protocol):
    """A continuation of an emit, for consequences of a placement that must follow even when the emitter has gone.

    The thread actor calls it in its own step, exactly once; it must not raise.
    """

    def placed(self) -> None:
        """Go on from a new event, which the store has placed in its owner's log."""

    def refused(self) -> None:
        """Go on from a repetition, a refusal or a loss."""


class Emission(Append, kw_only=True, gc=True):
    """An event on its way to the store: an append, with the emitter's expectations and the outcome."""

    # The collector has to see it, because the refusal that an emit raises refers by its traceback to the frames that
    # have it: unseen, each refused event would keep them, up to the emitter's own, for ever.
    receipt: Receipt
    number: int
    """Counts the events whose id was made here; 0 for an id that the emitter chose."""
    claims: bool = True
    """True if a thread without an owner becomes ``user_id``'s."""
    only_new: bool = False
    """True if it becomes so only without an event, either."""
    first: Receipt | None = None
    """The receipt of the first event of this id, if this one was a repetition."""
    refusal: Exception | None = None
    """The error for which the event was not taken."""
    arrival: Arrival | None = None
    """The continuation, called when the outcome is known."""
    sent: bool = False
    """True once the store has it; from then on the store answers, whatever becomes of the actor."""
    answer: Answer | None = None
    """The store's answer."""
    unanswered: bool = False
    """True while the store has yet to answer it, where it has to be waited for."""
    returned: bool = False
    """True once the emitter's call has returned: from then on the event is accepted, whatever its outcome."""

    @property
    def settled(self) -> bool:
        """True if no work is left for this event, because its outcome is in the books."""
        return self.receipt.seq is not None or self.refusal is not None or self.receipt.stage.final


class OwnerRequest(Bind, kw_only=True):
    """A change of owner, and the reply to the caller that asked for it."""

    act: OwnerAct
    reply: Reply[Binding]
    former: str | None = None
    """The owner before it, when the store got it."""
    sent: bool = False
    """True once the store has it."""
    answer: Answer | None = None
    """The store's answer."""

    @property
    def settled(self) -> bool:
        """True if the caller has an answer."""
        return self.reply.answered


class Claim(Bind, kw_only=True):
    """A bind of a thread without an owner to the user of the emission that follows it, which the store refuses if this
    is in vain."""

    former: str | None = None
    """The owner before it, when the store got it."""
    sent: bool = False
    """True once the store has it."""
    answer: Answer | None = None
    """The store's answer."""
    settled: bool = False
    """True if the answer is in the books."""


class StoreAnswer(msgspec.Struct, gc=False):
    """The store's answer to an act, where the store had to be waited for."""

    act: Emission | OwnerRequest | Claim
    answer: Answer

    @property
    def settled(self) -> bool:
        """True if the answer is in the books."""
        return self.act.settled


ThreadMessage = Emission | OwnerRequest | StoreAnswer
