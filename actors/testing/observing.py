"""The oracle's instrument: it tells the oracle every emit and every change of owner, by any caller."""

from __future__ import annotations

import attrs
import msgspec

from actors.kernel.failures import Failure
from actors.observability.instrument import Instrument, OwnerChange
from actors.receipts import Receipt
from actors.runtime import Runtime
from actors.testing import owners
from actors.testing.oracle import Oracle
from actors.testing.records import Emit


@attrs.define(eq=False, kw_only=True)
class _Offer:
    """A call to emit that has not ended."""

    emit: Emit
    result: Receipt
    """The receipt that the call will return."""
    refused: bool = False


class OracleInstrument(Instrument):
    """Passes on to an oracle what emitters and changes of owner are told."""

    def __init__(self, runtime: Runtime, oracle: Oracle) -> None:
        self._runtime = runtime
        self._oracle = oracle
        self._offers: dict[int, _Offer] = {}
        """By the identity of the receipt, which lives as long as the call."""
        self._changes: dict[OwnerChange, owners.OwnerChange] = {}

    def quarantined(self, path: str, failure: Failure) -> None:
        """Enter that an actor is out of service."""
        self._oracle.quarantine(path)

    def offered(self, receipt: Receipt, body: bytes, user_id: str | None) -> None:
        """Enter the begin of a call, and of the change of owner that it may bring."""
        noted = self._oracle.emitting(msgspec.json.decode(body + b"}"), user_id)
        offer = self._offers[id(receipt)] = _Offer(emit=noted, result=receipt)
        if user_id is not None:
            act = self._oracle.owning(receipt.thread_id, user_id, only_if_free=True)
            act.pending = lambda: not (receipt.seq is not None or offer.refused or receipt.stage.final)

    def deduplicated(self, receipt: Receipt, first: Receipt) -> None:
        """Expect that the call returns the first receipt."""
        if id(receipt) in self._offers:
            self._offers[id(receipt)].result = first

    def accepted(self, receipt: Receipt, body: bytes, given: bool) -> None:
        """Enter the receipt that a call returns."""
        offer = self._offers.pop(id(receipt))
        self._oracle.accepted(offer.emit, offer.result)

    def refused(self, receipt: Receipt, error: BaseException) -> None:
        """Enter that a call raises."""
        offer = self._offers.pop(id(receipt))
        offer.refused = True
        self._oracle.refused(offer.emit)

    def owner_changing(self, change: OwnerChange) -> None:
        """Enter the begin of a call."""
        only_if_free = change.act == "bind"
        self._changes[change] = self._oracle.owning(change.thread_id, change.user_id, only_if_free=only_if_free)

    def owner_changed(self, change: OwnerChange, error: BaseException | None) -> None:
        """Enter the end of a call, and what its caller can know of it."""
        runtime, thread_id = self._runtime, change.thread_id
        noted = self._changes.pop(change)
        in_doubt = isinstance(error, Exception) and "it is not known" in str(error)
        cut_short = error is not None and not isinstance(error, Exception)  # cancelled: it may happen yet
        happened = None if in_doubt or cut_short else error is None
        self._oracle.owned(thread_id, noted, happened=happened)
        if happened is None:
            noted.pending = lambda: not runtime.tree.threads.is_idle(thread_id)
        if cut_short:
            noted.owns = lambda: runtime.owner(thread_id) == change.user_id
