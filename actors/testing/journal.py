"""A journal on a disk that is simulated: it syncs slowly, fills up, tears, and lies.

Its disk is a list of commits. A crash keeps a prefix of them, as long as the
commits that were synced; a disk that lies forgets synced ones, too.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Sequence
from typing import Literal

import attrs
import trio

from actors.errors import StoreError
from actors.limits import Limits
from actors.stages import Promise
from actors.stores.journal import (
    Effect,
    GivenId,
    GivenIdsExpired,
    Held,
    HoldShed,
    LogRecord,
    Marks,
    NotTaken,
    Placed,
    Restored,
    RestoredLog,
    RestoredThread,
    Row,
    RunClosed,
    RunRecord,
    ThreadForgotten,
    ThreadRecord,
)

Fault = Literal["full", "unwritten", "unanswered"]
"""Faults of a commit: refused; failed, and not written; written, and failed. Of the last two it is not known."""


@attrs.define(kw_only=True)
class Disk:
    """The disk of one journal, which outlives the journals on it."""

    commits: list[tuple[int, int, tuple[Effect, ...]]] = attrs.field(factory=list)
    """Life, number and effects of each commit."""
    secret: bytes = b""
    life: int = 0
    clean: bool = True
    now: float = 0.0
    is_open: bool = False
    """True while a journal has it open."""

    def crashed(self, lost: int = 0) -> Disk:
        """Return the disk as it is when the process is killed now; of the commits, so many of the last are lost."""
        commits = self.commits[: len(self.commits) - lost]
        return Disk(commits=commits, secret=self.secret, life=self.life, clean=False, now=self.now)

    def crash(self, lost: int = 0) -> None:
        """End a life without order; of the commits, so many of the last are lost."""
        self.clean = self.is_open = False
        if lost:
            del self.commits[-lost:]


class Unreadable(OSError):
    """An error of the simulated disk, after which the outcome of a commit is not known."""


class SimJournal:
    """The :class:`~actors.stores.journal.Journal` on a :class:`Disk`. Each commit takes ``seconds``, after a stall."""

    promise = Promise.POWER

    def __init__(self, disk: Disk, seconds: float = 0.01) -> None:
        self.disk = disk
        self.stalled_until: float = 0.0
        self.faults: deque[Fault] = deque()
        """The faults of the next commits."""
        self.full: bool = False
        """True while the disk has no room for anything."""
        self.calls: int = 0
        self.fail_call = 0
        """The one commit to fail, counted from 1, as ``fail_with`` says."""
        self.fail_with: Fault = "unwritten"
        self.failed: list[Fault] = []
        self.writing: tuple[int, tuple[Effect, ...]] | None = None
        """The commit that is on its way to the disk."""
        self._seconds = seconds

    def __repr__(self) -> str:
        return f"<SimJournal life={self.disk.life} commits={len(self.disk.commits)} faults={len(self.faults)}>"

    async def open(self, limits: Limits, secret: bytes) -> Restored:
        """Begin a life with what the disk has."""
        await trio.lowlevel.checkpoint()
        disk = self.disk
        if disk.is_open:
            raise StoreError("the simulated disk: expected one that is not open, another journal has it open")
        disk.is_open = True
        disk.secret = disk.secret or secret
        disk.life += 1
        restored = fold([effect for _, _, effects in disk.commits for effect in effects], limits)
        restored.life, restored.clean, restored.secret, restored.now = disk.life, disk.clean, disk.secret, disk.now
        return restored

    async def commit(self, number: int, effects: Sequence[Effect]) -> None:
        """Write a batch, after a while, unless it has a fault."""
        self.writing = number, tuple(effects)
        try:
            await self._write(number, effects)
        finally:
            self.writing = None

    async def _write(self, number: int, effects: Sequence[Effect]) -> None:
        await trio.sleep(self._seconds)
        while self.stalled_until > trio.current_time():  # noqa: ASYNC110 - the end may be moved
            await trio.sleep_until(min(self.stalled_until, trio.current_time() + 0.25))
        fault = self._next_fault()
        if fault == "full":
            raise NotTaken("the simulated disk is full")
        if fault == "unwritten":
            raise Unreadable("the simulated disk failed before the write")
        self.disk.clean = False
        self.disk.commits.append((self.disk.life, number, tuple(effects)))
        self.disk.now = max([self.disk.now, *(effect.at for effect in effects if isinstance(effect, Placed | Held))])
        if fault == "unanswered":
            raise Unreadable("the simulated disk failed after the write")

    async def reopen(self) -> int:
        """Return the number of the last commit of this life."""
        await trio.sleep(self._seconds)
        self.disk.is_open = True
        return max([number for life, number, _ in self.disk.commits if life == self.disk.life], default=0)

    async def load(self, user_id: str, first: int, last: int) -> list[Row]:
        """Read events, a few at a time."""
        await trio.sleep(self._seconds)
        found = {
            effect.offset: effect.text
            for _, _, effects in self.disk.commits
            for effect in effects
            if isinstance(effect, Placed) and effect.user_id == user_id and first <= effect.offset <= last
        }
        return [Row(offset, found[offset]) for offset in sorted(found)[:7]]

    async def aclose(self, *, clean: bool) -> None:
        """End the life."""
        await trio.lowlevel.checkpoint()
        self.disk.clean, self.disk.is_open = clean, False

    def heal(self) -> None:
        """End all faults."""
        self.stalled_until = 0.0
        self.full = False
        self.faults.clear()

    def _next_fault(self) -> Fault | None:
        self.calls += 1
        fault: Fault | None = self.faults.popleft() if self.faults else None
        if self.calls == self.fail_call:
            fault = self.fail_with
        if self.full:
            fault = "full"
        if fault is not None:
            self.failed.append(fault)
        return fault


def fold(effects: Sequence[Effect], limits: Limits) -> Restored:
    """Compute the state that effects lead to, one after the other."""
    folding = _Folding()
    for effect in effects:
        folding.take(effect)
    return Restored(
        life=0,
        clean=True,
        secret=b"",
        now=0.0,
        logs=[folding.log(user_id, limits) for user_id in folding.logs],
        threads=list(folding.threads.values()),
        given_ids=sorted(folding.given.values(), key=lambda given: given.at),
        runs=list(folding.runs.values()),
    )


class _Folding:
    """The state so far."""

    def __init__(self) -> None:
        self.logs: dict[str, LogRecord] = {}
        self.events: dict[str, dict[int, Placed]] = {}
        self.marks: dict[str, Marks] = {}
        self.threads: dict[str, RestoredThread] = {}
        self.given: dict[tuple[str, str], GivenId] = {}
        self.runs: dict[str, RunRecord] = {}

    def take(self, effect: Effect) -> None:
        match effect:
            case LogRecord():
                self.logs[effect.user_id] = effect
            case Placed():
                self.events.setdefault(effect.user_id, {})[effect.offset] = effect
                self._count(effect.thread_id, effect.seq)
            case Marks():
                self.marks[effect.user_id] = effect
            case ThreadRecord():
                held = [] if effect.user_id is not None else self._thread(effect.thread_id).held
                self.threads[effect.thread_id] = RestoredThread(effect, held)
            case ThreadForgotten():
                self.threads.pop(effect.thread_id, None)
            case Held():
                self._count(effect.thread_id, effect.seq)
                self._thread(effect.thread_id).held.append(effect)
            case HoldShed():
                self._shed(effect)
            case GivenId():
                self.given[effect.thread_id, effect.event_id] = effect
            case GivenIdsExpired(before):
                self.given = {key: given for key, given in self.given.items() if given.at >= before}
            case RunRecord():
                self.runs[effect.run_id] = effect
            case RunClosed(run_id):
                self.runs.pop(run_id, None)

    def log(self, user_id: str, limits: Limits) -> RestoredLog:
        record, events, marks = self.logs[user_id], self.events.get(user_id, {}), self.marks.get(user_id)
        head = max(events, default=0 if marks is None else marks.low - 1)
        low = max(1 if marks is None else marks.low, head - limits.retained_events + 1)
        there = [events[offset] for offset in range(low, head + 1)]
        return RestoredLog(
            user_id,
            record.epoch,
            record.lineage,
            low,
            head,
            array("d", [event.at for event in there]),
            array("I", [len(event.text) for event in there]),
            () if marks is None else marks.acked,
            0 if marks is None else marks.written,
        )

    def _thread(self, thread_id: str) -> RestoredThread:
        if thread_id not in self.threads:
            self.threads[thread_id] = RestoredThread(ThreadRecord(thread_id, None, "", 0))
        return self.threads[thread_id]

    def _count(self, thread_id: str, seq: int) -> None:
        thread = self._thread(thread_id)
        record = thread.record
        thread.record = ThreadRecord(
            thread_id, record.user_id, record.generation, max(record.seq, seq), record.shed, record.binding
        )

    def _shed(self, effect: HoldShed) -> None:
        thread = self._thread(effect.thread_id)
        record, shed = thread.record, dict(thread.record.shed)
        shed[effect.cause] = shed.get(effect.cause, 0) + effect.count
        thread.held = [held for held in thread.held if held.seq > effect.last_seq]
        thread.record = ThreadRecord(
            record.thread_id, record.user_id, record.generation, record.seq, tuple(shed.items()), record.binding
        )
