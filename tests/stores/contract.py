"""The promises of every store, as one suite that each of them runs.

A store's own test module has a subclass of :class:`StoreContract` and one of
:class:`StoreMachine`, which say how it is opened. A store that cannot answer
at once is awaited: the tests go through a :class:`Desk`, which tries the
immediate half of an operation and waits where that would block.
"""

from __future__ import annotations

import itertools
import queue
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

import msgspec
import outcome
import pytest
import trio
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from wsproto.frame_protocol import FrameProtocol

from actors.delivery.cursor import Bounds
from actors.delivery.frames import text_frame
from actors.delivery.log import Chunk
from actors.errors import IdempotencyConflict, NotTheOwner
from actors.events.delivered import Event
from actors.events.event import DROPPED_NOTICE, encode, fingerprint
from actors.limits import Limits
from actors.stages import Cause
from actors.stores.store import Append, Binding, Expiry, Placement, Shed, StaleGeneration, Store

T = TypeVar("T")
OpenStore = Callable[[Limits], AbstractAsyncContextManager[Store]]

PLENTY = 1 << 40
DEFAULTS = Limits()


def events_of(chunk: Chunk) -> list[Event]:
    """Read a chunk as a WebSocket client does."""
    engine = FrameProtocol(client=True, extensions=[])
    engine.receive_bytes(chunk.frames)
    return [msgspec.json.decode(str(frame.payload), type=Event) for frame in engine.received_frames()]


def last_shed(shed: Iterable[Shed]) -> dict[tuple[str, Cause], int]:
    """Up to which ``seq`` each thread's hold was shed for a cause, however many records say so."""
    latest: dict[tuple[str, Cause], int] = {}
    for one in shed:
        latest[one.thread_id, one.cause] = max(one.last_seq, latest.get((one.thread_id, one.cause), 0))
    return latest


class Desk:
    """A store, with short names for what tests do often."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._numbers = itertools.count(1)

    def compose(
        self,
        thread_id: str = "t",
        event_id: str | None = None,
        *,
        text: str = "",
        generation: int | None = None,
        repeatable: bool = False,
    ) -> Append:
        """An event to be taken; with an id of its own unless it is given one."""
        event_id = event_id or f"e{next(self._numbers):04}"
        body = encode("say", {"text": text}, thread_id, None, event_id, 0.0, DEFAULTS)
        return Append(thread_id, event_id, body, generation, fingerprint(body) if repeatable else None)

    async def take(self, append: Append, now: float = 0.0) -> Placement:
        """Give an event to the store."""
        try:
            return self.store.append_nowait(append, now)
        except trio.WouldBlock:
            (answer,) = await self.store.append([append], now)
            if isinstance(answer, Exception):
                raise answer from None
            return answer

    async def append(
        self,
        thread_id: str = "t",
        event_id: str | None = None,
        *,
        now: float = 0.0,
        text: str = "",
        generation: int | None = None,
        repeatable: bool = False,
    ) -> Placement:
        """Give a new event to the store."""
        append = self.compose(thread_id, event_id, text=text, generation=generation, repeatable=repeatable)
        return await self.take(append, now)

    async def append_and_shed(
        self, thread_id: str = "t", *, now: float = 0.0, text: str = ""
    ) -> dict[tuple[str, Cause], int]:
        """Give a new event to the store; what had to go."""
        await self.append(thread_id, now=now, text=text)
        return last_shed(self.store.shed())

    def expire_and_shed(self, now: float) -> dict[tuple[str, Cause], int]:
        """Let go of what became too old; what of it was held."""
        self.store.expire(now)
        return last_shed(self.store.shed())

    async def say(self, event_id: str, *, text: str = "", now: float = 0.0, thread_id: str = "t") -> Placement:
        """Give an event to the store under an id that may come twice."""
        return await self.append(thread_id, event_id, text=text, now=now, repeatable=True)

    async def bind(self, user_id: str | None, thread_id: str = "t", *, now: float = 0.0, take: bool = False) -> Binding:
        """Change the owner of a thread."""
        try:
            return self.store.bind_nowait(thread_id, user_id, now, take=take)
        except trio.WouldBlock:
            return await self.store.bind(thread_id, user_id, now, take=take)

    async def unbind(self, thread_id: str = "t", *, now: float = 0.0) -> Binding:
        """Leave a thread without an owner."""
        return await self.bind(None, thread_id, now=now, take=True)

    def log(self, user_id: str) -> list[Event]:
        """Everything in a user's log, which is exactly what its bounds say."""
        bounds = self.store.bounds(user_id)
        chunk = self.store.read(user_id, 1, PLENTY)
        events = events_of(chunk)
        assert (chunk.first, chunk.last) == (bounds.low, bounds.head)
        assert [event.offset for event in events] == list(range(bounds.low, bounds.head + 1))
        return events

    def history(
        self, *, thread_id: str = "t", after_seq: int = 0, most_events: int = 1_000, most_bytes: int = PLENTY
    ) -> tuple[list[int], tuple[tuple[int, int], ...], bool]:
        """Of a thread's history: the numbers shown, those gone, and whether there is more."""
        found = self.store.history(thread_id, after_seq, most_events, most_bytes)
        return [msgspec.json.decode(text, type=Event).seq for text in found.events], found.gone, found.more

    def numbers(self, user_id: str) -> list[tuple[str, int, int]]:
        """Thread, ``seq`` and offset of everything in a user's log."""
        return [(event.thread_id, event.seq, event.offset) for event in self.log(user_id)]


