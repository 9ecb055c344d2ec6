"""A store that decides here and keeps elsewhere: a state machine in memory, and a journal under it.

    submit ─ decide ─▶ batch ─────────▶ commit ─▶ show, answer
                         ▲ what comes meanwhile gathers for the next one ┘

An act is decided when it is submitted, and its effects join the batch that the
journal takes next. After that commit the logs show what it placed, and the acts
are answered, in the order in which they came. So the commit of one is that of
all that came during the commit before, and each thread of agents waits for at
most two.

Nothing that is decided is taken back: a batch that the journal could not write
is written again, and everything behind it waits. The store says then that it is
in ``trouble``.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Sequence
from typing import Literal

import attrs
import msgspec
import trio

from actors.delivery.cursor import Bounds
from actors.delivery.history import Excerpt
from actors.delivery.lineage import fork
from actors.delivery.log import Chunk, Log, NotAtHand, RestoredBounds, Spans
from actors.environment import Environment
from actors.errors import StoreError, StoreUnavailable
from actors.events.event import Lifecycle, encode
from actors.kernel.signals import Doorbell
from actors.limits import MIB, Limits
from actors.stages import Promise
from actors.stores.clock import StoreClock
from actors.stores.holds import HeldEvent, ThreadHold
from actors.stores.idempotency import FirstAppend
from actors.stores.journal import (
    Effect,
    Journal,
    LogRecord,
    Marks,
    NotTaken,
    Placed,
    Restored,
    RestoredLog,
    RestoredThread,
)
from actors.stores.run_marks import RunMark
from actors.stores.state import FIRST_GENERATION, REFUSALS, StoreState, ThreadState, not_the_owner
from actors.stores.store import (
    Act,
    Answer,
    Answered,
    Append,
    Binding,
    DueRun,
    Expiry,
    Placement,
    RestoredHold,
    Shed,
    Trouble,
    View,
)

Policy = Literal["wait", "refuse", "volatile"]
"""What becomes of events while the journal cannot write: emitters wait, are refused, or are delivered live, in memory
alone, until it can."""

_BATCH_BYTES = MIB
"""The size at which a batch is closed, because a journal must have as much in reserve as its largest batch."""

_WAITING_BYTES = 16 * MIB
"""Acts that wait for the journal, together; of more, emitters wait. Two seconds of a slow disk."""

_ACT_BYTES = 200
"""The size of an act, beside that of its event."""

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0
"""Pauses before another attempt at a batch: long enough to leave a full disk alone, and short enough to be back
within two seconds of its return."""

_EMITTER_LOST = {"error": {"type": "EmitterLost", "message": "the process that ran it has ended"}}

_LOAD_EVENTS = 256
"""Events loaded at once, newest first: a device that was away for a moment needs the last few."""


@attrs.define(eq=False)
class Batch:
    """The effects of one commit, and the acts that it answers."""

    number: int
    effects: list[Effect] = attrs.field(factory=list)
    acts: deque[tuple[Act, Answered, Answer]] = attrs.field(factory=deque)
    shed: Sequence[Shed] = ()
    """Drops of held events, which are told once they are committed."""
    size_bytes: int = 0
    concluded: int = 0
    """The number of effects that are shown."""
    closed: bool = False
    """True once it has been given to the journal, and takes nothing more."""


class _Written(enum.Enum):
    """What is known of the batch that is written now."""

    NOT_YET = enum.auto()
    MAYBE = enum.auto()


class LocalStore:
    """The :class:`~actors.stores.store.Store` of one process, over a journal."""

    def __init__(self, journal: Journal, *, policy: Policy = "wait") -> None:
        self.promise = journal.promise
        self.secret = b""
        self._journal = journal
        self._policy = policy
        self.state: StoreState
        """Everything that was decided. Public for its views, and for tests."""
        self._clock: StoreClock
        self._environment: Environment
        self._trouble: Trouble | None = None
        self._batches: deque[Batch] = deque()
        """Batches that are not committed, the one that gathers last."""
        self._waiting_bytes = 0
        self._written = _Written.NOT_YET
        self._last_committed = 0
        self._bell = Doorbell()
        self._concluded = trio.Event()
        """Set, and made anew, after each commit, and when trouble begins."""
        self._unrecorded: set[str] = set()
        """Users whose logs go on in another epoch that the journal does not have yet."""
        self._progress: dict[str, tuple[Spans, int]] = {}
        """What devices acked, and up to where sockets took everything, by user."""
        self._lows: dict[str, int] = {}
        """The lows that the journal has, by user."""
        self._trimmed: set[str] = set()
        """Users whose logs have lost something since then."""
        self._shed: list[Shed] = []
        self._restored: dict[str, RestoredBounds] = {}
        self._restored_holds: list[RestoredHold] = []
        self._damaged: list[tuple[str, int, int]] = []
        """Users, and ranges of offsets that were found damaged."""

    def __repr__(self) -> str:
        if not self.secret:
            return f"<LocalStore over {self._journal!r}, not open>"
        waiting = sum(len(batch.acts) for batch in self._batches)
        trouble = "" if self._trouble is None else f" trouble={self._trouble.text!r}"
        return f"<LocalStore over {self._journal!r} {self.state!r} waiting={waiting}{trouble}>"

    @property
    def trouble(self) -> Trouble | None:
        """The reason for which nothing can be stored at present."""
        return self._trouble

    # --- its life ---------------------------------------------------------------

    async def run(
        self,
        limits: Limits,
        environment: Environment,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Open the journal, and write batches until cancelled; then write what is left, and close it."""
        if self.secret:  # this is a restart, and the journal may have been left in the middle of a commit
            self._written = _Written.MAYBE
            self._bell.ring()
        else:
            await self._open(limits, environment)
        try:
            task_status.started()
            while True:
                await self._bell.wait()
                await self._write()
        finally:
            with trio.CancelScope(shield=True):
                await self._close(limits.store_seconds)

    async def _open(self, limits: Limits, environment: Environment) -> None:
        restored = await self._journal.open(limits, environment.entropy(32))
        self._environment = environment
        self._clock = StoreClock(environment, restored.now)
        self.state = StoreState(
            limits,
            wall_clock=environment.wall_clock,
            new_epoch=lambda: f"{environment.new_id('ep')}.{restored.life}",
            effects=[],
        )
        self._begin_batch(1)
        self._restore(restored)
        for mark in self.state.runs.inherited(open=True):
            self._close_run(mark, limits)
        self.secret = restored.secret
        try:
            await self._write()
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await self._journal.aclose(clean=False)
            raise
        self._note_restored()

    async def _close(self, seconds: float) -> None:
        """Write what is left, if that is possible in time, and close the journal."""
        with trio.move_on_after(seconds):
            await self._write()
        clean = not any(batch.effects for batch in self._batches)
        for batch in self._batches:
            text = f"the store was closed while it could not write: {self._trouble}"
            while batch.acts:
                act, answered, _ = batch.acts.popleft()
                answered(act, StoreUnavailable(text))
        await self._journal.aclose(clean=clean)

    # --- acts -------------------------------------------------------------------

    def submit(self, act: Act, answered: Answered) -> None:
        """Decide an act; it is answered after its commit."""
        if self._trouble is not None and self._policy == "refuse":
            raise StoreUnavailable(f"nothing can be stored: {self._trouble}")
        if self._waiting_bytes >= _WAITING_BYTES:
            raise trio.WouldBlock
        batch = self._gathering()
        before = len(batch.effects)
        now = self._clock.now()
        answer: Answer
        try:
            answer = self.state.append(act, now) if isinstance(act, Append) else self.state.bind(act, now)
        except REFUSALS as refusal:
            answer = refusal.with_traceback(None)
        else:
            if self._unrecorded and answer.user_id in self._unrecorded:
                self._record(answer.user_id, before)
        size = _ACT_BYTES + (len(act.body) if isinstance(act, Append) else 0)
        batch.size_bytes += size
        self._waiting_bytes += size
        if not batch.acts:
            self._bell.ring()
        batch.acts.append((act, answered, answer))
        if self._trouble is not None and self._is_volatile:
            self._conclude(batch, Promise.NOTHING)

    async def room(self) -> None:
        """Wait until there is room for an act; a checkpoint."""
        await trio.lowlevel.checkpoint()
        while self._waiting_bytes >= _WAITING_BYTES:
            await self._concluded.wait()

    async def settled(self) -> None:
        """Wait until every act that was submitted before is answered; a checkpoint."""
        await trio.lowlevel.checkpoint()
        last = self._batches[-1].number if self._batches else 0
        while any(batch.acts for batch in self._batches if batch.number <= last):
            await self._concluded.wait()

    def ack_binding(self, thread_id: str, generation: str) -> None:
        """Discard the reply to the bind that made this generation."""
        self._gathering()
        self.state.ack_binding(thread_id, generation)

    # --- commits ----------------------------------------------------------------

    @property
    def _is_volatile(self) -> bool:
        return self._trouble is not None and self._policy == "volatile"

    def _gathering(self) -> Batch:
        """The batch that takes what is decided now."""
        last = self._batches[-1]
        if last.closed or last.size_bytes >= _BATCH_BYTES:
            return self._begin_batch(last.number + 1)
        return last

    def _begin_batch(self, number: int) -> Batch:
        batch = Batch(number)
        if self._batches:
            self._batches[-1].shed = self.state.holds.report()
            self._batches[-1].closed = True
        self._batches.append(batch)
        self.state.effects = batch.effects
        return batch

    async def _write(self) -> None:
        """Commit batches until nothing is left."""
        while len(self._batches) > 1 or self._batches[0].effects or self._batches[0].acts:
            batch = self._batches[0]
            if not batch.closed:
                self._begin_batch(batch.number + 1)
            await self._commit(batch)
            self._last_committed = batch.number if batch.effects else self._last_committed
            self._batches.popleft()
            self._waiting_bytes -= batch.size_bytes
            if not any(other.concluded for other in self._batches):  # else some are delivered from memory alone
                self._trouble = None
            self._conclude(batch, self.promise)

    async def _commit(self, batch: Batch) -> None:
        """Have a batch committed, however long that takes."""
        pause = _FIRST_PAUSE_SECONDS
        while not await self._attempt(batch):
            await trio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _attempt(self, batch: Batch) -> bool:
        """Try to commit a batch; true if it is committed. Raises StoreError for a journal that has lost commits."""
        try:
            if self._written is _Written.MAYBE and await self._has(batch):
                return True
            if batch.effects:
                self._written = _Written.MAYBE
                with trio.CancelScope(shield=True):
                    await self._journal.commit(batch.number, batch.effects)
                self._written = _Written.NOT_YET
        except NotTaken as refusal:
            self._written = _Written.NOT_YET
            self._note_trouble(str(refusal))
            return False
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, the outcome is not known, and asked for
            self._note_trouble(f"{type(error).__name__}: {error}")
            return False
        return True

    async def _has(self, batch: Batch) -> bool:
        """Open the journal again, and see whether it has a batch."""
        last = await self._journal.reopen()
        self._written = _Written.NOT_YET
        if last < self._last_committed:
            text = f"expected the journal to have commit {self._last_committed} of this life, its last one is {last}"
            raise StoreError(f"{text}: the disk has lost what it had confirmed")
        return last >= batch.number

    def _note_trouble(self, text: str) -> None:
        since = self._environment.wall_clock() if self._trouble is None else self._trouble.since
        self._trouble = Trouble(text, since)
        if self._is_volatile:
            for batch in self._batches:
                self._conclude(batch, Promise.NOTHING)
        self._ring_concluded()

    def _conclude(self, batch: Batch, promise: Promise) -> None:
        """Show what a batch placed, and answer its acts, each once."""
        self._shed += batch.shed
        batch.shed = ()
        heads = {one.user_id: one.offset for one in batch.effects[batch.concluded :] if type(one) is Placed}
        for user_id, offset in heads.items():
            self._show(user_id, offset)
        batch.concluded = len(batch.effects)
        while batch.acts:
            act, answered, answer = batch.acts.popleft()
            if not isinstance(answer, Exception):
                self._complete(answer, promise)
            answered(act, answer)
        self._ring_concluded()

    def _show(self, user_id: str, offset: int) -> None:
        log = self.state.logs[user_id]
        self.state.show(log, offset)
        if log.low > self._lows.get(user_id, 0):
            self._trimmed.add(user_id)

    def _complete(self, answer: Placement | Binding, promise: Promise) -> None:
        answer.promise = promise
        log = None if answer.user_id is None else self.state.logs.get(answer.user_id)
        if log is not None and log.epoch == answer.epoch:
            answer.low = log.low

    def _ring_concluded(self) -> None:
        concluded, self._concluded = self._concluded, trio.Event()
        concluded.set()

    # --- reading ----------------------------------------------------------------

    def known_owner(self, thread_id: str) -> str | None:
        """Return the owner of a thread, or ``None``."""
        return self.state.owner(thread_id)

    def known_bounds(self, user_id: str) -> Bounds | None:
        """Return what is shown of a log."""
        return self.state.bounds(user_id)

    async def owner(self, thread_id: str) -> str | None:
        """Return the owner of a thread, or ``None``; a checkpoint."""
        await trio.lowlevel.checkpoint()
        return self.state.owner(thread_id)

    async def history(
        self, thread_id: str, user_id: str | None, after_seq: int, most_events: int, most_bytes: int
    ) -> Excerpt:
        """Read a thread's events in its owner's log; a checkpoint."""
        await trio.lowlevel.checkpoint()
        while True:
            owner = self.state.owner(thread_id)
            if user_id is not None and owner != user_id:
                raise not_the_owner(thread_id, user_id, owner)
            try:
                return self.state.history(thread_id, after_seq, most_events, most_bytes)
            except NotAtHand:
                assert owner is not None, "only a log can be away"
                await self.fill(owner, 1)

    async def follow(self, user_id: str) -> View:
        """Follow a user's log; a checkpoint. It waits until the log's epoch is as safe as its events will be."""
        await trio.lowlevel.checkpoint()
        effects = self._gathering().effects
        is_new = user_id not in self.state.logs and user_id not in self.state.ends
        self.state.log(user_id)
        if user_id in self._unrecorded:
            self._record(user_id, len(effects))
        if is_new or any(isinstance(one, LogRecord) for batch in self._batches for one in batch.effects):
            self._bell.ring()
            await self._committed()
        return LocalView(self, user_id)

    async def _committed(self) -> None:
        """Wait until all that was decided is committed, or trouble stands in the way."""
        last = self._batches[-1].number
        while self._trouble is None and self._batches[0].number <= last and self._batches[0].effects:
            await self._concluded.wait()

    def read(self, user_id: str, first: int, most_bytes: int) -> Chunk:
        """Read what is shown of a log; raises NotAtHand for what is in the journal alone."""
        return self.state.log(user_id).read(first, most_bytes)

    async def fill(self, user_id: str, first: int) -> None:
        """Bring events of a log to hand, from an offset on; a checkpoint."""
        await trio.lowlevel.checkpoint()
        while (log := self.state.log(user_id)).at_hand > max(first, log.low) and log.low <= log.shown:
            last = log.at_hand - 1
            begin = max(first, log.low, last - _LOAD_EVENTS + 1)
            texts = await self._load(user_id, begin, last)
            if self.state.logs.get(user_id) is log:
                log.load(begin, [texts.get(offset) for offset in range(begin, last + 1)])
                self._note_damage(user_id, [one for one in range(max(begin, log.low), last + 1) if not texts.get(one)])

    async def _load(self, user_id: str, first: int, last: int) -> dict[int, bytes | None]:
        texts: dict[int, bytes | None] = {}
        while first <= last:
            rows = await self._journal.load(user_id, first, last)
            if not rows:  # they have left the log meanwhile
                break
            texts.update((row.offset, row.text) for row in rows)
            first = rows[-1].offset + 1
        return texts

    def _note_damage(self, user_id: str, offsets: Sequence[int]) -> None:
        """Keep ranges of damaged events, to be told with what expires."""
        for offset in offsets:
            if self._damaged and self._damaged[-1][0] == user_id and self._damaged[-1][2] == offset - 1:
                offset_before = self._damaged.pop()[1]
                self._damaged.append((user_id, offset_before, offset))
            else:
                self._damaged.append((user_id, offset, offset))

    def confirm(self, user_id: str, acked: Spans, written: int) -> None:
        """Have the journal keep what devices acked of a log; with the next commit, or within two seconds."""
        if self._progress.get(user_id) != (acked, written):
            self._progress[user_id] = acked, written
            self._note_marks(user_id)

    # --- age, and what an earlier life left ----------------------------------------

    def shed(self) -> Sequence[Shed]:
        """Return the drops of held events that are committed, since the last call."""
        shed, self._shed = self._shed, []
        return shed

    def expire(self) -> Expiry:
        """Drop what became too old, and have what was noted meanwhile written."""
        self._gathering()
        lows, more = self.state.expire(self._clock.now())
        for user_id in self._trimmed.union(user_id for user_id, _ in lows):
            self._note_marks(user_id)
        self._trimmed.clear()
        damaged, self._damaged = self._damaged, []
        if self._batches[0].effects:
            self._bell.ring()
        return Expiry(lows, more, tuple(damaged))

    def _note_marks(self, user_id: str) -> None:
        log = self.state.log(user_id)
        acked, written = self._progress.get(user_id, ((), 0))
        self._lows[user_id] = log.low
        self._gathering().effects.append(Marks(user_id, log.low, acked, written))

    def forget(self, user_id: str) -> bool:
        """Let go of a log's events at hand; true unless some of them are on their way."""
        log = self.state.logs.get(user_id)
        if log is None or self.state.forget(user_id):
            return True
        if log.shown != log.head or user_id in self._unrecorded:
            return False
        log.unload()
        self._restored[user_id] = self._restored_bounds(user_id, log)
        return True

    def restored(self, user_id: str) -> RestoredBounds | None:
        """Return a log as it was when this life began, or when it was let go of last."""
        return self._restored.get(user_id)

    def restored_holds(self) -> Sequence[RestoredHold]:
        """Return the events that threads held when this life began."""
        return self._restored_holds

    def due(self) -> Sequence[DueRun]:
        """Return the runs of earlier lives that have yet to begin."""
        marks = self.state.runs.inherited(open=False)
        return [DueRun(mark.run_id, mark.thread_id, mark.user_id or "", mark.message) for mark in marks]

    # --- the beginning of a life ----------------------------------------------------

    def _restore(self, restored: Restored) -> None:
        """Take over what an earlier life left."""
        now = self._clock.now()
        for log in restored.logs:
            self._restore_log(log, restored, now)
        firsts: dict[tuple[str, int], tuple[str, FirstAppend]] = {}
        for given in restored.given_ids:
            epoch = given.epoch if given.user_id is None else self._epoch_of(given.user_id)
            first = FirstAppend(given.fingerprint, given.seq, given.at, given.user_id, epoch, given.offset)
            self.state.window.put(given.thread_id, given.event_id, first)
            firsts[given.thread_id, given.seq] = given.event_id, first
        for thread in restored.threads:
            self._restore_thread(thread, firsts)
        for run in restored.runs:
            self.state.runs.restore(RunMark(run.run_id, run.thread_id, run.open, run.message, run.user_id))

    def _restore_log(self, log: RestoredLog, restored: Restored, now: float) -> None:
        epoch, lineage = log.epoch, log.lineage
        if not restored.clean:
            # It may have lost events that devices have seen, whatever the journal says: a disk is silent about it.
            lineage = fork(lineage, epoch, log.head)
            epoch = f"{epoch.rpartition('.')[0]}.{restored.life}"
            self._unrecorded.add(log.user_id)
        self._progress[log.user_id] = log.acked, log.written
        self._lows[log.user_id] = log.low
        there = Log.restore(epoch, lineage, low=log.low, times=log.times, sizes=log.sizes)
        self.state.restore_log(log.user_id, there, now)

    def _epoch_of(self, user_id: str) -> str:
        """The epoch of a log; an event that is there is there in the present one."""
        log = self.state.logs.get(user_id) or self.state.ends.get(user_id)
        return "" if log is None else log.epoch

    def _restore_thread(self, thread: RestoredThread, firsts: dict[tuple[str, int], tuple[str, FirstAppend]]) -> None:
        record, there = thread.record, ThreadState()
        there.user_id, there.generation, there.seq = record.user_id, record.generation, record.seq
        if record.binding:
            there.binding = msgspec.msgpack.decode(record.binding, type=Binding)
        events = []
        for held in thread.held:
            event_id, first = firsts.get((record.thread_id, held.seq), ("", None))
            events.append(HeldEvent(held.body, held.seq, held.at, first, event_id))
        if record.user_id is None and (events or record.shed):
            there.hold = hold = ThreadHold(record.thread_id, disowned=record.generation != FIRST_GENERATION)
            hold.shed = dict(record.shed) or None
            last_shed = events[0].seq - 1 if events else record.seq
            hold.first_shed = last_shed - sum(count for _, count in record.shed) + 1
        self.state.restore(record.thread_id, there, events)

    def _close_run(self, mark: RunMark, limits: Limits) -> None:
        """End a run whose process ended before it, with its last event."""
        event_id, at = self._environment.new_id("e"), self._environment.wall_clock()
        body = encode(Lifecycle.AGENT_FAILED, _EMITTER_LOST, mark.thread_id, mark.run_id, event_id, at, limits)
        last = Append(mark.thread_id, event_id, body, run_id=mark.run_id, edge="closes")
        before = len(self._gathering().effects)
        placement = self.state.append(last, self._clock.now())
        if placement.user_id in self._unrecorded:
            self._record(placement.user_id, before)

    def _record(self, user_id: str, before: int) -> None:
        """Have the journal keep that a log goes on in another epoch, before the effects of what is placed in it."""
        self._unrecorded.discard(user_id)
        log = self.state.log(user_id)
        self._gathering().effects.insert(before, LogRecord(user_id, log.epoch, log.lineage))

    def _note_restored(self) -> None:
        """Keep what this life begins with, for the books."""
        self._restored = {user_id: self._restored_bounds(user_id, log) for user_id, log in self.state.logs.items()}
        for thread_id, thread in self.state.threads.items():
            if thread.hold is not None and thread.hold.events:
                first, last = thread.hold.events[0].seq, thread.hold.events[-1].seq
                self._restored_holds.append(RestoredHold(thread_id, first, last))
        self.state.holds.report()  # what was shed by now was never in the books of this life

    def _restored_bounds(self, user_id: str, log: Log) -> RestoredBounds:
        acked, written = self._progress.get(user_id, ((), 0))
        return RestoredBounds(
            epoch=log.epoch, low=log.low, head=log.shown, acked=acked, written=written, promise=self.promise
        )


class LocalView:
    """The :class:`~actors.stores.store.View` of a log that may be in the journal alone."""

    __slots__ = ("_store", "_user_id")

    def __init__(self, store: LocalStore, user_id: str) -> None:
        self._store = store
        self._user_id = user_id

    @property
    def bounds(self) -> Bounds:
        """The log's epoch, lineage, low and head."""
        return self._store.state.bounds(self._user_id)

    def read(self, first: int, most_bytes: int) -> Chunk:
        """Read events from an offset on."""
        return self._store.read(self._user_id, first, most_bytes)

    async def fill(self, first: int) -> None:
        """Load events from an offset on."""
        await self._store.fill(self._user_id, first)

    def confirm(self, epoch: str, acked: Spans, written: int) -> None:
        """Have the journal keep what devices acked."""
        if epoch == self.bounds.epoch:
            self._store.confirm(self._user_id, acked, written)

    def close(self) -> None:
        """Do nothing, because the store lets go of logs when it is told to forget."""

    def __repr__(self) -> str:
        return f"<LocalView of {self._user_id}>"
