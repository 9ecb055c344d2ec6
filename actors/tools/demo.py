"""``actors demo``: an assistant to talk to; once with proof, or for every user that opens the page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import attrs
import msgspec
import trio

from actors.delivery.balance import Audit, Balance
from actors.errors import ActorsError
from actors.events.delivered import Event
from actors.events.event import Lifecycle
from actors.examples.approval import approval
from actors.examples.assistant import assistant
from actors.protocol.client_messages import SUBPROTOCOL
from actors.receipts import Fate, Receipt
from actors.runs.run import TERMINAL
from actors.runs.supervisor import OnMessage
from actors.runtime import Runtime
from actors.stages import Stage
from actors.tools.control_place import NONE, ControlPlace
from actors.tools.serving import listening
from actors.tools.signals import leave, open_signals, until_signal
from actors.tools.terminal import CannotStart, complain, output, say
from actors.web import agui_pages, pages
from actors.wire.dialled import DialledWebSocket, dial

_PROOF_SECONDS = 20.0
"""The time for the one run, which takes two seconds."""
_USER = "alice"
_QUESTION = "What is the weather in Oslo?"

Agent = Literal["scripted", "approval", "mcp", "agui"]


@attrs.frozen(kw_only=True)
class DemoOptions:
    """The options of the command line."""

    host: str
    port: int
    store: Path | None
    """The file of the store; ``None`` for one in memory."""
    control: ControlPlace = NONE
    """The place of the control socket."""
    once: bool
    json: bool
    agent: Agent
    drain_seconds: float


async def demo(options: DemoOptions) -> int:
    """Run the demonstration; returns the exit status."""
    async with _opened(options.agent) as on_message:
        return await (_prove_or_leave(options, on_message) if options.once else _serve(options, on_message))


@asynccontextmanager
async def _opened(agent: Agent) -> AsyncIterator[OnMessage]:
    """Open the agent that answers messages. Raises :class:`~actors.tools.terminal.CannotStart` where it is not
    installed."""
    if agent != "mcp":
        yield assistant if agent == "scripted" else approval
        return
    try:
        from actors.examples.mcp_agent import open_mcp_agent  # noqa: PLC0415 - needs packages that are an extra
    except ImportError as error:
        raise CannotStart(f"--agent {agent}: {error}") from None
    async with open_mcp_agent() as on_message:
        yield on_message


def _listening(
    options: DemoOptions, on_message: OnMessage, **more: Any
) -> AbstractAsyncContextManager[tuple[Runtime, str, trio.Nursery]]:
    host, port, path = options.host, options.port, options.store
    return listening(host, port, path=path, control=options.control, on_message=on_message, authorize=_allow, **more)


async def _allow(user_id: str, thread_id: str) -> bool:
    """Allow any user to claim a thread that has no owner."""
    return True


# --- for every user that opens the page ------------------------------------------


async def _serve(options: DemoOptions, on_message: OnMessage) -> int:
    with open_signals() as signals:
        shown = agui_pages() if options.agent == "agui" else pages()
        async with _listening(options, on_message, pages=shown) as (runtime, url, _):
            complain(_invitation(url))
            await leave(runtime, signals, options.drain_seconds)
    return 0


def _invitation(url: str) -> str:
    """Format the instructions for a browser, and for any WebSocket client."""
    page = url.replace("ws://", "http://", 1).removesuffix("ws")
    return f"""\
