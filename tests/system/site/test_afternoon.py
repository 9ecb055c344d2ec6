"""The program of the afternoon does what its page says: it can be asked from a shell, and a second Ctrl-C ends it."""

from __future__ import annotations

import signal
from pathlib import Path

import trio

from tests.system.asgi.servers import free_port
from tests.system.site.chat import chat
from tests.tools.command import PATIENCE_SECONDS, run

ENDLESS = "import trio\n\n\nasync def assistant(run, message):\n    await trio.sleep_forever()\n"


async def test_it_is_asked_from_a_shell_and_ends_at_the_second_signal(tmp_path: Path) -> None:
    """``actors why`` and ``actors status`` find it; while it drains for a run that lasts, Ctrl-C again ends it."""
    port, asked = free_port(), ("--control", str(tmp_path / "control"))
    with trio.fail_after(PATIENCE_SECONDS):
        async with chat(tmp_path, port, assistant=ENDLESS) as process:
            sent = await run("send", f"ws://127.0.0.1:{port}/ws", "--token", "token-of-alice", "Oslo?")
            assert sent.status == 0
            assert (await run("why", *asked, "alice")).out.startswith("no device of alice is here")
            process.send_signal(signal.SIGINT)
            while "draining" not in (await run("status", *asked)).out:
                pass
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 0