class StoreContract:
    """The contract, example by example."""

    @pytest.fixture
    def open_store(self) -> OpenStore:
        """The opener of the store, from the subclass."""
        raise NotImplementedError

    @pytest.fixture
    def desk(self, open_store: OpenStore) -> Callable[..., AbstractAsyncContextManager[Desk]]:
        """Open a store under some limits, for the length of a block."""

        @asynccontextmanager
        async def opened(**limits: Any) -> AsyncIterator[Desk]:
            # A store counts bytes; how large an event may be, its emitter checks.
            async with open_store(Limits(event_bytes=128, **limits)) as store:
                yield Desk(store)

        return opened

    # --- numbers and owners -----------------------------------------------------

    async def test_numbers_have_no_hole(self, desk: OpenDesk) -> None:
        """Each thread counts its events from 1 and each log its own, in the order in which they were taken."""
        async with desk() as d:
            await d.bind("alice", "a")
            await d.bind("alice", "b")
            await d.bind("bob", "c")
            placements = [await d.append(thread_id) for thread_id in "abcbac"]
            assert [(p.seq, p.user_id, p.offset) for p in placements] == [
                (1, "alice", 1), (1, "alice", 2), (1, "bob", 1), (2, "alice", 3), (2, "alice", 4), (2, "bob", 2),
            ]  # fmt: skip
            assert d.numbers("alice") == [("a", 1, 1), ("b", 1, 2), ("b", 2, 3), ("a", 2, 4)]
            assert d.numbers("bob") == [("c", 1, 1), ("c", 2, 2)]

    async def test_a_placement_names_its_log(self, desk: OpenDesk) -> None:
        """A placement names the epoch and the first offset of the log in which its event now is."""
        async with desk(retained_events=2) as d:
            await d.bind("alice")
            placements = [await d.append() for _ in range(3)]
            bounds = d.store.bounds("alice")
            assert [(p.epoch, p.low) for p in placements] == [(bounds.epoch, low) for low in (1, 1, 2)]

    async def test_the_text_is_the_event(self, desk: OpenDesk) -> None:
        """A device receives the event as it was encoded, complete with its numbers."""
        async with desk() as d:
            await d.append()
            await d.bind("alice")
            body = encode("say", {"text": "hé"}, "t", "r1", "mine", 12.5, DEFAULTS)
            await d.take(Append("t", "mine", body))
            assert d.log("alice")[-1] == Event(
                type="say", payload={"text": "hé"}, thread_id="t", run_id="r1", event_id="mine", timestamp=12.5,
                seq=2, offset=2,
            )  # fmt: skip

    async def test_an_event_of_nobody_is_held(self, desk: OpenDesk) -> None:
        """An event of a thread without an owner is numbered in its thread, and is in no log."""
        async with desk() as d:
            placement = await d.append()
            assert (placement.seq, placement.user_id, placement.offset, d.store.shed()) == (1, None, 0, ())
            assert d.store.owner("t") is None

    async def test_a_bind_places_the_backlog(self, desk: OpenDesk) -> None:
        """A bind places what the thread held, in order, behind what its owner already had."""
        async with desk() as d:
            await d.bind("alice", "other")
            await d.append("other")
            for _ in range(3):
                await d.append()
            binding = await d.bind("alice")
            assert (binding.user_id, binding.first_offset, binding.notice) == ("alice", 2, False)
            assert (binding.epoch, binding.low) == (d.store.bounds("alice").epoch, 1)
            await d.append()
            assert d.numbers("alice") == [("other", 1, 1), ("t", 1, 2), ("t", 2, 3), ("t", 3, 4), ("t", 4, 5)]

    async def test_a_bind_places_nothing_else(self, desk: OpenDesk) -> None:
        """A bind leaves what other threads hold where it is, and is empty for a thread that holds nothing."""
        async with desk() as d:
            await d.append("held")
            binding = await d.bind("alice", "empty")
            assert (binding.user_id, binding.notice) == ("alice", False)
            assert d.log("alice") == []
            await d.bind("alice", "held")
            assert d.numbers("alice") == [("held", 1, 1)]

    async def test_a_bind_may_be_repeated(self, desk: OpenDesk) -> None:
        """Binding a thread to its owner again changes nothing, and answers the same: the first answer may be lost."""
        async with desk(unbound_events=2) as d:
            for _ in range(3):
                await d.append()
            first = await d.bind("alice")
            assert (first.user_id, first.first_offset, first.notice) == ("alice", 1, True)
            await d.append()
            before = d.log("alice")
            assert [await d.bind("alice", take=take) for take in (False, True)] == [first, first]
            assert d.log("alice") == before
            d.store.ack_binding("t", first.generation)
            again = await d.bind("alice")
            assert (again.user_id, again.generation, again.notice) == ("alice", first.generation, False)

    async def test_nobody_is_nobody_again(self, desk: OpenDesk) -> None:
        """Unbinding a thread that nobody owns changes nothing."""
        async with desk() as d:
            held = await d.append()
            binding = await d.unbind()
            assert (binding.user_id, binding.generation) == (None, held.generation)

    async def test_a_thread_is_not_taken_by_accident(self, desk: OpenDesk) -> None:
        """A thread of another user is not given away unless the caller says so, and nothing changes."""
        async with desk() as d:
            owned = await d.bind("alice")
            for user_id in ("bob", None):
                with pytest.raises(NotTheOwner):
                    await d.bind(user_id)
            assert d.store.owner("t") == "alice"
            placement = await d.append(generation=owned.generation)
            assert (placement.user_id, placement.seq) == ("alice", 1)

    async def test_a_thread_can_be_taken(self, desk: OpenDesk) -> None:
        """A thread that is taken goes on in its new owner's log; what was placed before stays with the former one."""
        async with desk() as d:
            await d.bind("alice")
            await d.append()
            binding = await d.bind("bob", take=True)
            assert binding.user_id == "bob"
            await d.append()
            assert d.store.owner("t") == "bob"
            assert (d.numbers("alice"), d.numbers("bob")) == ([("t", 1, 1)], [("t", 2, 1)])

    async def test_an_unbound_thread_holds_again(self, desk: OpenDesk) -> None:
        """After an unbind events are held, and go to the next owner alone."""
        async with desk() as d:
            await d.bind("alice")
            await d.append()
            binding = await d.unbind()
            assert (binding.user_id, d.store.owner("t")) == (None, None)
            held = await d.append()
            assert (held.seq, held.user_id) == (2, None)
            await d.bind("bob")
            assert (d.numbers("alice"), d.numbers("bob")) == ([("t", 1, 1)], [("t", 2, 1)])

    # --- generations --------------------------------------------------------------

    async def test_a_generation_counts_changes_of_owner(self, desk: OpenDesk) -> None:
        """Each change of owner is one generation more, and every answer names the present one."""
        async with desk() as d:
            generations = [(await d.append()).generation]
            for user_id in ("alice", "bob", None, "bob"):
                generations.append((await d.bind(user_id, take=True)).generation)
                assert (await d.append()).generation == generations[-1]
            assert generations == [generations[0] + step for step in range(5)]

    @pytest.mark.parametrize("owner", ["bob", None])
    async def test_an_older_generation_is_refused(self, desk: OpenDesk, owner: str | None) -> None:
        """An event accepted for one owner is never placed or held for the next, and takes no number."""
        async with desk() as d:
            old = (await d.bind("alice")).generation
            new = (await d.bind(owner, take=True)).generation
            with pytest.raises(StaleGeneration) as refused:
                await d.append(generation=old)
            assert refused.value.generation == new
            assert d.log("alice") == []
            assert (await d.append(generation=new)).seq == 1
            await d.bind("bob", take=True)
            assert d.numbers("bob") == [("t", 1, 1)]

    async def test_a_refused_event_is_not_remembered(self, desk: OpenDesk) -> None:
        """An event that was refused for its generation is a new one when it is given again."""
        async with desk() as d:
            old = (await d.bind("alice")).generation
            await d.bind("bob", take=True)
            with pytest.raises(StaleGeneration):
                await d.append(event_id="once", generation=old, repeatable=True)
            placement = await d.say("once")
            assert (placement.duplicate, placement.user_id, placement.seq) == (False, "bob", 1)

    # --- idempotency ----------------------------------------------------------------

    async def test_a_repetition_gets_the_first_placement(self, desk: OpenDesk) -> None:
        """An event that is given again gets its first placement, and is not placed again."""
        async with desk() as d:
            await d.bind("alice")
            first = await d.say("once")
            await d.append()
            again = await d.say("once", now=1.0)
            assert again.duplicate
            assert not first.duplicate
            assert (again.seq, again.user_id, again.epoch, again.offset) == (1, "alice", first.epoch, 1)
            assert (await d.append()).seq == 3
            assert d.numbers("alice") == [("t", 1, 1), ("t", 2, 2), ("t", 3, 3)]

    async def test_a_repetition_of_a_held_event(self, desk: OpenDesk) -> None:
        """An event that is given again is held once, and after the bind the answer says where it went."""
        async with desk() as d:
            await d.append()
            await d.say("once")
            held = await d.say("once")
            assert (held.duplicate, held.seq, held.user_id, held.offset) == (True, 2, None, 0)
            await d.bind("alice")
            bound = await d.say("once")
            assert (bound.duplicate, bound.seq, bound.user_id, bound.offset) == (True, 2, "alice", 2)
            assert bound.epoch == d.store.bounds("alice").epoch
            assert d.numbers("alice") == [("t", 1, 1), ("t", 2, 2)]

    async def test_a_repetition_after_a_change_of_owner(self, desk: OpenDesk) -> None:
        """An event has one placement for ever: given again after its thread changed hands, it stays where it was."""
        async with desk() as d:
            old = (await d.bind("alice")).generation
            await d.say("once")
            await d.bind("bob", take=True)
            for generation in (None, old):
                again = await d.append(event_id="once", generation=generation, repeatable=True)
                assert (again.duplicate, again.user_id, again.offset) == (True, "alice", 1)
            assert d.log("bob") == []

    async def test_a_repetition_of_a_shed_event(self, desk: OpenDesk) -> None:
        """An event that a hold let go is not taken a second time under its id."""
        async with desk(unbound_events=1) as d:
            await d.say("once")
            await d.append()
            again = await d.say("once")
            assert (again.duplicate, again.seq, again.user_id) == (True, 1, None)
            await d.bind("alice")
            assert [event.event_id for event in d.log("alice") if event.type != DROPPED_NOTICE] == ["e0001"]

    async def test_another_body_is_a_conflict(self, desk: OpenDesk) -> None:
        """Another event under a given id is refused, takes no number, and leaves the first one be."""
        async with desk() as d:
            await d.bind("alice")
            await d.say("once", text="yes")
            with pytest.raises(IdempotencyConflict):
                await d.say("once", text="no")
            assert (await d.append()).seq == 2
            assert (await d.say("once", text="yes")).duplicate
            assert len(d.log("alice")) == 2

    async def test_ids_are_a_threads_own(self, desk: OpenDesk) -> None:
        """The same id in another thread names another event."""
        async with desk() as d:
            await d.say("once", thread_id="a", text="yes")
            placement = await d.say("once", thread_id="b", text="no")
            assert (placement.duplicate, placement.seq) == (False, 1)

    async def test_without_a_fingerprint_nothing_is_compared(self, desk: OpenDesk) -> None:
        """An id that cannot come twice is not remembered."""
        async with desk() as d:
            placements = [await d.append(event_id="same") for _ in range(2)]
            assert [(p.seq, p.duplicate) for p in placements] == [(1, False), (2, False)]

    @pytest.mark.parametrize("swept", [True, False])
    async def test_an_id_is_forgotten_after_its_time(self, desk: OpenDesk, swept: bool) -> None:
        """A given id is remembered for ``idempotency_seconds``, whether or not anybody sweeps, and no longer."""
        async with desk(idempotency_seconds=600.0) as d:
            await d.bind("alice")
            await d.say("once")
            if swept:
                d.store.expire(600.0)
            assert (await d.say("once", now=600.0)).duplicate
            if swept:
                d.store.expire(600.5)
            later = await d.say("once", now=600.5, text="another")
            assert (later.duplicate, later.seq) == (False, 2)
            assert (await d.say("once", now=601.0, text="another")).seq == 2

    async def test_ids_remembered_are_bounded(self, desk: OpenDesk) -> None:
        """Of given ids the newest ``idempotency_ids`` are remembered."""
        async with desk(idempotency_ids=2) as d:
            for event_id in ("x", "y", "z"):
                await d.say(event_id)
            answers = [(await d.say(event_id)).duplicate for event_id in ("y", "z", "x")]
            assert answers == [True, True, False]

    # --- retention ------------------------------------------------------------------

    async def test_retention_by_count(self, desk: OpenDesk) -> None:
        """A log retains its newest ``retained_events``."""
        async with desk(retained_events=3) as d:
            await d.bind("alice")
            for _ in range(200):
                await d.append()
            assert d.numbers("alice") == [("t", seq, seq) for seq in (198, 199, 200)]

    async def test_retention_by_bytes(self, desk: OpenDesk) -> None:
        """A log retains the newest events that fit into ``retained_bytes``, and the newest one whatever its size."""
        async with desk() as d:
            await d.bind("alice")
            await d.append()
            size = len(d.store.read("alice", 1, PLENTY).frames)
        async with desk(retained_bytes=3 * size + size // 2) as d:
            await d.bind("alice")
            for _ in range(5):
                await d.append()
            assert d.numbers("alice") == [("t", seq, seq) for seq in (3, 4, 5)]
            await d.append(text="x" * 10 * size)
            assert d.numbers("alice") == [("t", 6, 6)]
            await d.append()
            assert d.numbers("alice") == [("t", 7, 7)]

    async def test_retention_by_age(self, desk: OpenDesk) -> None:
        """A log retains an event for ``retained_seconds``; a sweep says where the log begins now."""
        async with desk(retained_seconds=300.0) as d:
            await d.bind("alice")
            await d.bind("bob", "u")
            for now in (0.0, 10.0, 20.0):
                await d.append(now=now)
            await d.append("u", now=15.0)
            d.store.expire(300.0)
            assert d.store.bounds("alice").low == 1
            lows = dict(d.store.expire(310.5).lows)
            assert lows["alice"] == d.store.bounds("alice").low == 3
            assert lows.get("bob", 1) == d.store.bounds("bob").low == 1
            assert dict(d.store.expire(1_000.0).lows) == {"alice": 4, "bob": 2}
            assert d.store.expire(2_000.0).lows == ()
            assert (d.store.bounds("alice").low, d.store.bounds("alice").head) == (4, 3)
            assert (await d.append(now=2_000.0)).offset == 4
            assert dict(d.store.expire(2_300.5).lows) == {"alice": 5}

    async def test_a_backlog_is_as_old_as_its_bind(self, desk: OpenDesk) -> None:
        """A log's age counts from the bind: what was held until then is retained as long as anything else."""
        async with desk(retained_seconds=10.0) as d:
            await d.append(now=0.0)
            await d.bind("alice", now=50.0)
            d.store.expire(60.0)
            assert d.numbers("alice") == [("t", 1, 1)]
            d.store.expire(60.5)
            assert d.log("alice") == []

    async def test_a_backlog_larger_than_the_log(self, desk: OpenDesk) -> None:
        """A bind of more than a log retains says which of it is there, and its offsets count all of it."""
        async with desk(retained_events=2) as d:
            for _ in range(5):
                await d.append()
            binding = await d.bind("alice")
            assert (binding.first_offset, binding.low) == (1, 4)
            assert d.numbers("alice") == [("t", 4, 4), ("t", 5, 5)]

    # --- what a hold lets go ----------------------------------------------------------

    async def test_a_hold_is_bounded_by_count(self, desk: OpenDesk) -> None:
        """A hold keeps the newest ``unbound_events``; what had to go is said, once."""
        async with desk(unbound_events=2) as d:
            assert [await d.append_and_shed() for _ in range(4)] == [
                {}, {}, {("t", Cause.UNBOUND_OVERFLOW): 1}, {("t", Cause.UNBOUND_OVERFLOW): 2},
            ]  # fmt: skip
            assert d.store.shed() == ()

    async def test_what_was_shed_waits_to_be_asked_for(self, desk: OpenDesk) -> None:
        """Sheds are reported in order at the next call, however many answers came in between."""
        async with desk(unbound_events=2, unbound_seconds=60.0) as d:
            for now in (0.0, 1.0, 2.0, 3.0):
                await d.append(now=now)
            d.store.expire(62.5)
            assert list(d.store.shed()) == [
                Shed("t", 2, Cause.UNBOUND_OVERFLOW), Shed("t", 3, Cause.UNBOUND_EXPIRED),
            ]  # fmt: skip
            d.store.release("t")
            assert list(d.store.shed()) == [Shed("t", 4, Cause.QUARANTINED)]

    async def test_a_hold_is_bounded_by_bytes(self, desk: OpenDesk) -> None:
        """A hold keeps the newest events whose bodies fit into ``unbound_bytes``."""
        size = len(Desk(None).compose().body)  # type: ignore[arg-type] # only composes
        async with desk(unbound_bytes=3 * size) as d:
            for _ in range(3):
                assert await d.append_and_shed() == {}
            assert await d.append_and_shed() == {("t", Cause.UNBOUND_OVERFLOW): 1}
            assert await d.append_and_shed(text="x") == {("t", Cause.UNBOUND_OVERFLOW): 3}
            await d.bind("alice")
            assert [(e.seq0, e.seq) for e in d.log("alice")] == [(1, 3), (None, 4), (None, 5)]

    async def test_a_hold_is_bounded_by_age(self, desk: OpenDesk) -> None:
        """A hold keeps an event for ``unbound_seconds``; a sweep says what had to go."""
        async with desk(unbound_seconds=60.0) as d:
            for now in (0.0, 10.0, 20.0):
                await d.append(now=now)
            assert d.expire_and_shed(60.0) == {}
            assert d.expire_and_shed(70.5) == {("t", Cause.UNBOUND_EXPIRED): 2}
            await d.bind("alice", now=71.0)
            assert [(e.seq0, e.seq) for e in d.log("alice")] == [(1, 2), (None, 3)]
            assert d.expire_and_shed(200.0) == {}

    async def test_a_sweep_is_done_in_steps(self, desk: OpenDesk) -> None:
        """Of much that became too old together some goes at once, and the answer says that there is more."""
        async with desk(unbound_seconds=60.0, retained_seconds=60.0, sweep_events=4) as d:
            for _ in range(10):
                await d.append("held")
                await d.append("owned")
            await d.bind("alice", "owned")
            steps: list[tuple[Expiry, int]] = []
            while not steps or steps[-1][0].more:
                expiry = d.store.expire(61.0)
                steps.append((expiry, last_shed(d.store.shed()).get(("held", Cause.UNBOUND_EXPIRED), 0)))
            assert [shed for _, shed in steps] == [4, 8, 10]
            assert [low for expiry, _ in steps for low in expiry.lows] == [("alice", 11)]

    async def test_all_holds_are_bounded_by_bytes(self, desk: OpenDesk) -> None:
        """Over all threads ``unbound_total_bytes`` are held; the oldest event of all goes first."""
        size = len(Desk(None).compose().body)  # type: ignore[arg-type] # only composes
        async with desk(unbound_total_bytes=3 * size) as d:
            for now, thread_id in enumerate("aba"):
                assert await d.append_and_shed(thread_id, now=now) == {}
            assert await d.append_and_shed("c", now=3) == {("a", Cause.UNBOUND_OVERFLOW): 1}
            assert await d.append_and_shed("c", now=4) == {("b", Cause.UNBOUND_OVERFLOW): 1}
            assert await d.append_and_shed("c", now=5) == {("a", Cause.UNBOUND_OVERFLOW): 2}

    async def test_what_was_bound_takes_no_room(self, desk: OpenDesk) -> None:
        """The bytes of a backlog that was bound, expired or released are free for other threads."""
        size = len(Desk(None).compose().body)  # type: ignore[arg-type] # only composes
        async with desk(unbound_total_bytes=2 * size) as d:
            await d.append("a")
            await d.append("a")
            await d.bind("alice", "a")
            for start in (100.0, 200.0):
                for _ in range(2):
                    assert await d.append_and_shed("b", now=start) == {}
                d.expire_and_shed(start + 61.0)
            for _ in range(2):
                assert await d.append_and_shed("c", now=300.0) == {}
            d.store.release("c")
            assert last_shed(d.store.shed()) == {("c", Cause.QUARANTINED): 2}
            for _ in range(2):
                assert await d.append_and_shed("d", now=301.0) == {}

    async def test_all_holds_are_bounded_by_threads(self, desk: OpenDesk) -> None:
        """``unbound_total_threads`` threads hold events; one more costs the oldest of them all that it holds."""
        async with desk(unbound_total_threads=2) as d:
            for now, thread_id in enumerate("aab"):
                assert await d.append_and_shed(thread_id, now=now) == {}
            assert await d.append_and_shed("c", now=3) == {("a", Cause.UNBOUND_OVERFLOW): 2}
            assert await d.append_and_shed("b", now=4) == {}
            await d.bind("alice", "b")
            assert d.numbers("alice") == [("b", 1, 1), ("b", 2, 2)]

    async def test_a_thread_too_many_costs_one_thread(self, desk: OpenDesk) -> None:
        """Where one thread too many holds events, the oldest gives way, and no other loses any."""
        async with desk(unbound_total_threads=2) as d:
            for now, thread_id in enumerate("aba"):
                await d.append(thread_id, now=now)
            assert await d.append_and_shed("c", now=3) == {("a", Cause.UNBOUND_OVERFLOW): 2}

    async def test_a_thread_that_holds_nothing_does_not_count(self, desk: OpenDesk) -> None:
        """Of the threads that may hold events, one that was bound is none, whichever is the oldest."""
        async with desk(unbound_total_threads=2) as d:
            await d.append("old", now=0)
            await d.append("bound", now=1)
            await d.bind("alice", "bound", now=2)
            assert await d.append_and_shed("new", now=3) == {}

    async def test_a_thread_that_holds_again_counts_once(self, desk: OpenDesk) -> None:
        """A thread that was bound and unbound in between is one thread that holds events, not several."""
        async with desk(unbound_total_threads=2) as d:
            await d.append("old", now=0)
            for now in range(1, 10, 3):
                assert await d.append_and_shed("again", now=now) == {}
                await d.bind("alice", "again", now=now + 1)
                await d.unbind("again", now=now + 2)

    # --- what an owner is told ----------------------------------------------------------

    async def test_a_notice_stands_before_the_backlog(self, desk: OpenDesk) -> None:
        """The owner learns of all sheds of a hold by one event before the rest, at an offset of its own."""
        async with desk(unbound_events=2) as d:
            for _ in range(5):
                await d.append()
            binding = await d.bind("alice")
            assert (binding.first_offset, binding.notice) == (1, True)
            notice, *rest = d.log("alice")
            assert (notice.type, notice.thread_id, notice.seq0, notice.seq) == (DROPPED_NOTICE, "t", 1, 3)
            assert notice.payload == {"count": 3, "causes": {"unbound_overflow": 3}}
            assert [(e.type, e.seq, e.offset) for e in rest] == [("say", 4, 2), ("say", 5, 3)]
            assert (await d.append()).offset == 4

    async def test_a_notice_counts_each_cause(self, desk: OpenDesk) -> None:
        """A notice says how many events went for each cause, also when nothing is left."""
        async with desk(unbound_events=2, unbound_seconds=60.0) as d:
            for _ in range(3):
                await d.append()
            d.store.expire(61.0)
            await d.append(now=61.0)
            d.store.release("t")
            binding = await d.bind("alice", now=62.0)
            (notice,) = d.log("alice")
            assert (binding.first_offset, binding.notice) == (1, True)
            assert (notice.seq0, notice.seq, notice.offset) == (1, 4, 1)
            assert notice.payload == {
                "count": 4, "causes": {"unbound_overflow": 1, "unbound_expired": 2, "quarantined": 1},
            }  # fmt: skip

    async def test_a_loss_is_told_once(self, desk: OpenDesk) -> None:
        """Each owner is told of what was lost since the thread was last owned, and of nothing twice."""
        async with desk(unbound_events=1) as d:
            for user_id in ("alice", "bob"):
                await d.append()
                await d.append()
                await d.bind(user_id)
                await d.unbind()
            assert not (await d.bind("carol")).notice
            assert [(e.seq0, e.seq) for e in d.log("alice")] == [(1, 1), (None, 2)]
            assert [(e.seq0, e.seq) for e in d.log("bob")] == [(3, 3), (None, 4)]
            assert d.log("carol") == []

    async def test_a_vacant_thread_keeps_its_numbers(self, desk: OpenDesk) -> None:
        """A thread whose events all expired goes on counting, and a late owner is told what was lost."""
        async with desk(unbound_seconds=60.0) as d:
            await d.append()
            await d.append()
            d.store.expire(61.0)
            assert (await d.append(now=62.0)).seq == 3
            await d.bind("alice", now=63.0)
            assert [(e.seq0, e.seq) for e in d.log("alice")] == [(1, 2), (None, 3)]

    async def test_vacant_threads_are_bounded(self, desk: OpenDesk) -> None:
        """Of threads that never had an owner and hold nothing, the newest ``vacant_threads`` are remembered."""
        async with desk(vacant_threads=2, unbound_seconds=60.0) as d:
            for now, thread_id in enumerate("abc"):
                await d.append(thread_id, now=now)
            d.store.expire(100.0)
            assert [(await d.append(thread_id, now=101.0)).seq for thread_id in "abc"] == [1, 2, 2]
            assert not (await d.bind("alice", "a", now=102.0)).notice
            assert (await d.bind("alice", "b", now=102.0)).notice

    async def test_an_owned_thread_is_never_forgotten(self, desk: OpenDesk) -> None:
        """A thread that once had an owner keeps its numbering and generation, whatever its hold lost."""
        async with desk(vacant_threads=1, unbound_seconds=60.0) as d:
            await d.bind("alice", "kept")
            await d.append("kept")
            generation = (await d.unbind("kept")).generation
            for thread_id in ("kept", "a", "b", "c"):
                await d.append(thread_id)
            d.store.expire(61.0)
            placement = await d.append("kept", now=62.0)
            assert (placement.seq, placement.generation) == (3, generation)

    # --- reading ------------------------------------------------------------------------

    async def test_a_range_ends_where_its_bytes_do(self, desk: OpenDesk) -> None:
        """A read gives as many events as the bytes allow, at least one if there is one."""
        async with desk() as d:
            await d.bind("alice")
            for _ in range(5):
                await d.append()
            size = len(d.store.read("alice", 5, PLENTY).frames)
            for most_bytes, last in ((0, 2), (size, 2), (2 * size - 1, 2), (2 * size, 3), (4 * size, 5), (PLENTY, 5)):
                chunk = d.store.read("alice", 2, most_bytes)
                assert (chunk.first, chunk.last) == (2, last)
                assert [event.offset for event in events_of(chunk)] == list(range(2, last + 1))

    async def test_a_range_begins_in_the_log(self, desk: OpenDesk) -> None:
        """A read from below the log begins at its first event; one from beyond its head is empty."""
        async with desk(retained_events=2) as d:
            await d.bind("alice")
            for _ in range(5):
                await d.append()
            below, beyond = d.store.read("alice", 1, PLENTY), d.store.read("alice", 6, PLENTY)
            assert (below.first, below.last) == (4, 5)
            assert (beyond.first, beyond.last, beyond.frames) == (6, 5, b"")

    async def test_bounds_are_read_together(self, desk: OpenDesk) -> None:
        """A log has one epoch, which is there before its first event; an empty log begins after its head."""
        async with desk(retained_events=2) as d:
            empty = d.store.bounds("alice")
            assert (empty.low, empty.head) == (1, 0)
            await d.bind("alice")
            for _ in range(3):
                await d.append()
            assert d.store.bounds("alice") == Bounds(empty.epoch, 2, 3)
            assert d.store.bounds("bob").epoch != empty.epoch

    # --- the history of a thread ----------------------------------------------------------

    async def test_history_is_what_the_log_shows(self, desk: OpenDesk) -> None:
        """A thread's history is its events as its owner's devices received them, byte by byte, and no other's."""
        async with desk() as d:
            for number in range(3):
                for thread_id in ("t", "t1", '"thread_id":"t"'):
                    await d.bind("alice", thread_id)
                    await d.append(thread_id, text=f'"thread_id":"t",{number}')
            texts = [d.store.read("alice", offset, 0).frames for offset in (1, 4, 7)]
            found = d.store.history("t", 0, 10, PLENTY)
            assert [text_frame(text) for text in found.events] == texts
            assert (found.gone, found.head_seq, found.more) == ((), 3, False)

    async def test_history_is_given_in_pages(self, desk: OpenDesk) -> None:
        """A history begins behind a number, ends with the events or bytes allowed, and says whether there is more."""
        async with desk() as d:
            await d.bind("alice")
            for _ in range(5):
                await d.append()
            size = len(d.store.history("t", 0, 1, PLENTY).events[0])
            assert d.history(after_seq=0, most_events=2) == ([1, 2], (), True)
            assert d.history(after_seq=2, most_events=3) == ([3, 4, 5], (), False)
            assert d.history(after_seq=5) == d.history(after_seq=2**53 - 1) == ([], (), False)
            assert d.history(most_bytes=2 * size) == ([1, 2], (), True)
            assert d.history(most_bytes=0) == ([1], (), True)

    async def test_history_says_what_is_gone(self, desk: OpenDesk) -> None:
        """Events that have left the log are gone, within the range of the request."""
        async with desk(retained_events=2) as d:
            await d.bind("alice")
            for _ in range(5):
                await d.append()
            assert d.history() == ([4, 5], ((1, 3),), False)
            assert d.history(after_seq=2, most_events=1) == ([4], ((3, 3),), True)
            d.store.renew("alice")
            assert d.history() == ([], ((1, 5),), False)

    async def test_history_belongs_to_the_owner(self, desk: OpenDesk) -> None:
        """Events placed for a former owner are gone for this one, and there again when that user is the owner again."""
        async with desk() as d:
            for user_id in ("alice", "bob"):
                await d.bind(user_id, take=True)
                await d.append()
            assert d.history() == ([2], ((1, 1),), False)
            await d.bind("alice", take=True)
            assert d.history() == ([1], ((2, 2),), False)
            await d.unbind()
            assert d.history() == ([], ((1, 2),), False)

    async def test_history_of_what_is_held(self, desk: OpenDesk) -> None:
        """Held events are neither shown nor gone; shed ones are gone, and then told by a notice."""
        async with desk(unbound_events=2) as d:
            for _ in range(3):
                await d.append()
            assert d.history() == ([], ((1, 1),), False)
            assert d.store.history("t", 0, 10, PLENTY).head_seq == 3
            await d.bind("alice")
            assert d.history() == ([1, 2, 3], (), False)

    async def test_history_of_nothing(self, desk: OpenDesk) -> None:
        """A thread that nobody has heard of has no history, and none for having been asked about."""
        async with desk() as d:
            found = d.store.history("t", 0, 10, PLENTY)
            assert (found.events, found.gone, found.head_seq, found.more) == ((), (), 0, False)
            assert (await d.append()).seq == 1

    # --- quarantine ---------------------------------------------------------------------

    async def test_renewal_empties_a_log(self, desk: OpenDesk) -> None:
        """A renewed log is empty, counts from 1 under another epoch, and its threads go on counting."""
        async with desk() as d:
            await d.bind("alice")
            await d.append()
            before = d.store.bounds("alice")
            after = d.store.renew("alice")
            assert after.epoch != before.epoch
            assert (after.low, after.head) == (1, 0)
            assert d.store.bounds("alice") == after
            placement = await d.append(now=1.0)
            assert (placement.epoch, placement.offset, placement.seq) == (after.epoch, 1, 2)
            d.store.expire(300.5)
            assert d.numbers("alice") == [("t", 2, 1)]
            assert dict(d.store.expire(400.0).lows) == {"alice": 2}

    async def test_an_empty_log_is_forgotten(self, desk: OpenDesk) -> None:
        """A log is forgotten when nothing is in it, and not before; its epoch stays and goes on after its head, so a
        cursor is worth what it was. Threads stay their owner's, and go on counting."""
        async with desk() as d:
            await d.bind("alice")
            await d.append()
            epoch = d.store.bounds("alice").epoch
            assert not d.store.forget("alice")
            d.store.expire(300.5)
            assert d.store.forget("alice")
            assert d.store.forget("alice")
            assert d.history() == ([], ((1, 1),), False)
            assert d.store.owner("t") == "alice"
            assert d.store.bounds("alice") == Bounds(epoch, 2, 1)
            assert d.store.forget("alice")
            placement = await d.append(now=301.0)
            assert (placement.seq, placement.user_id, placement.offset) == (2, "alice", 2)
            assert placement.epoch == epoch
            assert d.numbers("alice") == [("t", 2, 2)]
            assert [one for one in d.store.expire(700.0).lows if one[0] == "alice"] == [("alice", 3)]

    async def test_a_log_that_never_had_anything_is_forgotten(self, desk: OpenDesk) -> None:
        """A device that has seen nothing of a log keeps its place before the first event, too."""
        async with desk() as d:
            bounds = d.store.bounds("alice")
            assert d.store.forget("alice")
            assert d.store.bounds("alice") == bounds

    async def test_a_forgotten_log_takes_a_backlog(self, desk: OpenDesk) -> None:
        """The events that a bind places in a forgotten log follow its head."""
        async with desk() as d:
            await d.bind("alice")
            await d.append()
            d.store.expire(300.5)
            assert d.store.forget("alice")
            await d.append("other", now=301.0)
            binding = await d.bind("alice", "other", now=301.0)
            assert (binding.first_offset, binding.low) == (2, 2)
            assert d.numbers("alice") == [("other", 1, 2)]

    async def test_a_forgotten_log_is_renewed(self, desk: OpenDesk) -> None:
        """A forgotten log's epoch ends with a quarantine as any other's does."""
        async with desk() as d:
            await d.bind("alice")
            await d.append()
            before = d.store.bounds("alice")
            d.store.expire(300.5)
            assert d.store.forget("alice")
            after = d.store.renew("alice")
            assert after.epoch != before.epoch
            assert (after.low, after.head) == (1, 0)
            assert d.store.forget("alice")
            assert d.store.bounds("alice") == after

    async def test_release_empties_a_hold(self, desk: OpenDesk) -> None:
        """A released thread holds nothing more, other threads do; a thread that is owned or unknown is left alone."""
        async with desk() as d:
            for thread_id in ("t", "other"):
                await d.append(thread_id)
            await d.bind("alice", "owned")
            await d.append("owned")
            for thread_id in ("t", "owned", "unknown"):
                d.store.release(thread_id)
            assert d.numbers("alice") == [("owned", 1, 1)]
            await d.bind("bob", "other")
            assert d.numbers("bob") == [("other", 1, 1)]
            await d.bind("carol")
            assert [(e.type, e.seq0, e.seq) for e in d.log("carol")] == [(DROPPED_NOTICE, 1, 1)]

    # --- waiting ------------------------------------------------------------------------

    async def test_both_halves_answer_alike(self, desk: OpenDesk) -> None:
        """A store that can answer at once gives the same answers when it is awaited."""
        async with desk(unbound_events=2) as d, desk(unbound_events=2) as waited:
            composed = [d.compose(), d.compose(), d.compose(), d.compose(event_id="x", repeatable=True)]
            try:
                held = [d.store.append_nowait(append, 0.0) for append in composed]
            except trio.WouldBlock:
                pytest.skip("this store has to be waited for")
            assert list(await waited.store.append(composed, 0.0)) == held
            bound = d.store.bind_nowait("t", "alice", 1.0, take=False)
            awaited = await waited.store.bind("t", "alice", 1.0, take=False)
            assert msgspec.structs.replace(awaited, epoch=bound.epoch) == bound
            assert waited.numbers("alice") == d.numbers("alice")
            with pytest.raises(NotTheOwner):
                await waited.store.bind("t", "bob", 1.0, take=False)

    async def test_a_refusal_costs_no_other_event_its_place(self, desk: OpenDesk) -> None:
        """Events that are given together are answered one by one, in order, a refusal in its own place."""
        async with desk() as d:
            old = (await d.append()).generation
            await d.bind("alice")
            await d.say("once", text="yes")
            answers = await d.store.append(
                [
                    d.compose(),
                    d.compose(event_id="once", text="no", repeatable=True),
                    d.compose(generation=old),
                    d.compose(event_id="once", text="yes", repeatable=True),
                    d.compose(),
                ],
                0.0,
            )
            assert [type(answer) for answer in answers] == [
                Placement, IdempotencyConflict, StaleGeneration, Placement, Placement,
            ]  # fmt: skip
            assert [(p.seq, p.duplicate) for p in answers if isinstance(p, Placement)] == [
                (3, False), (2, True), (4, False),
            ]  # fmt: skip

    async def test_waiting_is_a_checkpoint(self, desk: OpenDesk) -> None:
        """The waiting half and closing a store are checkpoints."""
        async with desk() as d:
            with trio.testing.assert_checkpoints():
                await d.store.append([d.compose()], 0.0)
            with trio.testing.assert_checkpoints():
                await d.store.bind("t", "alice", 0.0, take=False)
            with trio.testing.assert_checkpoints():
                await d.store.aclose()

    async def test_cancelled_before_it_began(self, desk: OpenDesk) -> None:
        """An append that is cancelled before it began takes nothing."""
        async with desk() as d:
            with trio.CancelScope() as scope:
                scope.cancel()
                await d.store.append([d.compose()], 0.0)
            assert scope.cancelled_caught
            assert (await d.append()).seq == 1


OpenDesk = Callable[..., AbstractAsyncContextManager[Desk]]


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
        self.generation = 0
        self.seq = 0
        self.held: list[tuple[str, float]] = []
        self.shed: Counter[str] = Counter()
        self.told = 0
        """The last ``seq`` that a log showed, as an event's or as a notice's."""

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

    def open_store(self, limits: Limits) -> AbstractAsyncContextManager[Store]:
        """Open the store; from the subclass."""
        raise NotImplementedError

    @initialize()
    def open(self) -> None:
        """Begin with an empty store."""
        self.loop = Loop()
        self.stack = AsyncExitStack()
        self.desk = Desk(self.loop.run(self.stack.enter_async_context, self.open_store(self.limits)))
        self.now = 0.0
        self.model = {thread_id: Thread() for thread_id in "abc"}
        self.given: dict[tuple[str, str], tuple[str, float, Placement]] = {}
        self.accepted: dict[str, str] = {}
        """Events of which the store says that they are, or will be, in a log: their threads by their ids."""
        self.seen: dict[str, int] = {"alice": 0, "bob": 0}
        """The last offset that each log showed."""
        self.stored_at: dict[str, list[float]] = {"alice": [], "bob": []}

    def teardown(self) -> None:
        """Close the store."""
        if hasattr(self, "loop"):
            self.loop.run(self.stack.aclose)
            self.loop.close()

    @rule(thread_id=threads)
    def append(self, thread_id: str) -> None:
        """An event under an id of its own."""
        self.now += 1
        append = self.desk.compose(thread_id)
        self.took(append, self.loop.run(self.desk.take, append, self.now))

    @rule(thread_id=threads, event_id=st.sampled_from(["x", "y"]), text=st.sampled_from(["yes", "no"]))
    def say(self, thread_id: str, event_id: str, text: str) -> None:
        """An event under an id that may have come before."""
        self.now += 1
        append = self.desk.compose(thread_id, f"{thread_id}-{event_id}", text=text, repeatable=True)
        before, at, first = self.given.get((thread_id, event_id), ("", -100.0, None))
        if first is None or at < self.now - self.limits.idempotency_seconds:
            self.accepted.pop(append.event_id, None)
            placement = self.loop.run(self.desk.take, append, self.now)
            self.took(append, placement)
            self.given[thread_id, event_id] = text, self.now, placement
        elif text == before:
            placement = self.loop.run(self.desk.take, append, self.now)
            assert (placement.duplicate, placement.seq) == (True, first.seq)
            assert first.user_id is None or (placement.user_id, placement.offset) == (first.user_id, first.offset)
        else:
            with pytest.raises(IdempotencyConflict):
                self.loop.run(self.desk.take, append, self.now)

    @rule(thread_id=threads, back=st.integers(1, 3))
    def append_for_a_former_owner(self, thread_id: str, back: int) -> None:
        """An event that was accepted in an older generation."""
        append = self.desk.compose(thread_id, generation=self.model[thread_id].generation - back)
        with pytest.raises(StaleGeneration):
            self.loop.run(self.desk.take, append, self.now)

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
        thread.generation += changed
        assert (binding.user_id, binding.generation) == (user_id, thread.generation)
        if user_id is None or not changed:
            return
        assert binding.notice == bool(thread.shed)
        assert binding.first_offset == len(self.stored_at[user_id]) + 1
        self.stored_at[user_id] += [self.now] * (len(thread.held) + binding.notice)
        thread.held.clear()

    @rule(seconds=st.integers(0, 5))
    def expire(self, seconds: int) -> None:
        """Time passes, and somebody sweeps."""
        self.now += seconds
        expected: dict[tuple[str, Cause], int] = {}
        for thread_id, thread in self.model.items():
            while thread.held and thread.held[0][1] < self.now - self.limits.unbound_seconds:
                expected |= thread.shed_oldest(thread_id, Cause.UNBOUND_EXPIRED)
        lows = dict(self.desk.store.expire(self.now).lows)
        assert last_shed(self.desk.store.shed()) == expected
        for user_id, times in self.stored_at.items():
            expired = sum(at < self.now - self.limits.retained_seconds for at in times)
            low = max(expired, len(times) - self.limits.retained_events, 0) + 1
            assert lows.get(user_id, low) == low
            assert self.desk.store.bounds(user_id).low >= low

    @rule(user_id=users)
    def forget(self, user_id: str) -> None:
        """Somebody thinks that a user has gone."""
        store = self.desk.store
        bounds = store.bounds(user_id)
        assert store.forget(user_id) == (bounds.low > bounds.head)
        assert store.bounds(user_id) == bounds

    async def bind_thread(self, thread_id: str, user_id: str | None, take: bool) -> Binding:
        """A bind at the present time."""
        return await self.desk.bind(user_id, thread_id, now=self.now, take=take)

    def took(self, append: Append, placement: Placement) -> None:
        """Take note of an event that the store has taken, and of what it let go."""
        thread = self.model[append.thread_id]
        thread.seq += 1
        assert (placement.seq, placement.generation, placement.duplicate) == (thread.seq, thread.generation, False)
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
            new = [event for event in self.desk.log(user_id) if event.offset > last]
            assert [event.offset for event in new] == list(range(last + 1, len(self.stored_at[user_id]) + 1))
            self.seen[user_id] = last + len(new)
            self.look(user_id, new)
        for thread_id, thread in self.model.items():
            assert self.desk.store.owner(thread_id) == thread.owner
            if thread.owner is not None:
                assert thread.told == thread.seq, "an owned thread's events are all in a log"

    @invariant()
    def histories_are_what_the_logs_show(self) -> None:
        """A thread's history is what its owner's log shows of it; the rest is gone, unless it is held."""
        for thread_id, thread in self.model.items():
            log = [] if thread.owner is None else self.desk.log(thread.owner)
            mine = [event for event in log if event.thread_id == thread_id]
            missing = set(range(1, thread.seq - len(thread.held) + 1))
            missing -= {seq for event in mine for seq in range(event.seq0 or event.seq, event.seq + 1)}
            shown, gone, more = self.desk.history(thread_id=thread_id)
            assert (shown, more) == ([event.seq for event in mine], False)
            assert {seq for first, last in gone for seq in range(first, last + 1)} == missing
            assert self.desk.store.history(thread_id, 0, 1, PLENTY).head_seq == thread.seq

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
