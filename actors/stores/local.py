"""A store that decides here and keeps elsewhere: a state machine in memory, and a journal under it.

    submit ─ decide ─▶ batch ─────────▶ commit ─▶ show, answer
                         ▲ what comes meanwhile gathers for the next one ┘

An act is decided when it is submitted, and its effects join the batch that the
journal takes next. After that commit the logs show what it placed, and the acts
are answered, in the order in which they came. So the commit of one is that of
all that came during the commit before, and each agent waits for at most two.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence

import attrs
import trio

from actors.delivery.bounds import Bounds, RestoredBounds
from actors.delivery.dead_letters import DeadLetter
from actors.delivery.history import Excerpt
from actors.delivery.log import NotAtHand
from actors.environment import Environment
from actors.errors import StoreUnavailable
from actors.limits import Limits
from actors.stores.batch_writer import BatchWriter, Policy
from actors.stores.batches import Batches
from actors.stores.clock import StoreClock
from actors.stores.journal import Journal, Letter, Restored
from actors.stores.log_loader import LocalView, LogLoader
from actors.stores.progress import Progress
from actors.stores.restoring import last_event_of, restore, restored_bounds, restored_holds
from actors.stores.state import REFUSALS, StoreState, not_the_owner
from actors.stores.store import (
    A,
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

_LETTERS = 64
"""Dead letters kept in a second. More are a flood, of which the journal has no use."""


class LocalStore:
    """The :class:`~actors.stores.store.Store` of one process, over a journal."""

    def __init__(self, journal: Journal, *, policy: Policy = "wait") -> None:
        self.promise = journal.promise
        self.secret = b""
        self.state: StoreState
        """Everything that was decided, for tests and for studying."""
        self._journal = journal
        self._policy: Policy = policy
        self._clock: StoreClock
        self._batches: Batches
        self._writer: BatchWriter
        self._loader: LogLoader
        self._progress: Progress
        self._unrecorded: set[str] = set()
        """Users whose logs go on in another epoch that the journal does not have yet."""
        self._letters: deque[DeadLetter] = deque(maxlen=_LETTERS)
        self._restored: dict[str, RestoredBounds] = {}
        self._restored_at = 0.0
        self._restored_holds: list[RestoredHold] = []

    def __repr__(self) -> str:
        opened = f"{self.state!r} {self._writer!r}" if self.secret else "not open"
        return f"<LocalStore over {self._journal!r} {opened}>"

    @property
    def trouble(self) -> Trouble | None:
        """The reason for which nothing can be stored at present."""
        return self._writer.trouble if self.secret else None

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
            self._writer.in_doubt = True
            self._writer.ring()
        else:
            await self._open(limits, environment)
        try:
            task_status.started()
            await self._writer.run()
        finally:
            for user_id in self._unrecorded:  # or the next life would take what they lost for what they have
                self._batches.record(user_id, len(self._batches.gathering().effects))
            self._unrecorded.clear()
            await self._writer.close(limits.store_seconds)

    async def _open(self, limits: Limits, environment: Environment) -> None:
        restored = await self._journal.open(limits, environment.entropy(32))
        try:
            await self._begin(restored, limits, environment)
        except BaseException:
            with trio.CancelScope(shield=True):
                await self._journal.aclose(clean=False)
            raise

    async def _begin(self, restored: Restored, limits: Limits, environment: Environment) -> None:
        """Begin a life with what the journal has. What an attempt before this one has begun is not there any more."""
        self._clock = StoreClock(environment, restored.now)
        self.state = state = StoreState(
            limits,
            wall_clock=environment.wall_clock,
            new_epoch=lambda: f"{environment.new_id('ep')}.{restored.life}",
            effects=[],
        )
        self._batches, self._progress = Batches(state), Progress()
        self._loader = LogLoader(state, self._journal)
        self._writer = BatchWriter(
            self._batches,
            state,
            journal=self._journal,
            progress=self._progress,
            policy=self._policy,
            wall_clock=environment.wall_clock,
        )
        self._unrecorded = restore(restored, state, self._progress, self._clock.now())
        for mark in state.runs.inherited(open=True):
            self._decide(last_event_of(mark, environment))
        await self._writer.write(patiently=False)
        self._restored_at = restored.now
        self._restored = {
            user_id: restored_bounds(log, self._progress.of(user_id), self.promise, self._restored_at)
            for user_id, log in state.logs.items()
        }
        self._restored_holds = restored_holds(state)
        state.holds.report()  # what was shed by now was never in the books of this life
        self.secret = restored.secret

    # --- acts -------------------------------------------------------------------

    def submit(self, act: A, answered: Answered[A]) -> None:
        """Decide an act; it is answered after its commit."""
        if self._writer.refuses and not _ends_a_run(act):
            raise StoreUnavailable(f"nothing can be stored: {self._writer.trouble}")
        if self._batches.full:
            raise trio.WouldBlock
        if not self._batches.gathering().acts:
            self._writer.ring()
        self._batches.add(act, answered, self._decide(act))
        if self._writer.trouble is not None:
            self._writer.deliver()

    def _decide(self, act: Act) -> Answer:
        before = len(self._batches.gathering().effects)
        answer: Placement | Binding
        try:
            if isinstance(act, Append):
                answer = self.state.append(act, self._clock.at(act.at))
            else:
                answer = self.state.bind(act, self._clock.now())
        except REFUSALS as refusal:
            return refusal.with_traceback(None)
        if self._unrecorded and answer.user_id in self._unrecorded:
            self._unrecorded.discard(answer.user_id)
            self._batches.record(answer.user_id, before)
        return answer

    async def room(self) -> None:
        """Wait until there is room for an act; a checkpoint."""
        await self._writer.room()

    async def settled(self) -> None:
        """Wait until every act that was submitted before is answered; a checkpoint."""
        if not self.secret:  # it could not be opened, and the runtime ends
            await trio.lowlevel.checkpoint()
            return
        await self._writer.settled()

    def ack_binding(self, thread_id: str, generation: str) -> None:
        """Discard the reply to the bind that made this generation."""
        self._batches.gathering()
        self.state.ack_binding(thread_id, generation)

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
                await self._loader.fill(owner, 1)

    async def follow(self, user_id: str) -> View:
        """Follow a user's log; a checkpoint. It waits until the log's epoch is as safe as its events will be."""
        await trio.lowlevel.checkpoint()
        effects = self._batches.gathering().effects
        self.state.log(user_id)  # which it may begin
        if user_id in self._unrecorded:
            self._unrecorded.discard(user_id)
            self._batches.record(user_id, len(effects))
        if user_id in self._batches.begun():
            await self._writer.written()
        return LocalView(user_id, self.state, loader=self._loader, progress=self._progress)

    # --- age, and what an earlier life left ----------------------------------------

    def shed(self) -> Sequence[Shed]:
        """Return the drops of held events that are committed, since the last call."""
        return self._writer.shed()

    def expire(self) -> Expiry:
        """Drop what became too old, and have what was noted meanwhile written."""
        effects = self._batches.gathering().effects
        lows, more = self.state.expire(self._clock.now())
        for user_id in {*self._progress.trimmed(), *(user_id for user_id, _ in lows)}:
            self._progress.mark(user_id, self.state.log(user_id))
        effects += [Letter(**attrs.asdict(letter)) for letter in self._letters]
        self._letters.clear()
        self._writer.ring()
        return Expiry(lows, more, self._loader.damaged())

    def forget(self, user_id: str) -> bool:
        """Let go of a log's events at hand; true unless some of them are on their way."""
        log = self.state.logs.get(user_id)
        if log is None or self.state.forget(user_id):
            return True
        if log.shown != log.head or user_id in self._unrecorded:
            return False
        log.unload()
        self._restored[user_id] = restored_bounds(log, self._progress.of(user_id), self.promise, self._restored_at)
        return True

    def keep(self, letter: DeadLetter) -> None:
        """Have the journal keep a dead letter; of very many in a second, the newest."""
        letters = self._letters
        letters.append(letter.joined_to(letters.pop()) if letters and letter.continues(letters[-1]) else letter)

    def restored_users(self) -> Collection[str]:
        """Return the users whose logs had something when this life began."""
        return tuple(self._restored)

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


def _ends_a_run(act: Act) -> bool:
    """True for the last event of a run, which is taken in any trouble: there is one of each, and no second try."""
    return isinstance(act, Append) and act.edge in {"closes", "whole"}
