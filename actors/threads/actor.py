"""The thread actor: appends events to the store, and rings the owner.

Once the store has placed an event, no message carries it: the thread rings the
owner, and the owner's connections read the log. If messages carried events,
two placements of one commit could arrive in either order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import attrs
import trio

from actors.delivery.accounts import Accounts
from actors.errors import IdempotencyConflict, NotTheOwner, StoreUnavailable
from actors.events.event import fingerprint
from actors.kernel.bounded import RecentMap
from actors.observability.instrument import Instruments
from actors.receipts import Receipt
from actors.stages import Cause
from actors.stores.store import Binding, Placement, StaleGeneration, Store
from actors.threads.messages import Bind, Emission, ThreadMessage

T = TypeVar("T")

RETRY_SECONDS = 0.1
"""The pause before a store that did not answer is asked again: longer than a hiccup, shorter than a person notices."""


@attrs.frozen(kw_only=True)
class ThreadContext:
    """The neighbours of a thread actor: the store, the books, and the way to the owners."""

    store: Store
    accounts: Accounts
    instruments: Instruments
    clock: Callable[[], float]
    ring: Callable[[str | None, str], None]
    """Rings a thread's owner; ``None`` says that there is none."""
    receipts_by_id: RecentMap[tuple[str, str], Receipt]
    """The first receipts of ids that emitters chose, by thread and id."""
    owner_changed: Callable[[str, str | None], None]
    """Takes a thread's owner, or ``None``, whenever that may have changed."""

    def note_shed(self) -> None:
        """Note in the books the events that the store has shed."""
        now = self.clock()
        for shed in self.store.shed():
            self.accounts.shed(shed.thread_id, shed.last_seq, shed.cause, now)


