"""A follower, without its consumer's waits: what it hands out of a log that grows, loses, and goes on elsewhere."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import trio
import trio.testing
from hypothesis import given, settings

import actors
from actors import Limits
from actors.connections.following import Following
from actors.events.delivered import Event
from actors.events.items import CaughtUp, Gap, Reset
from tests.support.stores import bounds_of, state_of

ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("emit"), st.integers(1, 6)),
        st.tuples(st.just("take"), st.integers(1, 8)),
        st.tuples(st.just("fork"), st.integers(0, 4)),
        st.tuples(st.just("cancel"), st.just(0)),
        st.tuples(st.just("return"), st.just(0)),
    ),
    max_size=30,
)


class Reader:
    """A consumer that believes nothing: each offset once, or in a gap, or begun anew."""

    def __init__(self, followed: Following) -> None:
        self.followed = followed
        self.last = followed.position[1]
        self.texts: dict[int, str | None] = {}

    async def take(self) -> bool:
        """Take one item if there is one; false if there is none."""
        with trio.move_on_after(0.01):
            item = await anext(self.followed)
            match item:
                case Event(offset=offset, event_id=event_id):
                    assert offset == self.last + 1, f"{offset} after {self.last}"
                    self.texts[offset] = event_id
                    self.last = offset
                case Gap(first, last):
                    assert first == self.last + 1, f"a gap of {first} after {self.last}"
                    self.last = last
                case Reset(low=low):
                    self.texts.clear()
                    self.last = low - 1
                case CaughtUp(offset):
                    assert offset == self.last
            return True
        return False


@given(acts=ACTS, retained=st.integers(1, 8), one_thread=st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_course(acts: list[tuple[str, int]], retained: int, *, one_thread: bool) -> None:
    """However a log grows, is trimmed and loses its end, a consumer that takes at its own pace, is cancelled, and comes
    back, has at last what the log has, in order; and the books balance."""

    async def main() -> None:
        async with actors.open_runtime(limits=Limits(retained_events=retained)) as runtime:
            thread = runtime.thread("t1")
            await runtime.bind("t1", "alice")
            after = None
            left = iter(acts)
            last = False
            while not last:
                async with runtime.follow("alice", "t1" if one_thread else None, after=after) as followed:
                    reader = Reader(followed)
                    last = True
                    for act, count in left:
                        match act:
                            case "emit":
                                for _ in range(count):
                                    await thread.emit("tick", {})
                            case "take":
                                for _ in range(count):
                                    await reader.take()
                            case "fork":
                                head = bounds_of(runtime.tree.store, "alice").head
                                state_of(runtime.tree.store).fork("alice", max(head - count, 0))
                                await thread.emit("tick", {})
                            case "cancel":
                                with trio.move_on_after(0):
                                    await anext(followed)
                            case _:
                                last = False
                                break
                    if last:
                        while await reader.take():
                            pass
                        log = state_of(runtime.tree.store).log("alice")
                        shown = [msg.event_id for msg in (await runtime.read("t1")).events]
                        assert reader.last == log.head
                        assert list(reader.texts.values())[-len(shown) or len(reader.texts) :] in (
                            shown[-len(reader.texts) or len(shown) :], list(reader.texts.values())
                        )  # fmt: skip
                        assert followed.taken == (log.epoch, log.head)
                    after = followed.taken
            assert runtime.audit().balanced

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


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
