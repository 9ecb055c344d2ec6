"""The promises that a store keeps from one life to the next, example by example."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from actors.delivery.bounds import Bounds
from actors.errors import IdempotencyConflict, StoreError
from actors.events.delivered import Event
from actors.events.event import Lifecycle
from actors.limits import Limits
from actors.stages import Cause, Promise
from actors.stores.store import Answer, DueRun, Placement, RestoredHold, RunOver, Shed
from tests.stores.desk import Fault, Hands, OpenDesk, Place, shares

ENDS = pytest.mark.parametrize("crashed", [False, True], ids=["closed", "crashed"])
"""The two ways for a life to end."""

FAULTS: tuple[Fault, ...] = ("refused", "unwritten", "unanswered")


class ManyLives:
    """The promises of a store that outlives its process; of another one these tests are skipped."""

    @pytest.fixture
    def lives(self, place: Place, desk: OpenDesk) -> OpenDesk:
        """Open a store again and again at one place, each time for the length of a block."""
        if place.store().promise is Promise.NOTHING:
            pytest.skip("this store does not outlive its process, and says so")
        return desk

    @pytest.fixture
    def losing_lives(self, place: Place, lives: OpenDesk) -> OpenDesk:
        """Open a store again and again at a place that can lose what was committed there."""
        if not place.loses:
            pytest.skip("this place cannot lose commits")
        return lives

    # --- what is there again ------------------------------------------------------------

    @ENDS
    async def test_everything_goes_on(self, lives: OpenDesk, place: Place, crashed: bool) -> None:
        """Logs, numbers, owners and generations are in the next life what they were, and go on from there."""
        async with lives() as d:
            for thread_id, user_id in (("a", "alice"), ("b", "bob"), ("c", "alice")):
                await d.bind(user_id, thread_id)
            for thread_id in "abcab":
                await d.append(thread_id, text=thread_id)
            kept = [(await d.read(user_id, 1)).frames for user_id in ("alice", "bob")]
            generation = (await d.append("c")).generation
            if crashed:
                place.crash()
        async with lives() as d:
            assert [await d.store.owner(thread_id) for thread_id in "abcx"] == ["alice", "bob", "alice", None]
            assert d.store.known_owner("a") == "alice"
            alice, bob = [(await d.read(user_id, 1)).frames for user_id in ("alice", "bob")]
            assert (alice[: len(kept[0])], bob) == (kept[0], kept[1])
            placement = await d.append("c", generation=generation)
            assert (placement.seq, placement.user_id, placement.offset) == (3, "alice", 5)
            assert (await d.append("b")).offset == 3
            assert (await d.bounds("alice")).epoch != (await d.bounds("bob")).epoch
            assert await d.history(thread_id="a") == ([1, 2], (), False)
            assert (await d.bind("bob", "c", take=True)).generation != generation

    async def test_a_log_that_was_closed_goes_on_in_its_epoch(self, lives: OpenDesk) -> None:
        """After an orderly end each log has the epoch that it had, that of an empty one included."""
        async with lives() as d:
            await d.bind("alice")
            epoch = (await d.append()).epoch
            await d.bind("carol", "c")
            await d.append("c")
            await d.expire(300.5)
            before = [await d.bounds(user_id) for user_id in ("alice", "bob", "carol")]
            placement = await d.append()
        async with lives() as d:
            after = [await d.bounds(user_id) for user_id in ("alice", "bob", "carol")]
            assert after == [Bounds(epoch, 2, 2), *before[1:]]
            assert (placement.epoch, after[2].low, after[2].head) == (epoch, 2, 1)
            assert (await d.append("c")).offset == 2

    @ENDS
    async def test_a_hold_is_there_again(self, lives: OpenDesk, place: Place, crashed: bool) -> None:
        """Held events are there for a later owner, behind a notice of what was shed in any life; what was told is not
        told again."""
        async with lives(unbound_events=2) as d:
            for _ in range(3):
                await d.append()
            await d.append("other")
            assert list(d.store.shed()) == [Shed("t", 1, 1, Cause.UNBOUND_OVERFLOW)]
            if crashed:
                place.crash()
        async with lives(unbound_events=2) as d:
            holds = {hold.thread_id: hold for hold in d.store.restored_holds()}
            assert holds == {"t": RestoredHold("t", 2, 3), "other": RestoredHold("other", 1, 1)}
            assert list(d.store.shed()) == []
            assert (await d.append()).seq == 4
            assert list(d.store.shed()) == [Shed("t", 2, 2, Cause.UNBOUND_OVERFLOW)]
            binding = await d.bind("alice")
            assert (binding.first_offset, binding.notice) == (1, True)
            assert [(e.seq0, e.seq) for e in await d.log("alice")] == [(1, 2), (None, 3), (None, 4)]
        async with lives(unbound_events=2) as d:
            assert [hold.thread_id for hold in d.store.restored_holds()] == ["other"]
            await d.unbind()
            await d.append()
            assert not (await d.bind("bob")).notice

    @ENDS
    async def test_given_ids_are_known(self, lives: OpenDesk, place: Place, crashed: bool) -> None:
        """An id that was given in one life is known in the next: its event has one placement, for as long as ever."""
        async with lives(idempotency_seconds=600.0) as d:
            await d.bind("alice")
            await d.append()
            await d.say("once", text="yes")
            await d.say("held", thread_id="h")
            if crashed:
                place.crash()
        async with lives(idempotency_seconds=600.0) as d:
            again = await d.say("once", text="yes")
            present = await d.bounds("alice")
            assert (again.again, again.seq, again.user_id, again.offset) == ("given", 2, "alice", 2)
            assert again.epoch == present.epoch
            with pytest.raises(IdempotencyConflict):
                await d.say("once", text="no")
            held = await d.say("held", thread_id="h")
            assert (held.again, held.seq, held.user_id) == ("given", 1, None)
            await d.bind("bob", "h")
        async with lives(idempotency_seconds=600.0) as d:
            bound = await d.say("held", thread_id="h", now=600.0)
            assert (bound.again, bound.user_id, bound.offset) == ("given", "bob", 1)
            assert (await d.say("once", text="no", now=600.5)).seq == 3
            assert len(await d.history(thread_id="h")) == 3

    @ENDS
    async def test_a_bind_is_answered_until_it_was_heard(self, lives: OpenDesk, place: Place, crashed: bool) -> None:
        """A bind that is asked for again in the next life answers what it answered, in the log's present epoch; once
        that was acked, it has placed nothing."""
        async with lives(unbound_events=2) as d:
            for thread_id in ("t", "acked"):
                for _ in range(3):
                    await d.append(thread_id)
            first, acked = await d.bind("alice"), await d.bind("bob", "acked")
            d.store.ack_binding("acked", acked.generation)
            await d.commit()
            if crashed:
                place.crash()
        async with lives(unbound_events=2) as d:
            again, heard = await d.bind("alice"), await d.bind("bob", "acked")
            assert (again.generation, again.user_id) == (first.generation, "alice")
            assert (again.first_offset, again.notice, again.low) == (1, True, 1)
            assert again.epoch == (await d.bounds("alice")).epoch
            assert (heard.generation, heard.notice, heard.first_offset) == (acked.generation, False, 4)
            assert len(await d.log("alice")) == 3
            d.store.ack_binding("t", again.generation)
        async with lives(unbound_events=2) as d:
            assert not (await d.bind("alice")).notice

    @ENDS
    async def test_what_devices_acked_is_known(self, lives: OpenDesk, place: Place, crashed: bool) -> None:
        """A life begins with each log's bounds, the offsets that devices acked, and up to where sockets took them."""
        async with lives() as d:
            await d.bind("alice")
            for _ in range(5):
                await d.append()
            view = await d.store.follow("alice")
            view.confirm(view.bounds.epoch, ((1, 2), (4, 4)), 4)
            view.confirm("another epoch", ((1, 5),), 5)
            await d.expire()
            if crashed:
                place.crash()
        async with lives() as d:
            restored, bounds = d.store.restored("alice"), await d.bounds("alice")
            assert restored is not None
            assert (restored.acked, restored.written) == (((1, 2), (4, 4)), 4)
            assert (restored.epoch, restored.low, restored.head) == (bounds.epoch, 1, 5)
            assert d.store.restored("nobody") is None

    async def test_the_secret_is_the_same(self, lives: OpenDesk, place: Place) -> None:
        """What the runtime has signed for a client in one life it knows in the next."""
        secrets = []
        for _ in range(3):
            async with lives() as d:
                secrets.append(d.store.secret)
                place.crash()
        assert len(set(secrets)) == 1
        assert len(secrets[0]) == 32

    # --- ages -------------------------------------------------------------------------------

    async def test_ages_go_on(self, lives: OpenDesk) -> None:
        """The time between two lives counts, and so does the time before: events, holds and ids are as old as they
        are."""
        limits: dict[str, Any] = {"retained_seconds": 100.0, "unbound_seconds": 100.0, "idempotency_seconds": 100.0}
        async with lives(**limits) as d:
            await d.bind("alice")
            await d.say("once")
            await d.append("held")
            await d.append(now=50.0)
            await d.append("held")
            d.hands.now = 60.0
        async with lives(**limits) as d:
            assert await d.expire(100.0) == {}
            assert (await d.say("once")).again == "given"
            assert await d.expire_and_shed(101.0) == {("held", Cause.UNBOUND_EXPIRED): 1}
            assert await d.numbers("alice") == [("t", 2, 2)]
            assert (await d.say("once")).again == ""
            d.hands.now = 1_000.0
        async with lives(**limits) as d:
            await d.expire()
            assert await d.log("alice") == []

    @ENDS
    async def test_nothing_comes_back(self, lives: OpenDesk, place: Place, crashed: bool) -> None:
        """Events, holds and ids that were dropped for their age in one life are not in the next, whose clock is behind;
        nor is a newer one dropped before its time."""
        limits: dict[str, Any] = {"retained_seconds": 100.0, "unbound_seconds": 100.0, "idempotency_seconds": 100.0}
        async with lives(**limits) as d:
            await d.bind("alice")
            await d.say("once")
            await d.append("held")
            await d.append(now=50.0)
            await d.expire(101.0)
            if crashed:
                place.crash()
            d.hands.skew = -3_600.0
        async with lives(**limits) as d:
            assert await d.numbers("alice") == [("t", 2, 2)]
            assert list(d.store.restored_holds()) == []
            assert (await d.say("once", text="another")).seq == 3
            assert (await d.append("held")).seq == 2
            assert await d.expire(149.0) == {}

    async def test_bounds_are_those_of_the_life(self, lives: OpenDesk) -> None:
        """A life that is opened with narrower bounds keeps them from the start, and numbers go on as they were."""
        async with lives() as d:
            await d.bind("alice")
            for _ in range(5):
                await d.append()
                await d.append("held")
        async with lives(retained_events=3, unbound_events=2) as d:
            assert await d.numbers("alice") == [("t", 3, 3), ("t", 4, 4), ("t", 5, 5)]
            assert list(d.store.restored_holds()) == [RestoredHold("held", 4, 5)]
            assert (await d.append()).offset == 6
            await d.bind("bob", "held")
            assert [(e.seq0, e.seq) for e in await d.log("bob")] == [(1, 3), (None, 4), (None, 5)]

    # --- runs -------------------------------------------------------------------------------

    @ENDS
    async def test_a_due_run_is_named_until_it_begins(self, lives: OpenDesk, place: Place, crashed: bool) -> None:
        """A run whose message was taken, and that did not begin, is named once in each life until it does."""
        async with lives() as d:
            await d.bind("alice")
            messages = [d.compose(user_id="alice", run_id=run_id, edge="due", text=run_id) for run_id in ("r1", "r2")]
            for message in messages:
                await d.take(message)
            if crashed:
                place.crash()
        due = [DueRun(f"r{number}", "t", "alice", one.body) for number, one in enumerate(messages, 1)]
        for left in (due, due, due[1:], []):
            async with lives() as d:
                assert list(d.store.due()) == left
                await d.append()
                if left and len(left) == len(due) and d.hands.now > 0:
                    await d.run_event("r1", "opens")
                    await d.run_event("r1", "closes")
                elif len(left) == 1:
                    await d.run_event("r2", "whole")
                d.hands.now += 1.0
                if crashed:
                    place.crash()

    @ENDS
    async def test_an_open_run_is_closed_once(self, lives: OpenDesk, place: Place, crashed: bool) -> None:
        """Of a process that ended, the next life ends each open run, once, and takes nothing more of it."""
        async with lives() as d:
            await d.bind("alice")
            for run_id in ("over", "open"):
                await d.run_event(run_id, "opens")
            await d.run_event("over", "closes")
            await d.run_event("nobody's", "opens", "held")
            if crashed:
                place.crash()
        for _ in range(3):
            async with lives() as d:
                assert list(d.store.due()) == []
                for run_id, thread_id in (("open", "t"), ("over", "t"), ("nobody's", "held")):
                    with pytest.raises(RunOver):
                        await d.run_event(run_id, thread_id=thread_id)
                failed = [e for e in await d.log("alice") if e.type == Lifecycle.AGENT_FAILED]
                assert [(e.run_id, e.thread_id, e.seq) for e in failed] == [("open", "t", 4)]
                assert list(d.store.restored_holds()) == [RestoredHold("held", 1, 2)]
                if crashed:
                    place.crash()
        async with lives() as d:
            await d.bind("bob", "held")
            assert [e.type for e in await d.log("bob")] == ["step", Lifecycle.AGENT_FAILED]

    # --- crashes ----------------------------------------------------------------------------

    @pytest.mark.parametrize("nth", [1, 2, 3, 5, 8])
    async def test_what_was_answered_is_there(self, lives: OpenDesk, place: Place, nth: int) -> None:
        """Where a process ends in the very step of an answer, the next one has that event, and all before it, at the
        place that was told; of the others it has some, or none."""
        told: list[Placement] = []

        def answered(answer: Answer) -> None:
            assert isinstance(answer, Placement)
            if len(told) < nth:
                told.append(answer)
                if len(told) == nth:
                    place.crash()

        async with lives() as d:
            await d.bind("alice", "a")
            await d.bind("alice", "b")
            acts = [d.compose(thread_id, text=thread_id) for thread_id in "abhabhab"]
            for act in acts[:4]:
                d.submit(act, answered)
            await d.store.settled()
            for act in acts[4:]:
                d.submit(act, answered)
            await d.store.settled()
        async with lives() as d:
            log = {(event.thread_id, event.seq, event.offset): event.event_id for event in await d.log("alice")}
            held = sum(hold.last_seq - hold.first_seq + 1 for hold in d.store.restored_holds())
            for act, placement in zip(acts, told, strict=False):
                if placement.user_id is not None:
                    assert log[act.thread_id, placement.seq, placement.offset] == act.event_id
            assert held >= sum(placement.user_id is None for placement in told)
            assert [offset for _, _, offset in log] == list(range(1, len(log) + 1))

    async def test_cursors_of_every_life_are_known(self, lives: OpenDesk, place: Place) -> None:
        """A device that was shown an epoch in any life before goes on from there: none of them has lost anything."""
        shown: list[Bounds] = []
        for number in range(6):
            async with lives() as d:
                if number % 2:
                    await d.bind("alice")
                    await d.append()
                shown.append(await d.bounds("alice"))
                place.crash()
        async with lives() as d:
            present = await d.bounds("alice")
            assert present.head == 3
            for one in shown:
                assert (shares(present, one.epoch) or 0) >= one.head
                assert shares(present, one.epoch) is not None

    async def test_cursors_of_answers_are_known(self, lives: OpenDesk, place: Place) -> None:
        """The epoch of an answer is as good as one that was followed, in whatever way the life after it ends."""
        epochs = set()
        for _ in range(4):
            async with lives(unbound_events=2) as d:
                await d.bind("alice")
                epochs.add((await d.say("once")).epoch)
                await d.append("held")
                epochs.add((await d.bind("bob", "held")).epoch)
                place.crash()
                d.hands.now += 1.0
        async with lives() as d:
            alice, bob = await d.bounds("alice"), await d.bounds("bob")
            assert [one for one in epochs if shares(alice, one) is None and shares(bob, one) is None] == []

    @pytest.mark.parametrize("lost", [1, 2, 4])
    async def test_what_a_disk_lost_is_told(self, losing_lives: OpenDesk, place: Place, lost: int) -> None:
        """Where a disk has lost what it had confirmed, a device that saw it is told, and one that did not goes on."""
        async with losing_lives() as d:
            await d.bind("alice")
            seen: dict[int, Event] = {}
            for _ in range(6):
                placement = await d.append()
                seen |= {event.offset: event for event in await d.log("alice")}
            place.crash(lost)
        async with losing_lives() as d:
            for _ in range(4):
                await d.append()
            present = await d.bounds("alice")
            log = {event.offset: event for event in await d.log("alice")}
            until = shares(present, placement.epoch)
            assert until is not None
            assert until >= len(seen) - lost, "a device that saw nothing of what is lost goes on"
            assert all(log[offset] == event for offset, event in seen.items() if offset <= until)
            assert until < len(seen), "a device that saw what is lost begins again"

    # --- faults -----------------------------------------------------------------------------

    @pytest.mark.parametrize("fault", FAULTS)
    @pytest.mark.parametrize("nth", [1, 2, 3])
    async def test_a_commit_that_fails(self, lives: OpenDesk, place: Place, fault: Fault, nth: int) -> None:
        """Whichever commit fails, and however: each act is answered once, each event is there once, and the trouble
        ends by itself."""
        if fault not in place.faults:
            pytest.skip(f"this place cannot have a commit {fault}")
        async with lives() as d:
            await d.bind("alice")
            place.fail(fault, nth)
            placements = [await d.append(thread_id) for thread_id in ("held", "t", "held", "t")]
            await d.say("once")
            assert d.store.trouble is None
            assert [(p.seq, p.offset) for p in placements] == [(1, 0), (1, 1), (2, 0), (2, 2)]
            told = await d.numbers("alice")
            place.crash()
        async with lives() as d:
            assert await d.numbers("alice") == told == [("t", seq, seq) for seq in (1, 2, 3)]
            assert (await d.say("once")).again == "given"
            await d.bind("bob", "held")
            assert await d.numbers("bob") == [("held", 1, 1), ("held", 2, 2)]

    @pytest.mark.parametrize("fault", FAULTS)
    async def test_a_commit_that_fails_shows_nothing(self, lives: OpenDesk, place: Place, fault: Fault) -> None:
        """What was not written yet, or may not have been, is not visible, and is in order once it is."""
        if fault not in place.faults:
            pytest.skip(f"this place cannot have a commit {fault}")
        async with lives() as d:
            await d.bind("alice")
            view = await d.store.follow("alice")
            place.fail(fault, 1)
            taken = [d.submit(d.compose()) for _ in range(3)]
            for seconds in d.until_answered(taken):
                assert view.bounds.head == sum(len(one.answers) for one in taken)
                await trio.sleep(seconds)
            assert len(await d.log("alice")) == 3

    async def test_two_at_once(self, lives: OpenDesk, place: Place, hands: Hands) -> None:
        """A store that is open is not opened a second time: the second one says so, and changes nothing."""
        async with lives() as d:
            await d.bind("alice")
            await d.append()
            before = await d.bounds("alice")
            second = place.store()
            async with trio.open_nursery() as nursery:
                with pytest.raises(StoreError):
                    await nursery.start(second.run, Limits(), hands.environment())
            assert (await d.append()).offset == 2
            assert (await d.bounds("alice")).epoch == before.epoch
        async with lives() as d:
            assert await d.numbers("alice") == [("t", 1, 1), ("t", 2, 2)]
            assert (await d.bounds("alice")).epoch == before.epoch
