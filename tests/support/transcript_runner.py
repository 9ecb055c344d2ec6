"""The transcripts, played to a client: its server, its application and the time that goes by are the runner's.

A transcript is played once for each of its devices, as if there were no other. What a client does is compared after
each step: what it says, what it confirms and when, what it gives to its application, when it connects and when not.
What differs from client to client is behind :class:`~tests.support.client_interface.Client`.
"""

from __future__ import annotations

import itertools
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import trio

from actors.limits import Limits
from actors.protocol.codes import is_temporary
from tests.protocol.reading import ALL, PATIENCE_SECONDS, Scenario, split
from tests.support.client_interface import Client, ClientView, ServerSide, SessionOptions
from tests.support.expected_items import ExpectedItems
from tests.support.raw import Message

REQUESTS = frozenset({"send", "cancel", "answer", "read"})
DEFAULTS = {"type": "user_message", "after_seq": 0, "from": "unacked"}
"""The fields that a client may send or leave out."""

GOODBYES = frozenset({1000, 1001, 1005})
LEAVE_SECONDS = 7.0
"""The time that leaving may take."""

LEAST_WAIT_SECONDS, MOST_WAIT_SECONDS = 0.5, 10.0
"""The ceiling of the first wait doubles to that of the last: section 9 of the page."""

_ROUNDING_SECONDS = 1e-6


# --- what is played ----------------------------------------------------------------

LEFT_OUT = {
    "server_only": "no client does this of its own accord",
    "offers": "it is another way of saying a token, which these clients say in the hello",
    "requests:too_many_requests": "a client that keeps to the limit of requests does not get there",
}
"""The scenarios that no client plays, by their names or by what they need, and why."""


def devices(scenario: Scenario) -> list[str]:
    """The letters of a scenario."""
    return sorted({name for step in scenario.steps if (name := split(step)[0] or step.get("open"))})


EVERY = [(scenario, device) for scenario in ALL for device in devices(scenario)]
"""Each device of each scenario: it is played as if there were no other."""


def why_not(scenario: Scenario, device: str, lacks: Mapping[str, str]) -> str | None:
    """The row of :data:`LEFT_OUT`, or of what one client ``lacks``, for which a device is left out."""
    needs = {str(scenario)} | ({"server_only"} if scenario.server_only else set())
    for step in scenario.steps:
        if step.get("open") == device:
            needs |= set(step) - {"open"}
        elif device in step:
            needs.add(step[device])
    return next((row for row in [*LEFT_OUT, *lacks] if row in needs), None)


def plays(lacks: Mapping[str, str]) -> list[tuple[Scenario, str]]:
    """Every scenario with each device that is not left out."""
    return [play for play in EVERY if why_not(*play, lacks) is None]


def left_out(lacks: Mapping[str, str]) -> set[str]:
    """Return the scenarios that a client could play, and that are left out for another reason than being for servers
    only."""
    rows = {f"{scenario}:{device}": why_not(scenario, device, lacks) for scenario, device in EVERY}
    assert {row for row in rows.values() if row is not None} == {*LEFT_OUT, *lacks}, "every row has its use"
    return {play for play, row in rows.items() if row not in {None, "server_only"}}


# --- playing ---------------------------------------------------------------------------


