"""What the client decides, against a naive model of a server, a network and an application."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

import actors.client
from actors.client import AskClosed, Cursor, Event, Gap, Inactive, Reset, SessionLost
from actors.client.conversation import Conversation, Ended
from actors.client.inbox import Inbox
from actors.client.pending import Request
from actors.errors import PeerError
from actors.protocol.client_messages import Send
from actors.protocol.server_messages import decode
from tests.client.begun import REPLAYED, begun

PURE = ["acks", "address", "backoff", "conversation", "errors", "inbox", "item_queue", "items", "pending"]


@pytest.mark.parametrize("name", PURE)
def test_what_decides_is_pure(name: str) -> None:
    """No trio, no clock, no randomness and no I/O."""
    tree = ast.parse((Path(actors.client.__file__).parent / f"{name}.py").read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {"trio", "time", "random", "socket", "os", "ssl"} & {each.partition(".")[0] for each in imported}


class Client(RuleBasedStateMachine):
    """One client, one user's log, and a network that may lose what is under way at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.inbox = Inbox(None, 6, most_bytes=100_000)
        self.client = Conversation("t", self.inbox, origin="low")
        # the server
        self.epochs = 1
        self.low, self.log = 1, list[str]()
        self.sessions: set[str] = set()
        self.made = 0
        self.placed: dict[str, set[str]] = {}
        """In which sessions a message was placed: in one of them it is placed once."""
        # the connection
        self.connected = False
        self.session = ""
        self.position = 0
        self.target: int | None = None
        self.down: list[dict[str, Any]] = []
        # the application
        self.place: tuple[str, int] | None = None
        self.taken: tuple[str, int] | None = None
        self.requests: list[Request] = []

    @property
    def epoch(self) -> str:
        return f"ep_{self.epochs}"

    @property
    def head(self) -> int:
        return self.low + len(self.log) - 1

    # --- the server -------------------------------------------------------------

    @rule(types=st.lists(st.sampled_from(["tick", "agent_delta", "agent_delta"]), min_size=1, max_size=6))
    def emit(self, types: list[str]) -> None:
        self.log += types

    @precondition(lambda self: self.log)
    @rule(count=st.integers(1, 4))
    def trim(self, count: int) -> None:
        gone = min(count, len(self.log))
        self.low += gone
        del self.log[:gone]

    @rule()
    def restart(self) -> None:
        self.cut()
        self.epochs += 1
        self.low, self.log = 1, []
        self.sessions.clear()

    @rule()
    def forget_sessions(self) -> None:
        self.sessions.clear()

    @precondition(lambda self: self.connected)
    @rule(count=st.integers(1, 5), joined=st.booleans())
    def write(self, count: int, joined: bool) -> None:
        if self.low > self.position + 1:
            self.down.append({"op": "gap", "from": self.position + 1, "to": self.low - 1, "cause": "retention"})
            self.position = self.low - 1
        first, last = self.position + 1, min(self.position + count, self.head)
        groups: list[list[int]] = []
        for offset in range(first, last + 1):
            if joined and groups and self._is_text(offset) and self._is_text(groups[-1][-1]):
                groups[-1].append(offset)
            else:
                groups.append([offset])
        messages = [self._event(group) for group in groups]
        if joined and messages:
            self.down.append({"op": "batch", "from": first, "to": last, "events": messages})
        else:
            self.down += messages
        self.position = max(last, self.position)
        if self.target is not None and self.position >= self.target:
            self.down.append({"op": "caught_up", "offset": self.position})
            self.target = None

    def _is_text(self, offset: int) -> bool:
        return self.log[offset - self.low] == "agent_delta"

    def _event(self, offsets: list[int]) -> dict[str, Any]:
        merged = {"seq0": offsets[0]} if len(offsets) > 1 else {}
        type_ = self.log[offsets[0] - self.low]
        place = {"thread_id": "t1", "seq": offsets[-1], "offset": offsets[-1]}
        return {"type": type_, "payload": {"ns": [[self.epoch, n] for n in offsets]}, **place, **merged}

    def _greet(self, hello: dict[str, Any]) -> None:
        self.session = hello.get("session", "")
        if self.session not in self.sessions:
            self.made += 1
            self.session = f"s_{self.made}"
            self.sessions.add(self.session)
        welcome = {"op": "welcome", "session": self.session, "epoch": self.epoch, "head": self.head, "low": self.low}
        resume = hello.get("resume")
        assert (None if resume is None else (resume["epoch"], resume["offset"])) == self.taken
        start, kind, more = self.low, "fresh", list[dict[str, Any]]()
        if resume is not None and (resume["epoch"] != self.epoch or resume["offset"] > self.head):
            kind, more = "reset", [{"op": "reset", "epoch": self.epoch, "low": self.low}]
        elif resume is not None and resume["offset"] < self.low - 1:
            kind = "gap"
            more = [{"op": "gap", "from": resume["offset"] + 1, "to": self.low - 1, "cause": "retention"}]
        elif resume is not None:
            kind, start = "replayed", resume["offset"] + 1
        self.down = [{**welcome, "start": start, "resume": kind}, *more]
        self.position, self.target = start - 1, self.head

    def _take(self, message: dict[str, Any]) -> None:
        """What the server does with a message of the client."""
        if message["op"] == "ack":
            assert message["offset"] <= self.position
            assert self.taken is not None
            assert self.taken[0] == self.epoch
            assert message["offset"] <= self.taken[1]
        elif message["op"] == "send":
            self.placed.setdefault(message["id"], set()).add(self.session)
            self.down.append({"op": "reply", "id": message["id"], "ok": True})

    # --- the network --------------------------------------------------------------

    @precondition(lambda self: not self.connected and self.client.wants_connection)
    @rule()
    def connect(self) -> None:
        self.connected = True
        self._greet(json.loads(self.client.hello()))

    @precondition(lambda self: self.connected and self.down)
    @rule(count=st.integers(1, 8))
    def deliver(self, count: int) -> None:
        for _ in range(min(count, len(self.down))):
            if not self.down:
                return
            message = self.down.pop(0)
            self.client.take(json.dumps(message))
            if message.get("resume") == "fresh" and self.place is None:
                self.place = self.taken = (message["epoch"], message["start"] - 1)
            self._look()

    @rule()
    def cut(self) -> None:
        if self.connected:
            self.connected = False
            self.down = []
            assert self.client.end(Ended(text="cut"), 0.5, self.now) is not None

    @rule(types=st.lists(st.sampled_from(["tick", "agent_delta", "agent_delta"]), max_size=6), count=st.integers(1, 9))
    def flow(self, types: list[str], count: int) -> None:
        """As things mostly go: what is emitted is written and arrives, on this connection or a new one."""
        self.log += types
        if not self.connected and self.client.wants_connection:
            self.connect()
        if self.connected:
            self.write(3, False)
            self.write(3, False)
        if self.connected and self.down:
            self.deliver(count)

    @rule(before=st.integers(0, 3), after=st.integers(0, 3))
    def come_back(self, before: int, after: int) -> None:
        """A connection breaks, and the application goes on with what it has while the next one begins."""
        self.cut()
        if before:
            self.take(before)
        if self.client.wants_connection:
            self.connect()
            self.deliver(1)
        if after:
            self.take(after)
        if self.connected:
            self.write(5, True)

    @rule(seconds=st.sampled_from([0.1, 1.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self._look()

    def _look(self) -> None:
        """What the tasks of a session do whenever something has happened."""
        if not self.connected:
            return
        leaving = self.client.wants_to_leave and self.client.welcomed
        for text in self.client.due(self.now, everything=leaving):
            self._take(json.loads(text))
        if leaving:
            self.connected = False
            self.down = []

    # --- the application ------------------------------------------------------------

    @rule(count=st.integers(1, 5))
    def take(self, count: int) -> None:
        for _ in range(count):
            self.inbox.mark_taken()
            if self.place is not None:
                self.taken = self.place
            if len(self.inbox):
                self._see(self.inbox.give())
            self._look()

    @rule()
    def ask(self) -> None:
        self.requests.append(self.client.requests.make(lambda id_: Send(id_, {}), lambda: None, lambda until: None))
        self._look()

    def _see(self, item: object) -> None:
        """The promise to an application: every offset once and in order, or in a Gap, or a new log."""
        assert self.place is not None
        if isinstance(item, Event):
            for epoch, offset in item.payload["ns"]:
                assert (epoch, offset) == (self.place[0], self.place[1] + 1)
                self.place = (epoch, offset)
            assert self.place[1] == item.offset
        elif isinstance(item, Gap):
            assert item.first == self.place[1] + 1
            self.place = (self.place[0], item.last)
        elif isinstance(item, Reset):
            assert not item.cause
            self.place = (item.epoch, item.low - 1)
        assert self.inbox.given == Cursor(*self.place)

    # --- what is always true ----------------------------------------------------------

    def teardown(self) -> None:
        """When the network is left in peace, everything arrives, and every request has one outcome."""
        for _ in range(200):
            if not self.connected and self.client.wants_connection:
                self.connect()
            if self.connected:
                self.write(5, True)
                while self.connected and self.down:
                    self.deliver(1)
            self.take(10)
        assert self.inbox.taken == Cursor(self.epoch, self.head)
        for request in self.requests:
            assert isinstance(request.outcome, str | SessionLost)
            assert len(self.placed.get(request.id, {None})) == 1, "carried out in two sessions"


Client.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestClient = Client.TestCase


def asked(number: int, nbytes: int = 0) -> str:
    return json.dumps({"op": "ask", "event": {"event_id": f"a{number}", "payload": {"x": "x" * nbytes}}})


@pytest.mark.parametrize(("retry_ms", "seconds"), [(0, 0.25), (-5, 0.25), (1_730, 1.73), (1e300, 60.0)])
def test_a_server_that_goes_away(retry_ms: float, seconds: float) -> None:
    """What a server asks for is waited; but never so little that it is a hot loop, nor for ever."""
    client = begun()
    client.take(json.dumps({"op": "going_away", "retry_ms": retry_ms}))
    assert client.end(Ended(text="", code=1012), 0.5, 0.0) == seconds


@pytest.mark.parametrize("nbytes", [0, 30_000])
def test_a_flood_of_questions(nbytes: int) -> None:
    """Questions wait for the application like anything else; those without room come again with the connection."""
    client = begun()
    for number in range(100):
        client.take(asked(number, nbytes))
    assert len(client.inbox) == (10 if not nbytes else 4)
    assert client.wants_to_leave
    while len(client.inbox):
        client.inbox.give()
        client.inbox.mark_taken()
    assert client.wants_connection
    client.hello()
    client.take(json.dumps({"op": "welcome", "session": "s", "epoch": "e", "head": 0, "low": 1, "start": 1,
                            "resume": "replayed"}))  # fmt: skip
    for number in range(5):
        client.take(asked(50 + number))
    assert len(client.inbox) == 5


def test_pongs_do_not_pile_up() -> None:
    """However many pings wait for an answer, one pong answers them."""
    client = begun()
    for _ in range(1_000):
        client.take('{"op":"ping","head":0}')
    assert client.due(0.0).count('{"op":"pong"}') == 1


def test_a_pong_to_an_earlier_ping_ends_nothing() -> None:
    """What is active and open follows the second ``caught_up``, and the pong to the first may come before it; with the
    pong to the second, what has not come is gone. A pong to no ping is nothing."""
    client, pong = begun(), '{"op":"pong"}'
    active = json.dumps({"op": "active", "event": {"run_id": "r", "thread_id": "t", "payload": {}}})
    all_there = ['{"op":"caught_up","offset":0}', active, asked(1)]

    def over(*texts: str) -> list[str]:
        for text in texts:
            client.take(text)
        given = iter(client.inbox.give, None)
        return [type(item).__name__ for item in given if isinstance(item, AskClosed | Inactive)]

    assert over(pong, *all_there, pong) == []
    assert over(*all_there, all_there[0], pong, *all_there[1:], pong, pong) == []
    assert client.due(0.0).count('{"op":"ping"}') == 2
    assert over(all_there[0], pong) == ["AskClosed", "Inactive"]


@pytest.mark.parametrize(("code", "forgiven"), [(1012, False), (4007, False), (1006, True)])
def test_a_hello_that_a_close_answered_is_not_late(code: int, forgiven: bool) -> None:
    """A server that closes before its welcome supersedes no other connection by it: the next 4500 is for good. One that
    broke says nothing of what the server does with its hello."""
    client = begun()
    client.end(Ended(text=""), 0.5, 0.0)
    client.hello()
    client.end(Ended(text="", code=code), 0.5, 1.0)
    client.hello()
    client.take(json.dumps(REPLAYED))
    assert (client.end(Ended(text="", code=4500), 0.5, 2.0) is not None) == forgiven


def test_a_server_that_always_fails_is_not_hurried() -> None:
    """A connection that is welcomed, and ends before it came to something, is one more failure: the time since the loss
    goes on. One that came to something begins it anew."""
    client, now, waits = begun(), 0.0, list[float]()
    replayed = {"op": "welcome", "session": "s", "epoch": "e", "head": 0, "low": 1, "start": 1, "resume": "replayed"}
    for _ in range(40):
        waits.append(client.end(Ended(text="vanished"), 0.5, now) or 0.0)
        now += waits[-1]
        client.hello()
        client.take(json.dumps(replayed))
        client.take('{"op":"caught_up","offset":0}')
    assert waits == sorted(waits)
    assert waits[-1] == 5
    client.take('{"op":"ping","head":0}')
    assert client.end(Ended(text="vanished"), 0.5, now) == 0.25
    assert client.failures == 1


@pytest.mark.parametrize("text", ["", "{", "[]", "1", '{"op":"welcome"}', '{"type":"x"}', '{"op":"gap","from":"a"}'])
def test_what_is_no_message(text: str) -> None:
    """Anything that is not one is a bad message; an op that is not known is nothing at all."""
    with pytest.raises(PeerError, match="expected a message of the protocol"):
        decode(text)
    assert decode('{"op":"news","of":"tomorrow"}') is None
