"""What a journal has to give back: a model of the effects, and the simplest journal over it."""

from __future__ import annotations

import copy
from array import array
from collections.abc import Sequence
from typing import Any

import attrs
import msgspec
import trio

from actors.delivery.bounds import Spans
from actors.delivery.lineage import Lineage, shared
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


@attrs.define
class ModelLog:
    """A log with its events."""

    epoch: str
    lineage: Lineage
    low: int = 1
    head: int = 0
    events: dict[int, Placed] = attrs.Factory(dict)
    acked: Spans = ()
    written: int = 0


@attrs.define
class Model:
    """All that the effects of some commits amount to."""

    life: int = 0
    clean: bool = True
    batch: int = 0
    secret: bytes = b""
    now: float = 0.0
    logs: dict[str, ModelLog] = attrs.Factory(dict)
    threads: dict[str, RestoredThread] = attrs.Factory(dict)
    given: dict[tuple[str, str], GivenId] = attrs.Factory(dict)
    runs: dict[str, RunRecord] = attrs.Factory(dict)

    def take(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            self.now = max(self.now, getattr(effect, "at", 0.0))
            self._take(effect)

    def _take(self, effect: Effect) -> None:
        match effect:
            case LogRecord(user_id, epoch, lineage):
                log = self.logs.get(user_id)
                kept = None if log is None else log.head if log.epoch == epoch else shared(lineage, log.epoch)
                if log is None or kept is None or kept < log.head:
                    self.logs[user_id] = ModelLog(epoch, lineage)
                else:
                    log.epoch, log.lineage = epoch, lineage
            case Placed():
                log = self.logs[effect.user_id]
                if not log.head:
                    log.low = effect.offset
                log.head = effect.offset
                log.events[effect.offset] = effect
                self._seq(effect.thread_id, effect.seq)
            case Marks(user_id, low, acked, written):
                log = self.logs[user_id]
                log.low, log.acked, log.written = max(low, log.low), acked, written
            case GivenId():
                self.given[effect.thread_id, effect.event_id] = effect
            case GivenIdsExpired(before):
                self.given = {key: one for key, one in self.given.items() if one.at >= before}
            case RunRecord():
                self.runs[effect.run_id] = effect
            case RunClosed(run_id):
                self.runs.pop(run_id, None)
            case _:
                self._take_thread(effect)

    def _take_thread(self, effect: Effect) -> None:
        match effect:
            case ThreadRecord():
                held = [] if effect.user_id is not None else self._thread(effect.thread_id).held
                self.threads[effect.thread_id] = RestoredThread(effect, held)
            case Held():
                self._seq(effect.thread_id, effect.seq)
                self._thread(effect.thread_id).held.append(effect)
            case HoldShed(thread_id, last_seq, cause, count):
                self._seq(thread_id, last_seq)
                thread = self._thread(thread_id)
                causes = dict(thread.record.shed)
                causes[cause] = causes.get(cause, 0) + count
                thread.record = msgspec.structs.replace(thread.record, shed=tuple(causes.items()))
                thread.held = [one for one in thread.held if one.seq > last_seq]
            case ThreadForgotten(thread_id):
                self.threads.pop(thread_id, None)
            case _:
                pass  # a dead letter is for people

    def _thread(self, thread_id: str) -> RestoredThread:
        return self.threads.setdefault(thread_id, RestoredThread(ThreadRecord(thread_id, None, "", 0)))

    def _seq(self, thread_id: str, seq: int) -> None:
        thread = self._thread(thread_id)
        thread.record = msgspec.structs.replace(thread.record, seq=max(seq, thread.record.seq))

    def restored(self, limits: Limits) -> Restored:
        return Restored(
            life=self.life + 1,
            clean=self.clean,
            secret=self.secret,
            now=self.now,
            logs=[self._restored_log(user_id, log, limits.retained_events) for user_id, log in self.logs.items()],
            threads=copy.deepcopy(list(self.threads.values())),
            given_ids=sorted(self.given.values(), key=lambda one: one.at),
            runs=list(self.runs.values()),
        )

    @staticmethod
    def _restored_log(user_id: str, log: ModelLog, most: int) -> RestoredLog:
        low = min(max(log.low, log.head - most + 1), log.head + 1)
        events = [log.events[offset] for offset in range(low, log.head + 1)]
        times, sizes = array("d", [one.at for one in events]), array("I", [len(one.text) for one in events])
        facts = (log.lineage, low, log.head, times, sizes, log.acked, log.written)
        return RestoredLog(user_id, log.epoch, *facts)


def plain(restored: Restored) -> dict[str, Any]:
    """A start in a form that can be compared: logs and threads come in no order."""
    return {
        "life": restored.life,
        "clean": restored.clean,
        "secret": restored.secret,
        "now": restored.now,
        "logs": {one.user_id: {**msgspec.structs.asdict(one), "times": list(one.times), "sizes": list(one.sizes)}
                 for one in restored.logs},
        "threads": {one.record.thread_id: (one.record, one.held) for one in restored.threads},
        "given": restored.given_ids,
        "runs": restored.runs,
    }  # fmt: skip


class ModelDisk:
    """Where a :class:`ModelJournal` keeps what it has; also the :class:`~tests.stores.journal_contract.Disk`."""

    def __init__(self) -> None:
        self.model = Model()
        self.holder: ModelJournal | None = None
        self.failing = ""

    def journal(self) -> ModelJournal:
        return ModelJournal(self)

    def crash(self) -> None:
        self.holder = None

    def fail(self, how: str) -> None:
        self.failing = how

    def contents(self) -> object:
        return copy.deepcopy(self.model)


class ModelJournal:
    """The :class:`~actors.stores.journal.Journal` without a file."""

    promise = Promise.NOTHING

    def __init__(self, disk: ModelDisk) -> None:
        self._disk = disk
        self._life = 0

    async def open(self, limits: Limits, secret: bytes) -> Restored:
        await trio.lowlevel.checkpoint()
        if self._disk.holder is not None:
            raise StoreError("model: expected a journal that is not open")
        self._disk.holder = self
        model = self._disk.model
        model.secret = model.secret or secret
        self._life = model.life + 1
        return model.restored(limits)

    async def commit(self, number: int, effects: Sequence[Effect]) -> None:
        self._check()
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
        failing, self._disk.failing = self._disk.failing, ""
        if failing == "full":
            raise NotTaken("the disk is full")
        if failing == "before":
            raise StoreError("not known")
        self._disk.model.take(effects)
        model = self._disk.model
        model.life, model.batch, model.clean = self._life, number, False
        if failing == "after":
            raise StoreError("not known")

    async def reopen(self) -> int:
        await trio.lowlevel.checkpoint()
        return self._disk.model.batch if self._disk.model.life == self._life else 0

    async def load(self, user_id: str, first: int, last: int) -> list[Row]:
        self._check()
        await trio.lowlevel.checkpoint()
        events = self._disk.model.logs[user_id].events
        return [Row(offset, events[offset].text if offset in events else None) for offset in range(first, last + 1)]

    async def aclose(self, *, clean: bool) -> None:
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
        if self._disk.holder is self:
            self._disk.holder = None
            self._disk.model.clean = self._disk.model.clean or (clean and self._disk.model.life == self._life)

    def _check(self) -> None:
        if self._disk.holder is not self:
            raise StoreError("model: expected a journal that is open")
