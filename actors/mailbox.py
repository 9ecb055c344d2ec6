"""Mailboxes: one message at a time, at once when the actor is idle.

An idle actor is a record: no task, no channel. A message to it is handled in
the sender's own step (the *fast lane*); a hop through a parked task would cost
ten to a hundred times as much. When something must wait, when messages come
faster than they are handled, or when a handler has crashed, the actor gets a
task in its supervisor's nursery, which works off what gathered and goes away.

Order is the same either way, because of two rules:

- *Idle* means that nothing is queued, no handler is on the stack and no task
  is there. Only then is a message handled at once.
- The channel is a buffer and nothing else. A task parked in its ``receive``
  would be handed the next message directly, the buffer would look empty, and
  a later message would overtake the one in its hand; so nobody parks there.

What an actor's author sees is :class:`Actor`; the rest of this module is
between mailboxes and supervisors.
"""

from __future__ import annotations

import contextvars
import enum
import sys
from collections import deque
from collections.abc import Callable
from threading import get_ident
from typing import Generic, Protocol, TypeVar

import trio

from actors.affinity import IN_A_RUNTIME
from actors.errors import ForeignThread
from actors.failures import PASSING, Failure, failure_of
from actors.stages import Cause

M = TypeVar("M")
M_contra = TypeVar("M_contra", contravariant=True)
T = TypeVar("T")


class Actor(Protocol[M_contra]):
    """Private state, and what to do with a message.

    ``handle`` must neither block nor start tasks nor ask for the current one:
    it may run in anybody's step. Work that has to wait is left behind, and
    told by returning true; then :meth:`settle` is awaited, once for all that
    was left meanwhile. An exception out of either is a crash of this actor,
    and of nobody else.
    """

    def handle(self, message: M_contra) -> bool | None:
        """Take one message; true when there is something to settle."""
        ...

    async def settle(self) -> None:
        """Finish what ``handle`` left; cancelled only when the actor is asked to stop."""


class Crashed(Exception):  # noqa: N818 - what the actor has
    """A handler raised: only the text is kept, so that no frame of a sender is."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


class Owner(Protocol[M]):
    """What a mailbox asks of the supervisor that owns it."""

    def summon(self, mailbox: Mailbox[M]) -> None:
        """Start a task that runs :meth:`Mailbox.run`."""

    def bury(self, message: M, cause: Cause) -> bool | None:
        """A message will not be handled; true when it must be, because its work may be done.

        That counts after a crash only: a closed mailbox keeps nothing.
        """

    def path(self, key: str) -> str:
        """The actor's place in the tree."""
        ...

    def now(self) -> float:
        """The wall clock, for reports."""
        ...


class Lane:
    """What the mailboxes of one runtime share: the context and the thread their handlers run in.

    Handlers run in the runtime's context, not in that of whoever happened to
    send; and nested at most ``nesting`` deep, so that a cycle of actors ends
    in a queue and not in a RecursionError.
    """

    __slots__ = ("capacity", "context", "depth", "nesting", "thread")

    def __init__(self, capacity: int, nesting: int) -> None:
        self.capacity = capacity
        self.nesting = nesting
        self.depth = 0
        self.context = contextvars.copy_context()
        self.thread = get_ident()


class _State(enum.Enum):
    IDLE = enum.auto()
    """Nothing queued, nothing running."""
    INLINE = enum.auto()
    """A handler is on some sender's stack."""
    TENDED = enum.auto()
    """A task is there, or has been summoned."""
    CLOSED = enum.auto()
    """Nothing is taken any more."""


# Looking a member up on its class takes as long as the rest of ``tell``.
_IDLE, _INLINE, _TENDED, _CLOSED = _State