class ThreadActor:
    """One thread: its events in order, held while it has no owner."""

    __slots__ = ("_context", "_generation", "_noted", "_unsettled", "thread_id")

    def __init__(self, thread_id: str, context: ThreadContext) -> None:
        self.thread_id = thread_id
        self._context = context
        self._generation: int | None = None
        self._noted: int | None = None
        """The generation whose change of owner is in the books."""
        self._unsettled: list[ThreadMessage] | None = None

    def __repr__(self) -> str:
        state = "idle" if not self._unsettled else f"unsettled={len(self._unsettled)}"
        return f"<ThreadActor {self.thread_id} generation={self._generation} {state}>"

    def handle(self, message: ThreadMessage) -> bool | None:
        """Take one message; true when it has to wait for the store."""
        now = self._context.clock()
        try:
            if isinstance(message, Emission):
                self._append(message, now)
            else:
                self._bind(message, now)
        except trio.WouldBlock:
            if self._unsettled is None:
                self._unsettled = []
            self._unsettled.append(message)
            return True
        return None

    async def settle(self) -> None:
        """Wait for the store with every message that has to: runs of events together, binds in between.

        A message that was settled before a crash comes again after it, and is skipped.
        """
        messages, self._unsettled = self._unsettled or [], None
        emissions: list[Emission] = []
        for message in messages:
            if message.settled:
                continue
            if isinstance(message, Emission) and message.user_id is None:
                emissions.append(message)
                continue
            await self._append_all(emissions)
            emissions = []
            if isinstance(message, Bind):
                await self._settle_bind(message)
            elif await self._settle_owner(message):
                emissions.append(message)
        await self._append_all(emissions)

    # --- events ---------------------------------------------------------------

    def _append(self, emission: Emission, now: float) -> None:
        store = self._context.store
        emission.generation = self._generation
        try:
            if emission.user_id is not None and emission.claims:
                binding = store.bind_nowait(self.thread_id, emission.user_id, now, take=False)
                emission.bind_sent = True
                self._note_bind(binding, now)
                emission.bind_sent = False
                emission.generation = self._generation
            elif emission.user_id is not None:
                self._check_owner(emission.user_id)
            placement = store.append_nowait(emission, now)
        except (IdempotencyConflict, NotTheOwner, StaleGeneration) as refusal:
            self._refuse(emission, refusal, now)
        else:
            self._note(emission, placement, now)

    def _check_owner(self, user_id: str | None) -> None:
        """Raise NotTheOwner unless the thread is this user's. The answer stays true, because only this actor binds
        it."""
        owner = self._context.store.owner(self.thread_id)
        if owner != user_id:
            text = "it is owned by nobody" if owner is None else f"it is owned by {owner!r}"
            raise NotTheOwner(f"thread {self.thread_id!r}: expected the owner {user_id!r}, {text}")

    async def _append_all(self, emissions: list[Emission]) -> None:
        """Append until the store answers. Each event gets a fingerprint, because the store may have taken it before."""
        if not emissions:
            return
        context = self._context
        for emission in emissions:
            emission.generation = self._generation
            emission.fingerprint = emission.fingerprint or fingerprint(emission.body)
            emission.append_sent = True
        now = context.clock()
        answers = await self._until_known(lambda: context.store.append(emissions, context.clock()))
        for emission, answer in zip(emissions, answers, strict=True):
            if isinstance(answer, Placement):
                self._note(emission, answer, now)
            else:
                self._refuse(emission, answer, now)

    async def _until_known(self, ask: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await ask()
            except StoreUnavailable:
                await trio.sleep(RETRY_SECONDS)

    def _note(self, emission: Emission, placement: Placement, now: float) -> None:
        """Note a placement in the books, and ring the owner.

        A duplicate of which no first receipt is known here is booked as this
        event, because the store's first answer was lost on the way, or came to
        an earlier process.
        """
        context = self._context
        receipt, accounts, instruments = emission.receipt, context.accounts, context.instruments
        receipt.seq = placement.seq
        emission.append_sent = False
        self._generation = placement.generation
        first = context.receipts_by_id.get((receipt.thread_id, receipt.event_id)) if placement.duplicate else None
        if not emission.number and first is None:
            context.receipts_by_id.put((receipt.thread_id, receipt.event_id), receipt)
        if first is not None:
            emission.first = first
            accounts.deduplicate(receipt, first, placement.user_id)
            if instruments.deduplicated is not None:
                instruments.deduplicated(receipt, first)
        elif placement.user_id is None:
            accounts.hold(receipt, placement.seq, now)
            if instruments.held is not None:
                instruments.held(receipt)
            context.note_shed()
            context.ring(None, self.thread_id)
        else:
            accounts.note_placed(receipt, placement.user_id, placement.epoch, placement.offset, placement.low, now)
            if instruments.placed is not None:
                instruments.placed(receipt, placement.user_id, placement.epoch, placement.offset)
            context.ring(placement.user_id, self.thread_id)
        if emission.arrival is not None:
            new = first is None and placement.user_id is not None
            (emission.arrival.placed if new else emission.arrival.refused)()

    def _refuse(self, emission: Emission, refusal: Exception, now: float) -> None:
        """Report that the store did not take an event: to its emitter, or to its receipt once the emit has returned."""
        emission.bind_sent = emission.append_sent = False
        if isinstance(refusal, StaleGeneration):
            self._generation = refusal.generation
        if emission.returned:
            self._context.accounts.lose(emission.receipt, _CAUSES[type(refusal)], now)
        else:
            emission.refusal = refusal.with_traceback(None)
        if emission.arrival is not None:
            emission.arrival.refused()

    # --- owners ---------------------------------------------------------------

    def _bind(self, bind: Bind, now: float) -> None:
        try:
            binding = self._context.store.bind_nowait(self.thread_id, bind.user_id, now, take=bind.act != "bind")
        except NotTheOwner as refusal:
            bind.reply.refuse(refusal.with_traceback(None))
        else:
            bind.bind_sent = True
            self._answer(bind, binding)

    async def _settle_bind(self, bind: Bind) -> None:
        bind.bind_sent = True
        try:
            binding = await self._ask_bind(bind.user_id, take=bind.act != "bind")
        except NotTheOwner as refusal:
            bind.reply.refuse(refusal.with_traceback(None))
        else:
            self._answer(bind, binding)

    def _answer(self, bind: Bind, binding: Binding) -> None:
        self._note_bind(binding, self._context.clock())
        bind.bind_sent = False
        bind.reply.give(binding)

    async def _settle_owner(self, emission: Emission) -> bool:
        """Check that the thread belongs to the user that an event names, or bind it if the event claims it."""
        try:
            if emission.claims:
                emission.bind_sent = True
                self._note_bind(await self._ask_bind(emission.user_id, take=False), self._context.clock())
                emission.bind_sent = False
            else:
                self._check_owner(emission.user_id)
        except NotTheOwner as refusal:
            self._refuse(emission, refusal, self._context.clock())
            return False
        return True

    async def _ask_bind(self, user_id: str | None, *, take: bool) -> Binding:
        context = self._context
        return await self._until_known(lambda: context.store.bind(self.thread_id, user_id, context.clock(), take=take))

    def _note_bind(self, binding: Binding, now: float) -> None:
        """Note in the books the events that a change of owner has placed, unless they are there.

        A bind that changed nothing may be one that was sent again, because its
        first answer was lost.
        """
        if binding.generation == self._noted:
            return
        self._generation = self._noted = binding.generation
        context, user_id = self._context, binding.user_id
        if user_id is None:
            self._note_owner(None, 0)
            return
        context.note_shed()
        epoch, first, low = binding.epoch, binding.first_offset, binding.low
        placed = context.accounts.bind(self.thread_id, user_id, epoch, first, low, now, notice=binding.notice)
        context.store.ack_binding(self.thread_id, binding.generation)
        # Only now, because this may write to the owner's devices at once, and the books must know the events by then.
        self._note_owner(user_id, placed)
        if placed:
            context.ring(user_id, self.thread_id)

    def _note_owner(self, user_id: str | None, placed: int) -> None:
        context = self._context
        if context.instruments.bound is not None:
            context.instruments.bound(self.thread_id, user_id, placed)
        context.owner_changed(self.thread_id, user_id)


_CAUSES: dict[type[Exception], Cause] = {
    IdempotencyConflict: Cause.CONFLICT,
    NotTheOwner: Cause.NOT_THE_OWNER,
    StaleGeneration: Cause.OWNER_CHANGED,
}
