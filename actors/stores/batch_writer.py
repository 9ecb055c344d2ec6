"""The writer of batches: commits them one after the other, however long that takes, and answers their acts.

Nothing that is decided is taken back: a batch that the journal could not write
is written again, and everything behind it waits. Of a commit that failed
without saying that it wrote nothing, the journal is asked what it has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import trio

from actors.errors import StoreError, StoreUnavailable
from actors.kernel.failures import Barrier, describe
from actors.kernel.signals import Doorbell
from actors.stages import Promise
from actors.stores.batches import Batch, Batches
from actors.stores.journal import Journal, NotTaken, Placed
from actors.stores.progress import Progress
from actors.stores.state import StoreState
from actors.stores.store import Binding, Placement, Shed, Trouble

Policy = Literal["wait", "refuse", "volatile"]
"""The answer to trouble: emitters wait, are refused, or are delivered live, in memory alone, until it is over."""

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0
"""Pauses before another attempt at a batch: long enough to leave a full disk alone, and short enough to be back
within two seconds of its return."""


_WRITING_SHARE = 0.8
"""The share of the time to close in which the last batches are written; the rest is for the journal."""


class CommitsLost(StoreError):
    """The journal no longer has what it had confirmed. Nothing of this life can be promised any more."""


class BatchWriter:
    """Writes the batches of one life to a journal."""

    def __init__(
        self,
        batches: Batches,
        state: StoreState,
        *,
        journal: Journal,
        progress: Progress,
        policy: Policy,
        wall_clock: Callable[[], float],
    ) -> None:
        self.trouble: Trouble | None = None
        """The reason for which nothing can be written at present."""
        self.in_doubt: bool = False
        """True while it is not known whether the journal has the batch that was given to it last."""
        self._batches = batches
        self._state = state
        self._journal = journal
        self._progress = progress
        self._policy = policy
        self._wall_clock = wall_clock
        self._last_number = 0
        """The number of the last commit that the journal has confirmed."""
        self._bell = Doorbell()
        self._concluded = trio.Event()
        """Set, and made anew, after each commit, and when trouble begins."""
        self._shed: list[Shed] = []

    def __repr__(self) -> str:
        trouble = "" if self.trouble is None else f" trouble={self.trouble.text!r}"
        return f"<BatchWriter after {self._last_number} {self._batches!r}{trouble}>"

    # --- the writing task ---------------------------------------------------------

    def ring(self) -> None:
        """Have what has gathered written."""
        self._bell.ring()

    async def run(self) -> None:
        """Write batches until cancelled. Raises CommitsLost."""
        while True:
            await self._bell.wait()
            await self.write()

    async def write(self, *, patiently: bool = True) -> None:
        """Write until nothing is left; without patience, until trouble. Raises CommitsLost."""
        pause = _FIRST_PAUSE_SECONDS
        while not self._batches.empty or self._progress.waits:
            marks = self._progress.marks()
            if not self._batches.first.closed:
                self._progress.note_written(marks)
            if await self._attempt(self._batches.close_first(marks)):
                pause = _FIRST_PAUSE_SECONDS
            elif not patiently:
                return
            else:
                await trio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def close(self, seconds: float) -> None:
        """Write what is left, if that is possible in most of a time, and close the journal. Shielded."""
        with trio.CancelScope(shield=True):
            try:
                with trio.move_on_after(seconds * _WRITING_SHARE):
                    await self.write()
            finally:
                await self._journal.aclose(clean=self._give_up())

    def _give_up(self) -> bool:
        """Answer that it is not known what becomes of the acts that are left; true if every effect was written."""
        text = f"the store was closed while it could not write: {self.trouble}"
        for batch in self._batches:
            while batch.acts:
                act, answered, _ = batch.acts.popleft()
                answered(act, StoreUnavailable(text))
        return not any(batch.effects for batch in self._batches)

    # --- who waits for it ---------------------------------------------------------

    @property
    def refuses(self) -> bool:
        """True if acts are refused at present."""
        return self.trouble is not None and self._policy == "refuse"

    def deliver(self) -> None:
        """Answer what gathers at once, from memory, if the policy says so and there is trouble."""
        if self.trouble is not None and self._policy == "volatile":
            for batch in self._batches:
                if not batch.closed:
                    batch.shed = (*batch.shed, *self._state.holds.report())
                self._conclude(batch, Promise.NOTHING)

    async def room(self) -> None:
        """Wait until there is room for an act, or acts are refused; a checkpoint."""
        await trio.lowlevel.checkpoint()
        while self._batches.full and not self.refuses:
            await self._concluded.wait()

    async def settled(self) -> None:
        """Wait until every act that was submitted before is answered; a checkpoint."""
        await trio.lowlevel.checkpoint()
        before = [batch for batch in self._batches if batch.acts]
        while any(batch.acts for batch in before):
            await self._concluded.wait()

    async def written(self) -> None:
        """Wait until all that was decided before is written, or trouble stands in the way."""
        # The batch that gathers may be empty while another one is being written.
        last = self._batches.last_with_effects()
        self._bell.ring()
        while self.trouble is None and last is not None and last in self._batches:
            await self._concluded.wait()

    def shed(self) -> list[Shed]:
        """Return the drops of held events that are written, since the last call."""
        shed, self._shed = self._shed, []
        return shed

    # --- one batch ------------------------------------------------------------------

    async def _attempt(self, batch: Batch) -> bool:
        """Try to commit a batch; true if the journal has it. Raises CommitsLost."""
        errors: list[BaseException] = []
        with Barrier(errors.append):
            if not (self.in_doubt and await self._has(batch)) and batch.effects:
                await self._commit(batch.number, batch)
        if errors:
            await self._face(errors[0])
            return False
        self._batches.drop_first()
        if not any(other.concluded for other in self._batches):  # else some are delivered from memory alone
            self.trouble = None
        self._conclude(batch, self._journal.promise)
        return True

    async def _face(self, error: BaseException) -> None:
        """Take note of a failed commit. Whatever it was, but for NotTaken, the outcome is not known, and asked for."""
        self._note_trouble(str(error) if isinstance(error, StoreError) else describe(error))
        if isinstance(error, CommitsLost):
            raise error
        if isinstance(error, NotTaken):
            self.in_doubt = False
            await self._relieve()

    async def _commit(self, number: int, batch: Batch) -> None:
        self.in_doubt = True
        with trio.CancelScope(shield=True):
            await self._journal.commit(number, batch.effects)
        self.in_doubt = False
        self._last_number = number

    async def _has(self, batch: Batch) -> bool:
        """Open the journal again, and see whether it has a batch."""
        last = await self._journal.reopen()
        if last < self._last_number:
            text = f"expected the journal to have commit {self._last_number} of this life, its last one is {last}"
            raise CommitsLost(f"{text}: the disk has lost what it had confirmed")
        self.in_doubt, self._last_number = False, last
        return last >= batch.number

    async def _relieve(self) -> None:
        """Commit alone what makes room on a full disk: the marks from which the journal learns what it may drop."""
        marks = self._progress.marks(but=self._batches.begun())
        if not marks:
            return
        errors: list[BaseException] = []
        with Barrier(errors.append):
            await self._commit(self._batches.renumber(), Batch(number=0, effects=list(marks)))
        if not errors:
            self._progress.note_written(marks)
        elif isinstance(errors[0], NotTaken):
            self.in_doubt = False

    def _note_trouble(self, text: str) -> None:
        if self.trouble is None or self.trouble.text != text:  # another one would be news, once a second
            self.trouble = Trouble(text, self._wall_clock() if self.trouble is None else self.trouble.since)
        self.deliver()
        self._ring_concluded()

    def _conclude(self, batch: Batch, promise: Promise) -> None:
        """Show what a batch placed, and answer its acts, each once."""
        self._shed += batch.shed
        batch.shed = ()
        heads = {one.user_id: one.offset for one in batch.effects[batch.concluded :] if type(one) is Placed}
        for user_id, offset in heads.items():
            log = self._state.logs[user_id]
            self._state.show(log, offset)
            self._progress.look(user_id, log)
        batch.concluded = len(batch.effects)
        while batch.acts:
            act, answered, answer = batch.acts.popleft()
            if not isinstance(answer, Exception):
                self._complete(answer, promise)
            answered(act, answer)
        self._ring_concluded()

    def _complete(self, answer: Placement | Binding, promise: Promise) -> None:
        answer.promise = promise
        log = None if answer.user_id is None else self._state.logs.get(answer.user_id)
        if log is not None and log.epoch == answer.epoch:
            answer.low = log.low

    def _ring_concluded(self) -> None:
        concluded, self._concluded = self._concluded, trio.Event()
        concluded.set()