class Mailbox(Generic[M]):
    """A bounded inbox and the actor behind it.

    Invariant: ``_channel`` exists only outside IDLE, and what is in it was
    told after everything in ``_again``. ``_beyond`` is empty unless the queue
    was full, and each message in it knows how many were queued before it.
    """

    __slots__ = (
        "_again",
        "_beyond",
        "_channel",
        "_crash",
        "_in_hand",
        "_lane",
        "_owner",
        "_refusal",
        "_state",
        "_taken",
        "actor",
        "key",
    )

    def __init__(self, key: str, actor: Actor[M], owner: Owner[M], lane: Lane) -> None:
        self.key = key
        self.actor = actor
        self._owner = owner
        self._lane = lane
        self._state = _IDLE
        self._channel: tuple[trio.MemorySendChannel[M], trio.MemoryReceiveChannel[M]] | None = None
        self._in_hand: list[M] | None = None
        """Messages handled whose work is not settled yet."""
        self._again: deque[M] | None = None
        """Messages to be handled again, before any other: a crash undid their work."""
        self._beyond: deque[tuple[int, M]] | None = None
        """Messages that had a place reserved and found the queue full, each behind so many others."""
        self._taken = 0
        """Messages taken from the queue so far."""
        self._crash: BaseException | None = None
        self._refusal: Callable[[], Exception] | None = None

    # --- telling --------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    def tell(self, message: M) -> None:
        """Hand over a message: handled now if the actor is idle, or else queued.

        Raises :class:`trio.WouldBlock` when the queue is full,
        :class:`~actors.errors.ForeignThread` outside the runtime's thread, and
        what :meth:`close` was given once the mailbox is closed. Nothing that
        the actor raises reaches the sender.
        """
        lane = self._lane
        if get_ident() != lane.thread:
            raise ForeignThread(f"expected a call in the runtime's own thread, got one in another; {IN_A_RUNTIME}")
        if self._state is not _IDLE or lane.depth >= lane.nesting:
            self._queue(message)
        elif lane.depth:
            self._take(message)
        else:
            lane.context.run(self._take, message)

    async def send(self, message: M) -> None:
        """Hand over a message, waiting for room; a checkpoint, and if it raises nothing was handed over."""
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            self.tell(message)
        except trio.WouldBlock:
            assert self._channel is not None, "only a queue can be full"
            try:
                await self._channel[0].send(message)
            except trio.ClosedResourceError:
                raise self._refused() from None
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()

    def tell_reserved(self, message: M) -> None:
        """As :meth:`tell`, for a message whose place was reserved: it is taken by a full queue, too.

        It is handled after all that is queued, and before all that is not.
        How many places there are is for the caller to bound: this is for
        what ends something that was begun.
        """
        try:
            self.tell(message)
        except trio.WouldBlock:
            if self._beyond is None:
                self._beyond = deque()
            self._beyond.append((self._taken + self._lane.capacity, message))

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return self._state is _IDLE

    def _queue(self, message: M) -> None:
        if self._state is _CLOSED:
            raise self._refused()
        if self._channel is None:
            self._channel = trio.open_memory_channel[M](self._lane.capacity)
        self._channel[0].send_nowait(message)
        if self._state is _IDLE:
            self._summon()

    def _take(self, message: M) -> None:
        """Handle a message in the sender's step; leave to a task what that leaves."""
        self._state = _INLINE
        lane = self._lane
        lane.depth += 1
        try:
            if self._handle(message):
                self._in_hand = [message]
                self._summon()
            elif self._channel is None and self._crash is None:
                self._state = _IDLE
            else:
                self._summon()
        finally:
            lane.depth -= 1

    def _handle(self, message: M) -> bool | None:
        try:
            return self.actor.handle(message)
        except BaseException as error:  # noqa: BLE001 - it belongs to the actor, whose task raises it
            crash = error
        self._keep_crash(message, crash)
        return None

    def _keep_crash(self, message: M, crash: BaseException) -> None:
        """Turn a crash into text while its frames are there; the actor's task will raise it."""
        _cut_context(crash, sys.exception())
        failure = failure_of(self._owner.path(self.key), type(message).__name__, crash, self._owner.now())
        self._crash = crash.with_traceback(None) if isinstance(crash, PASSING) else Crashed(failure)
        if self._owner.bury(message, Cause.CRASHED):
            self._again = deque([message, *(self._again or ())])

    def _summon(self) -> None:
        self._state = _TENDED
        if self._lane.depth:
            self._owner.summon(self)
        else:
            self._lane.context.run(self._owner.summon, self)

    # --- the task -------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Work off what gathered; returns when the actor is idle, raises what it raised.

        Runs in the task that was summoned. Cancelled, it leaves everything
        where it is, for :meth:`close`.
        """
        while True:
            more = self._crash is None and self._drain()
            if self._crash is not None:
                crash, self._crash = self._crash, None
                raise crash
            if self._in_hand:
                await self.actor.settle()
                self._in_hand = None
            elif more:
                await trio.lowlevel.checkpoint()
            else:
                self._rest()
                return

    def restart(self, actor: Actor[M]) -> None:
        """Put another actor behind this mailbox; what the last one had in hand is handled again, first."""
        if self._in_hand:
            self._again = deque([*self._in_hand, *(self._again or ())])
            self._in_hand = None
        self.actor = actor

    def close(self, refusal: Callable[[], Exception], cause: Cause) -> None:
        """Take nothing more: senders get what ``refusal`` makes, and what was queued is buried for ``cause``.

        Whoever waits for room gets the refusal as well; his message was never
        handed over.
        """
        if self._state is _CLOSED:
            return
        self._state, self._refusal = _CLOSED, refusal
        left = [*(self._in_hand or ()), *(self._again or ())]
        self._in_hand = self._again = None
        if self._channel is not None:
            send, receive = self._channel
            send.close()
            left.extend(_buffered(receive))
            receive.close()
            self._channel = None
        left.extend(message for _, message in self._beyond or ())
        self._beyond = None
        for message in left:
            self._owner.bury(message, cause)

    def reopen(self, actor: Actor[M]) -> None:
        """Take messages again, with another actor."""
        assert self._state is _CLOSED, "only a closed mailbox can be reopened"
        self._state, self._refusal, self.actor = _IDLE, None, actor

    def _drain(self) -> bool:
        """Handle what is queued, at most a queue's length of it; true when there may be more."""
        self._lane.depth += 1
        try:
            for _ in range(self._lane.capacity):
                message = self._next()
                if message is None:
                    return False
                if self._handle(message):
                    self._in_hand = self._in_hand or []
                    self._in_hand.append(message)
                if self._crash is not None:
                    return True
            return True
        finally:
            self._lane.depth -= 1

    def _next(self) -> M | None:
        if self._again:
            return self._again.popleft()
        self._again = None
        if self._beyond and self._beyond[0][0] <= self._taken:
            return self._beyond.popleft()[1]
        if self._channel is None:
            return None
        try:
            message = self._channel[1].receive_nowait()
        except trio.WouldBlock:
            return None
        self._taken += 1
        return message

    def _rest(self) -> None:
        """Become a record again. The queue was just found empty, so nobody waits for room in it."""
        if self._channel is not None:
            self._channel[0].close()
            self._channel[1].close()
            self._channel = None
        self._state = _IDLE

    def _refused(self) -> Exception:
        assert self._refusal is not None, "a mailbox is closed with a refusal"
        return self._refusal()


