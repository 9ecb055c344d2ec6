"""A follower, without its consumer's waits: what it hands out of a log that grows, loses, and goes on elsewhere."""

from __future__ import annotations

import math
from contextlib import suppress
from functools import partial

import hypothesis.strategies as st
import pytest
import trio
import trio.testing
from hypothesis import given, settings

import actors
from actors import Limits
from actors.connections.following import Following
from actors.events.delivered import Event
from actors.events.items import Active, Ask, AskClosed, CaughtUp, Gap, Inactive, Item, Reset
from tests.support.crashing import crash
from tests.support.stores import bounds_of, state_of

ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("emit"), st.integers(1, 6)),
        st.tuples(st.just("take"), st.integers(1, 8)),
        st.tuples(st.just("fork"), st.integers(0, 4)),
        st.tuples(st.just("cancel"), st.just(0)),
        st.tuples(st.just("return"), st.just(0)),
        st.tuples(st.just("crash"), st.just(0)),
        st.tuples(st.just("ask"), st.integers(1, 3)),
        st.tuples(st.just("answer"), st.integers(1, 3)),
        st.tuples(st.just("begin"), st.just(0)),
        st.tuples(st.just("end"), st.integers(0, 1)),
    ),
    max_size=30,
)


class Reader:
    """A consumer that believes nothing: each offset once, or in a gap, or begun anew; each question and run once."""

    def __init__(self, followed: Following) -> None:
        self.followed = followed
        self.last = followed.position[1]
        self.texts: dict[int, str | None] = {}
        self.asks: set[str] = set()
        self.runs: set[str | None] = set()

    async def take(self) -> bool:
        """Take one item if there is one; false if there is none."""
        with trio.move_on_after(30):  # longer than the user's actor takes to be built again, after crash upon crash
            self._note(await anext(self.followed))
            return True
        return False

    def _note(self, item: Item) -> None:
        match item:
            case Event(offset=offset, event_id=event_id):
                assert offset == self.last + 1, f"{offset} after {self.last}"
                self.texts[offset] = event_id
                self.last = offset
                self._note_run(item)
            case Gap(first, last):
                assert first == self.last + 1, f"a gap of {first} after {self.last}"
                self.last = last
            case Reset(low=low):
                self.texts.clear()
                self.runs.clear()
                self.last = low - 1
            case CaughtUp(offset):
                assert offset == self.last
            case Ask(id=name):
                assert name not in self.asks
                self.asks.add(name)
            case AskClosed(id=name):
                self.asks.remove(name)
            case Active(run_id=name):
                assert name not in self.runs
                self.runs.add(name)
            case Inactive(run_id=name):
                self.runs.remove(name)

    def _note_run(self, event: Event) -> None:
        if event.type == "agent_started":
            self.runs.add(event.run_id)
        elif event.type == "agent_completed":
            self.runs.discard(event.run_id)


class Course:
    """A runtime to which things happen."""

    def __init__(self, runtime: actors.Runtime, nursery: trio.Nursery) -> None:
        self.runtime = runtime
        self.store = runtime.tree.store
        self._nursery = nursery
        self._runs: list[trio.Event] = []

    async def act(self, act: str, count: int, reader: Reader) -> None:
        thread = self.runtime.thread("t1")
        match act:
            case "emit":
                for _ in range(count):
                    await thread.emit("tick", {})
            case "take":
                for _ in range(count):
                    await reader.take()
            case "fork":
                head = bounds_of(self.store, "alice").head
                state_of(self.store).fork("alice", max(head - count, 0))
                await thread.emit("tick", {})
            case "cancel":
                with trio.move_on_after(0):
                    reader._note(await anext(reader.followed))
            case _:
                self._stir(act, count)
        await trio.testing.wait_all_tasks_blocked()

    def _stir(self, act: str, count: int) -> None:
        match act:
            case "crash":
                self.runtime.tree.users.mailbox("alice").tell(crash())
            case "ask":
                for _ in range(count):
                    self._nursery.start_soon(self._ask)
            case "answer":
                for name in list(self.asks)[:count]:
                    self.runtime.tree.asks.answer(name, {}, "alice", "r")
            case "begin":
                self._nursery.start_soon(self._run)
            case _ if self._runs:
                self._runs.pop(-count).set()

    @property
    def asks(self) -> set[str]:
        return {name for name, ask in self.runtime.tree.asks._open.items() if ask.answer is None}

    @property
    def runs(self) -> set[str]:
        return set(self.runtime.tree.runs.registry.active)

    async def _ask(self) -> None:
        with suppress(actors.Unanswered):
            await self.runtime.thread("t1").ask("approval", {}, timeout=math.inf)

    async def _run(self) -> None:
        over = trio.Event()
        self._runs.insert(0, over)
        async with self.runtime.thread("t1").run("agent"):
            await over.wait()


