"""The transcripts in ``transcripts`` are what this server does, to the message and to the second.

The peers are raw ones, which share no code with the server. Time is virtual, so
that waiting costs nothing and ``within_s`` is exact.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import re
from contextlib import suppress
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, memory_stream_pump, wait_all_tasks_blocked

import actors
from actors.environment import Environment
from actors.limits import Limits
from actors.protocol.codes import CLOSING_BY_CODE, CLOSINGS, REFUSALS
from actors.runtime import Runtime
from actors.server.authentication import Credentials
from actors.stores.memory import MemoryStore
from tests.protocol.reading import (
    ALL,
    CLIENT_ONLY,
    FIELDS,
    PATIENCE_SECONDS,
    SCENARIOS,
    SERVER_ONLY,
    Ranges,
    Scenario,
    split,
)
from tests.protocol.test_page import PAGE
from tests.support.raw import ACTORS, CLOSE, PING, PONG, TEXT, Message, Peer, close_frame, frame, upgrade_request

GOODBYE_SECONDS = 3.0
"""What a server gets to end a connection after its Close."""

WALL_CLOCK = 1_763_812_345.25

OURS = re.compile(r"listeners/(authenticate|authorize)|runs/")
"""Paths of failures that scenarios ask for: those of the application."""

LEFT_OUT = {
    "refusal quarantined": "needs a server that fails again and again",
    "refusal dropped": "needs a server that loses a message, or a store that lets it go at once",
    "refusal failed": "needs a server that fails",
    "close failed": "needs a server that fails",
    "close quarantined": "needs a server that fails again and again",
    "close revoked": "needs an application that takes a user's credentials back",
}
"""What is on the page and in no transcript, and why."""


def bytes_of(text: str) -> bytes:
    """Bytes as a transcript has them, in hexadecimal digits."""
    return bytes.fromhex(text)


# --- what is equal ------------------------------------------------------------------


@attrs.define
class Names:
    """What the strings that begin with ``$`` stand for in one scenario."""

    bound: dict[str, Any] = attrs.field(factory=dict)

    def fill(self, said: Any) -> Any:
        """A message with its names replaced by what they stand for."""
        if isinstance(said, dict):
            return {key: self.fill(value) for key, value in said.items()}
        if isinstance(said, list):
            return [self.fill(value) for value in said]
        if isinstance(said, str) and said.startswith("$"):
            assert said in self.bound, f"{said} stands for nothing yet"
            return self.bound[said]
        return said

    def differ(self, expected: Any, came: Any, where: str = "the message") -> str | None:
        """What is different, if anything is; names that stand for nothing yet do so from now on."""
        if expected == "*":
            return None
        if isinstance(expected, str) and expected.startswith("$"):
            if self.bound.setdefault(expected, came) == came:
                return None
            return f"{where} is not {expected}, which is {self.bound[expected]!r}"
        if type(expected) is not type(came) and not _are_numbers(expected, came):
            return f"{where} is another kind of thing"
        if isinstance(expected, dict):
            missing = [key for key in expected if key not in came]
            if missing:
                return f"{where} has no {missing[0]}"
            pairs = [(value, came[key], f"{key} in {where}") for key, value in expected.items()]
        elif isinstance(expected, list):
            if len(expected) != len(came):
                return f"{where} has {len(came)} items"
            pairs = [(*both, f"{n} in {where}") for n, both in enumerate(zip(expected, came, strict=True))]
        else:
            return None if expected == came else f"{where} is not equal"
        return next((told for pair in pairs if (told := self.differ(*pair)) is not None), None)

    def are_alike(self, expected: Any, came: Any) -> bool:
        """Whether nothing is different; nothing is bound when something is."""
        before = dict(self.bound)
        if self.differ(expected, came) is None:
            return True
        self.bound = before
        return False


def _are_numbers(*values: object) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def unmentioned(expected: Any, came: Any, where: str) -> list[str]:
    """Fields of a message that a transcript does not have. What a welcome says of limits stands for itself."""
    if isinstance(expected, dict):
        extra = [f"{key} in {where}" for key in came if key not in expected and key not in {"ping_s", "limits"}]
        return extra + [one for key in expected for one in unmentioned(expected[key], came[key], f"{key} in {where}")]
    if isinstance(expected, list):
        return [one for both in zip(expected, came, strict=True) for one in unmentioned(*both, where)]
    return []


# --- the application, which every scenario has ----------------------------------------


async def authenticate(credentials: Credentials) -> str | None:
    """A token is the user's name; nobody is not a user, and somebody cannot be looked up."""
    if credentials.token == "somebody":
        raise OSError("the directory of users is away")
    return None if credentials.token == "nobody" else credentials.token


