"""The promises that a store keeps within one life, example by example."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from actors.delivery.bounds import Bounds
from actors.delivery.frames import text_frame
from actors.errors import IdempotencyConflict, NotTheOwner
from actors.events.delivered import Event
from actors.events.event import DROPPED_NOTICE, encode
from actors.stages import Cause, Promise
from actors.stores.store import (
    Act,
    Answer,
    Append,
    Bind,
    Binding,
    Edge,
    Expiry,
    Placement,
    RunOver,
    StaleGeneration,
)
from tests.stores.desk import DEFAULTS, PLENTY, Desk, Hands, OpenDesk, Place, events_of, last_shed, opener, read


class OneLife:
    """The promises of every store, whether it outlives its process or not."""

    @pytest.fixture
    def place(self) -> Place:
        """The place of the store, from the subclass."""
        raise NotImplementedError

    @pytest.fixture
    def hands(self) -> Hands:
        """The clocks of the test."""
        return Hands()

    @pytest.fixture
    def desk(self, place: Place, hands: Hands) -> OpenDesk:
        """Open a store under some limits, for the length of a block."""
        return opener(place, hands)

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
            assert await d.numbers("alice") == [("a", 1, 1), ("b", 1, 2), ("b", 2, 3), ("a", 2, 4)]
            assert await d.numbers("bob") == [("c", 1, 1), ("c", 2, 2)]

    async def test_a_placement_names_its_log(self, desk: OpenDesk) -> None:
        """A placement names the epoch and the first offset of the log in which its event now is."""
        async with desk(retained_events=2) as d:
            await d.bind("alice")
            placements = [await d.append() for _ in range(3)]
            bounds = await d.bounds("alice")
            assert [(p.epoch, p.low) for p in placements] == [(bounds.epoch, low) for low in (1, 1, 2)]

    async def test_the_text_is_the_event(self, desk: OpenDesk) -> None:
        """A device receives the event as it was encoded, complete with its numbers."""
        async with desk() as d:
            await d.append()
            await d.bind("alice")
            body = encode("say", {"text": "hé"}, "t", "r1", "mine", 12.5, DEFAULTS)
            await d.take(Append("t", "mine", body))
            assert (await d.log("alice"))[-1] == Event(
                type="say", payload={"text": "hé"}, thread_id="t", run_id="r1", event_id="mine", timestamp=12.5,
                seq=2, offset=2,
            )  # fmt: skip

    async def test_an_event_of_nobody_is_held(self, desk: OpenDesk) -> None:
        """An event of a thread without an owner is numbered in its thread, and is in no log."""
        async with desk() as d:
            placement = await d.append()
            assert (placement.seq, placement.user_id, placement.offset, list(d.store.shed())) == (1, None, 0, [])
            assert await d.store.owner("t") is None

    async def test_a_bind_places_the_backlog(self, desk: OpenDesk) -> None:
        """A bind places what the thread held, in order, behind what its owner already had."""
        async with desk() as d:
            await d.bind("alice", "other")
            await d.append("other")
            for _ in range(3):
                await d.append()
            binding = await d.bind("alice")
            assert (binding.user_id, binding.first_offset, binding.notice) == ("alice", 2, False)
            assert (binding.epoch, binding.low) == ((await d.bounds("alice")).epoch, 1)
            await d.append()
            assert await d.numbers("alice") == [("other", 1, 1), ("t", 1, 2), ("t", 2, 3), ("t", 3, 4), ("t", 4, 5)]

    async def test_a_bind_places_nothing_else(self, desk: OpenDesk) -> None:
        """A bind leaves what other threads hold where it is, and is empty for a thread that holds nothing."""
        async with desk() as d:
            await d.append("held")
            binding = await d.bind("alice", "empty")
            assert (binding.user_id, binding.notice) == ("alice", False)
            assert await d.log("alice") == []
            await d.bind("alice", "held")
            assert await d.numbers("alice") == [("held", 1, 1)]

    async def test_a_bind_may_be_repeated(self, desk: OpenDesk) -> None:
        """Binding a thread to its owner again changes nothing, and answers the same: the first answer may be lost."""
        async with desk(unbound_events=2) as d:
            for _ in range(3):
                await d.append()
            first = await d.bind("alice")
            assert (first.user_id, first.first_offset, first.notice) == ("alice", 1, True)
            await d.append()
            before = await d.log("alice")
            assert [await d.bind("alice", take=take) for take in (False, True)] == [first, first]
            assert await d.log("alice") == before
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
            assert await d.store.owner("t") == "alice"
            placement = await d.append(generation=owned.generation)
            assert (placement.user_id, placement.seq) == ("alice", 1)

    async def test_a_new_thread_is_had_once(self, desk: OpenDesk) -> None:
        """Who may have new threads only gets one without an event, and it is that user's from then on."""
        async with desk() as d:
            assert (await d.bind("alice", only_new=True)).user_id == "alice"
            with pytest.raises(NotTheOwner):
                await d.bind("bob", only_new=True)
            await d.append()
            assert (await d.bind("alice", only_new=True)).user_id == "alice"

    async def test_what_has_an_event_is_not_new(self, desk: OpenDesk) -> None:
        """A thread that holds an event is not given to who may have new ones only, nor one whose owner was unbound."""
        async with desk() as d:
            await d.append()
            with pytest.raises(NotTheOwner):
                await d.bind("alice", only_new=True)
            assert await d.store.owner("t") is None
            assert (await d.bind("alice")).first_offset == 1
            await d.unbind()
            with pytest.raises(NotTheOwner):
                await d.bind("bob", only_new=True)

    async def test_a_thread_can_be_taken(self, desk: OpenDesk) -> None:
        """A thread that is taken goes on in its new owner's log; what was placed before stays with the former one."""
        async with desk() as d:
            await d.bind("alice")
            await d.append()
            binding = await d.bind("bob", take=True)
            assert binding.user_id == "bob"
            await d.append()
            assert await d.store.owner("t") == "bob"
            assert (await d.numbers("alice"), await d.numbers("bob")) == ([("t", 1, 1)], [("t", 2, 1)])

    async def test_an_unbound_thread_holds_again(self, desk: OpenDesk) -> None:
        """After an unbind events are held, and go to the next owner alone."""
        async with desk() as d:
            await d.bind("alice")
            await d.append()
            binding = await d.unbind()
            assert (binding.user_id, await d.store.owner("t")) == (None, None)
            held = await d.append()
            assert (held.seq, held.user_id) == (2, None)
            await d.bind("bob")
            assert (await d.numbers("alice"), await d.numbers("bob")) == ([("t", 1, 1)], [("t", 2, 1)])

    # --- generations --------------------------------------------------------------

    async def test_a_route_decides_nothing(self, desk: OpenDesk) -> None:
        """An event that comes along a thread's first route goes where it would without: to the owner of now, in the
        epoch of now, or into the hold; also after that owner's log was forgotten."""
        async with desk(retained_seconds=100.0, unbound_seconds=10.0) as d:
            await d.bind("alice")
            route = (await d.append(now=0.0)).route
            placed = []

            async def along() -> Placement:
                append = d.compose()
                append.route = route
                placed.append(await d.take(append))
                return placed[-1]

            assert ((await along()).user_id, placed[-1].offset) == ("alice", 2)
            await d.bind("bob", take=True)
            assert ((await along()).user_id, placed[-1].offset) == ("bob", 1)
            await d.unbind()
            assert (await along()).user_id is None
            await d.expire(50.0)
            await d.bind("bob")
            assert ((await along()).user_id, placed[-1].offset) == ("bob", 3)
            assert [event.type for event in await d.log("bob")] == ["say", "dropped", "say"]
            await d.expire(1_000.0)
            d.store.forget("bob")
            assert ((await along()).user_id, placed[-1].offset) == ("bob", 4)
            assert [event.offset for event in await d.log("bob")] == [4]
            await d.bind("alice", take=True)
            d.store.forget("alice")
            assert ((await along()).user_id, placed[-1].offset) == ("alice", 3)
            assert [one.seq for one in placed] == list(range(2, 8))
            assert placed[-1].epoch == (await d.bounds("alice")).epoch

    async def test_a_generation_never_comes_again(self, desk: OpenDesk) -> None:
        """Each change of owner makes another generation, and every answer names the present one."""
        async with desk() as d:
            generations = [(await d.append()).generation]
            for user_id in ("alice", "bob", None, "alice"):
                generations.append((await d.bind(user_id, take=True)).generation)
                assert (await d.append()).generation == generations[-1]
            assert len(set(generations)) == 5

    @pytest.mark.parametrize("owner", ["bob", None])
    async def test_an_older_generation_is_refused(self, desk: OpenDesk, owner: str | None) -> None:
        """An event accepted for one owner is never placed or held for the next, and takes no number."""
        async with desk() as d:
            old = (await d.bind("alice")).generation
            new = (await d.bind(owner, take=True)).generation
            with pytest.raises(StaleGeneration) as refused:
                await d.append(generation=old)
            assert refused.value.generation == new
            assert await d.log("alice") == []
            assert (await d.append(generation=new)).seq == 1
            await d.bind("bob", take=True)
            assert await d.numbers("bob") == [("t", 1, 1)]

    async def test_a_refused_event_is_not_remembered(self, desk: OpenDesk) -> None:
        """An event that was refused for its generation is a new one when it is given again."""
        async with desk() as d:
            old = (await d.bind("alice")).generation
            await d.bind("bob", take=True)
            with pytest.raises(StaleGeneration):
                await d.append(event_id="once", generation=old, repeatable=True)
            placement = await d.say("once")
            assert (placement.again, placement.user_id, placement.seq) == ("", "bob", 1)

    # --- idempotency ----------------------------------------------------------------

    async def test_a_repetition_gets_the_first_placement(self, desk: OpenDesk) -> None:
        """An event that is given again gets its first placement, and is not placed again."""
        async with desk() as d:
            await d.bind("alice")
            first = await d.say("once")
            await d.append()
            again = await d.say("once", now=1.0)
            assert again.again == "given"
            assert not first.again
            assert (again.seq, again.user_id, again.epoch, again.offset) == (1, "alice", first.epoch, 1)
            assert (await d.append()).seq == 3
            assert await d.numbers("alice") == [("t", 1, 1), ("t", 2, 2), ("t", 3, 3)]

    async def test_a_repetition_of_a_held_event(self, desk: OpenDesk) -> None:
        """An event that is given again is held once, and after the bind the answer says where it went."""
        async with desk() as d:
            await d.append()
            await d.say("once")
            held = await d.say("once")
            assert (held.again, held.seq, held.user_id, held.offset) == ("given", 2, None, 0)
            await d.bind("alice")
            bound = await d.say("once")
            assert (bound.again, bound.seq, bound.user_id, bound.offset) == ("given", 2, "alice", 2)
            assert bound.epoch == (await d.bounds("alice")).epoch
            assert await d.numbers("alice") == [("t", 1, 1), ("t", 2, 2)]

    async def test_a_repetition_after_a_change_of_owner(self, desk: OpenDesk) -> None:
        """An event has one placement for ever: given again after its thread changed hands, it stays where it was."""
        async with desk() as d:
            old = (await d.bind("alice")).generation
            await d.say("once")
            await d.bind("bob", take=True)
            for generation in (None, old):
                again = await d.append(event_id="once", generation=generation, repeatable=True)
                assert (again.again, again.user_id, again.offset) == ("given", "alice", 1)
            assert await d.log("bob") == []

    async def test_a_repetition_of_a_shed_event(self, desk: OpenDesk) -> None:
        """An event that a hold let go is not taken a second time under its id."""
        async with desk(unbound_events=1) as d:
            await d.say("once")
            await d.append()
            again = await d.say("once")
            assert (again.again, again.seq, again.user_id) == ("given", 1, None)
            await d.bind("alice")
            assert [event.event_id for event in await d.log("alice") if event.type != DROPPED_NOTICE] == ["e01-0001"]

    async def test_another_body_is_a_conflict(self, desk: OpenDesk) -> None:
        """Another event under a given id is refused, takes no number, and leaves the first one be."""
        async with desk() as d:
            await d.bind("alice")
            await d.say("once", text="yes")
            with pytest.raises(IdempotencyConflict):
                await d.say("once", text="no")
            assert (await d.append()).seq == 2
            assert (await d.say("once", text="yes")).again == "given"
            assert len(await d.log("alice")) == 2

    async def test_ids_are_a_threads_own(self, desk: OpenDesk) -> None:
        """The same id in another thread names another event."""
        async with desk() as d:
            await d.say("once", thread_id="a", text="yes")
            placement = await d.say("once", thread_id="b", text="no")
            assert (placement.again, placement.seq) == ("", 1)

    async def test_without_a_fingerprint_nothing_is_compared(self, desk: OpenDesk) -> None:
        """An id that cannot come twice is not remembered."""
        async with desk() as d:
            placements = [await d.append(event_id="same") for _ in range(2)]
            assert [(p.seq, p.again) for p in placements] == [(1, ""), (2, "")]

    @pytest.mark.parametrize("swept", [True, False])
    async def test_an_id_is_forgotten_after_its_time(self, desk: OpenDesk, swept: bool) -> None:
        """A given id is remembered for ``idempotency_seconds``, whether or not anybody sweeps, and no longer."""
        async with desk(idempotency_seconds=600.0) as d:
            await d.bind("alice")
            await d.say("once")
            if swept:
                await d.expire(600.0)
            assert (await d.say("once", now=600.0)).again == "given"
            if swept:
                await d.expire(600.5)
            later = await d.say("once", now=600.5, text="another")
            assert (later.again, later.seq) == ("", 2)
            assert (await d.say("once", now=601.0, text="another")).seq == 2

    async def test_ids_remembered_are_bounded(self, desk: OpenDesk) -> None:
        """Of given ids the newest ``idempotency_ids`` are remembered."""
        async with desk(idempotency_ids=2) as d:
            for event_id in ("x", "y", "z"):
                await d.say(event_id)
            answers = [(await d.say(event_id)).again for event_id in ("y", "z", "x")]
            assert answers == ["given", "given", ""]

    # --- retention ------------------------------------------------------------------

    async def test_retention_by_count(self, desk: OpenDesk) -> None:
        """A log retains its newest ``retained_events``."""
        async with desk(retained_events=3) as d:
            await d.bind("alice")
            for _ in range(200):
                await d.append()
            assert await d.numbers("alice") == [("t", seq, seq) for seq in (198, 199, 200)]

    async def test_retention_by_bytes(self, desk: OpenDesk) -> None:
        """A log retains the newest events that fit into ``retained_bytes``, and the newest one whatever its size."""
        size = len(text_frame(Desk(None, Hands()).compose().body)) + len(',"seq":1,"offset":1}')  # type: ignore[arg-type]
        async with desk(retained_bytes=3 * size + size // 2) as d:
            await d.bind("alice")
            for _ in range(5):
                await d.append()
            assert await d.numbers("alice") == [("t", seq, seq) for seq in (3, 4, 5)]
            await d.append(text="x" * 10 * size)
            assert await d.numbers("alice") == [("t", 6, 6)]
            await d.append()
            assert await d.numbers("alice") == [("t", 7, 7)]

    async def test_retention_by_age(self, desk: OpenDesk) -> None:
        """A log retains an event for ``retained_seconds``; a sweep says where the log begins now."""
        async with desk(retained_seconds=300.0) as d:
            await d.bind("alice")
            await d.bind("bob", "u")
            for now, thread_id in ((0.0, "t"), (10.0, "t"), (15.0, "u"), (20.0, "t")):
                await d.append(thread_id, now=now)
            await d.expire(300.0)
            assert (await d.bounds("alice")).low == 1
            lows = await d.expire(310.5)
            assert lows["alice"] == (await d.bounds("alice")).low == 3
            assert lows.get("bob", 1) == (await d.bounds("bob")).low == 1
            assert await d.expire(1_000.0) == {"alice": 4, "bob": 2}
            assert await d.expire(2_000.0) == {}
            assert ((await d.bounds("alice")).low, (await d.bounds("alice")).head) == (4, 3)
            assert (await d.append(now=2_000.0)).offset == 4
            assert await d.expire(2_300.5) == {"alice": 5}

    async def test_a_backlog_is_as_old_as_its_bind(self, desk: OpenDesk) -> None:
        """A log's age counts from the bind: what was held until then is retained as long as anything else."""
        async with desk(retained_seconds=10.0) as d:
            await d.append(now=0.0)
            await d.bind("alice", now=50.0)
            await d.expire(60.0)
            assert await d.numbers("alice") == [("t", 1, 1)]
            await d.expire(60.5)
            assert await d.log("alice") == []

    async def test_a_backlog_larger_than_the_log(self, desk: OpenDesk) -> None:
        """A bind of more than a log retains says which of it is there, and its offsets count all of it."""
        async with desk(retained_events=2) as d:
            for _ in range(5):
                await d.append()
            binding = await d.bind("alice")
            assert (binding.first_offset, binding.low) == (1, 4)
            assert await d.numbers("alice") == [("t", 4, 4), ("t", 5, 5)]

    # --- what a hold lets go ----------------------------------------------------------

    async def test_a_hold_is_bounded_by_count(self, desk: OpenDesk) -> None:
        """A hold keeps the newest ``unbound_events``; what had to go is said, once."""
        async with desk(unbound_events=2) as d:
            assert [await d.append_and_shed() for _ in range(4)] == [
                {}, {}, {("t", Cause.UNBOUND_OVERFLOW): 1}, {("t", Cause.UNBOUND_OVERFLOW): 2},
            ]  # fmt: skip
            assert list(d.store.shed()) == []

    async def test_what_was_shed_waits_to_be_asked_for(self, desk: OpenDesk) -> None:
        """Sheds are reported in order at the next call, however many answers came in between."""
        async with desk(unbound_events=2, unbound_seconds=60.0) as d:
            for now in (0.0, 1.0, 2.0, 3.0):
                await d.append(now=now)
            await d.expire(62.5)
            assert list(last_shed(d.store.shed()).items()) == [
                (("t", Cause.UNBOUND_OVERFLOW), 2), (("t", Cause.UNBOUND_EXPIRED), 3),
            ]  # fmt: skip
            assert list(d.store.shed()) == []

    async def test_a_hold_is_bounded_by_bytes(self, desk: OpenDesk) -> None:
        """A hold keeps the newest events whose bodies fit into ``unbound_bytes``."""
        size = len(Desk(None, Hands()).compose().body)  # type: ignore[arg-type] # only composes
        async with desk(unbound_bytes=3 * size) as d:
            for _ in range(3):
                assert await d.append_and_shed() == {}
            assert await d.append_and_shed() == {("t", Cause.UNBOUND_OVERFLOW): 1}
            assert await d.append_and_shed(text="x") == {("t", Cause.UNBOUND_OVERFLOW): 3}
            await d.bind("alice")
            assert [(e.seq0, e.seq) for e in await d.log("alice")] == [(1, 3), (None, 4), (None, 5)]

    async def test_a_hold_is_bounded_by_age(self, desk: OpenDesk) -> None:
        """A hold keeps an event for ``unbound_seconds``; a sweep says what had to go."""
        async with desk(unbound_seconds=60.0) as d:
            for now in (0.0, 10.0, 20.0):
                await d.append(now=now)
            assert await d.expire_and_shed(60.0) == {}
            assert await d.expire_and_shed(70.5) == {("t", Cause.UNBOUND_EXPIRED): 2}
            await d.bind("alice", now=71.0)
            assert [(e.seq0, e.seq) for e in await d.log("alice")] == [(1, 2), (None, 3)]
            assert await d.expire_and_shed(200.0) == {}

    async def test_a_sweep_is_done_in_steps(self, desk: OpenDesk) -> None:
        """Of much that became too old together some goes at once, and the answer says that there is more."""
        async with desk(unbound_seconds=60.0, retained_seconds=60.0, sweep_events=4) as d:
            await d.bind("alice", "owned")
            for _ in range(10):
                await d.append("held")
                await d.append("owned")
            d.hands.now = 61.0
            steps: list[tuple[Expiry, int]] = []
            while not steps or steps[-1][0].more:
                expiry = d.store.expire()
                await d.commit()
                steps.append((expiry, last_shed(d.store.shed()).get(("held", Cause.UNBOUND_EXPIRED), 0)))
            assert [shed for _, shed in steps] == [4, 8, 10]
            assert [low for expiry, _ in steps for low in expiry.lows] == [("alice", 11)]

    async def test_all_holds_are_bounded_by_bytes(self, desk: OpenDesk) -> None:
        """Over all threads ``unbound_total_bytes`` are held; the oldest event of all goes first."""
        size = len(Desk(None, Hands()).compose().body)  # type: ignore[arg-type] # only composes
        async with desk(unbound_total_bytes=3 * size) as d:
            for now, thread_id in enumerate("aba"):
                assert await d.append_and_shed(thread_id, now=now) == {}
            assert await d.append_and_shed("c", now=3) == {("a", Cause.UNBOUND_OVERFLOW): 1}
            assert await d.append_and_shed("c", now=4) == {("b", Cause.UNBOUND_OVERFLOW): 1}
            assert await d.append_and_shed("c", now=5) == {("a", Cause.UNBOUND_OVERFLOW): 2}

    async def test_what_was_bound_takes_no_room(self, desk: OpenDesk) -> None:
        """The bytes of a backlog that was bound, or expired, are free for other threads."""
        size = len(Desk(None, Hands()).compose().body)  # type: ignore[arg-type] # only composes
        async with desk(unbound_total_bytes=2 * size) as d:
            await d.append("a")
            await d.append("a")
            await d.bind("alice", "a")
            for start in (100.0, 200.0):
                for _ in range(2):
                    assert await d.append_and_shed("b", now=start) == {}
                await d.expire_and_shed(start + 61.0)
            for _ in range(2):
                assert await d.append_and_shed("c", now=300.0) == {}

    async def test_all_holds_are_bounded_by_threads(self, desk: OpenDesk) -> None:
        """``unbound_total_threads`` threads hold events; one more costs the oldest of them all that it holds."""
        async with desk(unbound_total_threads=2) as d:
            for now, thread_id in enumerate("aab"):
                assert await d.append_and_shed(thread_id, now=now) == {}
            assert await d.append_and_shed("c", now=3) == {("a", Cause.UNBOUND_OVERFLOW): 2}
            assert await d.append_and_shed("b", now=4) == {}
            await d.bind("alice", "b")
            assert await d.numbers("alice") == [("b", 1, 1), ("b", 2, 2)]

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
            notice, *rest = await d.log("alice")
            assert (notice.type, notice.thread_id, notice.seq0, notice.seq) == (DROPPED_NOTICE, "t", 1, 3)
            assert notice.payload == {"count": 3, "causes": {"unbound_overflow": 3}}
            assert [(e.type, e.seq, e.offset) for e in rest] == [("say", 4, 2), ("say", 5, 3)]
            assert (await d.append()).offset == 4

    async def test_a_notice_counts_each_cause(self, desk: OpenDesk) -> None:
        """A notice says how many events went for each cause, also when nothing is left."""
        async with desk(unbound_events=2, unbound_seconds=60.0) as d:
            for _ in range(3):
                await d.append()
            await d.expire(61.0)
            binding = await d.bind("alice", now=62.0)
            (notice,) = await d.log("alice")
            assert (binding.first_offset, binding.notice) == (1, True)
            assert (notice.seq0, notice.seq, notice.offset) == (1, 3, 1)
            assert notice.payload == {"count": 3, "causes": {"unbound_overflow": 1, "unbound_expired": 2}}

    async def test_a_loss_is_told_once(self, desk: OpenDesk) -> None:
        """Each owner is told of what was lost since the thread was last owned, and of nothing twice."""
        async with desk(unbound_events=1) as d:
            for user_id in ("alice", "bob"):
                await d.append()
                await d.append()
                await d.bind(user_id)
                await d.unbind()
            assert not (await d.bind("carol")).notice
            assert [(e.seq0, e.seq) for e in await d.log("alice")] == [(1, 1), (None, 2)]
            assert [(e.seq0, e.seq) for e in await d.log("bob")] == [(3, 3), (None, 4)]
            assert await d.log("carol") == []

    async def test_a_vacant_thread_keeps_its_numbers(self, desk: OpenDesk) -> None:
        """A thread whose events all expired goes on counting, and a late owner is told what was lost."""
        async with desk(unbound_seconds=60.0) as d:
            await d.append()
            await d.append()
            await d.expire(61.0)
            assert (await d.append(now=62.0)).seq == 3
            await d.bind("alice", now=63.0)
            assert [(e.seq0, e.seq) for e in await d.log("alice")] == [(1, 2), (None, 3)]

    async def test_vacant_threads_are_bounded(self, desk: OpenDesk) -> None:
        """Of threads that never had an owner and hold nothing, the newest ``vacant_threads`` are remembered."""
        async with desk(vacant_threads=2, unbound_seconds=60.0) as d:
            for now, thread_id in enumerate("abc"):
                await d.append(thread_id, now=now)
            await d.expire(100.0)
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
            await d.expire(61.0)
            placement = await d.append("kept", now=62.0)
            assert (placement.seq, placement.generation) == (3, generation)

    # --- reading ------------------------------------------------------------------------

    async def test_a_range_ends_where_its_bytes_do(self, desk: OpenDesk) -> None:
        """A read gives as many events as the bytes allow, at least one if there is one."""
        async with desk() as d:
            await d.bind("alice")
            for _ in range(5):
                await d.append()
            size = len((await d.read("alice", 5, PLENTY)).frames)
            for most_bytes, last in ((0, 2), (size, 2), (2 * size - 1, 2), (2 * size, 3), (4 * size, 5), (PLENTY, 5)):
                chunk = await d.read("alice", 2, most_bytes)
                assert (chunk.first, chunk.last) == (2, last)
                assert [event.offset for event in events_of(chunk)] == list(range(2, last + 1))

    async def test_a_range_begins_in_the_log(self, desk: OpenDesk) -> None:
        """A read from below the log begins at its first event; one from beyond its head is empty."""
        async with desk(retained_events=2) as d:
            await d.bind("alice")
            for _ in range(5):
                await d.append()
            below, beyond = await d.read("alice", 1, PLENTY), await d.read("alice", 6, PLENTY)
            assert (below.first, below.last) == (4, 5)
            assert (beyond.first, beyond.last, beyond.frames) == (6, 5, b"")

    async def test_bounds_are_read_together(self, desk: OpenDesk) -> None:
        """A log has one epoch, which is there before its first event; an empty log begins after its head."""
        async with desk(retained_events=2) as d:
            empty = await d.bounds("alice")
            assert (empty.low, empty.head) == (1, 0)
            await d.bind("alice")
            for _ in range(3):
                await d.append()
            assert await d.bounds("alice") == Bounds(empty.epoch, 2, 3)
            assert (await d.bounds("bob")).epoch != empty.epoch

    # --- the history of a thread ----------------------------------------------------------

    async def test_history_is_what_the_log_shows(self, desk: OpenDesk) -> None:
        """A thread's history is its events as its owner's devices received them, byte by byte, and no other's."""
        async with desk() as d:
            for number in range(3):
                for thread_id in ("t", "t1", '"thread_id":"t"'):
                    await d.bind("alice", thread_id)
                    await d.append(thread_id, text=f'"thread_id":"t",{number}')
            texts = [(await d.read("alice", offset, 0)).frames for offset in (1, 4, 7)]
            found = await d.store.history("t", None, 0, 10, PLENTY)
            assert [text_frame(text) for text in found.events] == texts
            assert (found.gone, found.head_seq, found.more) == ((), 3, False)

    async def test_history_is_given_in_pages(self, desk: OpenDesk) -> None:
        """A history begins behind a number, ends with the events or bytes allowed, and says whether there is more."""
        async with desk() as d:
            await d.bind("alice")
            for _ in range(5):
                await d.append()
            size = len((await d.store.history("t", None, 0, 1, PLENTY)).events[0])
            assert await d.history(after_seq=0, most_events=2) == ([1, 2], (), True)
            assert await d.history(after_seq=2, most_events=3) == ([3, 4, 5], (), False)
            assert await d.history(after_seq=5) == await d.history(after_seq=2**53 - 1) == ([], (), False)
            assert await d.history(most_bytes=2 * size) == ([1, 2], (), True)
            assert await d.history(most_bytes=0) == ([1], (), True)

    async def test_history_says_what_is_gone(self, desk: OpenDesk) -> None:
        """Events that have left the log are gone, within the range of the request."""
        async with desk(retained_events=2) as d:
            await d.bind("alice")
            for _ in range(5):
                await d.append()
            assert await d.history() == ([4, 5], ((1, 3),), False)
            assert await d.history(after_seq=2, most_events=1) == ([4], ((3, 3),), True)
            await d.expire(300.5)
            assert await d.history() == ([], ((1, 5),), False)

    async def test_history_belongs_to_the_owner(self, desk: OpenDesk) -> None:
        """Events placed for a former owner are gone for this one, and there again when that user is the owner again."""
        async with desk() as d:
            for user_id in ("alice", "bob"):
                await d.bind(user_id, take=True)
                await d.append()
            assert await d.history() == ([2], ((1, 1),), False)
            await d.bind("alice", take=True)
            assert await d.history() == ([1], ((2, 2),), False)
            await d.unbind()
            assert await d.history() == ([], ((1, 2),), False)

    async def test_history_of_what_is_held(self, desk: OpenDesk) -> None:
        """Held events are neither shown nor gone; shed ones are gone, and then told by a notice."""
        async with desk(unbound_events=2) as d:
            for _ in range(3):
                await d.append()
            assert await d.history() == ([], ((1, 1),), False)
            assert (await d.store.history("t", None, 0, 10, PLENTY)).head_seq == 3
            await d.bind("alice")
            assert await d.history() == ([1, 2, 3], (), False)

    async def test_history_of_nothing(self, desk: OpenDesk) -> None:
        """A thread that nobody has heard of has no history, and none for having been asked about."""
        async with desk() as d:
            found = await d.store.history("t", None, 0, 10, PLENTY)
            assert (found.events, found.gone, found.head_seq, found.more) == ((), (), 0, False)
            assert (await d.append()).seq == 1

    async def test_history_is_for_the_owner(self, desk: OpenDesk) -> None:
        """A history that is asked for a user is refused where the thread is not this user's."""
        async with desk() as d:
            await d.bind("alice")
            await d.append()
            assert (await d.store.history("t", "alice", 0, 1, PLENTY)).head_seq == 1
            for thread_id in ("t", "unknown"):
                with pytest.raises(NotTheOwner):
                    await d.store.history(thread_id, "bob", 0, 1, PLENTY)

    # --- logs that are let go of ------------------------------------------------------------

    async def test_a_log_goes_on_when_it_was_forgotten(self, desk: OpenDesk) -> None:
        """A log that was forgotten goes on in its epoch, after its head, so that a cursor is worth what it was. Its
        threads stay their owner's, and go on counting."""
        async with desk() as d:
            await d.bind("alice")
            await d.append()
            epoch = (await d.bounds("alice")).epoch
            assert d.store.forget("alice") == (d.store.promise > Promise.NOTHING)
            assert await d.numbers("alice") == [("t", 1, 1)]
            await d.expire(300.5)
            assert d.store.forget("alice")
            assert d.store.forget("alice")
            assert await d.history() == ([], ((1, 1),), False)
            assert await d.store.owner("t") == "alice"
            assert await d.bounds("alice") == Bounds(epoch, 2, 1)
            assert d.store.forget("alice")
            placement = await d.append(now=301.0)
            assert (placement.seq, placement.user_id, placement.offset) == (2, "alice", 2)
            assert placement.epoch == epoch
            assert await d.numbers("alice") == [("t", 2, 2)]
            assert await d.expire(700.0) == {"alice": 3}

    async def test_a_log_that_never_had_anything_is_forgotten(self, desk: OpenDesk) -> None:
        """A device that has seen nothing of a log keeps its place before the first event, too."""
        async with desk() as d:
            bounds = await d.bounds("alice")
            assert d.store.forget("alice")
            assert await d.bounds("alice") == bounds

    async def test_a_forgotten_log_takes_a_backlog(self, desk: OpenDesk) -> None:
        """The events that a bind places in a forgotten log follow its head."""
        async with desk() as d:
            await d.bind("alice")
            await d.append()
            await d.expire(300.5)
            assert d.store.forget("alice")
            await d.append("other", now=301.0)
            binding = await d.bind("alice", "other", now=301.0)
            assert (binding.first_offset, binding.low) == (2, 2)
            assert await d.numbers("alice") == [("other", 1, 2)]

    async def test_a_first_life_begins_with_nothing(self, desk: OpenDesk) -> None:
        """Of a store that is new no log, no hold and no run is restored, and it has a secret."""
        async with desk() as d:
            found = d.store.restored("alice"), list(d.store.restored_holds()), list(d.store.due()), d.store.trouble
            assert found == (None, [], [], None)
            assert len(d.store.secret) == 32

    # --- the expected owner, and the runs ------------------------------------------------------

    @pytest.mark.parametrize("owner", ["bob", None])
    async def test_an_event_for_another_user_is_refused(self, desk: OpenDesk, owner: str | None) -> None:
        """An event that expects an owner is taken while the thread is that user's, and takes no number otherwise."""
        async with desk() as d:
            await d.bind("alice")
            assert (await d.append(user_id="alice")).seq == 1
            await d.bind(owner, take=True)
            with pytest.raises(NotTheOwner):
                await d.append(user_id="alice")
            assert (await d.append()).seq == 2

    async def test_a_run_takes_events_while_it_is_open(self, desk: OpenDesk) -> None:
        """Events of a run are taken from its first one to its last, and neither before nor after."""
        async with desk() as d:
            await d.bind("alice")
            await d.append()
            for edge in ("", "closes"):
                with pytest.raises(RunOver):
                    await d.run_event("r", edge)
            edges: tuple[Edge, ...] = ("opens", "", "", "closes")
            assert [(await d.run_event("r", edge)).seq for edge in edges] == [2, 3, 4, 5]
            for edge in ("", "closes"):
                with pytest.raises(RunOver):
                    await d.run_event("r", edge)  # type: ignore[arg-type] # one of them
            assert (await d.append()).seq == 6

    async def test_a_run_waits_after_its_message(self, desk: OpenDesk) -> None:
        """A message makes its run due: no event of it is taken before its first one."""
        async with desk() as d:
            await d.bind("alice")
            message = d.compose(user_id="alice", run_id="r", edge="due")
            assert (await d.take(message)).seq == 1
            with pytest.raises(RunOver):
                await d.run_event("r")
            assert (await d.run_event("r", "opens")).seq == 2
            assert (await d.run_event("r", "closes")).seq == 3
            assert list(d.store.due()) == [], "it is no run of an earlier life"

    async def test_a_run_may_be_one_event(self, desk: OpenDesk) -> None:
        """A run whose only event was taken is over."""
        async with desk() as d:
            await d.run_event("r", "whole")
            with pytest.raises(RunOver):
                await d.run_event("r")

    async def test_a_run_belongs_to_its_thread(self, desk: OpenDesk) -> None:
        """An event of a run in another thread is refused, and the run goes on."""
        async with desk() as d:
            await d.run_event("r", "opens")
            with pytest.raises(RunOver):
                await d.run_event("r", thread_id="another")
            assert (await d.append("another")).seq == 1
            assert (await d.run_event("r", "closes")).seq == 2

    async def test_a_repetition_outlasts_its_run(self, desk: OpenDesk) -> None:
        """An event of a run that is given again gets its first placement, though the run is over by then."""
        async with desk() as d:
            await d.run_event("r", "opens")
            step = d.compose(event_id="once", run_id="r", repeatable=True)
            await d.take(step)
            await d.run_event("r", "closes")
            again = await d.take(step)
            assert (again.again, again.seq) == ("given", 2)

    async def test_a_conflict_makes_no_run(self, desk: OpenDesk) -> None:
        """A message that was refused makes no run due, nor does a first event that was refused open one."""
        async with desk() as d:
            await d.bind("alice")
            for edge in ("due", "opens"):
                with pytest.raises(NotTheOwner):
                    await d.take(d.compose(user_id="bob", run_id="r", edge=edge))
            with pytest.raises(RunOver):
                await d.run_event("r")

    # --- ids and ages ---------------------------------------------------------------------------

    async def test_a_flood_does_not_wash_given_ids_away(self, desk: OpenDesk) -> None:
        """A given id is remembered however many events without a fingerprint come meanwhile."""
        async with desk(idempotency_ids=2) as d:
            await d.say("once")
            for _ in range(50):
                await d.append()
            assert (await d.say("once")).again == "given"

    async def test_a_clock_that_is_set_back_brings_nothing_back(self, desk: OpenDesk) -> None:
        """Events, holds and ids that were dropped for their age stay dropped, and those that came since then age on."""
        async with desk(retained_seconds=100.0, unbound_seconds=100.0, idempotency_seconds=100.0) as d:
            await d.bind("alice")
            await d.say("once")
            await d.append("held")
            await d.expire(100.5)
            d.hands.skew = -3_600.0
            assert await d.log("alice") == []
            assert (await d.say("once", text="another")).seq == 2
            assert (await d.append("held")).seq == 2
            assert await d.expire(200.0) == {}
            assert await d.numbers("alice") == [("t", 2, 2)]
            assert await d.expire(201.0) == {"alice": 3}
            assert last_shed(d.store.shed()) == {("held", Cause.UNBOUND_EXPIRED): 2}
            assert (await d.say("once")).seq == 3

    async def test_a_clock_that_is_set_forward(self, desk: OpenDesk) -> None:
        """A jump makes nothing older than by so much; what comes after it is as old as it is, also once the clock is
        right again."""
        async with desk(retained_seconds=100.0) as d:
            await d.bind("alice")
            await d.append()
            d.hands.skew = 60.0
            assert await d.expire(39.5) == {}
            assert await d.expire(40.5) == {"alice": 2}
            await d.append()
            d.hands.skew = 0.0
            assert await d.expire(40.5) == {}
            assert await d.expire(140.0) == {}
            assert await d.expire(141.0) == {"alice": 3}

    # --- answers --------------------------------------------------------------------------------

    async def test_answers_come_in_order(self, desk: OpenDesk) -> None:
        """Acts that are submitted together are answered one by one, a refusal in its own place."""
        async with desk() as d:
            old = (await d.append()).generation
            await d.bind("alice")
            await d.say("once", text="yes")
            acts: list[Act] = [
                d.compose(),
                d.compose(event_id="once", text="no", repeatable=True),
                Bind("t", "bob", take=False),
                d.compose(generation=old),
                d.compose(event_id="once", text="yes", repeatable=True),
                Bind("t", None, take=True),
                d.compose(),
                d.compose("another"),
            ]
            taken = [d.submit(act) for act in acts]
            await d.store.settled()
            answers: list[Answer] = [answer for one in taken for answer in one.answers]
            assert [type(answer) for answer in answers] == [
                Placement, IdempotencyConflict, NotTheOwner, StaleGeneration, Placement, Binding, Placement, Placement,
            ]  # fmt: skip
            assert [(p.seq, p.again, p.offset) for p in answers if isinstance(p, Placement)] == [
                (3, "", 3), (2, "given", 2), (4, "", 0), (1, "", 0),
            ]  # fmt: skip

    async def test_nothing_is_visible_before_it_is_answered(self, desk: OpenDesk) -> None:
        """A log shows an event from the step on in which its placement is answered, and not before; nor does a
        history."""
        async with desk() as d:
            await d.bind("alice")
            await d.append("held")
            await d.append("held")
            view = await d.store.follow("alice")
            heads: list[tuple[int, int]] = []
            """At each answer, the head, and the last offset that is answered."""

            def seen(answer: Answer) -> None:
                assert isinstance(answer, Placement | Binding)
                last = answer.offset if isinstance(answer, Placement) else answer.first_offset + 1
                heads.append((view.bounds.head, last))

            acts: list[Act] = [d.compose(), Bind("held", "alice", take=False), d.compose(), d.compose(), d.compose()]
            for seconds in d.until_answered([d.submit(act, seen) for act in acts]):
                answered = max((last for _, last in heads), default=0)
                assert view.bounds.head == answered
                history = await d.store.history("t", None, 0, 10, PLENTY)
                shown = events_of(await read(view, 1))
                assert [event.offset for event in shown] == list(
                    range(1, max((last for _, last in heads), default=0) + 1)
                )
                assert len(history.events) <= sum(event.thread_id == "t" for event in shown)
                await trio.sleep(seconds)
            assert all(head >= last for head, last in heads)
            assert [last for _, last in heads] == [1, 3, 4, 5, 6]

    async def test_what_was_not_taken_leaves_nothing(self, desk: OpenDesk) -> None:
        """Where there is no room, nothing is taken; once there is, the store goes on as if it had not been asked."""
        async with desk(retained_events=2) as d:
            await d.bind("alice")
            text, full = "x" * (1 << 20), False
            for _ in range(64):
                try:
                    d.submit(d.compose(text=text))
                except trio.WouldBlock:
                    full = True
                    break
            count = len(d.taken)
            await d.store.room()
            placement = await d.append()
            assert placement.seq == count == placement.offset, "the bind was one, and an event that was refused none"
            assert full or count == 65

    async def test_waiting_is_a_checkpoint(self, desk: OpenDesk) -> None:
        """All that may wait is a checkpoint, also where there is nothing to wait for."""
        async with desk() as d:
            await d.bind("alice")
            await d.append()
            view = await d.store.follow("alice")
            waits: list[Callable[[], Any]] = [
                d.store.room,
                d.store.settled,
                lambda: d.store.owner("t"),
                lambda: d.store.history("t", None, 0, 1, PLENTY),
                lambda: d.store.follow("alice"),
                lambda: view.fill(1),
            ]
            for wait in waits:
                with trio.testing.assert_checkpoints():
                    await wait()
            view.close()
            view.close()

    async def test_an_answer_says_what_it_promises(self, desk: OpenDesk) -> None:
        """An answer promises no more than its store does, and without trouble as much."""
        async with desk() as d:
            assert (await d.append()).promise == (await d.bind("alice")).promise == d.store.promise

    async def test_acts_are_answered_when_the_store_is_closed(self, desk: OpenDesk) -> None:
        """What was submitted before the end is stored, and answered: each act once."""
        async with desk() as d:
            for _ in range(5):
                d.submit(d.compose())
            taken = d.taken
        assert [one.result().seq for one in taken if isinstance(one.result(), Placement)] == [1, 2, 3, 4, 5]  # type: ignore[union-attr]
