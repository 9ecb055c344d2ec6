"""The store's answers, noted in the books, and told to those that they concern."""

from __future__ import annotations

from actors.errors import IdempotencyConflict, NotTheOwner, StoreUnavailable
from actors.receipts import Receipt
from actors.stages import Cause
from actors.stores.store import Answer, Binding, Placement, RunOver, StaleGeneration
from actors.threads.context import ThreadContext
from actors.threads.messages import Claim, Emission, OwnerRequest
from actors.threads.route import Route

_RETENTION = Cause.RETENTION
"""Looked up once, because each event of a full log takes one out, and to look a member up takes as long as that."""

_NOT_SAMPLED = 63
"""The bits of an event's number, or of its fingerprint, that are 0 in one of 64."""


def note_placement(emission: Emission, placement: Placement, context: ThreadContext, route: Route) -> None:
    """Note a placement in the books, and ring the owner, along the thread's route as far as it leads there.

    Idempotent, because it is tried again after a crash.
    """
    route.generation = None if context.binds and emission.thread_id in context.binds else placement.generation
    receipt = emission.receipt
    if receipt.seq is not None:
        return
    receipt.seq = placement.seq
    if placement.user_id is None or placement.again == "given":
        _note_elsewhere(emission, placement, context)
        return
    user_id, epoch, offset = placement.user_id, placement.epoch, placement.offset
    ledger = route.ledger
    if ledger is None or not ledger.place(receipt, epoch, offset, placement.promise):
        _note_by_name(receipt, placement, context, route)
    elif placement.low > ledger.low:
        context.accounts.trim(user_id, placement.low, _RETENTION, context.wall_clock(), ledger)
    if context.instruments.placed is not None:
        context.instruments.placed(receipt, user_id, epoch, offset)
    presence = route.presence
    if presence is None or not presence.devices:
        route.presence = context.ring(user_id, receipt.thread_id)
    elif not presence.marked:
        context.mark(presence)
    number = emission.number
    if not number:
        context.receipts_by_id.put((receipt.thread_id, receipt.event_id), receipt)
        number = 1 if emission.fingerprint is None else emission.fingerprint[0]
    if not number & _NOT_SAMPLED:
        context.sample(receipt)
    if emission.arrival is not None:
        emission.arrival.placed()


def _note_by_name(receipt: Receipt, placement: Placement, context: ThreadContext, route: Route) -> None:
    """Note a placement in the books, found by the owner's name, and renew the route."""
    user_id = placement.user_id
    assert user_id is not None, "what has no owner is held"
    ledger = context.accounts.note_placed(
        receipt,
        user_id,
        placement.epoch,
        placement.offset,
        placement.low,
        context.wall_clock(),
        placement.promise,
    )
    route.store, route.ledger, route.presence = placement.route, ledger, None


def _note_elsewhere(emission: Emission, placement: Placement, context: ThreadContext) -> None:
    """Note an event that is in no log yet, or that is a repetition of one that the store had."""
    receipt, accounts, instruments = emission.receipt, context.accounts, context.instruments
    again = placement.again == "given"
    if again:
        key = receipt.thread_id, receipt.event_id
        emission.first = first = context.receipts_by_id.get(key) or _first_receipt(emission, placement, context)
        accounts.deduplicate(receipt, first, placement.user_id)
        if instruments.deduplicated is not None:
            instruments.deduplicated(receipt, first)
    else:
        accounts.hold(receipt, placement.seq, context.wall_clock(), placement.promise)
        if instruments.held is not None:
            instruments.held(receipt)
        context.note_shed()
        context.ring(None, receipt.thread_id)
        if not emission.number:
            context.receipts_by_id.put((receipt.thread_id, receipt.event_id), receipt)
    if emission.arrival is not None:
        emission.arrival.refused()


def note_refusal(emission: Emission, answer: Answer, context: ThreadContext) -> None:
    """Note that the store did not take an event, or ended without saying so."""
    if isinstance(answer, StoreUnavailable):
        doubt(emission, context)
    else:
        assert isinstance(answer, Exception), "an append is answered by a placement or a refusal"
        refuse(emission, answer, context)


def refuse(emission: Emission, refusal: Exception, context: ThreadContext) -> None:
    """Report that the store did not take an event: to its emitter, or to its receipt once the emit has returned."""
    if emission.returned:
        context.accounts.lose(emission.receipt, _CAUSES[type(refusal)], context.wall_clock())
    if isinstance(refusal, NotTheOwner) and emission.user_id is not None and context.instruments.disputed is not None:
        context.instruments.disputed(emission.thread_id, emission.user_id)
    emission.refusal = refusal.with_traceback(None)
    if emission.arrival is not None:
        emission.arrival.refused()


def doubt(emission: Emission, context: ThreadContext) -> None:
    """Note that it will never be known whether the store took an event."""
    context.accounts.doubt(emission.receipt)
    if emission.arrival is not None:
        emission.arrival.refused()


def note_owner(binding: Binding, context: ThreadContext) -> None:
    """Note in the books the events that a change of owner has placed, unless they are there.

    A bind that changed nothing may be one that was sent again, because its
    first answer was lost.
    """
    thread_id, user_id = binding.thread_id, binding.user_id
    if user_id is None:
        _tell_owner(thread_id, None, 0, context)
        return
    context.note_shed()
    epoch, first, low = binding.epoch, binding.first_offset, binding.low
    placed = context.accounts.bind(
        thread_id, user_id, epoch, first, low, context.wall_clock(), notice=binding.notice, promise=binding.promise
    )
    context.store.ack_binding(thread_id, binding.generation)
    # Only now, because this may write to the owner's devices at once, and the books must know the events by then.
    _tell_owner(thread_id, user_id, placed, context)
    if placed:
        context.ring(user_id, thread_id)


def note_reply(bind: OwnerRequest | Claim, answer: Answer) -> None:
    """Give the store's answer to the caller that asked for a change of owner, if one did."""
    if isinstance(bind, Claim):
        bind.settled = True
    elif isinstance(answer, Binding):
        bind.reply.give(answer)
    else:
        assert isinstance(answer, Exception), "a bind is answered by a binding or a refusal"
        bind.reply.refuse(answer.with_traceback(None))


def _tell_owner(thread_id: str, user_id: str | None, placed: int, context: ThreadContext) -> None:
    if context.instruments.bound is not None:
        context.instruments.bound(thread_id, user_id, placed)
    context.owner_changed(thread_id, user_id)


def _first_receipt(emission: Emission, placement: Placement, context: ThreadContext) -> Receipt:
    """Make a receipt of the first event of an id, which came in an earlier life of the store."""
    receipt = emission.receipt
    state, number = context.accounts.state_of(
        receipt.thread_id,
        placement.user_id,
        placement.epoch,
        seq=placement.seq,
        offset=placement.offset,
        low=placement.low,
    )
    first = Receipt(receipt.event_id, receipt.thread_id, receipt.accepted_at, state, placement.seq, number)
    context.receipts_by_id.put((receipt.thread_id, receipt.event_id), first)
    return first


_CAUSES: dict[type[Exception], Cause] = {
    IdempotencyConflict: Cause.CONFLICT,
    NotTheOwner: Cause.NOT_THE_OWNER,
    RunOver: Cause.RUN_OVER,
    StaleGeneration: Cause.OWNER_CHANGED,
    StoreUnavailable: Cause.TROUBLE,
}