class Doorbell:
    """Wakes one task. Rings coalesce: however many there were, it wakes once, and looks for itself."""

    __slots__ = ("_rung", "_task")

    def __init__(self) -> None:
        self._rung = False
        self._task: trio.lowlevel.Task | None = None

    def ring(self) -> None:
        """Wake the task that waits, or let the next wait return at once."""
        self._rung = True
        if self._task is not None:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task)

    async def wait(self) -> None:
        """Wait for a ring since the last wait; a checkpoint. One task at a time."""
        assert self._task is None, "one task waits at a doorbell"
        if self._rung:
            await trio.lowlevel.checkpoint()
        else:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        self._rung = False

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED


class Reply(Generic[T]):
    """One answer to one task that waits for it."""

    __slots__ = ("_answer", "_bell", "_error")

    def __init__(self) -> None:
        self._bell: trio.Event | None = None
        self._answer: T | None = None
        self._error: Exception | None = None

    @property
    def answered(self) -> bool:
        """Whether there is an answer, or an error."""
        return self._answer is not None or self._error is not None

    def give(self, answer: T) -> None:
        """Answer."""
        self._answer = answer
        self._ring()

    def refuse(self, error: Exception) -> None:
        """Answer with an error, which is raised in the task that waits."""
        self._error = error
        self._ring()

    async def wait(self) -> T:
        """The answer; a checkpoint. Cancelled, the question stands and the answer is lost."""
        if self._answer is None and self._error is None:
            self._bell = trio.Event()
            await self._bell.wait()
        else:
            await trio.lowlevel.checkpoint()
        if self._error is not None:
            raise self._error
        assert self._answer is not None, "the bell rings with an answer"
        return self._answer

    def _ring(self) -> None:
        if self._bell is not None:
            self._bell.set()


def _buffered(receive: trio.MemoryReceiveChannel[M]) -> list[M]:
    """What a closed channel still holds."""
    left = []
    while True:
        try:
            left.append(receive.receive_nowait())
        except (trio.WouldBlock, trio.EndOfChannel):
            return left


def _cut_context(error: BaseException, senders: BaseException | None) -> None:
    """Take the sender's own exception out of a crash's history: it has nothing to do with it."""
    if senders is None:
        return
    pending, seen = [error], {id(error)}
    while pending:
        link = pending.pop()
        if link.__context__ is senders:
            link.__context__ = None
        for cause in (link.__context__, link.__cause__):
            if cause is not None and id(cause) not in seen:
                seen.add(id(cause))
                pending.append(cause)
