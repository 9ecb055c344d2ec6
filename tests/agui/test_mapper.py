"""The mapper: any cut of any course of events comes to the same messages, and no client rejects what it is told."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.agui.course import Question
from actors.agui.mapper import Mapper
from actors.agui.messages import AguiEvent
from actors.events.delivered import Event
from tests.agui.random_courses import RandomCourse, joined, junk
from tests.support.agui_client import AguiClient

SEEDS = st.integers(0, 2**32)


def course(seed: int, **options: int) -> list[Event]:
    return RandomCourse(Random(seed), **options).grow(30)


def said_of(events: list[Event], cut: int = 0, **prelude: Any) -> list[AguiEvent]:
    """What a stream says that begins after ``cut`` events of a course."""
    mapper = Mapper("t1")
    for event in events[:cut]:
        assert mapper.feed(event) == []
    return [*mapper.prelude(**prelude), *(one for event in events[cut:] for one in mapper.feed(event))]


def by_id(client: AguiClient) -> dict[str, AguiEvent]:
    return {one["id"]: one for one in client.messages}


@given(SEEDS, st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_a_stream_from_any_place_comes_to_the_same(seed: int, share: float) -> None:
    """A page that opens at any moment has, at the end, all messages of one that was there from the start, in order;
    and so has one that is behind, and gets tokens joined."""
    events = course(seed)
    cut = int(share * len(events))
    whole = AguiClient().take(said_of(events))
    assert AguiClient().take(said_of(events, cut)).messages == whole.messages
    late = events[:cut] + joined(events[cut:])
    assert AguiClient().take(said_of(late, cut)).messages == whole.messages


@given(SEEDS, st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_a_client_with_a_part_comes_to_the_same(seed: int, first: float, second: float) -> None:
    """A client that saw the beginning, and then another stream from any later place, has the same messages."""
    events = course(seed)
    left, back = sorted((int(first * len(events)), int(second * len(events))))
    mapper = Mapper("t1")
    begun = [*mapper.prelude(), *(one for event in events[:left] for one in mapper.feed(event))]
    half = AguiClient().take(begun)
    again = AguiClient(half.messages).take(said_of(events, back, known=half.messages))
    assert by_id(again) == by_id(AguiClient().take(said_of(events)))


@given(SEEDS, st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_one_request_is_answered_by_its_run(seed: int, share: float) -> None:
    """Of one run a client is told once, from its beginning to its end, under the client's own name for it."""
    events = course(seed)
    roots = [one.run_id for one in events if one.type == "agent_started" and "parent_run_id" not in one.payload]
    for run_id in roots:
        said = said_of(events, int(share * len(events)), of=run_id, alias="mine")
        client = AguiClient().take(said)
        assert [one["type"] for one in said].count("RUN_STARTED") == len(client.ends) == 1
        assert client.ends[0].get("runId", "mine") == "mine"
        whole = by_id(AguiClient().take(said_of(events)))
        assert _of(run_id, by_id(client)) == _of(run_id, whole)


def _of(run_id: str | None, messages: dict[str, AguiEvent]) -> dict[str, AguiEvent]:
    return {name: one for name, one in messages.items() if name.startswith((f"{run_id}.", f"{run_id}:"))}


@given(SEEDS, st.integers(0, 30))
@settings(max_examples=40, deadline=None)
def test_a_log_without_a_beginning_is_no_fault(seed: int, gone: int) -> None:
    """Whatever the log has lost, what is left is a stream that a client takes."""
    events = course(seed)[gone:]
    AguiClient().take(said_of(events))
    AguiClient().take(said_of(events, len(events) // 2, is_whole=False))


@given(SEEDS, st.lists(st.integers(0, 3), min_size=40, max_size=40))
@settings(max_examples=40, deadline=None)
def test_questions_at_any_moment_are_no_fault(seed: int, asks: list[int]) -> None:
    """Questions are asked, answered, or end with their run: at the end no message is missing, and none is open."""
    events = course(seed, most_roots=1)
    mapper, client, open_asks = Mapper("t1"), AguiClient(), list[str]()
    client.take(mapper.prelude())
    for event, number in zip(events, asks * 10, strict=False):
        client.take(mapper.feed(event))
        if number == 1:
            name = f"a{event.seq}"
            question = Question(id=name, type="approval", payload={"question": "?"}, run_id=event.run_id)
            open_asks.append(name)
            client.take(mapper.ask(question))
        if number == 2 and open_asks:
            client.take(mapper.ask_closed(open_asks.pop(0)))
    for name in open_asks:
        client.take(mapper.ask_closed(name))
    assert by_id(client) == by_id(AguiClient().take(said_of(events)))
    assert client.pending == []


@given(SEEDS, st.integers(0, 40))
@settings(max_examples=150, deadline=None)
def test_whatever_is_emitted_is_a_stream_that_clients_take(seed: int, cut: int) -> None:
    """Events of any type with any payload, in any order: nothing raises, and no client rejects what comes of them."""
    AguiClient().take(said_of(junk(Random(seed), 40), cut))


def test_what_was_fed_is_not_fed_again() -> None:
    """The same events, from a history and from a log that overlap, are said once."""
    events = course(7)
    mapper = Mapper("t1")
    mapper.prelude()
    for event in events:
        mapper.feed(event)
        assert mapper.feed(event) == []
    assert mapper.seq == len(events)


def test_it_names_what_it_says() -> None:
    """A mapper shows where it stands, and which run it says."""
    mapper = Mapper("t1")
    mapper.prelude()
    mapper.feed(Event(type="agent_started", payload={}, thread_id="t1", run_id="r1", seq=1, offset=1))
    assert repr(mapper) == "<Mapper of t1 at 1, saying r1>"
    assert (mapper.saying, mapper.newest, mapper.top_of("r1"), mapper.top_of("r9")) == ("r1", "r1", "r1", None)