async def authorize(user_id: str, thread_id: str) -> bool:
    """Threads that are called open may be had; which others may is not known of those that are called broken."""
    if thread_id.startswith("broken"):
        raise OSError("the directory of threads is away")
    return thread_id.startswith("open")


async def agent(run: actors.Run, message: actors.Message) -> Any:
    """Does what the payload of the message says."""
    payload = message.payload
    await run.thinking(payload["text"])
    if "wait_s" in payload:
        with trio.CancelScope(shield=payload.get("stubborn", False)):
            await trio.sleep(payload["wait_s"])
    for text in payload.get("words", ()):
        run.delta(text)
    if "fail" in payload:
        raise ValueError(payload["fail"])
    return payload.get("result")


# --- playing ----------------------------------------------------------------------------


@attrs.define
class Device:
    """One connection of a scenario, at its client's end."""

    peer: Peer
    pipe: trio.Event
    """Set while the server can hand something over."""
    connection: Any = None
    """The server's end, to know why it ended."""
    ranges: Ranges = attrs.field(factory=Ranges)
    over: bool = False

    async def next_text(self) -> Message | int | str:
        """What comes next: a message, the code of a Close, or the end. Answers what a WebSocket library answers."""
        peer = self.peer
        while (came := await peer.next_frame()) is not None:
            if came.opcode == TEXT:
                message: Message = json.loads(came.payload)
                return message
            if came.opcode == CLOSE:
                await self._answer(close_frame(int.from_bytes(came.payload[:2])))
                return int.from_bytes(came.payload[:2])
            if came.opcode == PING:
                await self._answer(frame(PONG, came.payload))
        return "the end"

    async def _answer(self, data: bytes) -> None:
        with suppress(trio.BrokenResourceError):
            await self.peer.send(data)


