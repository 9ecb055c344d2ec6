"""The contract of a store against a naive model, life after life."""

from __future__ import annotations

import queue
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import outcome
import pytest
import trio
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.errors import IdempotencyConflict, NotTheOwner
from actors.events.delivered import Event
from actors.events.event import DROPPED_NOTICE
from actors.limits import Limits
from actors.stages import Cause, Promise
from actors.stores.store import Append, Binding, Placement, StaleGeneration
from tests.stores.desk import Desk, Hands, Place, last_shed, life, shares

T = TypeVar("T")


class Loop:
    """A Trio run that synchronous code drives step by step, as guest of this very thread."""

    def __init__(self) -> None:
        self._ticks: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._outcome: outcome.Outcome[None] | None = None
        self._send, receive = trio.open_memory_channel[Callable[[], Awaitable[None]]](1)
        trio.lowlevel.start_guest_run(
            self._serve, receive, run_sync_soon_threadsafe=self._ticks.put, done_callback=self._done
        )

    def run(self, function: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """Run one coroutine function to its end."""
        answers: list[outcome.Outcome[T]] = []

        async def answer() -> None:
            answers.append(await outcome.acapture(function, *arguments))

        self._send.send_nowait(answer)
        while not answers:
            self._ticks.get()()
        return answers[0].unwrap()

    def close(self) -> None:
        """End the run."""
        self._send.close()
        while self._outcome is None:
            self._ticks.get()()
        self._outcome.unwrap()

    def _done(self, result: outcome.Outcome[None]) -> None:
        self._outcome = result

    async def _serve(self, receive: trio.MemoryReceiveChannel[Callable[[], Awaitable[None]]]) -> None:
        async for function in receive:
            await function()


class Thread:
    """The model's facts about a thread."""

    def __init__(self) -> None:
        self.owner: str | None = None
        self.generation = ""
        self.former: list[str] = []
        """The generations before this one."""
        self.seq = 0
        self.held: list[tuple[str, float]] = []
        self.shed: Counter[str] = Counter()
        self.told = 0
        """The last ``seq`` that a log showed, as an event's or as a notice's."""

    def enter(self, generation: str, *, changed: bool) -> None:
        """Take note of the generation that an answer names, which may be another one only after a change of owner."""
        if not self.generation:
            self.generation = generation
        assert changed or generation == self.generation
        if changed and generation != self.generation:
            assert generation not in self.former
            self.former.append(self.generation)
            self.generation = generation

    def shed_oldest(self, thread_id: str, cause: Cause) -> dict[tuple[str, Cause], int]:
        """Let the oldest held event go, and say so."""
        self.held.pop(0)
        self.shed[cause.value] += 1
        return {(thread_id, cause): self.seq - len(self.held)}


class StoreMachine(RuleBasedStateMachine):
    """The contract against a naive model.

    After each step every log is read: an event is seen at most once, in the
    log of the user who owns its thread; offsets are dense, and a thread's
    numbers but for what a notice says.
    """

    desk: Desk
    limits = Limits(
        unbound_events=3,
        unbound_seconds=6.0,
        unbound_total_threads=2,
        retained_events=4,
        retained_seconds=9.0,
        idempotency_seconds=7.0,
    )
    threads = st.sampled_from("abc")
    users = st.sampled_from(["alice", "bob"])

    place: Callable[[], Place]
    """Makes the place of one example; from the subclass."""

    @initialize()
    def open(self) -> None:
        """Begin with an empty store."""
        self.loop = Loop()
        self.stack = AsyncExitStack()
        self.at, self.hands = type(self).place(), Hands()
        self.begin()
        self.model = {thread_id: Thread() for thread_id in "abc"}
        self.given: dict[tuple[str, str], tuple[str, float, Placement]] = {}
        self.accepted: dict[str, str] = {}
        """Events of which the store says that they are, or will be, in a log: their threads by their ids."""
        self.seen: dict[str, int] = {"alice": 0, "bob": 0}
        """The last offset that each log showed."""
        self.epochs: dict[str, set[str]] = {"alice": set(), "bob": set()}
        """The epochs that each log showed in any life."""
        self.stored_at: dict[str, list[float]] = {"alice": [], "bob": []}

    def begin(self) -> None:
        """Begin a life."""
        self.desk = self.loop.run(self.stack.enter_async_context, life(self.at, self.hands, self.limits))
        self.outlives = self.desk.store.promise > Promise.NOTHING

    def teardown(self) -> None:
        """Close the store."""
        if hasattr(self, "loop"):
            self.loop.run(self.stack.aclose)
            self.loop.close()

    @precondition(lambda self: self.outlives)
    @rule(crashed=st.booleans(), seconds=st.integers(0, 3))
    def live_again(self, crashed: bool, seconds: int) -> None:
        """The process ends, in order or not, and another one begins after a while."""
        if crashed:
            self.at.crash()
        self.loop.run(self.stack.aclose)
        self.hands.now += seconds
        self.begin()
        held = {one.thread_id: one.last_seq - one.first_seq + 1 for one in self.desk.store.restored_holds()}
        assert held == {thread_id: len(thread.held) for thread_id, thread in self.model.items() if thread.held}

    @property
    def now(self) -> float:
        """The time that has passed."""
        return self.hands.now

    def tick(self) -> None:
        """Let a second pass."""
        self.hands.now += 1

    @rule(thread_id=threads)
    def append(self, thread_id: str) -> None:
        """An event under an id of its own."""
        self.tick()
        append = self.desk.compose(thread_id)
        self.took(append, self.loop.run(self.desk.take, append))

    @rule(thread_id=threads, event_id=st.sampled_from(["x", "y"]), text=st.sampled_from(["yes", "no"]))
    def say(self, thread_id: str, event_id: str, text: str) -> None:
        """An event under an id that may have come before."""
        self.tick()
        append = self.desk.compose(thread_id, f"{thread_id}-{event_id}", text=text, repeatable=True)
        before, at, first = self.given.get((thread_id, event_id), ("", -100.0, None))
        if first is None or at < self.now - self.limits.idempotency_seconds:
            self.accepted.pop(append.event_id, None)
            placement = self.loop.run(self.desk.take, append)
            self.took(append, placement)
            self.given[thread_id, event_id] = text, self.now, placement
        elif text == before:
            placement = self.loop.run(self.desk.take, append)
            assert (placement.again, placement.seq) == ("given", first.seq)
            assert first.user_id is None or (placement.user_id, placement.offset) == (first.user_id, first.offset)
        else:
            with pytest.raises(IdempotencyConflict):
                self.loop.run(self.desk.take, append)

    @rule(thread_id=threads, back=st.integers(1, 3))
    def append_for_a_former_owner(self, thread_id: str, back: int) -> None:
        """An event that was accepted in an older generation."""
        for generation in self.model[thread_id].former[-back:][:1]:
            append = self.desk.compose(thread_id, generation=generation)
            with pytest.raises(StaleGeneration):
                self.loop.run(self.desk.take, append)

    @rule(thread_id=threads, user_id=st.one_of(st.none(), users), take=st.booleans())
    def bind(self, thread_id: str, user_id: str | None, take: bool) -> None:
        """A bind, rebind or unbind."""
        thread = self.model[thread_id]
        if thread.owner not in (None, user_id) and not take:
            with pytest.raises(NotTheOwner):
                self.loop.run(self.bind_thread, thread_id, user_id, take)
            return
        binding = self.loop.run(self.bind_thread, thread_id, user_id, take)
        changed, thread.owner = user_id != thread.owner, user_id
        assert binding.user_id == user_id
        thread.enter(binding.generation, changed=changed)
        if user_id is None or not changed:
            return
        assert binding.notice == bool(thread.shed)
        assert binding.first_offset == len(self.stored_at[user_id]) + 1
        self.stored_at[user_id] += [self.now] * (len(thread.held) + binding.notice)
        thread.held.clear()

    @rule(seconds=st.integers(0, 5))
    def expire(self, seconds: int) -> None:
        """Time passes, and somebody sweeps."""
        self.hands.now += seconds
        expected: dict[tuple[str, Cause], int] = {}
        for thread_id, thread in self.model.items():
            while thread.held and thread.held[0][1] < self.now - self.limits.unbound_seconds:
                expected |= thread.shed_oldest(thread_id, Cause.UNBOUND_EXPIRED)
        lows = self.loop.run(self.desk.expire)
        assert last_shed(self.desk.store.shed()) == expected
        for user_id, times in self.stored_at.items():
            expired = sum(at < self.now - self.limits.retained_seconds for at in times)
            low = max(expired, len(times) - self.limits.retained_events, 0) + 1
            assert lows.get(user_id, low) == low
            assert self.loop.run(self.desk.bounds, user_id).low >= low

    @rule(user_id=users)
    def forget(self, user_id: str) -> None:
        """Somebody thinks that a user has gone."""
        bounds = self.loop.run(self.desk.bounds, user_id)
        assert self.desk.store.forget(user_id) == (self.outlives or bounds.low > bounds.head)
        assert self.loop.run(self.desk.bounds, user_id) == bounds

    async def history(self, thread_id: str) -> tuple[list[int], tuple[tuple[int, int], ...], bool]:
        """All of a thread's history."""
        return await self.desk.history(thread_id=thread_id)

    async def bind_thread(self, thread_id: str, user_id: str | None, take: bool) -> Binding:
        """A bind at the present time."""
        return await self.desk.bind(user_id, thread_id, take=take)

    def took(self, append: Append, placement: Placement) -> None:
        """Take note of an event that the store has taken, and of what it let go."""
        thread = self.model[append.thread_id]
        thread.seq += 1
        assert (placement.seq, placement.again) == (thread.seq, "")
        thread.enter(placement.generation, changed=False)
        assert placement.user_id == thread.owner
        assert append.event_id not in self.accepted
        self.accepted[append.event_id] = append.thread_id
        if thread.owner is not None:
            self.stored_at[thread.owner].append(self.now)
            assert placement.offset == len(self.stored_at[thread.owner])
            return
        thread.held.append((append.event_id, self.now))
        assert last_shed(self.desk.store.shed()) == self.overflow(append.thread_id)

    def overflow(self, thread_id: str) -> dict[tuple[str, Cause], int]:
        """The sheds of the model's holds after one more event of this thread."""
        expected: dict[tuple[str, Cause], int] = {}
        if len(self.model[thread_id].held) > self.limits.unbound_events:
            expected |= self.model[thread_id].shed_oldest(thread_id, Cause.UNBOUND_OVERFLOW)
        holding = sorted((thread.held[0][1], thread_id) for thread_id, thread in self.model.items() if thread.held)
        if len(holding) > self.limits.unbound_total_threads:
            oldest_id = holding[0][1]
            while self.model[oldest_id].held:
                expected |= self.model[oldest_id].shed_oldest(oldest_id, Cause.UNBOUND_OVERFLOW)
        return expected

    @invariant()
    def logs_show_each_event_once(self) -> None:
        """The new events in the logs are those that the model expects there."""
        for user_id, last in self.seen.items():
            bounds = self.loop.run(self.desk.bounds, user_id)
            self.epochs[user_id].add(bounds.epoch)
            assert all(shares(bounds, epoch) is not None for epoch in self.epochs[user_id]) or len(bounds.lineage) > 9
            new = [event for event in self.loop.run(self.desk.log, user_id) if event.offset > last]
            assert [event.offset for event in new] == list(range(last + 1, len(self.stored_at[user_id]) + 1))
            self.seen[user_id] = last + len(new)
            self.look(user_id, new)
        for thread_id, thread in self.model.items():
            assert self.loop.run(self.desk.store.owner, thread_id) == thread.owner
            if thread.owner is not None:
                assert thread.told == thread.seq, "an owned thread's events are all in a log"

    @invariant()
    def histories_are_what_the_logs_show(self) -> None:
        """A thread's history is what its owner's log shows of it; the rest is gone, unless it is held."""
        for thread_id, thread in self.model.items():
            log = [] if thread.owner is None else self.loop.run(self.desk.log, thread.owner)
            mine = [event for event in log if event.thread_id == thread_id]
            missing = set(range(1, thread.seq - len(thread.held) + 1))
            missing -= {seq for event in mine for seq in range(event.seq0 or event.seq, event.seq + 1)}
            shown, gone, more = self.loop.run(self.history, thread_id)
            assert (shown, more) == ([event.seq for event in mine], False)
            assert {seq for first, last in gone for seq in range(first, last + 1)} == missing

    def look(self, user_id: str, new: Sequence[Event]) -> None:
        """Follow each thread through the events that a log has gained."""
        for event in new:
            thread = self.model[event.thread_id]
            assert thread.owner == user_id
            assert (event.seq0 or event.seq) == thread.told + 1
            thread.told = event.seq
            if event.type == DROPPED_NOTICE:
                assert event.payload == {"count": thread.shed.total(), "causes": dict(thread.shed)}
                thread.shed.clear()
            else:
                assert event.event_id is not None
                assert self.accepted[event.event_id] == event.thread_id
