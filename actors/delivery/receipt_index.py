"""Where the newest events are, by their number: what ``explain`` knows.

Every event emitted leaves a line here, so a line must cost nothing later: it
is a cell in each of six columns that were allocated once. With a dictionary of
receipts, 8 % of a busy server's time went into freeing, long after, what the
processor's caches had forgotten.
"""

from __future__ import annotations

from array import array

from actors.receipts import EventState, Receipt


class ReceiptIndex:
    """The last ``capacity`` events by number; not each number comes, and one may come late."""

    __slots__ = ("_accepted_at", "_numbers", "_seqs", "_size", "_state_numbers", "_states", "_thread_ids")

    def __init__(self, capacity: int) -> None:
        self._size = capacity
        self._numbers = array("Q", bytes(8 * capacity))
        self._accepted_at = array("d", bytes(8 * capacity))
        self._seqs = array("Q", bytes(8 * capacity))
        self._state_numbers = array("Q", bytes(8 * capacity))
        self._thread_ids: list[str] = [""] * capacity
        # A receipt whose event has not arrived anywhere yet stands for its
        # own state, because that state will change.
        self._states: list[EventState | Receipt | None] = [None] * capacity

    def put(self, number: int, receipt: Receipt) -> None:
        """Remember where an event is."""
        cell = number % self._size
        if self._numbers[cell] > number:
            return
        self._numbers[cell] = number
        if receipt.seq is None:
            self._states[cell] = receipt
            return
        self._accepted_at[cell] = receipt.accepted_at
        self._seqs[cell] = receipt.seq
        self._thread_ids[cell] = receipt.thread_id
        self._states[cell] = receipt.state
        self._state_numbers[cell] = receipt.number

    def get(self, number: int, event_id: str) -> Receipt | None:
        """A receipt of the event with a number, or ``None`` once it is forgotten."""
        cell = number % self._size
        state = self._states[cell]
        if state is None or self._numbers[cell] != number:
            return None
        if isinstance(state, Receipt):
            return state
        receipt = Receipt(event_id, self._thread_ids[cell], self._accepted_at[cell], state, self._seqs[cell])
        receipt.move(state, self._state_numbers[cell])
        return receipt