class TranscriptRun:
    """One device of one scenario, played to one client."""

    def __init__(self, client: Client, scenario: Scenario, device: str, nursery: trio.Nursery) -> None:
        self._client = client
        self._scenario = scenario
        self._device = device
        self._nursery = nursery
        self._limits = Limits(**scenario.limits)
        self._names: dict[str, Any] = {}
        self._numbers = itertools.count(1)
        self._wanted: set[str] = set()
        """Requests that the application has made."""
        self._ids: dict[str, str] = {}
        """The client's own ids of requests, by those of the transcript."""
        self._now = 0.0
        self._view = ClientView(0, [], {}, None, None)
        self._expected = ExpectedItems()
        self._server_side: ServerSide | None = None
        self._accepted = 0
        self._begins = True
        """The next connection is the first of a client."""
        self._kept: tuple[str, int] | None = None
        """The cursor that an application kept that has left."""
        self._welcomed = False
        self._cut_off = False
        self._pings = 0
        """Of the client, without an answer."""
        self._busy_since: int | None = None
        """The last offset before the application did not come back."""
        self._acked = 0
        self._lost_at: float | None = None
        """When its first connection ended: a client counts from no earlier moment."""
        self._ended_at = 0.0
        self._retry_seconds: float | None = None
        """The time that the client is to be away after this connection."""
        self._said: deque[Message] = deque()

    async def run(self) -> None:
        """TranscriptRun all steps; fails with the scenario, the device, and the number of the step."""
        for number, step in enumerate([*self._scenario.steps, None], 1):
            try:
                await (self._end() if step is None else self._step(step))
            except AssertionError as error:
                where = "at the end" if step is None else f"step {number} {json.dumps(step)}"
                raise AssertionError(f"{self._scenario}, {self._device}, {where}: {error}") from None

    async def _step(self, step: dict[str, Any]) -> None:
        name, kind, fields = split(step)
        if name == self._device:
            if kind != "hears":
                await self._answer()
            await getattr(self, f"_{kind}")(**fields)
        elif kind == "open" and fields.pop("") == self._device:
            await self._open(step, **fields)
        elif kind == "wait_s" and self._server_side is not None:
            await self._hears_nothing(fields[""])

    async def _end(self) -> None:
        """Check that the client acks in time what it took, and says nothing that the transcript does not have."""
        await self._answer()
        if self._server_side is not None and self._welcomed:
            await self._until(
                lambda: self._acked == self._expected.last, self._limits.ack_seconds, "a confirmation of all"
            )
            self._nothing_dialled()
        self._nothing_said()
        self._compare_given()

    # --- connections -----------------------------------------------------------------

    async def _open(self, step: dict[str, Any], cookie: str | None = None) -> None:
        assert self._server_side is None, "one connection at a time"
        within = 0.0 if self._begins else max(0.0, self._ended_at + self._wait_ceiling() - self._now)
        due_at = self._ended_at + (self._retry_seconds or 0.0)
        if self._begins:
            await self._client.begin(self._wishes(step, cookie))
        await self._until(lambda: self._view.dialled > self._accepted, within, "a connection")
        assert self._now > due_at - _ROUNDING_SECONDS, f"came back after {self._now:g} s, and was asked for {due_at:g}"
        line = await self._client.accept()
        await line.upgrade()
        assert cookie is None or f"actors_token={cookie}" in line.head, "a cookie"
        self._server_side = ServerSide(line, self._accepted)
        self._accepted += 1
        self._welcomed = self._cut_off = False
        self._pings = 0
        self._retry_seconds = None
        self._expected.begin()
        self._nursery.start_soon(self._server_side.listen)
        await self._settle()

    def _wishes(self, step: dict[str, Any], cookie: str | None) -> SessionOptions:
        """Return the fields of the hello that an application decides; after it has left, with what it kept."""
        steps = self._scenario.steps
        rest = itertools.islice(steps, next(n for n, one in enumerate(steps) if one is step), None)
        mine = (split(one) for one in rest)
        hellos = (fields["message"] for name, kind, fields in mine if (name, kind) == (self._device, "says"))
        hello = self._filled(next(hellos, {"token": "alice"}))
        resume = hello.get("resume")
        cursor = None if resume is None else (resume["epoch"], resume["offset"])
        if self._accepted:
            assert self._kept == cursor, f"the cursor {cursor} after leaving, got {self._kept}"
        self._expected.last = None if cursor is None else cursor[1]
        return SessionOptions(hello.get("token"), hello.get("from", "unacked"), cursor, cookie)

    def _wait_ceiling(self) -> float:
        if self._retry_seconds is not None:
            return self._retry_seconds
        lost_seconds = 0.0 if self._lost_at is None else self._ended_at - self._lost_at
        return min(MOST_WAIT_SECONDS, max(LEAST_WAIT_SECONDS, lost_seconds))

    async def _drops(self) -> None:
        self._nothing_said()
        await self._live.end()
        await self._ended()

    async def _closed(self, code: int, within_s: float = 0.0) -> None:
        self._nothing_said()
        await self._live.close(code)
        await self._until(lambda: self._live.ended, LEAVE_SECONDS, "an answer to the Close")
        await self._ended()
        final = None if is_temporary(code) else code
        assert self._view.refused == final, f"expected a refusal with {final}, got {self._view.refused}"

    async def _lost(self, because: str | None = None, within_s: float = PATIENCE_SECONDS) -> None:
        await self._until(lambda: self._live.ended, within_s, "a client that gives up")
        await self._ended()

    async def _leaves(self, code: int | None = 1000) -> None:
        """Of its own accord after a defect, else because its application wants it."""
        self._nothing_said()
        by_itself = self._expected.defect
        if not by_itself:
            self._kept = self._view.cursor
            await self._client.leave()
        await self._until(lambda: self._live.ended, 0.0 if by_itself else LEAVE_SECONDS, "a goodbye")
        if not by_itself and self._welcomed:
            assert self._live.goodbye in GOODBYES, f"expected a goodbye, got {self._live.goodbye}"
            assert self._acked == self._expected.last, f"expected all to be confirmed, got {self._acked}"
        self._begins = not by_itself
        await self._ended()

    async def _ended(self) -> None:
        """The connection is over; the client has noticed."""
        await self._settle()
        self._server_side = None
        self._ended_at = self._now
        self._lost_at = self._now if self._lost_at is None else self._lost_at

    async def _stays_away(self, for_s: float) -> None:
        until = self._now + for_s
        while until - self._now > _ROUNDING_SECONDS:
            self._now += await self._client.advance(until - self._now)
            await self._settle()
            self._nothing_dialled()

    async def _is_cut_off(self) -> None:
        self._cut_off = True

    async def _is_back(self) -> None:
        self._cut_off = False
        await self._answer()

    # --- the application -----------------------------------------------------------------

    async def _is_busy(self) -> None:
        self._busy_since = self._expected.held = self._expected.last
        await self._client.hold()

    async def _is_free(self) -> None:
        self._busy_since = self._expected.held = None
        await self._client.release()
        await self._settle()
        self._compare_given()

    async def _wants(self, message: Message) -> None:
        wish = self._filled(message)
        self._wanted.add(wish["id"])
        await self._client.ask(wish["id"], wish)
        await self._settle()

    # --- what is said ----------------------------------------------------------------------

    async def _says(self, message: Message, within_s: float = PATIENCE_SECONDS) -> None:
        expected = self._filled(message)
        if expected["op"] == "ack":
            offset = expected["offset"]
            await self._until(lambda: self._acked >= offset, within_s, f"a confirmation of {offset}")
            return
        if expected["op"] in REQUESTS and expected["id"] not in self._wanted:
            await self._wants(message)
        await self._until(lambda: bool(self._said), within_s, f"{expected}")
        self._compare(expected, self._said.popleft())

    def _compare(self, expected: Message, said: Message) -> None:
        if expected["op"] in REQUESTS:
            expected["id"] = self._ids.setdefault(expected["id"], said.get("id", "nothing"))
            assert len(set(self._ids.values())) == len(self._ids), f"expected ids of their own, got {self._ids}"
        if expected["op"] == "hello" and self._begins:
            expected.pop("session", None)  # these clients keep it no longer than their applications keep them
            self._begins = False
        if "renames" not in expected:
            said.pop("renames", None)
        if expected["op"] == "hello":
            self._expected.resume(expected.get("resume"))
        for message in (expected, said):
            for field, default in DEFAULTS.items():
                if message.get(field) == default:
                    del message[field]
        assert said == expected, f"expected {expected}, got {said}"

    async def _hears(
        self, message: Message | None = None, in_any_order: list[Message] | None = None, within_s: float = 0.0
    ) -> None:
        assert not self._cut_off, "a device that can be reached"
        messages = [message] if message is not None else in_any_order or []
        for one in messages:
            heard = self._filled(one)
            if heard.get("op") == "reply":
                heard["id"] = self._ids.get(heard["id"], heard["id"])
            if heard.get("op") == "welcome":
                heard |= self._asked()
            await self._live.say(heard)
            self._follow(heard)
        await self._settle()
        self._compare_given()
        self._compare_outcomes(messages)
        if self._expected.run_ended and self._busy_since is None:
            assert self._acked == self._expected.last, "expected a confirmation at once, since a run has ended"
            self._expected.run_ended = False

    def _asked(self) -> Message:
        """Return the limits that a welcome asks a client to keep."""
        limits = self._limits
        asked = {
            "message_bytes": limits.inbound_bytes,
            "messages_per_s": limits.inbound_messages_per_second,
            "ack_events": limits.ack_events,
            "ack_s": limits.ack_seconds,
            "requests": limits.requests,
        }
        return {"ping_s": limits.ping_seconds, "limits": asked}

    def _follow(self, heard: Message) -> None:
        """Note what follows from what the client has heard."""
        self._expected.hear(heard)
        match heard.get("op"):
            case "welcome":
                self._welcomed = True
                begins = self._busy_since is None or heard["resume"] == "fresh"
                self._acked = (self._expected.last if begins else self._busy_since) or 0
            case "reset":
                self._acked = self._expected.last or 0
            case "going_away":
                self._retry_seconds = heard["retry_ms"] / 1000

    def _compare_given(self) -> None:
        if self._busy_since is None:
            given, due = self._view.given, self._expected.items
            assert given == due, f"expected to be given {due}, got {given}"

    def _compare_outcomes(self, messages: list[Message]) -> None:
        """The application that has asked knows what the reply says."""
        for message in messages:
            if message.get("op") == "reply" and message["id"] in self._ids:
                reply = self._filled(message)
                outcome = self._view.outcomes.get(reply["id"])
                expected = reply.get("error", reply)
                assert outcome is not None, f"expected an outcome of {reply['id']}, got none"
                assert outcome.keys() >= expected.keys() - {"op", "id", "ok", "ask"}, f"{reply}; got {outcome}"
                shared = {field: expected[field] for field in outcome.keys() & expected.keys() - {"message", "id"}}
                assert shared.items() <= outcome.items(), f"expected {reply}, got {outcome}"

    async def _hears_nothing(self, for_s: float) -> None:
        until = self._now + for_s
        while until - self._now > _ROUNDING_SECONDS:
            self._now += await self._client.advance(until - self._now)
            await self._answer()
            assert not self._live.ended, f"expected a client that stays, got one that left after {self._now:g} s"
        self._nothing_said()
        self._compare_given()

    # --- time ------------------------------------------------------------------------------

    @property
    def _live(self) -> ServerSide:
        assert self._server_side is not None, "a connection"
        return self._server_side

    async def _until(self, condition: Callable[[], bool], within_seconds: float, what: str) -> None:
        """Let time go by until something is there, at most so long."""
        until = self._now + within_seconds + _ROUNDING_SECONDS
        await self._answer()
        while not condition():
            assert until - self._now > _ROUNDING_SECONDS / 2, f"expected {what} within {within_seconds:g} s"
            self._now += await self._client.advance(until - self._now)
            await self._answer()

    async def _settle(self) -> None:
        """Everything has happened that happens without the time going on."""
        self._view = await self._client.settle(self._server_side)
        for message in self._heard():
            self._take(message)

    async def _answer(self) -> None:
        """Answer pings, after all that is to be heard before the time goes on: open questions come before a pong."""
        await self._settle()
        while self._pings and self._server_side is not None and not self._cut_off:
            self._pings -= 1
            await self._server_side.say({"op": "pong"})
            self._expected.pong()
            await self._settle()

    def _heard(self) -> Iterator[Message]:
        while self._server_side is not None and self._server_side.said:
            yield self._server_side.said.popleft()

    def _take(self, message: Message) -> None:
        """Take what a client says; it may ping and confirm at any time."""
        if message["op"] == "ping":
            self._pings += 1
        elif message["op"] == "ack":
            most = self._expected.last if self._busy_since is None else self._busy_since
            right = self._welcomed and most is not None and self._acked < message["offset"] <= most
            assert right, f"expected a confirmation after {self._acked} and up to {most}, got {message}"
            self._acked = message["offset"]
        else:
            self._said.append(message)

    def _nothing_said(self) -> None:
        """Nothing is left that was said; a hello may cross a goodbye."""
        while self._said and self._said[0]["op"] == "hello" and not self._welcomed:
            self._said.popleft()
            self._begins = False
        assert not self._said, f"expected nothing more, got {list(self._said)}"

    def _nothing_dialled(self) -> None:
        assert self._view.dialled == self._accepted, "expected no other connection, got one"

    def _filled(self, said: Any, key: str = "") -> Any:
        """A message with a choice for every name, and for everything that may be anything."""
        if isinstance(said, dict):
            return {key: self._filled(value, key) for key, value in said.items()}
        if isinstance(said, list):
            return [self._filled(value, key) for value in said]
        if said == "*":
            return {"timestamp": 0.5, "retry_ms": 1730, "timeout_s": 30}.get(key, "anything")
        if isinstance(said, str) and said.startswith("$"):
            return self._names.setdefault(said, f"{said[1:]}_{next(self._numbers)}")
        return said


async def play(client: Client, scenario: Scenario, device: str) -> None:
    """TranscriptRun a device of a scenario to a client, to its end."""
    async with trio.open_nursery() as nursery:
        await TranscriptRun(client, scenario, device, nursery).run()
        nursery.cancel_scope.cancel()
