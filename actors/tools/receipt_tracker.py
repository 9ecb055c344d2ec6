"""The receipts of the input: each followed to its end, each advance reported once.

Receipts are followed in groups: those of 64 neighbouring offsets of a log, or
those that a thread still holds. A change rings the group it concerns, however
many receipts it advanced, and only rung groups are looked at. So an event
costs the same whether ten or a hundred thousand others are under way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from actors.kernel.signals import Doorbell
from actors.receipts import Receipt
from actors.stages import Cause, Stage

Say = Callable[[int, Receipt, Stage], None]
"""Told each advance: the number of the line, its receipt, the stage."""

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
    """Follows receipts; counts where each event is, and says each stage that one goes through."""

    def __init__(self, say: Say | None = None) -> None:
        self._say = say
        self._counts: Counter[tuple[Stage, Cause | None]] = Counter()
        self._groups: dict[Key, _Group] = {}
        self._rung: list[_Group] = []
        self._bell = Doorbell()

    def add(self, line: int, receipt: Receipt) -> None:
        """Follow the receipt of an input line from now on."""
        self._follow(_Entry(line, receipt))

    async def run(self) -> None:
        """Look whenever something changed, until cancelled."""
        while True:
            await self._bell.wait()
            self.look()

    def look(self) -> None:
        """Bring everything up to this moment."""
        rung, self._rung = self._rung, []
        for group in rung:
            group.rung = False
            entries, group.entries = group.entries, []
            for entry in entries:
                self._follow(entry)
            if not group.entries and self._groups.get(group.key) is group:
                del self._groups[group.key]  # a page rings for the one before, too

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
        said = ", ".join(f"{n} {stage.name}{f' ({cause})' if cause else ''}" for stage, cause, n in counts if n)
        return f"{self.total} event{'' if self.total == 1 else 's'}{': ' if said else ''}{said}"

    def _follow(self, entry: _Entry) -> None:
        """Say how far an event has come, and be called back when it goes on."""
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
            # One callback for the whole group: a place keeps it once,
            # however many receipts ask for it.
            receipt.watch(group.ring)

    def _advance(self, entry: _Entry, stage: Stage) -> None:
        before, entry.stage = entry.stage, stage
        if before is not None:
            self._counts[before, None] -= 1
        self._counts[stage, entry.receipt.cause] += 1
        if self._say is None:
            return
        for passed in _passed(entry.receipt, stage):
            if before is None or passed > before:
                self._say(entry.line, entry.receipt, passed)

    def _note(self, group: _Group) -> None:
        self._rung.append(group)
        self._bell.ring()


def _passed(receipt: Receipt, stage: Stage) -> tuple[Stage, ...]:
    """Return the stages that an event has certainly been through, the present one last."""
    if stage is not Stage.DROPPED:
        return _PASSED[stage]
    if receipt.position is not None:
        return Stage.STORED, Stage.DROPPED
    return (Stage.DROPPED,) if receipt.seq is None else (Stage.BUFFERED, Stage.DROPPED)
