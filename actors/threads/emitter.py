"""The emitters' half of the runtime: from a call to an event in its thread's mailbox, and a receipt.

Encoding happens here, in the emitter's own call, and all errors that are known
by its end are raised here. An event that was handed over is *accepted*; the books count it
in the same step.
"""

from __future__ import annotations

from contextlib import suppress
from threading import get_ident

import trio

from actors.context import Context
from actors.delivery.accounts import Accounts
from actors.delivery.receipt_index import ReceiptIndex
from actors.errors import RuntimeClosed
from actors.events.event import Payload, check_identifier, encode, fingerprint
from actors.events.states import QUEUED, Queued
from actors.kernel.affinity import Affinity, check_trio
from actors.kernel.bounded import RecentMap
from actors.kernel.dynamic_supervisor import DynamicSupervisor
from actors.kernel.mailbox import Mailbox
from actors.observability.instrument import Instruments
from actors.receipts import Receipt
from actors.threads.messages import Arrival, Emission, ThreadMessage

_THREADS_OF_AN_ID = 16
"""Threads remembered for one id that emitters chose: an application may give every thread a ``welcome``."""


class Emitter:
    """Takes events for every thread of one runtime."""

    def __init__(
        self,
        context: Context,
        threads: DynamicSupervisor[ThreadMessage],
        *,
        accounts: Accounts,
        affinity: Affinity,
    ) -> None:
        limits, environment = context.limits, context.environment
        self.affinity = affinity
        """The thread in which this may be called."""
        self.closed = False
        """True if events are refused."""
        self._threads = threads
        self._accounts = accounts
        self._limits = limits
        self.instruments: Instruments = context.instruments
        """The observers of the runtime, and its tracer."""
        self._thread = affinity.thread
        self._wall_clock = environment.wall_clock
        self._prefix = environment.new_id("e") + "_"
        self._number = 0
        self._index = ReceiptIndex(limits.explained_events)
        self._given: RecentMap[tuple[str, str], Receipt] = RecentMap(limits.explained_events)
        """Receipts of events whose emitter chose the id, by thread and id: an id names one event in each thread."""
        self._threads_of: RecentMap[str, tuple[str, ...]] = RecentMap(limits.explained_events)
        """The newest threads that have an event of a chosen id."""

    def __repr__(self) -> str:
        return f"<Emitter {'closed' if self.closed else 'open'} numbered={self._number}>"

    def compose(
        self,
        thread_id: str,
        type_: str,
        payload: Payload,
        run_id: str | None = None,
        event_id: str | None = None,
        user_id: str | None = None,
        arrival: Arrival | None = None,
        *,
        claims: bool = True,
        traceparent: str | None = None,
    ) -> Emission:
        """Encode an event, or raise; it is not accepted yet.

        With ``claims``, a thread without an owner becomes ``user_id``'s.
        ``traceparent`` was checked where it came in.
        """
        if get_ident() != self._thread:
            self.affinity.check()
        if self.closed:
            raise RuntimeClosed("expected an open runtime, it is closed")
        at = self._wall_clock()
        if event_id is None:
            self._number = number = self._number + 1
            event_id = f"{self._prefix}{number:x}"
        else:
            check_identifier("event_id", event_id)
            number = 0
        body = encode(type_, payload, thread_id, run_id, event_id, at, self._limits, traceparent)
        mark = None if number else fingerprint(body)
        if user_id is not None:
            check_identifier("user_id", user_id)
        receipt = Receipt(event_id, thread_id, at, QUEUED)
        return Emission(
            thread_id,
            event_id,
            body,
            None,
            mark,
            at=at,
            receipt=receipt,
            number=number,
            user_id=user_id,
            claims=claims,
            arrival=arrival,
        )

    def mailbox(self, thread_id: str) -> Mailbox[ThreadMessage]:
        """Return the mailbox of a thread, which an emitter may keep, to save the look-up."""
        return self._threads.mailbox(thread_id)

    async def emit(self, emission: Emission, mailbox: Mailbox[ThreadMessage] | None = None) -> Receipt:
        """Hand an event over, waiting for room and for no more; a checkpoint. If it raises, the event was not
        accepted."""
        instruments = self.instruments
        if instruments.offered is not None:
            instruments.offered(emission.receipt, emission.body, emission.user_id)
        try:
            receipt = await self._hand_over(emission, mailbox or self._threads.mailbox(emission.thread_id))
        except BaseException as error:
            if instruments.refused is not None:
                instruments.refused(emission.receipt, error)
            raise
        if instruments.accepted is not None:
            instruments.accepted(emission.receipt, emission.body, not emission.number)
        return receipt

    def emit_nowait(
        self, emission: Emission, mailbox: Mailbox[ThreadMessage] | None = None, *, reserved: bool = False
    ) -> Receipt:
        """Hand an event over without waiting.

        Raises :class:`trio.WouldBlock` when there is no room; for an event with
        a ``reserved`` place there always is.
        """
        instruments = self.instruments
        if instruments.offered is not None:
            instruments.offered(emission.receipt, emission.body, emission.user_id)
        self._accounts.accepted += 1
        try:
            mailbox = mailbox or self._threads.mailbox(emission.thread_id)
            if reserved:
                mailbox.tell_reserved(emission)
            else:
                mailbox.tell(emission)
            receipt = self._conclude(emission)
        except BaseException as error:
            self._accounts.accepted -= 1
            if instruments.refused is not None:
                instruments.refused(emission.receipt, error)
            raise
        if instruments.accepted is not None:
            instruments.accepted(emission.receipt, emission.body, not emission.number)
        return receipt

    def threads_of(self, event_id: str) -> tuple[str, ...]:
        """Return the threads that have an event of this id, as far as is remembered; of very many, the newest."""
        threads = self._threads_of.get(event_id) or ()
        made_here = self._made_here(event_id)
        return threads if made_here is None or made_here.thread_id in threads else (made_here.thread_id, *threads)

    def remembered(self, event_id: str, thread_id: str) -> Receipt | None:
        """Return the receipt of an event of a thread, by the number in an id made here, or by an id the emitter
        chose."""
        made_here = self._made_here(event_id)
        if made_here is not None and made_here.thread_id == thread_id:
            return made_here
        return self._given.get((thread_id, event_id))

    def _made_here(self, event_id: str) -> Receipt | None:
        with suppress(ValueError):
            number = int(event_id.removeprefix(self._prefix), 16)
            if event_id == f"{self._prefix}{number:x}":
                return self._index.get(number, event_id)
        return None

    def _remember_given(self, receipt: Receipt) -> None:
        event_id, thread_id = receipt.event_id, receipt.thread_id
        known = self._given.get((thread_id, event_id))
        if known is None or known.cause is not None:
            self._given.put((thread_id, event_id), receipt)
            threads = self._threads_of.get(event_id) or ()
            others = tuple(one for one in threads if one != thread_id)
            self._threads_of.put(event_id, (*others[1 - _THREADS_OF_AN_ID :], thread_id))

    async def _hand_over(self, emission: Emission, mailbox: Mailbox[ThreadMessage]) -> Receipt:
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
        except RuntimeError:
            check_trio("emit")
            raise
        waited = False
        self._accounts.accepted += 1
        try:
            try:
                mailbox.tell(emission)
            except trio.WouldBlock:
                waited = True
                await mailbox.send(emission)
            receipt = self._conclude(emission)
        except BaseException:
            self._accounts.accepted -= 1
            raise
        if not waited:
            await trio.lowlevel.cancel_shielded_checkpoint()
        return receipt

    def _conclude(self, emission: Emission) -> Receipt:
        """End the emitter's call: with the receipt, or with the store's refusal."""
        receipt = emission.receipt
        if receipt.seq is None:
            if emission.refusal is not None:
                raise emission.refusal
            if receipt.state is QUEUED:
                receipt.move(Queued(), 0)
        elif emission.first is not None:
            return emission.first
        emission.returned = True
        if emission.number:
            self._index.put(emission.number, receipt)
        else:
            self._remember_given(receipt)
        return receipt
