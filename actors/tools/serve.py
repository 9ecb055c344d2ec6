"""``actors serve``: events from standard input to WebSockets, with a receipt for each."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import attrs
import msgspec
import trio

from actors.errors import ActorsError
from actors.events.json_lines import LINE_BYTES, BadLine, Line, LineEvent, LineReader
from actors.kernel.failures import printable
from actors.limits import Limits
from actors.observability.receipt_tracker import ReceiptTracker
from actors.receipts import Receipt
from actors.runtime import Runtime
from actors.server.authentication import trust
from actors.stages import Stage
from actors.tools.control_place import NONE, ControlPlace
from actors.tools.default_owner import DefaultOwner
from actors.tools.echo import echo
from actors.tools.programs import ProgramOptions, programs
from actors.tools.serving import connections, listening
from actors.tools.signals import leave, open_signals, until_signal
from actors.tools.surrogate_pairs import SurrogateJoiner
from actors.tools.terminal import (
    FAILED,
    CannotStart,
    OutputWriter,
    StreamFailed,
    descriptor,
    input_,
    output,
    read,
    remark,
)
from actors.tools.tokens import check_against, read_tokens

_CHUNK_BYTES = 65_536
_LINGER_LOOK_SECONDS = 0.02
_UNDELIVERED = (Stage.ACCEPTED, Stage.BUFFERED, Stage.STORED)


@attrs.frozen(kw_only=True)
class ServeOptions:
    """The options of the command line."""

    host: str
    port: int
    store: Path | None
    """The file of the store; ``None`` for one in memory."""
    control: ControlPlace = NONE
    """The place of the control socket."""
    tokens: Path | None
    origins: list[str] | None = None
    """The origins of pages that may connect; ``None`` for that of the address which is asked."""
    stdin: bool
    receipts: bool
    linger_seconds: float
    user_id: str | None
    drain_seconds: float
    echo: bool = False
    programs: ProgramOptions = attrs.field(factory=ProgramOptions)


async def serve(options: ServeOptions) -> int:
    """Serve until a signal, or until the input is delivered; returns the exit status."""
    authenticate = trust if options.tokens is None else check_against(_tokens(options.tokens, options.user_id))
    source = input_() if options.stdin else None
    if options.receipts:
        output()
    with open_signals() as signals:
        services = {"/echo": partial(echo, limits=Limits())} if options.echo else {}
        # Standard input can wait: half of what a log retains is for the feed, the other half for what it had already.
        ahead = {"ahead": max(Limits().retained_events // 2, 1)} if options.stdin else {}
        async with (
            programs(options.programs) as doors,
            listening(
                options.host,
                options.port,
                authenticate,
                path=options.store,
                control=options.control,
                origins=options.origins,
                services=services,
                **ahead,
                **doors.hooks,
            ) as (runtime, _, _),
            doors.serving(runtime),
        ):
            if source is not None:
                status = await _deliver(Feed(runtime, options), source, signals)
                await runtime.drain(0)  # without waiting, because the lingering is over; it tells the devices to go
                return status
            await leave(runtime, signals, options.drain_seconds)
    return 0


def _tokens(path: Path, user_id: str | None) -> dict[str, str]:
    """Read the users by token; the user of ``--user`` must be one of them, because no device of another can connect."""
    tokens = read_tokens(path)
    if user_id is not None and user_id not in tokens.values():
        raise CannotStart(f"--user {printable(user_id)}: expected a user of {path}, it has no token for this one")
    return tokens


class Feed:
    """Standard input on its way to the devices."""

    def __init__(self, runtime: Runtime, options: ServeOptions) -> None:
        self.failed: bool = False
        """True once a standard stream could not be read or written."""
        self.receipts: OutputWriter = OutputWriter(
            output() if options.receipts else None, "standard output", on_failed=self._stream_failed
        )
        self.remarks: OutputWriter = OutputWriter(
            descriptor(sys.stderr), "standard error", on_failed=self._stream_failed
        )
        self.tracker: ReceiptTracker = ReceiptTracker(self._write_receipt if options.receipts else None)
        self.bad_lines: int = 0
        self.default_owner: DefaultOwner | None = (
            DefaultOwner(runtime) if options.tokens is None and options.user_id is None else None
        )
        """The owner of threads for which no line names a user."""
        self._runtime = runtime
        self._options = options
        self._joiner = SurrogateJoiner()

    async def read(self, source: int) -> None:
        """Emit every line of the input, until its end."""
        reader = LineReader()
        try:
            while chunk := await trio.to_thread.run_sync(read, source, _CHUNK_BYTES, abandon_on_cancel=True):
                for line in reader.feed(chunk):
                    await self._take(line)
        except StreamFailed as error:
            self._stream_failed(error)
        for line in reader.finish():
            await self._take(line)

    async def linger(self) -> None:
        """Wait up to ``linger_seconds`` for devices to take and ack events that are under way."""
        with trio.move_on_after(self._options.linger_seconds):
            while True:
                self.tracker.look()
                if self._is_settled():
                    return
                await trio.sleep(_LINGER_LOOK_SECONDS)

    async def drain(self) -> None:
        """Wait until the readers of both output streams have taken everything."""
        await self.receipts.drain()
        await self.remarks.drain()

    def report(self) -> None:
        """Write the remarks that are left, and the summary of stages."""
        self._joiner.finish()
        self._write_joiner_remarks()
        self.tracker.look()
        bad = f"; {self.bad_lines} bad line{'' if self.bad_lines == 1 else 's'}" if self.bad_lines else ""
        self.remarks.write(remark(f"{self.tracker}{bad}"))

    @property
    def status(self) -> int:
        """The exit status, once the streams are drained."""
        if self.failed:
            return FAILED
        only_bad_lines = self.bad_lines and not self.tracker.total
        return 1 if only_bad_lines or self.tracker.count(*_UNDELIVERED, Stage.DROPPED) else 0

    async def _take(self, line: Line) -> None:
        if line.text is not None and not line.text.strip():
            return
        try:
            if line.text is None:
                raise BadLine(f"expected at most {LINE_BYTES} bytes, got more")
            receipt = await self._emit(self._joiner.parse(line.number, line.text))
        except (BadLine, ActorsError) as error:
            self.bad_lines += 1
            self.remarks.write(remark(f"line {line.number}: {error}"))
        else:
            self.tracker.add(line.number, receipt)
            self._write_joiner_remarks()
        await self.receipts.room()
        await self.remarks.room()

    async def _emit(self, event: LineEvent) -> Receipt:
        user_id = event.user_id
        if user_id is None and self._runtime.owner(event.thread_id) is None:
            user_id = self._options.user_id or self._default_owner_of(event.thread_id)
        return await self._runtime.thread(event.thread_id).emit(
            event.type,
            event.payload,
            run_id=event.run_id,
            event_id=event.event_id,
            user_id=user_id,
            traceparent=event.traceparent,
        )

    def _write_joiner_remarks(self) -> None:
        for text in self._joiner.remarks():
            self.remarks.write(remark(text))

    def _default_owner_of(self, thread_id: str) -> str | None:
        if self.default_owner is None:
            return None
        if self.default_owner.user_id is None:
            self.default_owner.expect(thread_id)
        return self.default_owner.user_id

    def _is_settled(self) -> bool:
        """True if every event is final, or is written and no device is left that could ack it."""
        if self.tracker.count(*_UNDELIVERED):
            return False
        if not self.tracker.count(Stage.WRITTEN):
            return True
        awaited = self.tracker.awaited
        return not any(not device.plain and device.user_id in (None, *awaited) for device in connections(self._runtime))

    def _stream_failed(self, error: StreamFailed) -> None:
        """Report the failure and go on, because delivery does not depend on the stream; the exit status does."""
        self.failed = True
        self.remarks.write(remark(f"actors: {error}"))

    def _write_receipt(self, line: int, receipt: Receipt, stage: Stage) -> None:
        fields = {
            "line": line,
            "event_id": receipt.event_id,
            "thread_id": receipt.thread_id,
            "seq": receipt.seq,
            "offset": receipt.offset,
            "stage": stage.name,
            "timestamp": self._runtime.environment.wall_clock(),
        }
        if stage is Stage.DROPPED:
            fields["cause"] = receipt.cause
        self.receipts.write(msgspec.json.encode(fields).decode() + "\n")


async def _deliver(feed: Feed, source: int, signals: AsyncIterator[int]) -> int:
    """Read, linger, report. A signal ends the current phase, and the next one begins."""
    async with trio.open_nursery() as nursery:
        for task in (feed.tracker, feed.receipts, feed.remarks):
            nursery.start_soon(task.run)
        if feed.default_owner is not None:
            nursery.start_soon(feed.default_owner.run)
        await until_signal(signals, lambda: feed.read(source))
        await until_signal(signals, feed.linger)
        feed.report()
        await until_signal(signals, feed.drain)
        nursery.cancel_scope.cancel()
    return feed.status
