"""A process with a server in it that does as it is told, and answers what it is asked, over its standard streams.

    python -m tests.system.chaos.serving LIMITS

``LIMITS`` are a JSON object with fields of :class:`actors.Limits`. Each line of standard input is a JSON object with
``do``, the name of a method below, and its arguments; each gets one line of JSON back, in order. A message to the
agent, ``{"text": "block"}``, stops the whole loop three times.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import Any

import msgspec
import trio

import actors
from actors.tools.log_format import show_log
from actors.tools.serving import listening

BLOCKS = 3
BLOCK_SECONDS = 0.3
PAUSE_SECONDS = 0.1


async def agent(run: actors.Run, message: actors.Message) -> None:
    """Do what a coroutine must not do."""
    for _ in range(BLOCKS):
        time.sleep(BLOCK_SECONDS)  # noqa: ASYNC251 - it is what is tested
        await run.thinking("about to do it again")
        await trio.sleep(PAUSE_SECONDS)


class Commands:
    """Carries out what the process is told."""

    def __init__(self, runtime: actors.Runtime) -> None:
        self._runtime = runtime
        self._receipts: dict[str, list[actors.Receipt]] = {}

    async def emit(self, users: list[str], count: int, pause_seconds: float = 0.0) -> None:
        """Emit so many more numbered events to each user."""
        for _ in range(count):
            for user_id in users:
                receipts = self._receipts.setdefault(user_id, [])
                thread = self._runtime.thread(f"thread-of-{user_id}")
                receipts.append(await thread.emit("tick", {"text": f"{len(receipts)} "}, user_id=user_id))
            await trio.sleep(pause_seconds)

    async def stages(self, user_id: str) -> dict[str, int]:
        """Count a user's events in each stage."""
        return Counter(receipt.stage.name for receipt in self._receipts[user_id])

    async def explain(self, user_id: str, number: int) -> str:
        """Explain one event."""
        return str(self._runtime.explain(self._receipts[user_id][number]))

    async def devices(self, user_id: str) -> int:
        """Count a user's connections."""
        return self._runtime.devices(user_id)

    async def failures(self) -> list[str]:
        """Return the failures, and what does not balance."""
        audit = self._runtime.audit()
        return [str(failure) for failure in self._runtime.failures] + ([] if audit.balanced else [str(audit)])


async def main(*words: str) -> None:
    """Serve, until standard input ends."""
    (text,) = words
    limits = actors.Limits(**msgspec.json.decode(text))
    async with listening("127.0.0.1", 0, on_message=agent, limits=limits) as (runtime, _, _):
        commands = Commands(runtime)
        rest = b""
        async for chunk in trio.lowlevel.FdStream(sys.stdin.fileno()):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                order: dict[str, Any] = msgspec.json.decode(line)
                answer = await getattr(commands, order.pop("do"))(**order)
                sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
                sys.stdout.flush()


if __name__ == "__main__":
    show_log()
    trio.run(main, *sys.argv[1:])
