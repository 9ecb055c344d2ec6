"""A server with a file: its agent answers, and its emitter goes on in each life where the one before was told STORED.

    python -m tests.system.chaos.keeping FILE PORT RECORD PAUSE_SECONDS USER …

RECORD gets a line for each event that is STORED, in one call: it is there whatever becomes of the process then.
SIGTERM: it drains, and closes the file in order.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import trio

import actors
from actors.tools.log_format import show_log
from actors.tools.serving import listening
from actors.tools.terminal import complain

AGAIN = 20
"""Events that a new life emits again under their ids, of those that were STORED."""

LIMITS = actors.Limits(
    retained_events=10**6, retained_bytes=2**30, retained_seconds=86_400.0, mailbox_messages=100, sessions_per_user=100
)
"""Everything stays, so that the file can be held against what was told of it; and a mailbox is soon full."""

DRAIN_SECONDS = 10.0


class Stored(msgspec.Struct, frozen=True):
    """One line of the record."""

    user_id: str
    number: int
    event_id: str
    epoch: str
    offset: int
    seq: int


def record_of(path: Path) -> Iterator[Stored]:
    """Read the whole lines of a record."""
    *lines, _unfinished = (path.read_bytes() if path.exists() else b"").split(b"\n")
    return (msgspec.json.decode(line, type=Stored) for line in lines)


async def agent(run: actors.Run, message: actors.Message) -> str:
    """Answer in some steps, between any two of which the process may end."""
    await run.thinking("about it")
    for word in str(message.payload["text"]).split("-"):
        run.delta(word)
        await trio.sleep(0.03)
    return "done"


class Emitting:
    """One user's numbered events."""

    def __init__(self, runtime: actors.Runtime, user_id: str, record: int) -> None:
        self._thread = runtime.thread(f"thread-of-{user_id}")
        self._user_id = user_id
        self._record = record
        self._told, self._emitted = trio.open_memory_channel[tuple[int, actors.Receipt]](1_000)

    async def run(self, first: int, pause_seconds: float) -> None:
        """Emit from a number on, until the runtime takes no more; then wait for what it took."""
        async with trio.open_nursery() as nursery, self._told:
            nursery.start_soon(self._write)
            try:
                while True:
                    await self._emit(first)
                    first += 1
                    await trio.sleep(pause_seconds)
            except actors.RuntimeClosed:
                pass

    async def _emit(self, number: int) -> None:
        event_id = f"{self._user_id}-{number}"
        payload = {"text": f"{number} "}
        receipt = await self._thread.emit("tick", payload, event_id=event_id, user_id=self._user_id)
        await self._told.send((number, receipt))

    async def _write(self) -> None:
        async for number, receipt in self._emitted:
            await receipt.reached(actors.Stage.STORED)
            position, seq = receipt.position, receipt.seq
            assert position is not None, "it is STORED"
            assert seq is not None, "it is STORED"
            line = Stored(self._user_id, number, receipt.event_id, position.epoch, position.offset, seq)
            os.write(self._record, msgspec.json.encode(line) + b"\n")


async def main(*words: str) -> None:
    """Serve and emit until killed, or asked to leave."""
    file, port, record, pause_seconds, *users = words
    told = dict.fromkeys(users, 0)
    for line in record_of(Path(record)):
        told[line.user_id] = line.number + 1
    writing = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        server = listening("127.0.0.1", int(port), path=Path(file), on_message=agent, limits=LIMITS)
        async with server as (runtime, _, nursery):
            for user_id in users:
                emitting = Emitting(runtime, user_id, writing)
                nursery.start_soon(emitting.run, max(told[user_id] - AGAIN, 0), float(pause_seconds))
            await anext(signals)
            complain(str(await runtime.drain(DRAIN_SECONDS)))


if __name__ == "__main__":
    show_log()
    trio.run(main, *sys.argv[1:])
