"""Runs and questions beside a log: each told once, in its place, and never left open when it is over."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors.connections.current import MOST_TOLD, Current, read
from actors.delivery.announcements import Item as Announcement
from actors.events.delivered import Event
from actors.events.items import Active, Ask, AskClosed, Inactive, Item
from actors.protocol import server_messages
from actors.protocol.server_messages import encode


def ask(name: str, thread_id: str = "t1") -> bytes:
    event = {"type": "approval", "payload": {}, "thread_id": thread_id, "event_id": name, "timestamp": 1.0}
    return encode(server_messages.Ask(msgspec.Raw(msgspec.json.encode(event)), None))


def closed(name: str) -> bytes:
    return encode(server_messages.AskClosed(name, "answered"))


def active(run_id: str, thread_id: str = "t1") -> bytes:
    event = {"type": "agent_started", "payload": {}, "thread_id": thread_id, "run_id": run_id, "event_id": "e"}
    return encode(server_messages.Active(msgspec.Raw(msgspec.json.encode(event))))


def inactive(run_id: str) -> bytes:
    return encode(server_messages.Inactive(run_id, "withdrawn"))


def event(type_: str, run_id: str, offset: int) -> Event:
    return Event(type=type_, payload={}, thread_id="t1", run_id=run_id, event_id="e", seq=offset, offset=offset)


def take_all(current: Current, position: int, head: int) -> list[Item]:
    """All items that are news at a place in the log."""
    items = []
    while (item := current.take(position, lambda: head)) is not None:
        if current.is_news(item):
            items.append(item)
    return items


def test_behind_the_events_that_were_there() -> None:
    """What is told belongs behind the log's newest event of that moment, however late that is taken."""
    current = Current(None)
    assert current.put(read(ask("a1")), 5)
    assert take_all(current, 4, 9) == []
    assert [type(item) for item in take_all(current, 5, 9)] == [Ask]


def test_one_thread() -> None:
    """What is of another thread is no concern; the end of what is not known is no item."""
    current = Current("t1")
    assert [current.concerns(read(text)) for text in (ask("a", "t1"), active("r", "t2"), ask("a", "t2"))] == [
        True, False, False,
    ]  # fmt: skip
    assert current.concerns(read(closed("a")))
    current.put(read(closed("a")), 0)
    current.put(read(inactive("r")), 0)
    assert take_all(current, 0, 0) == []


def test_too_many() -> None:
    """Of too many messages all are forgotten, and the round that follows says what is true."""
    current = Current(None)
    for number in range(MOST_TOLD):
        assert current.put(read(ask(f"a{number}")), 0)
    assert not current.put(read(ask("one more")), 0)
    assert take_all(current, 0, 0) == []
    current.begin([lambda: ask("a3")], 0)
    assert [item.id for item in take_all(current, 0, 0) if isinstance(item, Ask)] == ["a3"]


def test_a_round_ends_what_it_does_not_tell() -> None:
    """A run and a question that were known and are not told again are over; one that ends in the log ends there."""
    current = Current(None)
    for text in (ask("a1"), active("r1"), active("r2")):
        current.put(read(text), 0)
    assert len(take_all(current, 0, 0)) == 3
    current.begin([lambda: None], 0)
    assert take_all(current, 0, 1) == []  # the log has an event more, which may end a run
    last = event("agent_completed", "r1", 1)
    current.event(last)
    assert current.is_news(last)
    assert take_all(current, 1, 1) == [Inactive("r2", "gone"), AskClosed("a1", "gone")]


def test_told_to_be_active_behind_its_end() -> None:
    """A run whose end was shown before the server noted it is not told to be active behind its end."""
    current = Current(None)
    current.put(read(active("r1")), 3)
    current.put(read(active("r2")), 3)
    last = event("agent_failed", "r1", 2)
    current.event(last)
    assert current.is_news(last)
    assert [item.run_id for item in take_all(current, 3, 3) if isinstance(item, Active)] == ["r2"]