class TranscriptRun:
    """One scenario against one runtime."""

    def __init__(self, runtime: Runtime, nursery: trio.Nursery) -> None:
        self.runtime = runtime
        self.names = Names()
        self.devices: dict[str, Device] = {}
        self.unmentioned: list[str] = []
        self._nursery = nursery
        self._questions: dict[str, trio.CancelScope] = {}

    async def step(self, step: dict[str, Any]) -> None:
        """Do a step; afterwards everything has happened that happens without the time going on."""
        name, kind, fields = split(step)
        do = getattr(self, kind if name else f"do_{kind}")
        await (do(self.devices[name], **fields) if name else do(fields.pop(""), **fields))
        await wait_all_tasks_blocked()

    async def end(self) -> None:
        """Nothing was said that nobody has heard."""
        for device in self.devices.values():
            if not device.over:
                await self._heard_all(device)

    # --- what devices do ----------------------------------------------------------

    async def do_open(
        self, name: str, offers: tuple[str, ...] = (ACTORS,), cookie: str | None = None, status: int = 101
    ) -> None:
        before = self.devices.get(name)
        assert before is None or before.over, f"{name} is connected"
        ours, theirs = memory_stream_pair()
        pipe = trio.Event()
        pipe.set()
        device = self.devices[name] = Device(Peer(ours), pipe)

        hand_over = theirs.send_stream.send_all_hook

        async def hand_over_when_it_is_possible() -> None:
            await device.pipe.wait()
            assert hand_over is not None, "the two ends are connected"
            await hand_over()

        def hand_over_and_end() -> None:
            memory_stream_pump(theirs.send_stream, ours.receive_stream)
            memory_stream_pump(theirs.send_stream, ours.receive_stream)

        theirs.send_stream.send_all_hook = hand_over_when_it_is_possible
        theirs.send_stream.close_hook = hand_over_and_end
        known = set(self.runtime.tree.server.connections.values())
        self._nursery.start_soon(self.runtime.handle, theirs)
        cookies = None if cookie is None else f"actors_token={cookie}"
        answer = await device.peer.ask(upgrade_request(*offers, cookie=cookies))
        assert answer.status == status, f"the status {status}; came {answer}"
        if status == 101:
            assert answer.headers.get("sec-websocket-protocol") == (ACTORS if ACTORS in offers else None)
            (device.connection,) = set(self.runtime.tree.server.connections.values()) - known
        else:
            device.over = True

    async def says(
        self,
        device: Device,
        message: Message | None = None,
        text: str | None = None,
        binary: str | None = None,
        bytes: str | None = None,  # noqa: A002 - the word of the vocabulary
        times: int = 1,
    ) -> None:
        if message is not None:
            data = frame(TEXT, json.dumps(self.names.fill(message)).encode())
        elif text is not None:
            data = frame(TEXT, text.encode())
        elif binary is not None:
            data = frame(0x2, bytes_of(binary))
        else:
            assert bytes is not None, "something to say"
            data = bytes_of(bytes)
        await device.peer.send(data * times)

    async def hears(
        self,
        device: Device,
        message: Message | None = None,
        in_any_order: list[Message] | None = None,
        within_s: float = PATIENCE_SECONDS,
    ) -> None:
        expected = [message] if in_any_order is None else list(in_any_order)
        until = trio.current_time() + within_s
        while expected:
            came = await self._next(device, until - trio.current_time())
            one = next((one for one in expected if self.names.are_alike(one, came)), None)
            if one is None:
                which = expected[0] if len(expected) == 1 else {"one of": expected}
                told = self.names.differ(expected[0], came) if len(expected) == 1 else "it is none of them"
                raise AssertionError(f"{self._told(which)}; came {self._told(came)}: {told}")
            assert isinstance(came, dict)
            wrong = device.ranges.take(came)
            assert wrong is None, f"a range that follows; {wrong}"
            self.unmentioned += unmentioned(one, came, came.get("op", "an event"))
            expected.remove(one)

    async def hears_nothing(self, device: Device, for_s: float) -> None:
        came = await self._next(device, for_s)
        assert came is None, f"nothing for {for_s} s; came {self._told(came)}"

    async def closed(self, device: Device, code: int, within_s: float = PATIENCE_SECONDS) -> None:
        came = await self._next(device, within_s)
        assert came == code, f"a Close with {code}; came {self._told(came)}"
        ending = await self._next(device, GOODBYE_SECONDS)
        assert ending == "the end", f"the end after a Close; came {ending}"
        device.over = True

    async def lost(self, device: Device, because: str | None = None, within_s: float = PATIENCE_SECONDS) -> None:
        came = await self._next(device, within_s)
        while isinstance(came, dict) and not device.pipe.is_set():  # it was under way, and is lost
            came = await self._next(device, within_s)
        assert came == "the end", f"the end of the connection without a Close; came {self._told(came)}"
        ended = device.connection._peer.ending.reason
        assert because is None or (ended is not None and ended[0] == because), f"an end that is {because}; was {ended}"
        device.over = True

    async def leaves(self, device: Device, code: int | None = 1000) -> None:
        await self._heard_all(device)
        await device.peer.send(frame(CLOSE) if code is None else close_frame(code))
        ending = await device.peer.ending()
        assert ending is not None, "a Close in answer; came none"
        device.over = True

    async def drops(self, device: Device) -> None:
        await self._heard_all(device)
        await trio.aclose_forcefully(device.peer.stream)
        device.over = True
        await wait_all_tasks_blocked()
        ended = device.connection._peer.ending.reason
        assert ended is not None, "a server that notices"
        assert ended[0] == "vanished", f"an end that is vanished; was {ended}"

    async def stays_away(self, device: Device, for_s: float) -> None:
        assert device.over, "a device that was sent away"
        await trio.sleep(for_s)

    async def is_cut_off(self, device: Device) -> None:
        device.pipe = trio.Event()

    async def is_back(self, device: Device) -> None:
        device.pipe.set()

    # --- what happens beside ---------------------------------------------------------

    async def do_emit(self, event: dict[str, Any]) -> None:
        event = self.names.fill(event)
        await self.runtime.thread(event.pop("thread_id")).emit(event.pop("type"), event.pop("payload"), **event)

    async def do_bind(self, whose: dict[str, str]) -> None:
        await self.runtime.bind(**whose)

    async def do_rebind(self, whose: dict[str, str]) -> None:
        await self.runtime.rebind(**whose)

    async def do_fork(self, log: dict[str, Any]) -> None:
        store = self.runtime.tree.store
        assert isinstance(store, MemoryStore), "a store whose logs can be made to fork"
        store.state.fork(**log)
        self.runtime.tree.registry.ring(log["user_id"], "t1")

    async def do_ask(self, question: dict[str, Any]) -> None:
        asking = self._questions[question["thread_id"]] = trio.CancelScope()

        async def ask() -> None:
            thread, run_id = self.runtime.thread(question["thread_id"]), question.get("run_id")
            timeout = question.get("timeout_s", math.inf)
            with asking, suppress(actors.Unanswered):
                await thread.ask(question["type"], question["payload"], timeout=timeout, run_id=run_id)

        self._nursery.start_soon(ask)

    async def do_withdraw(self, thread_id: str) -> None:
        self._questions.pop(thread_id).cancel()

    async def do_wait_s(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def do_drain(self, how: dict[str, Any]) -> None:
        async def drain() -> None:
            await self.runtime.drain(how["deadline_s"], runs=how.get("runs", "finish"))

        self._nursery.start_soon(drain)

    async def _heard_all(self, device: Device) -> None:
        """Nothing was said that is not written down."""
        if device.pipe.is_set():
            came = await self._next(device, 0)
            assert came is None, f"nothing more to be heard before this; came {self._told(came)}"

    async def _next(self, device: Device, seconds: float) -> Message | int | str | None:
        """What comes next, and comes in time."""
        with trio.move_on_after(max(seconds, 0) + 1e-6):
            return await device.next_text()
        return None

    def _told(self, message: object) -> str:
        return json.dumps(message) if isinstance(message, dict) else str(message)


async def play(scenario: Scenario) -> TranscriptRun:
    """TranscriptRun a scenario to its end; fails with its file, its name, and the number of its step."""
    numbers, begun = itertools.count(1), trio.current_time()
    environment = Environment(
        wall_clock=lambda: WALL_CLOCK + trio.current_time() - begun,
        entropy=lambda size: next(numbers).to_bytes(size, "big"),
        random=random.Random(0),
    )
    async with (
        trio.open_nursery() as nursery,
        actors.open_runtime(
            authenticate=authenticate,
            authorize=authorize,
            on_message=agent if scenario.agent else None,
            limits=Limits(**scenario.limits),
            environment=environment,
        ) as runtime,
    ):
        playing = TranscriptRun(runtime, nursery)
        for number, step in enumerate(scenario.steps, 1):
            try:
                await playing.step(step)
            except AssertionError as error:
                told = f"{scenario.file}.json, {scenario.name}, step {number} {json.dumps(step)}: expected {error}"
                raise AssertionError(told) from None
        try:
            await playing.end()
        except AssertionError as error:
            raise AssertionError(f"{scenario.file}.json, {scenario.name}, at the end: expected {error}") from None
        failed = [str(one) for one in runtime.failures if not OURS.match(one.path)]
        assert failed == []
    return playing


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
async def test_transcript(scenario: Scenario, autojump_clock: MockClock) -> None:
    """What is written down is what this server does; and it says nothing that is not written down."""
    playing = await play(scenario)
    assert playing.unmentioned == []


# --- the transcripts themselves --------------------------------------------------------------


@pytest.mark.parametrize("scenario", ALL, ids=str)
def test_vocabulary(scenario: Scenario) -> None:
    """Each step is of one of the kinds, and says what its kind has to."""
    for step in scenario.steps:
        _, kind, fields = split(step)
        must, may = FIELDS[kind]
        assert must <= set(fields) - {""} <= must | may, step
        assert scenario.client_only or kind not in CLIENT_ONLY, step
        assert scenario.client_only or kind != "says" or "within_s" not in fields, step
    assert set(scenario.limits) <= {field.name for field in attrs.fields(Limits)}
    assert scenario.about.endswith(".")
    assert not (scenario.server_only and scenario.client_only)


@pytest.mark.parametrize("scenario", [scenario for scenario in ALL if not scenario.server_only], ids=str)
def test_a_client_would_do_this(scenario: Scenario) -> None:
    """What devices say where it is not for servers alone is what a client says: it confirms, and comes back with, all
    that it took; and says nothing that is malformed."""
    ranges: dict[str, Ranges] = {}
    busy: dict[str, int | None] = {}
    left: set[str] = set()
    for step in scenario.steps:
        assert not SERVER_ONLY & set(step), step
        assert step.get("offers") != []
        name, kind, fields = split(step)
        messages = [fields["message"]] if "message" in fields else fields.get("in_any_order", [])
        if kind == "leaves":
            left.add(name)
        if kind == "is_busy":
            busy[name] = ranges[name].last
        if kind == "is_free":
            del busy[name]
        if kind == "hears":
            for message in sorted(messages, key=lambda one: one.get("offset", 0)):
                _take(ranges.setdefault(name, Ranges()), message)
        elif kind == "says" and (message := messages[0])["op"] == "ack":
            assert message["offset"] == busy.get(name, ranges[name].last), step
        elif kind == "says" and message["op"] == "hello" and name in ranges and ranges[name].last is not None:
            resume = message.get("resume")
            taken = busy.get(name, ranges[name].last)
            assert (resume is None and name in left) or resume["offset"] == taken, step


def _take(ranges: Ranges, message: Message) -> None:
    """Take a message as a client does, which drops what it has seen; of a hole it takes nothing."""
    before = ranges.last
    if ranges.take(message) is not None:
        ranges.last = before


def test_a_client_is_closed_with_every_code() -> None:
    """Every row of the table that a Close can say is said to a client; after the final ones it is seen to stay away."""
    steps = [step for scenario in ALL if not scenario.server_only for step in scenario.steps]
    rows = [row for row in CLOSINGS.values() if row.name != "vanished"]
    assert {row.code for row in rows} <= {step["code"] for step in steps if "closed" in step.values()}
    stayed = {step.get("code") for step, after in itertools.pairwise(steps) if "stays_away" in after.values()}
    assert {row.code for row in rows if not row.temporary} <= stayed


def test_names() -> None:
    """No two scenarios have one name."""
    assert len({str(scenario) for scenario in ALL}) == len(ALL)


def test_everything_on_the_page() -> None:
    """Every op, kind of resume, refusal and close code is in a transcript, or is left out for a reason."""
    heard = [message for scenario in SCENARIOS for message in scenario.messages("hears")]
    said = [message for scenario in SCENARIOS for message in scenario.messages("says")]
    steps = [step for scenario in SCENARIOS for step in scenario.steps]
    verbs = {verb for step in steps for verb in step.values() if isinstance(verb, str)}
    seen = {f"op {message['op']}" for message in [*heard, *said] if "op" in message}
    seen |= {f"resume {message['resume']}" for message in heard if message.get("op") == "welcome"}
    refused = [message["error"] for message in heard if message.get("op") == "reply" and "error" in message]
    seen |= {f"refusal {error['name']}" for error in refused}
    seen |= {f"close {CLOSING_BY_CODE[step['code']].name}" for step in steps if "closed" in step.values()}
    seen |= {f"close {step['because']}" for step in steps if "because" in step}
    seen |= {f"close {name}" for verb, name in (("leaves", "left"), ("drops", "vanished")) if verb in verbs}
    due = {f"op {op}" for op in re.findall(r'"op":"(\w+)"', PAGE)}
    due |= {f"resume {kind}" for kind in ("fresh", "replayed", "renamed", "gap", "reset")}
    due |= {f"refusal {name}" for name in REFUSALS} | {f"close {name}" for name in CLOSINGS}
    assert due - seen == set(LEFT_OUT)
