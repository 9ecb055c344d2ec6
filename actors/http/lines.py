"""Lines over HTTP: events as lines of JSON in a request, and a receipt for each in the answer, at the same time.

Raw ASGI, because the answer begins while the request goes on: what comes is
read as fast as there is room for it, in the runtime and in the client's own
socket, and a client that reads nothing is not read from.
"""

from __future__ import annotations

import math
from collections import deque

import msgspec
import trio
from msgspec import UNSET
from starlette.types import Receive, Scope, Send

from actors.events.json_lines import Line, LineReader, parse
from actors.http.calls import Bounds, Call, check_content, error_of
from actors.http.events import check_taken, receipt_answer, stage_name
from actors.http.leases import Leases
from actors.http.problems import RAISED, Problem, problem_of
from actors.http.schemas import Feeding, LineAnswer, LineCounts, LineRefusal
from actors.observability.receipt_tracker import ReceiptTracker
from actors.receipts import Receipt
from actors.stages import Stage

CONTENT = "application/x-ndjson"

_encode = msgspec.json.Encoder().encode
_LOOK_SECONDS = 0.02

_UNTOLD_LINES = 256
"""Lines that were emitted and wait for the store's answer: as many as a store commits at once."""

Taken = tuple[int, Receipt | Problem]
"""A line that was read, by number, and what became of it."""


async def feed(call: Call, leases: Leases) -> Feed:
    """Emit an event for each line, in order, and answer with a line for each."""
    check_content(call.request, CONTENT)
    if call.leaving.is_set():
        raise Problem("shutting_down")
    most, ahead = call.runtime.limits.retained_events, call.query.ahead
    if ahead is not UNSET and ahead > most:
        raise Problem("bad_request", f"ahead: expected at most {most} events, which a log retains, got {ahead}")
    return Feed(call, leases)