async def live(acts: list[tuple[str, int]], limits: Limits, *, one_thread: bool) -> None:
    """Go through a course, with a consumer that leaves and comes back, and see what it has at the end."""
    async with actors.open_runtime(limits=limits) as runtime, trio.open_nursery() as nursery:
        course = Course(runtime, nursery)
        await runtime.bind("t1", "alice")
        after = None
        left = iter(acts)
        last = False
        while not last:
            async with runtime.follow("alice", "t1" if one_thread else None, after=after) as followed:
                reader = Reader(followed)
                last = True
                for act, count in left:
                    if act == "return":
                        last = False
                        break
                    await course.act(act, count, reader)
                if last:
                    while await reader.take():
                        pass
                    await check(reader, course)
                after = followed.taken
        nursery.cancel_scope.cancel()
    assert runtime.audit().balanced


async def check(reader: Reader, course: Course) -> None:
    """The consumer has what there is: the end of the log, the open questions, the active runs."""
    log = state_of(course.store).log("alice")
    shown = [event.event_id for event in (await course.runtime.read("t1")).events]
    mine = list(reader.texts.values())
    many = min(len(shown), len(mine))
    assert reader.last == log.head
    assert mine[len(mine) - many :] == shown[len(shown) - many :]
    assert reader.followed.taken == (log.epoch, log.head)
    assert reader.asks == course.asks
    assert reader.runs == course.runs


@given(acts=ACTS, retained=st.integers(1, 8), one_thread=st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_course(acts: list[tuple[str, int]], retained: int, *, one_thread: bool) -> None:
    """However a log grows, is trimmed and loses its end, runs and questions come and go and the user's actor crashes, a
    consumer that takes at its own pace, is cancelled, and comes back, has at last what there is; the books balance."""
    limits = Limits(retained_events=retained, restarts=1_000)
    trio.run(partial(live, acts, limits, one_thread=one_thread), clock=trio.testing.MockClock(autojump_threshold=0))


async def test_it_reads_in_the_log_alone() -> None:
    """A consumer that does not come costs nothing but a cursor: nothing is queued for it."""
    async with actors.open_runtime(limits=Limits(retained_events=10)) as runtime, runtime.follow("alice") as followed:
        for _ in range(1_000):
            await runtime.thread("t1").emit("tick", {}, user_id="alice")
        follower = followed._follower
        assert not follower._first
        assert not follower._current._told
        assert repr(follower).startswith(f"<Follower users/alice/connections/{follower.label} ")


@pytest.mark.parametrize("reason", ["failed", "revoked"])
async def test_it_ends_once(reason: str) -> None:
    """The first reason for an end counts, and nothing is handed out after it."""
    async with actors.open_runtime() as runtime, runtime.follow("alice") as followed:
        await runtime.thread("t1").emit("tick", {}, user_id="alice")
        follower = followed._follower
        if reason == "failed":
            follower.fail(RuntimeError("a bug"))
            assert len(runtime.failures) == 1
        follower.end("revoked", "no more")
        assert followed.ended is not None
        assert followed.ended[0] == reason
        assert [item async for item in followed] == []
