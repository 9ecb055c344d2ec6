"""``actors demo``: a scripted assistant, seen by a real client; once with proof, or for whoever connects."""

from __future__ import annotations

import logging
import signal
import sys
from typing import Any, Protocol

import attrs
import msgspec
import trio

from actors.delivery.accounts import Audit, Balance
from actors.errors import ActorsError
from actors.events import Event
from actors.receipts import Fate, Receipt
from actors.runtime import Runtime
from actors.stages import Stage
from actors.tools.assistant import SCRIPT, assist
from actors.tools.listen import connections, listening
from actors.tools.terminal import complain, descriptor, say
from actors.wire.messages import SUBPROTOCOL
from actors.wire.websocket import DialledWebSocket, dial

logger = logging.getLogger("actors")

_PROOF_SECONDS = 10.0
"""What eight events over loopback get; they need some milliseconds."""
_PAUSE_SECONDS = 0.4
"""Between two events of the repeated script, so that a person can follow."""
_REPEAT_SECONDS = 3.0
_LOOK_SECONDS = 0.2
_USER, _THREAD = "alice", "demo"


@attrs.frozen(kw_only=True)
class DemoOptions:
    """What was asked for on the command line."""

    host: str
    port: int
    once: bool
    json: bool


async def demo(options: DemoOptions) -> int:
    """Run the demonstration; returns the exit status."""
    return await (_prove(options) if options.once else _repeat(options))


# --- once, with proof ---------------------------------------------------------


class Report(Protocol):
    """How what was seen is said."""

    def event(self, event: Event, text: str, stage: Stage) -> None:
        """An event has arrived as ``text``; its receipt says ``stage``."""

    def fate(self, fate: Fate, stage: Stage) -> None:
        """What ``explain`` says of an event."""

    def books(self, audit: Audit) -> None:
        """What ``audit`` says."""

    def verdict(self, problems: list[str]) -> None:
        """Whether everything went as it must."""


async def _prove(options: DemoOptions) -> int:
    report: Report = JSONReport() if options.json else TextReport()
    problems: list[str] = []
    async with listening(options.host, options.port) as (runtime, url, _):
        try:
            async with dial(url, subprotocol=SUBPROTOCOL) as websocket:
                proof = Proof(runtime, websocket, report)
                await proof.attend()
                problems = proof.conclude()
        except ActorsError as error:
            problems.append(str(error))
    report.verdict(problems)
    return 1 if problems else 0


class Proof:
    """One run of the script between an emitter and a device, and what there is to say against it."""

    def __init__(self, runtime: Runtime, websocket: DialledWebSocket, report: Report) -> None:
        self._runtime = runtime
        self._websocket = websocket
        self._report = report
        self._emitted: list[Receipt] = []
        self._arrived: list[Event] = []
        self._problems: list[str] = []

    async def attend(self) -> None:
        """Play the script and see it arrive, or note what kept it from that."""
        with trio.move_on_after(_PROOF_SECONDS) as patience:
            try:
                await self._play()
            except ActorsError as error:
                self._problems.append(str(error))
        if patience.cancelled_caught:
            text = f"expected {len(SCRIPT)} events to arrive and be acked within {_PROOF_SECONDS:g} s"
            self._problems.append(f"{text}, {len(self._arrived)} arrived")

    def conclude(self) -> list[str]:
        """Report what became of each event, and the books; returns what was not as it must be."""
        for receipt in self._emitted:
            self._report.fate(self._runtime.explain(receipt), receipt.stage)
        audit = self._runtime.audit()
        self._report.books(audit)
        if not audit.balanced:
            self._problems.append("expected the books to balance, they do not")
        return self._problems + self._missed()

    async def _play(self) -> None:
        await self._say({"op": "hello", "v": 1, "token": _USER})
        while (await self._hear()).get("op") != "caught_up":
            pass
        await self._runtime.bind(_THREAD, _USER)
        send, receive = trio.open_memory_channel[Receipt](len(SCRIPT))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._emit, send)
            for _ in SCRIPT:
                await self._take(receive)
        for receipt in self._emitted:
            await receipt.reached(Stage.ACKED)

    async def _emit(self, send: trio.MemorySendChannel[Receipt]) -> None:
        def note(receipt: Receipt) -> None:
            self._emitted.append(receipt)
            send.send_nowait(receipt)

        await assist(self._runtime.thread(_THREAD), self._runtime.environment.new_id("run"), on_receipt=note)

    async def _take(self, receipts: trio.MemoryReceiveChannel[Receipt]) -> None:
        """The next event, said with the stage that the next receipt tells, and confirmed."""
        while "op" in (message := await self._hear()):
            pass
        event = msgspec.convert(message, Event)
        self._arrived.append(event)
        # The event may be here before emit has returned: the flusher runs
        # while the emitter is in its checkpoint.
        receipt = await receipts.receive()
        self._report.event(event, self._text, receipt.stage)
        await self._say({"op": "ack", "offset": event.offset})

    async def _say(self, message: dict[str, Any]) -> None:
        await self._websocket.send(msgspec.json.encode(message).decode())

    async def _hear(self) -> dict[str, Any]:
        self._text = await self._websocket.receive()
        message: dict[str, Any] = msgspec.json.decode(self._text)
        if message.get("op") == "ping":
            await self._say({"op": "pong"})
        return message

    def _missed(self) -> list[str]:
        """Which events did not arrive, or not in order, or were not acked, and why."""
        arrived = [event.event_id for event in self._arrived]
        emitted = [receipt.event_id for receipt in self._emitted]
        missed = []
        for receipt in self._emitted:
            kept = "was not acked" if receipt.event_id in arrived else "did not arrive"
            if receipt.stage is not Stage.ACKED or receipt.event_id not in arrived:
                missed.append(f"{receipt.event_id} {kept}: {self._runtime.explain(receipt)}")
        if arrived != [event_id for event_id in emitted if event_id in arrived]:
            missed.append(f"expected the order {', '.join(emitted)}, got {', '.join(map(str, arrived))}")
        return missed