class Feed:
    """The answer to one stream, an ASGI application."""

    def __init__(self, call: Call, leases: Leases) -> None:
        self._call = call
        self._leases = leases
        self._query: Feeding = call.query
        self._reader = LineReader(call.bounds.body_bytes)
        self._outbox = Outbox(call.bounds)
        self._tracker = ReceiptTracker(self._advanced if self._query.receipts == "all" else None)
        self._counts = LineCounts(lines=0, errors=0)
        self._reading = trio.CancelScope()
        self._untold = trio.Semaphore(_UNTOLD_LINES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read to the end of the request, and answer meanwhile."""
        await send({"type": "http.response.start", "status": 200, "headers": [
            (b"content-type", CONTENT.encode()), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no"),
        ]})  # fmt: skip
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, send, nursery.cancel_scope)
            if self._query.receipts == "all":
                nursery.start_soon(self._tracker.run)
            nursery.start_soon(self._leave)
            async with trio.open_nursery() as telling:
                taken, told = trio.open_memory_channel[Taken](math.inf)
                telling.start_soon(self._tell, told)
                whole = True
                async with taken:
                    with self._reading:
                        whole = await self._read(receive, taken)
            if whole:
                await self._linger()
                await self._outbox.close()
            nursery.cancel_scope.cancel()
        if whole:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send, scope: trio.CancelScope) -> None:
        """Send the answer; a client that takes nothing ends its stream."""
        await self._outbox.run(send)
        scope.cancel()

    async def _leave(self) -> None:
        """End the reading when the server goes; what was read is answered."""
        await self._call.leaving.wait()
        self._reading.cancel()

    async def _read(self, receive: Receive, taken: trio.MemorySendChannel[Taken]) -> bool:
        """Emit what comes; false if the client went before the end, where a line may be half."""
        goes_on = True
        while goes_on:
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            goes_on = message.get("more_body", False)
            for line in self._reader.feed(message.get("body", b"")):
                if not await self._take(line, taken):
                    return True
        for line in self._reader.finish():
            await self._take(line, taken)
        return True

    async def _take(self, line: Line, taken: trio.MemorySendChannel[Taken]) -> bool:
        """Emit one line; false if the runtime takes no more."""
        if line.text is not None and not line.text.strip():
            return True
        await self._outbox.room()
        await self._untold.acquire()  # before the event is, because what follows it must not be cut off from its answer
        self._counts.lines += 1
        outcome: Receipt | Problem
        try:
            outcome = await self._emit(line)
        except RAISED as error:
            outcome = problem_of(error)
        taken.send_nowait((line.number, outcome))
        return not (isinstance(outcome, Problem) and outcome.row.name == "shutting_down")

    async def _tell(self, told: trio.MemoryReceiveChannel[Taken]) -> None:
        """Answer the lines in their order, each when the store has answered; more are emitted meanwhile."""
        async with told:
            async for line, outcome in told:
                try:
                    if isinstance(outcome, Problem):
                        raise outcome
                    if outcome.stage is Stage.ACCEPTED:  # its thread is busy, or its store has to be waited for
                        await outcome.reached(Stage.BUFFERED)
                    check_taken(outcome)
                except RAISED as error:
                    self._counts.errors += 1
                    self._outbox.put(LineRefusal(line=line, error=error_of(problem_of(error))))
                else:
                    self._tell_receipt(line, outcome)
                finally:
                    self._untold.release()

    def _tell_receipt(self, line: int, receipt: Receipt) -> None:
        if self._query.receipts == "all":
            self._tracker.add(line, receipt)
        elif self._query.receipts == "each":
            self._outbox.put(_line_answer(line, receipt, receipt.stage))

    async def _emit(self, line: Line) -> Receipt:
        if line.text is None:
            raise Problem("too_big", f"expected a line of at most {self._call.bounds.body_bytes} bytes, got more")
        event = parse(line.text)
        user_id = await self._call.user_for(event.thread_id, event.user_id)
        return await self._leases.emit(
            event.thread_id,
            event.type,
            event.payload,
            run_id=event.run_id,
            event_id=event.event_id,
            user_id=user_id,
            ahead=self._query.ahead or None,
            traceparent=event.traceparent,
        )

    async def _linger(self) -> None:
        """With ``all``, wait for events to advance; then say the counts, where only errors were told."""
        if self._query.receipts == "all":
            with trio.move_on_after(self._query.timeout_s):
                while True:
                    if self._call.leaving.is_set() or not self._is_under_way():
                        break
                    await trio.sleep(_LOOK_SECONDS)
            self._tracker.look()
        elif self._query.receipts == "errors":
            self._outbox.put(self._counts)

    def _is_under_way(self) -> bool:
        self._tracker.look()
        return self._tracker.count(*(stage for stage in Stage if not stage.final)) > 0

    def _advanced(self, line: int, receipt: Receipt, stage: Stage) -> None:
        self._outbox.put(_line_answer(line, receipt, stage))


class Outbox:
    """The lines of an answer on their way out, joined to as few writes as their reader takes."""

    def __init__(self, bounds: Bounds) -> None:
        self._most_bytes = bounds.waiting_bytes
        self._write_seconds = bounds.write_seconds
        self._waiting: deque[bytes] = deque()
        self._size_bytes = 0
        self._filled = trio.Event()
        self._emptied = trio.Event()

    def put(self, value: msgspec.Struct) -> None:
        """Add a line. Never waits."""
        text = _encode(value) + b"\n"
        self._waiting.append(text)
        self._size_bytes += len(text)
        self._filled.set()

    async def room(self) -> None:
        """Wait while more waits than there should."""
        while self._size_bytes > self._most_bytes:
            await self._emptied.wait()

    async def close(self) -> None:
        """Wait until everything was sent."""
        while self._size_bytes:
            await self._emptied.wait()

    async def run(self, send: Send) -> None:
        """Send what waits, until cancelled, or until the client takes nothing.

        The kernel breaks the connection of such a client. The server is told,
        and wants to tell this application, which may not be listening, because
        it waits for room: so the wait is broken here as well. A write that gets
        on, however slowly, is not, because the server shields it.
        """
        while True:
            await self._filled.wait()
            text = b"".join(self._waiting)
            self._waiting.clear()
            self._filled = trio.Event()
            with trio.move_on_after(self._write_seconds) as patience:
                await send({"type": "http.response.body", "body": text, "more_body": True})
            if patience.cancelled_caught:
                return
            self._size_bytes -= len(text)
            self._emptied.set()
            self._emptied = trio.Event()
            await trio.lowlevel.checkpoint()


def _line_answer(line: int, receipt: Receipt, stage: Stage) -> LineAnswer:
    told = receipt_answer(receipt)
    return LineAnswer(
        line=line,
        event_id=told.event_id,
        thread_id=told.thread_id,
        stage=stage_name(stage),
        seq=told.seq,
        offset=told.offset,
        epoch=told.epoch,
        cause=told.cause if stage is Stage.DROPPED else None,
    )
