"""The runtime for asyncio: Trio runs in a thread of its own, and everything that an application writes is asyncio's.

    async with aio.open_runtime(on_message=assistant) as runtime:
        host, port = await runtime.serve(port=8765)
        receipt = await runtime.thread("t1").emit("report_ready", {"pages": 3}, user_id="alice")
        await receipt.reached(actors.Stage.ACKED)

The parts, from the ground up:

    passage, visit       one call in either direction
    bridge, portal       the ways between two loops; the thread with Trio in it
    block, text          a run's block, and its text, on both sides
    upcoming, following  the items of a device in the process
    receipt, run         what applications get
    adapters, runtime    what applications give, and call
    client               a device
"""

from trio import WouldBlock

from actors.aio.bridge import Bridge
from actors.aio.client import Session, connect
from actors.aio.following import Following
from actors.aio.receipt import Fate, Receipt
from actors.aio.run import Run
from actors.aio.runtime import Runtime, Thread, open_runtime

__all__ = [
    "Bridge",
    "Fate",
    "Following",
    "Receipt",
    "Run",
    "Runtime",
    "Session",
    "Thread",
    "WouldBlock",
    "connect",
    "open_runtime",
]
