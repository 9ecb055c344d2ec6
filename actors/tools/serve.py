"""``actors serve``: events in on standard input, out over WebSockets, and what became of each."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import attrs
import msgspec
import trio

from actors.errors import ActorsError
from actors.receipts import Receipt
from actors.runtime import Runtime
from actors.server import trust
from actors.stages import Stage
from actors.tools.heir import Heir
from actors.tools.leave import leave, open_signals, until_signal
from actors.tools.lines import LINE_BYTES, BadLine, Line, LineReader, Spoken, parse
from actors.tools.listen import connections, listening
from actors.tools.pace import Pace
from actors.tools.tally import Tally
from actors.tools.terminal import CannotStart, Outlet, descriptor
from actors.tools.tokens import check_against, read_tokens
from actors.wire.echo import echo

_CHUNK_BYTES = 65_536
_LINGER_LOOK_SECONDS = 0.02
_UNDELIVERED = (Stage.ACCEPTED, Stage.BUFFERED, Stage.STORED)


@attrs.frozen(kw_only=True)
class ServeOptions:
    """What was asked for on the command line."""

    host: str
    port: int
    tokens: Path | None
    stdin: bool
    receipts: bool
    linger_seconds: float
    user_id: str | None
    drain_seconds: float
    echo: bool = False


async def serve(options: ServeOptions) -> int:
    """Serve until a signal, or until the input is delivered; returns the exit status."""
    authenticate = trust if options.tokens is None else check_against(read_tokens(options.tokens))
    source = descriptor(sys.stdin)
    if options.stdin and source is None:
        raise CannotStart("expected events on standard input, it is closed")
    with open_signals() as signals:
        async with listening(options.host, options.port, authenticate) as (runtime, _, _):
            if options.echo:
                runtime.server.services["/echo"] = partial(echo, limits=runtime.limits)
            if options.stdin and source is not None:
                status = await _deliver(Feed(runtime, options), source, signals)
                await runtime.drain(0)  # what could be waited for was; this tells the devices
                return status
            await leave(runtime, signals, options.drain_seconds)
    return 0


class Feed:
    """Standard input on its way to the devices."""

    def __init__(self, runtime: Runtime, options: ServeOptions) -> None:
        self.receipts = Outlet(descriptor(sys.stdout) if options.receipts else None)
        self.remarks = Outlet(descriptor(sys.stderr))
        self.tally = Tally(self._say if options.receipts else None)
        self.bad_lines = 0
        self.heir = Heir(runtime) if options.tokens is None and options.user_id is None else None
        """Who gets the threads that no line names a user for."""
        self._runtime = runtime
        self._options = options
        self._pace = Pace(runtime)

    async def read(self, source: int) -> None:
        """Emit every line of the input, until its end."""
        reader = LineReader()
        try:
            while chunk := await trio.to_thread.run_sync(os.read, source, _CHUNK_BYTES, abandon_on_cancel=True):
                for line in reader.feed(chunk):
                    await self._take(line)
        except OSError as error:
            self.remarks.write(f"standard input: {error.strerror or error}\n")
        for line in reader.finish():
            await self._take(line)

    async def linger(self) -> None:
        """Give devices a moment to take and confirm what is under way, and no longer than that can help."""
        with trio.move_on_after(self._options.linger_seconds):
            while True:
                self.tally.look()
                if self._is_settled():
                    return
                await trio.sleep(_LINGER_LOOK_SECONDS)

    async def drain(self) -> None:
        """Wait until everything that is to be read here was."""
        await self.receipts.drain()
        await self.remarks.drain()

    def report(self) -> int:
        """Say what each event became; returns the exit status."""
        self.tally.look()
        bad = f"; {self.bad_lines} bad line{'' if self.bad_lines == 1 else 's'}" if self.bad_lines else ""
        self.remarks.write(f"{self.tally}{bad}\n")
        return 1 if self.tally.count(*_UNDELIVERED, Stage.DROPPED) else 0

    async def _take(self, line: Line) -> None:
        if line.text is not None and not line.text.strip():
            return
        try:
            if line.text is None:
                raise BadLine(f"expected at most {LINE_BYTES} bytes, got more")
            receipt = await self._emit(parse(line.text))
        except (BadLine, ActorsError) as error:
            self.bad_lines += 1
            self.remarks.write(f"line {line.number}: {error}\n")
        else:
            self.tally.add(line.number, receipt)
            await self._pace.keep(receipt, len(line.text))
        await self.receipts.room()
        await self.remarks.room()

    async def _emit(self, spoken: Spoken) -> Receipt:
        user_id = spoken.user_id
        if user_id is None and self._runtime.owner(spoken.thread_id) is None:
            user_id = self._options.user_id or self._inherit(spoken.thread_id)
        return await self._runtime.thread(spoken.thread_id).emit(
            spoken.type, spoken.payload, run_id=spoken.run_id, event_id=spoken.event_id, user_id=user_id
        )

    def _inherit(self, thread_id: str) -> str | None:
        if self.heir is None:
            return None
        if self.heir.user_id is None:
            self.heir.expect(thread_id)
        return self.heir.user_id

    def _is_settled(self) -> bool:
        """Whether every event is final, or written with nobody left who could confirm it."""
        if self.tally.count(*_UNDELIVERED):
            return False
        if not self.tally.count(Stage.WRITTEN):
            return True
        awaited = self.tally.awaited
        return not any(not device.plain and device.user_id in (None, *awaited) for device in connections(self._runtime))

    def _say(self, line: int, receipt: Receipt, stage: Stage) -> None:
        said = {
            "line": line,
            "event_id": receipt.event_id,
            "thread_id": receipt.thread_id,
            "seq": receipt.seq,
            "offset": receipt.offset,
            "stage": stage.name,
        }
        if stage is Stage.DROPPED:
            said["cause"] = receipt.cause
        self.receipts.write(msgspec.json.encode(said).decode() + "\n")


async def _deliver(feed: Feed, source: int, signals: AsyncIterator[int]) -> int:
    """Read, linger, report. A signal ends what is going on, and the next part begins."""
    async with trio.open_nursery() as nursery:
        for outward in (feed.tally, feed.receipts, feed.remarks):
            nursery.start_soon(outward.run)
        if feed.heir is not None:
            nursery.start_soon(feed.heir.run)
        await until_signal(signals, lambda: feed.read(source))
        await until_signal(signals, feed.linger)
        status = feed.report()
        await until_signal(signals, feed.drain)
        nursery.cancel_scope.cancel()
    return status
