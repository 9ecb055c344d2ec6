"""The simulation finds bugs: deliberate ones, each caught within 200 seeds by the general invariants."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Callable
from typing import Any

import attrs
import msgspec
import pytest
import trio

import actors.delivery.batches
import actors.delivery.cursor
from actors.connections.flusher import Flusher
from actors.connections.pings import Pings
from actors.delivery.accounts import Accounts
from actors.delivery.bounds import Bounds, RestoredBounds, Spans, Start
from actors.delivery.cursor import Cursor
from actors.delivery.ledger import Ledger
from actors.delivery.lineage import Lineage, fork
from actors.delivery.log import Log
from actors.delivery.subscription import Subscription
from actors.events.event import Lifecycle
from actors.kernel.failures import Failures
from actors.kernel.mailbox import Ended, Mailbox
from actors.limits import Limits
from actors.observability.instrument import Instruments
from actors.runs.admission import Admission, MessageArrival
from actors.runs.asks import Asks
from actors.runs.run import Run
from actors.stages import Cause, Promise
from actors.stores.batch_writer import BatchWriter
from actors.stores.batches import Batch, Batches
from actors.stores.idempotency import IdempotencyWindow
from actors.stores.journal import Restored
from actors.stores.local import LocalStore
from actors.stores.restoring import restored_bounds
from actors.stores.run_marks import RunMarks
from actors.stores.state import StoreState
from actors.stores.store import Bind, Binding
from actors.testing.journal import SimJournal
from actors.testing.performance import perform
from actors.testing.plan import plan_of
from actors.threads.dead_letters import ThreadKind
from actors.threads.emitter import Emitter
from actors.threads.messages import Emission, StoreAnswer, ThreadMessage
from actors.tools.build import build
from actors.users.actor import UserActor, note_acks
from actors.users.presence import Acked, Presence, UserMessage
from actors.wire.transport import Transport

SEEDS = 200

pytestmark = pytest.mark.skipif(
    build() == "compiled", reason="this build calls what it was compiled with, whatever a mutant puts in its place"
)


def _one_further(shared: Callable[[Bounds, str], int | None]) -> Callable[[Bounds, str], int | None]:
    def further(self: Bounds, epoch: str) -> int | None:
        last = shared(self, epoch)
        return last if last is None or epoch == self.epoch else last + 1

    return further


MUTANT_NAMES: list[str] = []
"""Filled at the end, once all of them are known."""

Mutate = Callable[[pytest.MonkeyPatch], None]

MUTANTS: dict[str, tuple[Mutate, tuple[str, ...]]] = {}
"""The change that each mutant makes, and the kinds of action that matter to it."""


def mutant(*kinds: str) -> Callable[[Mutate], Mutate]:
    """Note a mutant; its docstring says what it does wrong."""

    def note(mutate: Mutate) -> Mutate:
        MUTANTS[mutate.__name__] = mutate, kinds
        return mutate

    return note


def caught(kinds: tuple[str, ...]) -> int | None:
    """Within how many seeds something contradicts an invariant."""
    for number, seed in enumerate(range(SEEDS), 1):
        if perform(plan_of(seed, kinds)).failed:
            return number
    return None


@pytest.fixture(autouse=True)
def balanced_books() -> None:
    """The simulation checks the books itself, and a mutant's need not balance."""


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANT_NAMES)
def test_mutants_are_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deliberate bug contradicts an invariant within 200 seeds."""
    mutate, kinds = MUTANTS[name]
    mutate(monkeypatch)
    assert caught(kinds) is not None, f"{name}: nothing contradicted an invariant in {SEEDS} seeds"


# --- the log and its readers ------------------------------------------------------


@mutant("emit", "cut", "run")
def doorbell_lost(patch: pytest.MonkeyPatch) -> None:
    """Every third ring is not heard."""
    mark, rings = Flusher.mark, itertools.count()

    def lossy(self: Flusher, presence: Presence) -> None:
        if next(rings) % 3:
            mark(self, presence)

    patch.setattr(Flusher, "mark", lossy)


@mutant("emit", "burst", "cut", "sleep")
def replay_begins_one_late(patch: pytest.MonkeyPatch) -> None:
    """A device that resumes misses the first event."""
    start = actors.delivery.cursor.start

    def late(*arguments: Any, **options: Any) -> Start:
        begin = start(*arguments, **options)
        return attrs.evolve(begin, offset=begin.offset + 1) if begin.kind == "replayed" else begin

    patch.setattr("actors.users.actor.start", late)


@mutant("emit", "burst", "cut", "sleep")
def replay_begins_one_early(patch: pytest.MonkeyPatch) -> None:
    """A device that resumes gets an event twice."""
    start = actors.delivery.cursor.start

    def early(*arguments: Any, **options: Any) -> Start:
        begin = start(*arguments, **options)
        again = begin.kind == "replayed" and begin.offset > 1
        return attrs.evolve(begin, offset=begin.offset - 1) if again else begin

    patch.setattr("actors.users.actor.start", early)


@mutant("burst", "lag", "sleep", "freeze")
def gap_not_told(patch: pytest.MonkeyPatch) -> None:
    """A device steps over events that left the log, and is not told."""

    def silent(self: Subscription, low: int) -> tuple[bytes, ...]:
        self.cursor.skip(low)
        return ()

    patch.setattr(Subscription, "_skip", silent)


@mutant("run", "send", "lag", "sleep", "cut")
def batch_swallows(patch: pytest.MonkeyPatch) -> None:
    """Joining tokens loses what another run said in between."""
    batch = actors.delivery.batches.batch

    def greedy(first: int, last: int, frames: bytes) -> bytes | None:
        text = batch(first, last, frames)
        if text is None:
            return None
        said = msgspec.json.decode(text)
        others = [event for event in said["events"][:-1] if event["type"] != Lifecycle.AGENT_DELTA]
        if others:
            said["events"].remove(others[0])
        return msgspec.json.encode(said)

    patch.setattr("actors.delivery.subscription.batch", greedy)


@mutant("emit", "burst", "fork", "sleep")
def epoch_kept_after_loss(patch: pytest.MonkeyPatch) -> None:
    """A log that lost something goes on under the epoch in which it had shown other events."""
    fork = Log.fork

    def keep(self: Log, epoch: str, offset: int) -> None:
        lineage = self.lineage
        fork(self, self.epoch, offset)
        self.lineage = lineage

    patch.setattr(Log, "fork", keep)


@mutant("emit", "burst", "fork", "sleep", "cut")
def renamed_one_too_far(patch: pytest.MonkeyPatch) -> None:
    """A device that saw one lost event goes on as if it had not."""
    patch.setattr(Bounds, "shared", _one_further(Bounds.shared))


@mutant("emit", "burst", "fork", "sleep", "cut")
def reset_without_need(patch: pytest.MonkeyPatch) -> None:
    """A log continues no former epoch as far as devices are concerned."""
    patch.setattr(Bounds, "shared", lambda self, epoch: self.head if epoch == self.epoch else None)


@mutant("emit", "burst", "fork", "freeze", "device")
def acks_of_the_former_epoch_count(patch: pytest.MonkeyPatch) -> None:
    """An ack that was on its way when its device was reset is booked for the events of the other epoch."""
    patch.setattr(Pings, "fence", lambda self: None)


@mutant("emit", "burst", "fork")
def lost_events_are_kept_in_the_books(patch: pytest.MonkeyPatch) -> None:
    """The receipts of events beyond a fork go on to be read from the events that have their offsets now."""

    def follow(self: Ledger, offset: int) -> int:
        self.end = self.head = offset
        return 0

    patch.setattr(Ledger, "lose", follow)


@mutant("emit", "vanish", "sleep")
def session_not_fenced(patch: pytest.MonkeyPatch) -> None:
    """Two connections of one session are written to."""
    patch.setattr(UserActor, "_fence", lambda self, device: None)


# --- the socket -------------------------------------------------------------------


@mutant("burst", "lag", "freeze")
def frame_cut(patch: pytest.MonkeyPatch) -> None:
    """The rest of a write that a socket took in part goes on a byte too late."""
    send = Transport._send

    def skip(self: Transport, frames: bytes | bytearray) -> int:
        sent = send(self, frames)
        return sent + 1 if 0 < sent < len(frames) else sent

    patch.setattr(Transport, "_send", skip)


@mutant("burst", "reload", "device")
def frame_interleaved(patch: pytest.MonkeyPatch) -> None:
    """A control frame goes out in the middle of another frame."""

    def rude(self: Transport, frames: bytes) -> None:
        if not self.sealed:
            self._send(frames)

    patch.setattr(Transport, "write_control", rude)


@mutant("burst", "lag", "freeze")
def written_too_early(patch: pytest.MonkeyPatch) -> None:
    """A receipt says WRITTEN as soon as the bytes are in our own buffer."""
    patch.setattr(Ledger, "begin_write", lambda self, first, last: self.write(first, last))
    patch.setattr(Ledger, "finish_write", lambda self, first, last, *, written: None)


# --- acknowledgements -------------------------------------------------------------


@mutant("emit", "burst")
def ack_of_another_user(patch: pytest.MonkeyPatch) -> None:
    """An ack of one user counts for all."""

    handle = UserActor.handle

    def generous(self: UserActor, message: UserMessage) -> None:
        handle(self, message)
        spans = message.spans if isinstance(message, Acked) else []
        for account in self._context.accounts.users.values():
            note_acks(Acked(account.ledger, spans), self._context.instruments)

    patch.setattr(UserActor, "handle", generous)


@mutant("emit", "burst", "device", "leave")
def ack_covers_everything_before(patch: pytest.MonkeyPatch) -> None:
    """An acknowledgement confirms what that device was never sent."""
    ack = Cursor.ack

    def cover(self: Cursor, offset: int) -> list[tuple[int, int]]:
        return [(1, last) for _, last in ack(self, offset)]

    patch.setattr(Cursor, "ack", cover)


@mutant("emit", "burst")
def ack_lost(patch: pytest.MonkeyPatch) -> None:
    """Every third acknowledgement changes nothing."""
    acks = itertools.count()

    def forget(acked: Acked, instruments: Instruments) -> None:
        if next(acks) % 3:
            note_acks(acked, instruments)

    patch.setattr("actors.users.actor.note_acks", forget)


# --- emitting ---------------------------------------------------------------------


@mutant("repeat", "resend", "send")
def dedup_forgets(patch: pytest.MonkeyPatch) -> None:
    """The store does not know an id that it has seen."""
    patch.setattr(IdempotencyWindow, "get", lambda self, thread_id, event_id, now: None)


@mutant("emit", "burst", "crash")
def answered_event_given_again(patch: pytest.MonkeyPatch) -> None:
    """An event of which the answer crashed its thread is given to the store as if it were new."""
    dead_letter = ThreadKind.dead_letter

    def forgetful(self: ThreadKind, message: ThreadMessage, ended: Ended) -> bool:
        if ended is Ended.CRASHED and isinstance(message, StoreAnswer) and isinstance(message.act, Emission):
            message.act.sent, message.act.answer = False, None
            self._context.store.submit(message.act, lambda act, answer: None)
        return dead_letter(self, message, ended)

    patch.setattr(ThreadKind, "dead_letter", forgetful)


@mutant("emit", "burst", "fault", "kill", "restart")
def unknown_commit_written_again(patch: pytest.MonkeyPatch) -> None:
    """A commit of which the outcome is not known is written again without a look at what is there."""

    async def unseen(self: BatchWriter, batch: Batch) -> bool:
        self.in_doubt = False
        return False

    patch.setattr(BatchWriter, "_has", unseen)


@mutant("emit", "burst", "fault", "kill", "restart")
def failed_commit_taken_for_written(patch: pytest.MonkeyPatch) -> None:
    """A commit that failed is answered as if it had been written."""
    commit = BatchWriter._commit

    async def hopeful(self: BatchWriter, number: int, batch: Batch) -> None:
        try:
            await commit(self, number, batch)
        except Exception:  # noqa: BLE001 - the mutant makes light of whatever it was
            self.in_doubt, self._last_number = False, number

    patch.setattr(BatchWriter, "_commit", hopeful)


@mutant("hasty", "emit")
def emit_raises_after_accepting(patch: pytest.MonkeyPatch) -> None:
    """An emit that is cancelled has handed its event over."""

    async def leaky(self: Emitter, emission: Any, mailbox: Mailbox[Any]) -> Any:
        self._accounts.accepted += 1
        mailbox.tell(emission)
        receipt = self._conclude(emission)
        await trio.lowlevel.checkpoint()
        return receipt

    patch.setattr(Emitter, "_hand_over", leaky)


@mutant("burst", "emit", "stall")
def message_overtakes(patch: pytest.MonkeyPatch) -> None:
    """An actor that has work in its hand handles a later message first."""
    take = Mailbox._next

    def newest_first(self: Mailbox[Any]) -> Any:
        first = take(self)
        second = take(self) if first is not None else None
        if second is None:
            return first
        assert self._channel is not None
        self._channel[0].send_nowait(first)
        return second

    patch.setattr(Mailbox, "_next", newest_first)


@mutant("emit", "crash", "burst")
def crash_loses_what_was_in_hand(patch: pytest.MonkeyPatch) -> None:
    """After a restart no actor does again what the crash undid."""

    def forget(self: Mailbox[Any], actor: Any) -> None:
        self._unsettled, self.actor = None, actor

    patch.setattr(Mailbox, "restart", forget)


# --- owners -----------------------------------------------------------------------


@mutant("emit", "bind", "unbind", "rebind")
def held_events_leak_to_the_former_owner(patch: pytest.MonkeyPatch) -> None:
    """A user that lost a thread still gets its later events."""
    bind = StoreState.bind

    def leak(self: StoreState, asked: Bind, now: float) -> Binding:
        thread = self.threads.get(asked.thread_id)
        before = thread.user_id if thread is not None else None
        binding = bind(self, asked, now)
        if thread is not None and before not in (None, asked.user_id):
            thread.user_id = before
        return binding

    patch.setattr(StoreState, "bind", leak)


@mutant("ask", "rebind", "answer")
def question_follows_nobody(patch: pytest.MonkeyPatch) -> None:
    """A question stays with the user that owned the thread when it was asked."""
    patch.setattr(Asks, "change_owner", lambda self, thread_id, user_id: None)


@mutant("emit", "burst")
def hold_sheds_in_silence(patch: pytest.MonkeyPatch) -> None:
    """Events that a full hold sheds are in no column of the books."""
    shed = Accounts.shed

    def silent(self: Accounts, thread_id: str, first_seq: int, last_seq: int, cause: Cause, now: float) -> None:
        dropped = self.unowned.dropped
        shed(self, thread_id, first_seq, last_seq, cause, now)
        self.unowned.dropped = dropped

    patch.setattr(Accounts, "shed", silent)


# --- runs -------------------------------------------------------------------------


@mutant("run", "send")
def terminal_event_twice(patch: pytest.MonkeyPatch) -> None:
    """A run says twice how it ended."""
    end = Run._end

    def twice(self: Run, outcome: Lifecycle | None) -> None:
        if outcome is not None and self.outcome is None and self.beginning.emitted:
            self._supervisor.emitter.emit_nowait(self.output.compose(outcome, {}), reserved=True)
        end(self, outcome)

    patch.setattr(Run, "_end", twice)


@mutant("run", "send", "burst", "stall")
def terminal_event_lost_in_a_full_mailbox(patch: pytest.MonkeyPatch) -> None:
    """No place is reserved for the last event of a run."""

    def unreserved(self: Mailbox[Any], message: Any) -> None:
        try:
            self.tell(message)
        except trio.WouldBlock:
            return

    patch.setattr(Mailbox, "tell_reserved", unreserved)


@mutant("resend", "send", "run")
def message_starts_two_runs(patch: pytest.MonkeyPatch) -> None:
    """A message that is said again is answered again."""

    def eager(self: MessageArrival) -> None:
        self.placed()

    patch.setattr(MessageArrival, "refused", eager)


@mutant("run", "send")
def delta_dropped(patch: pytest.MonkeyPatch) -> None:
    """Text that was gathered is forgotten when the run ends."""
    conclude = Run._conclude

    def forgetful(self: Run, outcome: Lifecycle, payload: dict[str, Any]) -> None:
        self.output._buffer.clear()
        conclude(self, outcome, payload)

    patch.setattr(Run, "_conclude", forgetful)


@mutant("run", "send")
def turns_are_kept(patch: pytest.MonkeyPatch) -> None:
    """The turns of a thread are kept for ever."""
    patch.setattr(Admission, "_forget_idle", lambda self, thread_id, turns: None)


@mutant("emit", "sleep", "cut", "reload")
def forgotten_logs_begin_anew(patch: pytest.MonkeyPatch) -> None:
    """The store keeps nothing of a user that has gone, and a device that comes back is told that its log was lost."""
    forget = StoreState.forget

    def all_of_it(self: StoreState, user_id: str) -> bool:
        forgotten = forget(self, user_id)
        self.ends.clear()
        return forgotten

    patch.setattr(StoreState, "forget", all_of_it)


# --- failures and isolation -------------------------------------------------------


@mutant("crash", "emit")
def crash_reported_twice(patch: pytest.MonkeyPatch) -> None:
    """The observer hears of everything twice."""
    record = Failures.record

    def twice(self: Failures, failure: Any) -> None:
        record(self, failure)
        record(self, failure)

    patch.setattr(Failures, "record", twice)


@mutant("crash", "emit")
def crash_swallowed(patch: pytest.MonkeyPatch) -> None:
    """An actor that crashes is restarted, and no failure is recorded."""
    patch.setattr(Failures, "record", lambda self, failure: None)


@mutant("burst", "lag", "device")
def slow_device_holds_up_the_others(patch: pytest.MonkeyPatch) -> None:
    """The flusher goes no further than to the first device with a full socket."""
    write_round = Flusher.write_round

    def strict(self: Flusher) -> None:
        marked = self._marked
        if any(getattr(device, "writing", False) for presence in marked for device in presence.devices):
            return
        write_round(self)

    patch.setattr(Flusher, "write_round", strict)


# --- two lives --------------------------------------------------------------------


@mutant("emit", "burst", "kill")
def shown_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    """Devices see an event before it is safe. Invariant 9: it was written, and is lost."""
    patch.setattr(Log, "append_ahead", Log.append)


@mutant("emit", "burst", "kill")
def answered_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    """Emitters are told that an event is safe when it is decided. Invariant 9: it was told, and is lost."""
    submit = LocalStore.submit

    def hasty(self: LocalStore, act: Any, answered: Any) -> None:
        submit(self, act, answered)
        self._writer._conclude(self._batches.gathering(), self._writer._journal.promise)

    patch.setattr(LocalStore, "submit", hasty)


@mutant("emit", "burst", "kill")
def forks_one_too_far(patch: pytest.MonkeyPatch) -> None:
    """After a kill a log says that it continues one event more than it has. Invariant 9, where lives begin."""
    patch.setattr("actors.delivery.log.fork", lambda lineage, epoch, offset: fork(lineage, epoch, offset + 1))


@mutant("emit", "burst", "kill")
def does_not_fork(patch: pytest.MonkeyPatch) -> None:
    """A log keeps its name after a kill, whatever the disk has lost. Invariant 9, where lives begin."""
    open_ = SimJournal.open

    async def trusting(self: SimJournal, limits: Limits, secret: bytes) -> Restored:
        restored = await open_(self, limits, secret)
        restored.clean = True
        return restored

    patch.setattr(SimJournal, "open", trusting)


@mutant("emit", "burst", "kill", "cut", "sleep")
def epochs_are_not_recorded(patch: pytest.MonkeyPatch) -> None:
    """The name under which a log goes on is forgotten with the next kill. Invariant 3: a device is reset."""
    patch.setattr(Batches, "record", lambda self, user_id, before: None)


@mutant("send", "kill", "emit")
def due_run_never_starts(patch: pytest.MonkeyPatch) -> None:
    """A message that was taken before a kill is not answered. Invariant 5: its run is due for ever."""
    patch.setattr(LocalStore, "due", lambda self: [])


@mutant("send", "kill", "emit")
def due_run_starts_twice(patch: pytest.MonkeyPatch) -> None:
    """A message that was taken before a kill is answered twice. Invariant 5."""
    due = LocalStore.due
    patch.setattr(LocalStore, "due", lambda self: [*due(self), *due(self)])


@mutant("run", "send", "kill")
def open_run_is_not_closed(patch: pytest.MonkeyPatch) -> None:
    """A run that ended with its process is open for ever. Invariant 5."""
    inherited = RunMarks.inherited
    patch.setattr(RunMarks, "inherited", lambda self, *, open: () if open else inherited(self, open=open))  # noqa: A006


@mutant("emit", "burst", "kill", "restart", "device")
def one_ack_too_many(patch: pytest.MonkeyPatch) -> None:
    """The offset behind the last that was acked counts as acked in the next life. Invariant 3."""

    def generous(log: Log, progress: tuple[Spans, int], promise: Promise, until: float) -> RestoredBounds:
        spans, written = progress
        more = tuple((first, last + 1) for first, last in spans)
        return restored_bounds(log, (more, written), promise, until)

    patch.setattr("actors.stores.local.restored_bounds", generous)


@mutant("emit", "burst", "fault", "kill")
def batch_committed_twice(patch: pytest.MonkeyPatch) -> None:
    """A commit that was not answered is made again without a question. Invariant 2: the disk has its events twice."""

    async def sure(self: BatchWriter, batch: Batch) -> bool:
        await self._journal.reopen()
        return False

    patch.setattr(BatchWriter, "_has", sure)


@mutant("emit", "burst", "fault")
def batch_lost_in_doubt(patch: pytest.MonkeyPatch) -> None:
    """A commit that was not answered is taken for made. Invariants 2 and 9: its events are on no disk."""

    async def hopeful(self: BatchWriter, batch: Batch) -> bool:
        last = await self._journal.reopen()
        self.in_doubt, self._last_number = False, max(last, batch.number)
        return True

    patch.setattr(BatchWriter, "_has", hopeful)


@mutant("repeat", "resend", "send", "kill", "restart")
def given_ids_end_with_the_process(patch: pytest.MonkeyPatch) -> None:
    """What a device or an emitter says again in the next life is taken for new. Invariants 2 and 5."""
    patch.setattr("actors.stores.restoring._restore_ids", lambda restored, state: {})


@mutant("emit", "burst", "kill", "bind", "unbind")
def hold_loses_its_oldest(patch: pytest.MonkeyPatch) -> None:
    """A thread without an owner has lost its first held event in the next life, in silence. Invariant 2."""
    open_ = SimJournal.open

    async def forgetful(self: SimJournal, limits: Limits, secret: bytes) -> Restored:
        restored = await open_(self, limits, secret)
        for thread in restored.threads:
            del thread.held[:1]
        return restored

    patch.setattr(SimJournal, "open", forgetful)


@mutant("emit", "burst", "kill", "restart")
def offsets_go_on_one_too_low(patch: pytest.MonkeyPatch) -> None:
    """The first event of the next life gets an offset that another one has. Invariant 2."""
    restore = Log.restore

    def low(epoch: str, lineage: Lineage, *, low: int, times: array[float], sizes: array[int]) -> Log:
        return restore(epoch, lineage, low=low, times=times[:-1], sizes=sizes[:-1])

    patch.setattr(Log, "restore", low)


@mutant("emit", "burst", "kill", "restart", "bind", "rebind")
def owners_end_with_the_process(patch: pytest.MonkeyPatch) -> None:
    """A thread has no owner in the next life, and whoever comes first takes it. Invariant 4."""
    open_ = SimJournal.open

    async def free(self: SimJournal, limits: Limits, secret: bytes) -> Restored:
        restored = await open_(self, limits, secret)
        for thread in restored.threads:
            thread.record = msgspec.structs.replace(thread.record, user_id=None)
        return restored

    patch.setattr(SimJournal, "open", free)


@mutant("emit", "burst", "kill", "restart")
def marks_lead_the_log(patch: pytest.MonkeyPatch) -> None:
    """The next life begins above events that were there. Invariant 9: they were told to be stored."""
    open_ = SimJournal.open

    async def high(self: SimJournal, limits: Limits, secret: bytes) -> Restored:
        restored = await open_(self, limits, secret)
        for log in restored.logs:
            gone = min(2, len(log.times))
            log.low, log.times, log.sizes = log.low + gone, log.times[gone:], log.sizes[gone:]
        return restored

    patch.setattr(SimJournal, "open", high)


MUTANT_NAMES.extend(MUTANTS)


def test_there_are_enough() -> None:
    """Without a mutant nothing is found, and there are many."""
    assert len(MUTANTS) >= 15
