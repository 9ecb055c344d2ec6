"""A device: one client of one user, over lines that break. It watches, acks, asks, and comes back.

Written from the protocol page alone. It keeps what a client keeps, session and
cursor, and takes nothing on trust: what comes out of order is a mismatch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

import attrs
import trio

from actors.protocol.client_messages import Origin
from actors.testing.chance import Chance
from actors.testing.frames import CLOSE, PING, PONG, TEXT, FrameReader, TornFrame, masked
from actors.testing.network import Line
from actors.testing.oracle import Oracle
from actors.testing.records import STARTED, TERMINAL, Records, Wire

_REQUEST = (
    "GET /ws HTTP/1.1\r\nHost: simulation\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
_WELCOME_SECONDS = 12.0
"""The time that a server gets to answer; a device gives up a line that stays silent."""
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.25, 4.0
_FINAL_CODES = frozenset({1002, 1003, 1007, 1009, *range(4501, 5000)})
"""The close codes that a client never gets as long as it keeps to the protocol."""


class Gone(Exception):
    """This connection is over."""

    def __init__(self, code: int = 1006) -> None:
        super().__init__(f"code {code}")
        self.code = code


class Exchange(Protocol):
    """The network that devices dial into, in front of the runtime of the moment."""

    records: Records
    oracle: Oracle

    def dial(self, device: Device) -> tuple[Line, Wire] | None:
        """Return a line to the server; ``None`` while there is no server."""
        ...

    def note(self, who: str, what: str) -> None:
        """Add a line to the trace."""


@attrs.define(eq=False, kw_only=True)
class PendingRequest:
    """A request that waits for its reply, over all connections of its session."""

    id: str
    message: dict[str, Any]
    on_reply: Callable[[dict[str, Any]], None] | None = None
    session: str = ""
    """Of its first connection; in another session it would be another request."""
    sent: bool = False
    """On this connection."""


class Standing:
    """The questions that are open and the runs that are active, as a client knows them (section 8).

    Each caught-up connection shows them again. One that is not shown before the
    next pong ended while the device was away, and is dropped.
    """

    def __init__(self) -> None:
        self.questions: dict[str, dict[str, Any]] = {}
        """Open questions, by their ids."""
        self.running: dict[str, str] = {}
        """The threads of active runs, by run."""
        self._doubtful: set[str] = set()
        """Questions that the server has not shown since the device caught up."""
        self._doubtful_runs: set[str] = set()

    def forget(self) -> None:
        """Know of nothing, and so doubt nothing, because the connection may go on for the rest of a read."""
        self.questions.clear()
        self.forget_runs()
        self.begin_connection()

    def forget_runs(self) -> None:
        """Know of no active run, and so doubt none, because those of the log that began anew will be told again."""
        self.running.clear()
        self._doubtful_runs.clear()

    def begin_connection(self) -> None:
        """Doubt nothing until the device has caught up."""
        self._doubtful = set()
        self._doubtful_runs = set()

    def catch_up(self) -> None:
        """Doubt everything, because the server shows what stands after this."""
        self._doubtful = set(self.questions)
        self._doubtful_runs = set(self.running)

    def drop_doubtful(self) -> None:
        """Drop what the server has not shown."""
        for gone in self._doubtful:
            del self.questions[gone]
        for over in self._doubtful_runs:
            del self.running[over]
        self.begin_connection()

    def take(self, message: dict[str, Any]) -> None:
        """Take a message that shows or ends a question or a run; others change nothing."""
        match message:
            case {"op": "active", "event": event}:
                self._begin(event)
            case {"op": "inactive", "run_id": run_id}:
                self._end(run_id)
            case {"op": "ask", "event": event}:
                self.questions[event["event_id"]] = event
                self._doubtful.discard(event["event_id"])
            case {"op": "ask_closed", "ask": ask_id}:
                self._doubtful.discard(ask_id)
                self.questions.pop(ask_id, None)

    def take_event(self, event: dict[str, Any]) -> None:
        """Take an event, which may be the first or the last of a run."""
        if event["type"] == STARTED:
            self._begin(event)
        elif event["type"] in TERMINAL:
            self._end(event["run_id"])

    def _begin(self, event: dict[str, Any]) -> None:
        self.running[event["run_id"]] = event["thread_id"]
        self._doubtful_runs.discard(event["run_id"])

    def _end(self, run_id: str) -> None:
        self.running.pop(run_id, None)
        self._doubtful_runs.discard(run_id)


class Device:
    """One client; :meth:`run` is its life."""

    def __init__(
        self,
        exchange: Exchange,
        user_id: str,
        *,
        label: str,
        chance: Chance,
        plain: bool = False,
        origin: Origin = "unacked",
    ) -> None:
        self.user_id = user_id
        self.origin = origin
        """The place to begin at, without a cursor."""
        self.label = label
        self.plain = plain
        self.line: Line | None = None
        self.session: str | None = None
        self.cursor: tuple[str, int] | None = None
        """Epoch and last offset."""
        self.seen: list[dict[str, Any]] = []
        """Every event it was sent, once, in order."""
        self.seen_at: list[float] = []
        """And when."""
        self._standing = Standing()
        self.questions: dict[str, dict[str, Any]] = self._standing.questions
        self.running: dict[str, str] = self._standing.running
        self.ack_seconds: float = 0.2
        """The time that the device waits before it acks."""
        self.left = False
        """It will not come back."""
        self.lag_until: float = -math.inf
        """It does not read before that."""
        self.away_until: float = -math.inf
        """It does not connect before that."""
        self.caught_up: bool = False
        self.open: list[PendingRequest] = []
        self.wire: Wire | None = None
        self.lost: list[str] = []
        """Requests of sessions that are gone: the device cannot know whether the server carried them out."""
        self._exchange = exchange
        self._chance = chance
        self.renames: bool = not plain and chance.of("renames").happens(0.5)
        """It knows that an epoch may go on under another name; clients from before that do not."""
        self._frames = FrameReader()
        self._inbox: list[tuple[int, bytes]] = []
        self._ack_at = math.inf
        self._acked = 0
        self._requests = 0
        self._failures = 0
        self._stirred = trio.Event()

    # --- what can happen to it ------------------------------------------------------

    def stir(self) -> None:
        """Have it look at what it is to do."""
        self._stirred.set()
        self._stirred = trio.Event()

    def hang_up(self, *, silently: bool = False) -> None:
        """End its connection; silently, the server is not told."""
        line, self.line = self.line, None
        if line is not None and silently:
            line.device.vanish()
        elif line is not None:
            line.device.close()
        self.caught_up = False
        self.stir()

    def reload(self) -> None:
        """Forget everything, as a page does."""
        self.hang_up()
        self.session = self.cursor = None
        self.lost += [asked.id for asked in self.open]
        self.open.clear()
        self._standing.forget()

    def ask(self, op: str, on_reply: Callable[[dict[str, Any]], None] | None = None, **fields: Any) -> PendingRequest:
        """Make a request; it is repeated on each connection of the session until there is a reply."""
        self._requests += 1
        id_ = f"{self.label}.{self._requests}"
        asked = PendingRequest(id=id_, message={"op": op, "id": id_, **fields}, on_reply=on_reply)
        self.open.append(asked)
        if self.caught_up:
            self._say_open()
        return asked

    # --- its life -------------------------------------------------------------------

    async def run(self) -> None:
        """Connect again and again, until it has left."""
        while not self.left:
            now = trio.current_time()
            if self.away_until > now:
                with trio.move_on_at(self.away_until):
                    await self._stirred.wait()
                continue
            code = await self._attend()
            self._exchange.note(self.label, f"connection over ({code})")
            if code in _FINAL_CODES:
                self._exchange.records.complain(7, f"{self.label} was sent away with {code}")
                return
            self._failures += 1
            pause = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2**self._failures) * self._chance.between(0.3, 1)
            with trio.move_on_after(pause):
                await self._stirred.wait()

    async def _attend(self) -> int:
        """Live through one connection; return the code that it ended with."""
        dialled = self._exchange.dial(self)
        if dialled is None:
            await trio.lowlevel.checkpoint()
            return 1006
        self.line, self.wire = dialled
        line, self._frames, self._inbox = dialled[0], FrameReader(), []
        self._ack_at, self._acked = math.inf, 0
        self._standing.begin_connection()
        try:
            with trio.fail_after(_WELCOME_SECONDS):
                await self._upgrade(line)
                if not self.plain:
                    await self._greet(line)
            await self._watch(line)
        except Gone as gone:
            return gone.code
        except trio.TooSlowError:
            return 1006
        finally:
            if not line.up.frozen:  # a device that vanishes tells the server nothing
                line.device.close()
            self.caught_up = False
            if self.line is line:
                self.line = None

    async def _upgrade(self, line: Line) -> None:
        offer = "" if self.plain else "Sec-WebSocket-Protocol: actors.v1\r\n"
        cookie = f"Cookie: actors_token={self.user_id}\r\n" if self.plain else ""
        line.device.send(f"{_REQUEST}{offer}{cookie}\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += await self._read(line)
        status, _, rest = head.partition(b"\r\n\r\n")
        if not status.startswith(b"HTTP/1.1 101 "):
            raise Gone
        self._feed(rest)

    async def _greet(self, line: Line) -> None:
        hello: dict[str, Any] = {"op": "hello", "v": 1, "token": self.user_id}
        if self.renames:
            hello["renames"] = True
        if self.session is not None:
            hello["session"] = self.session
        if self.cursor is None and self.origin != "unacked":
            hello["from"] = self.origin
        if self.cursor is not None:
            hello["resume"] = {"epoch": self.cursor[0], "offset": self.cursor[1]}
        assert self.wire is not None, "a device that greets has a wire"
        self._exchange.oracle.greet(self.wire, hello)
        self._say(line, hello)
        while (message := await self._next(line)).get("op") != "welcome":
            self._take_passing(line, message)
        if self.session != message["session"]:
            self._lose_session()
        self.session = message["session"]
        self._say(line, {"op": "ping"})  # the answer falls in the midst of what the device missed
        if message["resume"] == "fresh":
            self.cursor = message["epoch"], message["start"] - 1

    def _lose_session(self) -> None:
        """Drop the requests of a session that is gone, because in another session they would be other requests."""
        self.lost += [asked.id for asked in self.open if asked.session]
        self.open = [asked for asked in self.open if not asked.session]

    async def _watch(self, line: Line) -> NoReturn:
        for asked in self.open:
            asked.sent = False
        if self.plain:
            self.caught_up = True
        while True:
            message = await self._next(line)
            self._failures = 0
            self._take(line, message)

    # --- reading --------------------------------------------------------------------

    async def _next(self, line: Line) -> dict[str, Any]:
        """Return the next message; ack meanwhile what is due."""
        while True:
            while self._inbox:
                opcode, payload = self._inbox.pop(0)
                if opcode == TEXT:
                    message: dict[str, Any] = json.loads(payload)
                    return message
                if opcode == PING:
                    line.device.send(masked(PONG, payload))
                elif opcode == CLOSE:
                    line.device.send(masked(CLOSE, payload[:2]))
                    raise Gone(int.from_bytes(payload[:2]) or 1005)
            self._feed(await self._read(line))

    async def _read(self, line: Line) -> bytes:
        while True:
            if self.line is not line:
                raise Gone
            now = trio.current_time()
            if self.lag_until > now:
                with trio.move_on_at(self.lag_until):
                    await self._stirred.wait()
                continue
            with trio.move_on_at(self._ack_at):
                data = await line.device.receive()
                if not data or self.line is not line:
                    if self._frames.midway and not line.down.broken and not line.up.broken and self.line is line:
                        self._exchange.records.complain(6, f"{self.label}: the connection ended inside of a frame")
                    raise Gone
                return data
            self._ack(line)

    def _feed(self, data: bytes) -> None:
        try:
            self._inbox += self._frames.feed(data)
        except TornFrame as error:
            self._exchange.records.complain(6, f"{self.label}: {error}")
            raise Gone from None

    # --- what it is told ------------------------------------------------------------

    def _take(self, line: Line, message: dict[str, Any]) -> None:
        if "type" in message:
            self._take_range(message["offset"], message["offset"], [message])
            return
        match message["op"]:
            case "batch":
                self._take_range(message["from"], message["to"], message["events"])
            case "gap":
                self._move(message["to"])
            case "reset":
                self.cursor = message["epoch"], message["low"] - 1
                self._acked = 0
                self._standing.forget_runs()
            case "epoch":
                self._rename(message["epoch"], message["offset"])
            case "caught_up":
                self.caught_up = True
                self._standing.catch_up()
                self._say(line, {"op": "ping"})
                self._say_open()
            case "pong":
                self._standing.drop_doubtful()
            case "reply":
                self._take_reply(message)
            case _:
                self._standing.take(message)
                self._take_passing(line, message)

    def _rename(self, epoch: str, offset: int) -> None:
        """Go on under another name, which says nothing of what this device has."""
        assert self.cursor is not None, "a device that goes on has a cursor"
        if not self.renames or self.cursor[1] > offset:
            self._exchange.records.complain(3, f"{self.label}: told to go on in {epoch} from {offset} at {self.cursor}")
        self.cursor = epoch, self.cursor[1]

    def _take_passing(self, line: Line, message: dict[str, Any]) -> None:
        if message.get("op") == "ping":
            self._say(line, {"op": "pong"})

    def _take_range(self, first: int, last: int, events: list[dict[str, Any]]) -> None:
        self.seen += events
        self.seen_at += [trio.current_time()] * len(events)
        if self.plain:
            return
        assert self.cursor is not None, "a device that is sent events has a cursor"
        epoch, offset = self.cursor
        if first != offset + 1:
            self._exchange.records.complain(3, f"{self.label}: {first} to {last} came after {offset}")
        assert self.wire is not None, "a device that is sent events has a wire"
        self._exchange.oracle.receive(self.wire, epoch, first, last)
        self._move(last)
        for event in events:
            self._standing.take_event(event)

    def _move(self, offset: int) -> None:
        assert self.cursor is not None, "a device that goes on has a cursor"
        self.cursor = self.cursor[0], offset
        self._ack_at = min(self._ack_at, trio.current_time() + self.ack_seconds)

    def _take_reply(self, message: dict[str, Any]) -> None:
        for asked in self.open:
            if asked.id == message["id"]:
                self.open.remove(asked)
                if asked.on_reply is not None:
                    asked.on_reply(message)
                return

    # --- what it says ---------------------------------------------------------------

    def _ack(self, line: Line) -> None:
        self._ack_at = math.inf
        if self.cursor is not None and self.cursor[1] > self._acked and self.wire is not None:
            epoch, self._acked = self.cursor
            self._exchange.oracle.ack(self.wire, epoch, self._acked)
            self._say(line, {"op": "ack", "offset": self._acked})

    def _say_open(self) -> None:
        if self.line is None or self.plain or self.session is None:
            return
        for asked in self.open:
            if not asked.sent:
                asked.sent, asked.session = True, self.session
                self._say(self.line, asked.message)

    def _say(self, line: Line, message: dict[str, Any]) -> None:
        line.device.send(masked(TEXT, json.dumps(message).encode()))
