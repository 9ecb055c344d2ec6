"""The receipts of the input: each followed to its final stage, each advance reported once.

The tracker follows receipts in groups: those of 64 neighbouring offsets of a
log, or those that a thread still holds. A change rings its group once, however
many receipts it advanced, and :meth:`ReceiptTracker.look` visits rung groups
only. So the cost of an event does not depend on how many others are pending.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from actors.kernel.signals import Doorbell
from actors.receipts import Receipt
from actors.stages import Cause, Stage

Report = Callable[[int, Receipt, Stage], None]
"""A function that takes each advance: the number of the line, its receipt, the stage."""

Key = tuple[str, str, int]
"""A group: user, epoch and a range of 64 offsets; or, before there is an offset, ``""``, the thread and 0."""

_NEIGHBOURS_BITS = 6

_PASSED = {
    Stage.ACCEPTED: (Stage.ACCEPTED,),
    Stage.BUFFERED: (Stage.BUFFERED,),
    Stage.STORED: (Stage.STORED,),
    Stage.WRITTEN: (Stage.STORED, Stage.WRITTEN),
    Stage.ACKED: (Stage.STORED, Stage.WRITTEN, Stage.ACKED),
    Stage.UNCONFIRMED: (Stage.STORED, Stage.WRITTEN, Stage.UNCONFIRMED),
}

_REPORTED = (
    Stage.ACKED,
    Stage.UNCONFIRMED,
    Stage.WRITTEN,
    Stage.STORED,
    Stage.BUFFERED,
    Stage.ACCEPTED,
    Stage.DROPPED,
)
"""The order of the summary, best first."""


class _Entry:
    __slots__ = ("group", "line", "receipt", "stage")

    def __init__(self, line: int, receipt: Receipt) -> None:
        self.line = line
        self.receipt = receipt
        self.stage: Stage | None = None
        self.group: _Group | None = None


class _Group:
    __slots__ = ("_on_ring", "entries", "key", "rung")

    def __init__(self, key: Key, on_ring: Callable[[_Group], None]) -> None:
        self.key = key
        self.entries: list[_Entry] = []
        self.rung = False
        self._on_ring = on_ring

    def ring(self) -> None:
        if not self.rung:
            self.rung = True
            self._on_ring(self)


class ReceiptTracker:
    """The receipts of the input: counts their stages, and reports each stage that one passes."""

    def __init__(self, report: Report | None = None) -> None:
        self._report = report
        self._counts: Counter[tuple[Stage, Cause | None]] = Counter()
        self._groups: dict[Key, _Group] = {}
        self._rung: list[_Group] = []
        self._bell = Doorbell()

    def add(self, line: int, receipt: Receipt) -> None:
        """Follow the receipt of an input line from now on."""
        self._follow(_Entry(line, receipt))

    async def run(self) -> None:
        """Look at every change, until cancelled."""
        while True:
            await self._bell.wait()
            self.look()

    def look(self) -> None:
        """Bring counts and reports up to date."""
        rung, self._rung = self._rung, []
        for group in rung:
            group.rung = False
            entries, group.entries = group.entries, []
            for entry in entries:
                self._follow(entry)
            if not group.entries and self._groups.get(group.key) is group:
                del self._groups[group.key]  # the check, because a page of the ledger rings for the one before, too

    def count(self, *stages: Stage) -> int:
        """Count the events in one of these stages."""
        return sum(number for (stage, _), number in self._counts.items() if stage in stages)

    @property
    def total(self) -> int:
        """The number of events."""
        return self._counts.total()

    @property
    def awaited(self) -> set[str]:
        """The users with events in their log that can still advance."""
        return {user_id for user_id, _, _ in self._groups if user_id}

    def __str__(self) -> str:
        kinds = sorted(self._counts, key=lambda kind: (_REPORTED.index(kind[0]), kind[1] or ""))
        counts = ((stage, cause, self._counts[stage, cause]) for stage, cause in kinds)
        text = ", ".join(f"{n} {stage.name}{f' ({cause})' if cause else ''}" for stage, cause, n in counts if n)
        return f"{self.total} event{'' if self.total == 1 else 's'}{': ' if text else ''}{text}"

    def _follow(self, entry: _Entry) -> None:
        """Report how far an event has come, and watch for its next stage."""
        receipt = entry.receipt
        stage = receipt.stage
        if stage is not entry.stage:
            self._advance(entry, stage)
        if stage.final:
            return
        position = receipt.position
        key = ("", receipt.thread_id, 0)
        if position is not None:
            key = (position.user_id, position.epoch, position.offset >> _NEIGHBOURS_BITS)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(key, self._note)
        group.entries.append(entry)
        if entry.group is not group or position is None:
            entry.group = group
            # One callback for the whole group, because the state that the
            # receipts share keeps it once, however many of them register it.
            receipt.watch(group.ring)

    def _advance(self, entry: _Entry, stage: Stage) -> None:
        before, entry.stage = entry.stage, stage
        if before is not None:
            self._counts[before, None] -= 1
        self._counts[stage, entry.receipt.cause] += 1
        if self._report is None:
            return
        for passed in _passed(entry.receipt, stage):
            if before is None or passed > before:
                self._report(entry.line, entry.receipt, passed)

    def _note(self, group: _Group) -> None:
        self._rung.append(group)
        self._bell.ring()


def _passed(receipt: Receipt, stage: Stage) -> tuple[Stage, ...]:
    """Return the stages that an event has certainly passed, the current one last."""
    if stage is not Stage.DROPPED:
        return _PASSED[stage]
    if receipt.position is not None:
        return Stage.STORED, Stage.DROPPED
    return (Stage.DROPPED,) if receipt.seq is None else (Stage.BUFFERED, Stage.DROPPED)