open {page} in a browser, or talk to it:
    websocat --protocol {SUBPROTOCOL} {url}
    {{"op":"hello","v":1,"token":"alice"}}
    {{"op":"send","id":1,"payload":{{"text":"{_QUESTION}"}}}}"""


# --- once, with proof ---------------------------------------------------------


class Report(Protocol):
    """The form in which the proof is reported."""

    def event(self, event: Event, text: str, stage: Stage) -> None:
        """Report that an event has arrived as ``text``, with its receipt at ``stage``."""

    def fate(self, fate: Fate, stage: Stage) -> None:
        """Report the explanation of an event."""

    def books(self, audit: Audit) -> None:
        """Report the books."""

    def verdict(self, problems: list[str], events: int) -> None:
        """Report the verdict: passed if there are no problems."""


async def _prove_or_leave(options: DemoOptions, on_message: OnMessage) -> int:
    output()  # checked first, because without it the proof is of no use
    status = 0

    async def prove() -> None:
        nonlocal status
        status = await _prove(options, on_message)

    with open_signals() as signals:
        ended_by = await until_signal(signals, prove)
    return status if ended_by is None else 128 + ended_by


async def _prove(options: DemoOptions, on_message: OnMessage) -> int:
    report: Report = JSONReport() if options.json else TextReport()
    async with _listening(options, on_message) as (runtime, url, _):
        proof = Proof(runtime, report)
        try:
            async with dial(url, subprotocol=SUBPROTOCOL) as websocket:
                await proof.run(websocket)
                proof.conclude()
        except ActorsError as error:
            proof.problems.append(str(error))
    report.verdict(proof.problems, len(proof.arrived))
    return 1 if proof.problems else 0


class Proof:
    """The delivery of one message and of the run that answers it, with the problems found."""

    def __init__(self, runtime: Runtime, report: Report) -> None:
        self._runtime = runtime
        self._report = report
        self._websocket: DialledWebSocket
        self.arrived: list[Event] = []
        self.problems: list[str] = []

    async def run(self, websocket: DialledWebSocket) -> None:
        """Ask, and receive the answer; notes a problem if it does not arrive."""
        self._websocket = websocket
        with trio.move_on_after(_PROOF_SECONDS) as patience:
            try:
                await self._ask()
            except ActorsError as error:
                self.problems.append(str(error))
        if patience.cancelled_caught:
            text = f"expected a run to arrive and be acked within {_PROOF_SECONDS:g} s"
            self.problems.append(f"{text}, {len(self.arrived)} events arrived")

    def conclude(self) -> None:
        """Report the fate of each event, and the books; notes every problem with them."""
        for receipt in self._receipts():
            self._report.fate(self._runtime.explain(receipt), receipt.stage)
        audit = self._runtime.audit()
        self._report.books(audit)
        if not audit.balanced:
            self.problems.append("expected the books to balance, they do not")
        if audit.total.acked < audit.total.accepted:
            self.problems.append(f"expected {audit.total.accepted} events to be acked, {audit.total.acked} were")
        self.problems += self._misplaced()

    async def _ask(self) -> None:
        await self._send({"op": "hello", "v": 1, "token": _USER})
        while (await self._receive()).get("op") != "caught_up":
            pass
        await self._send({"op": "send", "id": 1, "payload": {"text": _QUESTION}})
        while not self.arrived or self.arrived[-1].type not in TERMINAL:
            await self._take()
        for receipt in self._receipts():
            await receipt.reached(Stage.ACKED)

    async def _take(self) -> None:
        """Report the next event, with the stage of its receipt, and ack it."""
        while "op" in (message := await self._receive()):
            if "error" in message:
                self.problems.append(str(message["error"]))
        event = msgspec.convert(message, Event)
        self.arrived.append(event)
        receipt = self._runtime.explain(event.event_id or "", event.thread_id).receipt
        self._report.event(event, self._text, Stage.WRITTEN if receipt is None else receipt.stage)
        await self._send({"op": "ack", "offset": event.offset})

    async def _send(self, message: dict[str, Any]) -> None:
        await self._websocket.send(msgspec.json.encode(message).decode())

    async def _receive(self) -> dict[str, Any]:
        self._text = await self._websocket.receive()
        message: dict[str, Any] = msgspec.json.decode(self._text)
        if message.get("op") == "ping":
            await self._send({"op": "pong"})
        return message

    def _receipts(self) -> list[Receipt]:
        fates = [self._runtime.explain(event.event_id or "", event.thread_id) for event in self.arrived]
        return [fate.receipt for fate in fates if fate.receipt is not None]

    def _misplaced(self) -> list[str]:
        """Return the problems with the order of events: that of a run, and that of the log."""
        types = [event.type for event in self.arrived]
        misplaced = []
        if types[:2] != ["user_message", Lifecycle.AGENT_STARTED] or types[-1:] != [Lifecycle.AGENT_COMPLETED]:
            misplaced.append(f"expected a message and a run that is completed, got {', '.join(types)}")
        if types.count(Lifecycle.TOOL_EXECUTING) != types.count(Lifecycle.TOOL_COMPLETED):
            misplaced.append(f"expected each tool that executes to complete, got {', '.join(types)}")
        offsets = [event.offset for event in self.arrived]
        if offsets != list(range(offsets[0], offsets[0] + len(offsets))):
            misplaced.append(f"expected offsets without a hole, got {offsets}")
        return misplaced


class TextReport:
    """The report for people."""

    def event(self, event: Event, text: str, stage: Stage) -> None:
        """Write one line per event."""
        payload = msgspec.json.encode(event.payload).decode()
        _out(f"seq {event.seq}  offset {event.offset}  {stage.name:7}  {event.type:15}  {payload}")

    def fate(self, fate: Fate, stage: Stage) -> None:
        """Write the sentence."""
        _out(f"{fate.event_id}: {fate}")

    def books(self, audit: Audit) -> None:
        """Write one line per user, and the total."""
        for name, balance in (*audit.users.items(), ("total", audit.total)):
            _out(f"audit, {name}: {_sum(balance)}")

    def verdict(self, problems: list[str], events: int) -> None:
        """Write each problem, or that there is none."""
        for problem in problems:
            _out(f"failed: {problem}")
        if not problems:
            _out(f"all {events} events arrived in order and were acked")


class JSONReport:
    """The report for programs: an object per line, with its ``kind``."""

    def event(self, event: Event, text: str, stage: Stage) -> None:
        """Write the event, as it was received, under ``event``."""
        self._write("event", seq=event.seq, offset=event.offset, stage=stage.name, event=msgspec.Raw(text.encode()))

    def fate(self, fate: Fate, stage: Stage) -> None:
        """Write the sentence under ``text``, its parts under ``steps``."""
        self._write("explain", event_id=fate.event_id, stage=stage.name, text=str(fate), steps=fate.steps)

    def books(self, audit: Audit) -> None:
        """Write the total and each user's row."""
        rows = {user_id: attrs.asdict(balance) for user_id, balance in audit.users.items()}
        self._write("audit", balanced=audit.balanced, total=attrs.asdict(audit.total), users=rows)

    def verdict(self, problems: list[str], events: int) -> None:
        """Write the verdict, last."""
        self._write("verdict", passed=not problems, problems=problems, events=events)

    def _write(self, kind: str, **fields: Any) -> None:
        _out(msgspec.json.encode({"kind": kind, **fields}).decode())


def _sum(balance: Balance) -> str:
    """Return the equation of the books, with its numbers; what an earlier life left stands where there is some."""
    columns = attrs.asdict(balance)
    accepted, restored = columns.pop("accepted"), columns.pop("restored")
    left = f"accepted {accepted}" + (f" + restored {restored}" if restored else "")
    right = " + ".join(f"{name} {number}" for name, number in columns.items())
    return f"{left} {'=' if balance.balanced else '≠'} {right}"


def _out(line: str) -> None:
    say(f"{line}\n")