class TextReport:
    """For people."""

    def event(self, event: Event, text: str, stage: Stage) -> None:
        """One line per event."""
        payload = msgspec.json.encode(event.payload).decode()
        _out(f"seq {event.seq}  offset {event.offset}  {stage.name:7}  {event.type:15}  {payload}")

    def fate(self, fate: Fate, stage: Stage) -> None:
        """The sentence."""
        _out(f"{fate.event_id}: {fate}")

    def books(self, audit: Audit) -> None:
        """One line per user, and the total."""
        for name, balance in (*audit.users.items(), ("total", audit.total)):
            _out(f"audit, {name}: {_sum(balance)}")

    def verdict(self, problems: list[str]) -> None:
        """Each problem, or that there is none."""
        for problem in problems:
            _out(f"failed: {problem}")
        if not problems:
            _out(f"all {len(SCRIPT)} events arrived in order and were acked")


class JSONReport:
    """For programs: an object per line, told apart by ``kind``."""

    def event(self, event: Event, text: str, stage: Stage) -> None:
        """The event stands as it came under ``event``."""
        self._say("event", seq=event.seq, offset=event.offset, stage=stage.name, event=msgspec.Raw(text.encode()))

    def fate(self, fate: Fate, stage: Stage) -> None:
        """The sentence under ``text``, its parts under ``steps``."""
        self._say("explain", event_id=fate.event_id, stage=stage.name, text=str(fate), steps=fate.steps)

    def books(self, audit: Audit) -> None:
        """The total and each user's row."""
        rows = {user_id: attrs.asdict(balance) for user_id, balance in audit.users.items()}
        self._say("audit", balanced=audit.balanced, total=attrs.asdict(audit.total), users=rows)

    def verdict(self, problems: list[str]) -> None:
        """Comes last."""
        self._say("verdict", passed=not problems, problems=problems)

    def _say(self, kind: str, **fields: Any) -> None:
        _out(msgspec.json.encode({"kind": kind, **fields}).decode())


def _sum(balance: Balance) -> str:
    """The equation of the books, with its numbers."""
    accepted, *columns = attrs.asdict(balance).items()
    right = " + ".join(f"{name} {number}" for name, number in columns)
    return f"{accepted[0]} {accepted[1]} {'=' if balance.balanced else '≠'} {right}"


def _out(line: str) -> None:
    say(f"{line}\n", descriptor(sys.stdout))


# --- for whoever connects -----------------------------------------------------


async def _repeat(options: DemoOptions) -> int:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with listening(options.host, options.port) as (runtime, url, nursery):
            complain(_invitation(url))
            nursery.start_soon(_entertain, runtime)
            await anext(signals)
    return 0


async def _entertain(runtime: Runtime) -> None:
    """Have an assistant for each user who is connected."""
    entertained: set[str] = set()
    async with trio.open_nursery() as nursery:
        while True:
            here = {device.user_id for device in connections(runtime) if device.user_id is not None}
            for user_id in here - entertained:
                entertained.add(user_id)
                nursery.start_soon(_assist, runtime, user_id, entertained)
            await trio.sleep(_LOOK_SECONDS)


async def _assist(runtime: Runtime, user_id: str, entertained: set[str]) -> None:
    """Repeat the script for a user while he has a device."""
    try:
        thread = runtime.thread(f"demo-{user_id}")
        await runtime.bind(thread.thread_id, user_id)
        while runtime.devices(user_id):
            await assist(thread, runtime.environment.new_id("run"), pause_seconds=_PAUSE_SECONDS)
            await trio.sleep(_REPEAT_SECONDS)
    except ActorsError as error:
        logger.warning("no assistant for user %s: %s", user_id, error)
        await trio.sleep(_REPEAT_SECONDS)
    finally:
        entertained.discard(user_id)


def _invitation(url: str) -> str:
    """How to connect: any WebSocket client will do."""
    return f"""\
connect as alice, confirming nothing:
    websocat -H 'Cookie: actors_token=alice' {url}
or as {SUBPROTOCOL}, then say hello and confirm what you see:
    websocat --protocol {SUBPROTOCOL} {url}
    {{"op":"hello","v":1,"token":"alice"}}
    {{"op":"ack","offset":8}}"""
