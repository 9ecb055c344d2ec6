"""A process that emits, as an agent server does that is piped into ``actors serve --stdin --receipts``.

    python -m tests.system.chaos.emitting USER JOURNAL PAUSE_SECONDS

Events go to standard output, receipts come on standard input. What it emits it writes down before, what it is told
after; begun again with the same journal it emits first, under their ids, the events of which it was told nothing
final. SIGTERM: no more events; it ends when it was told what became of each. SIGUSR1: half a line, and no more.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import msgspec
import trio

from tests.system.chaos.journals import FINAL, Journal, told

TOKENS_PER_TOOL = 10


def line(user_id: str, number: int) -> bytes:
    """An event: tokens of one run, and now and then something that is never joined with its neighbours."""
    is_token = number % TOKENS_PER_TOOL
    event = {
        "type": "agent_delta" if is_token else "tick",
        "thread_id": f"thread-of-{user_id}",
        "run_id": f"run-of-{user_id}",
        "user_id": user_id,
        "event_id": f"{user_id}-{number}",
        "payload": {"text": f"{number} "},
    }
    return msgspec.json.encode(event) + b"\n"


class Emitter:
    """Emits one user's numbered events."""

    def __init__(self, user_id: str, journal: Journal, pause_seconds: float) -> None:
        journal.mend()
        known = told(journal)
        self._user_id = user_id
        self._journal = journal
        self._pause_seconds = pause_seconds
        self._open = set(known.unsettled)
        """Events of a fate that it does not know."""
        self._next = max(known.emitted, default=-1) + 1
        self._stirred = trio.Event()
        self._over = False
        self._tearing = False

    async def run(self) -> None:
        """Emit until told to stop, and be told what became of each; ends when the other process listens or speaks no
        more."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._obey)
            nursery.start_soon(self._hear, nursery.cancel_scope)
            try:
                await self._emit()
            except BrokenPipeError:
                nursery.cancel_scope.cancel()
            while self._open:
                await self._stirred.wait()
            nursery.cancel_scope.cancel()

    async def _emit(self) -> None:
        for number in sorted(self._open):
            await self._write(line(self._user_id, number))
        while not self._over:
            if self._tearing:
                await self._tear()
            self._open.add(self._next)
            self._journal.write("emitted", numbers=[self._next])
            await self._write(line(self._user_id, self._next))
            self._next += 1
            await trio.sleep(self._pause_seconds)

    async def _obey(self) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGUSR1) as signals:
            async for number in signals:
                if number == signal.SIGTERM:
                    self._over = True
                else:
                    self._tearing = True

    async def _tear(self) -> None:
        await self._write(line(self._user_id, self._next)[:40])
        self._journal.write("torn")
        await trio.sleep_forever()

    async def _hear(self, scope: trio.CancelScope) -> None:
        rest = b""
        async for chunk in trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())):
            *receipts, rest = (rest + chunk).split(b"\n")
            for receipt in map(msgspec.json.decode, receipts):
                self._learn(int(receipt["event_id"].rpartition("-")[2]), receipt["stage"])
        scope.cancel()

    def _learn(self, number: int, stage: str) -> None:
        self._journal.write("told", numbers=[number], text=stage)
        if stage in FINAL:
            self._open.discard(number)
            self._stirred.set()
            self._stirred = trio.Event()

    async def _write(self, data: bytes) -> None:
        await trio.to_thread.run_sync(os.write, sys.stdout.fileno(), data)


async def main(*words: str) -> None:
    """Emit for one user."""
    user_id, path, pause_seconds = words
    await Emitter(user_id, Journal(Path(path)), float(pause_seconds)).run()


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
