"""A program with a handler that waits, to be interrupted from the keyboard."""

from __future__ import annotations

import asyncio
import logging
import threading

from actors import Message, aio


async def wait(run: aio.Run, message: Message) -> None:
    """Wait until it is cancelled."""
    print("began", flush=True)  # noqa: T201 - its output is the test's
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        print("handler CancelledError", flush=True)  # noqa: T201
        raise


async def main() -> None:
    """Serve one message, and wait."""
    try:
        async with aio.open_runtime(on_message=wait) as runtime:
            await runtime.thread("t1").send({"text": "x"}, user_id="alice")
            await asyncio.sleep(60)
    except asyncio.CancelledError:
        print("body CancelledError", flush=True)  # noqa: T201
        raise


logging.getLogger("actors").setLevel(logging.ERROR)
try:
    asyncio.run(main())
except KeyboardInterrupt:
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("actors")]
    print("threads", left)  # noqa: T201
    print("KeyboardInterrupt")  # noqa: T201
