"""The index of the newest events by number, from which ``explain`` answers.

Every event emitted leaves a line here, so a line must cost nothing later: it
is a cell in each of six columns that are allocated once. With a dictionary of
receipts, 8 % of a busy server's time went into freeing entries long after the
processor's caches had lost them.
"""

from __future__ import annotations

from array import array

from actors.events.states import EventState
from actors.receipts import Receipt


class ReceiptIndex:
    """The last ``capacity`` events by number; numbers may be missing, and one may come late."""

    __slots__ = ("_accepted_at", "_numbers", "_seqs", "_size", "_state_numbers", "_states", "_thread_ids")

    def __init__(self, capacity: int) -> None:
        self._size = capacity
        self._numbers = array("Q", bytes(8 * capacity))
        self._accepted_at = array("d", bytes(8 * capacity))
        self._seqs = array("Q", bytes(8 * capacity))
        self._state_numbers = array("Q", bytes(8 * capacity))
        self._thread_ids: list[str] = [""] * capacity
        # A receipt whose event has not arrived anywhere yet stands in for its
        # state, because it will move to another.
        self._states: list[EventState | Receipt | None] = [None] * capacity

    def put(self, number: int, receipt: Receipt) -> None:
        """Remember the state and number that a receipt reads."""
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
        """Make a receipt of the event with a number, or return ``None`` once it is forgotten."""
        cell = number % self._size
        state = self._states[cell]
        if state is None or self._numbers[cell] != number:
            return None
        if isinstance(state, Receipt):
            return state
        receipt = Receipt(event_id, self._thread_ids[cell], self._accepted_at[cell], state, self._seqs[cell])
        receipt.move(state, self._state_numbers[cell])
        return receipt