def test_what_is_not_such_a_message() -> None:
    """Anything else is a mistake of ours."""
    with pytest.raises(AssertionError):
        read(b'{"op":"caught_up","offset":1}')


class Course(RuleBasedStateMachine):
    """Runs and questions begin and end while a consumer reads a log at its own pace; what it knows is what is so."""

    def __init__(self) -> None:
        super().__init__()
        self.current = Current(None)
        self.log: list[Event] = []
        self.position = 0
        self.asks: dict[str, None] = {}
        self.runs: dict[str, None] = {}
        self.lost = False
        """True if a round is due, because too much was told."""
        self.known_asks: set[str] = set()
        self.known_runs: set[str] = set()
        self.numbers = 0

    # --- the server ---

    def _name(self, kind: str) -> str:
        self.numbers += 1
        return f"{kind}{self.numbers}"

    def _tell(self, text: bytes) -> None:
        if not self.current.put(read(text), len(self.log)):
            self.lost = True

    @rule()
    def asks_something(self) -> None:
        name = self._name("a")
        self.asks[name] = None
        if not self.lost:
            self._tell(ask(name))

    @precondition(lambda self: self.asks)
    @rule(data=st.data())
    def is_answered(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(list(self.asks)))
        del self.asks[name]
        if not self.lost:
            self._tell(closed(name))

    @rule(many=st.integers(1, MOST_TOLD))
    def asks_and_withdraws(self, many: int) -> None:
        for _ in range(many):
            name = self._name("a")
            if not self.lost:
                self._tell(ask(name))
            if not self.lost:
                self._tell(closed(name))

    @rule()
    def begins_a_run(self) -> None:
        name = self._name("r")
        self.runs[name] = None
        self.log.append(event("agent_started", name, len(self.log) + 1))

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), unseen=st.booleans())
    def ends_a_run(self, data: st.DataObject, unseen: bool) -> None:
        name = data.draw(st.sampled_from(list(self.runs)))
        del self.runs[name]
        if not unseen:
            self.log.append(event("agent_completed", name, len(self.log) + 1))
        elif not self.lost:
            self._tell(inactive(name))

    @rule()
    def says_something(self) -> None:
        self.log.append(event("tick", "r0", len(self.log) + 1))

    @precondition(lambda self: not self.current.in_round)
    @rule()
    def begins_a_round(self) -> None:
        self.lost = False
        self.current.begin(self._pending(), len(self.log))

    def _pending(self) -> list[Announcement]:
        runs = [lambda name=name: active(name) if name in self.runs else None for name in self.runs]
        return [*runs, *[lambda name=name: ask(name) if name in self.asks else None for name in self.asks]]

    # --- the consumer ---

    @rule(many=st.integers(1, 50))
    def takes(self, many: int) -> None:
        for _ in range(many):
            self._take()

    def _take(self) -> bool:
        item: Any = self.current.take(self.position, lambda: len(self.log))
        if item is None and self.position < len(self.log):
            item = self.log[self.position]
            self.position += 1
            self.current.event(item)
        if item is not None and self.current.is_news(item):
            self._learn(item)
        return item is not None

    def _learn(self, item: Any) -> None:
        match item:
            case Ask(id=name):
                assert name not in self.known_asks, "told twice"
                self.known_asks.add(name)
            case AskClosed(id=name):
                self.known_asks.remove(name)
            case Active(run_id=name):
                assert name not in self.known_runs, "told twice"
                self.known_runs.add(name)
            case Inactive(run_id=name):
                self.known_runs.remove(name)
            case Event(type="agent_started", run_id=str(name)):
                self.known_runs.add(name)
            case Event(type="agent_completed", run_id=str(name)):
                assert name in self.known_runs, "a run ended that was over already"
                self.known_runs.remove(name)

    @rule()
    def takes_everything(self) -> None:
        while self._take():
            pass
        if self.lost:
            return
        assert self.known_asks == set(self.asks)
        assert self.known_runs == set(self.runs)

    @invariant()
    def is_bounded(self) -> None:
        assert len(self.current._told) <= MOST_TOLD + 1


TestCourse = Course.TestCase
TestCourse.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
