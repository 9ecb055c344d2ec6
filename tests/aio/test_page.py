"""The page of the folder: its example runs as printed."""

from __future__ import annotations

import asyncio
import signal
import sys

from actors.client import Ask
from tests.aio.support import device, run, until
from tests.support.pages import examples


def test_the_example_runs_as_printed() -> None:
    """A device gets the report and the whole run, answers its question, and Ctrl-C ends the program at once."""
    (example,) = examples("actors/aio/README.md")
    program = example.replace("8765", "0")
    assert program != example

    async def main() -> None:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=pipe, stderr=pipe)
        assert process.stdout is not None
        try:
            url = (await process.stdout.readline()).decode()
            port = int(url.removesuffix("/ws\n").rpartition(":")[2])
            async with device(("127.0.0.1", port)) as alice:
                assert await alice.saw("report_ready") == {"pages": 3}
                assert await process.stdout.readline() == b"alice has it\n"
                await alice.send({"text": "What is the weather in Oslo?"})
                await until(lambda: any(isinstance(one, Ask) for one in alice.items))
                (ask,) = [one for one in alice.items if isinstance(one, Ask)]
                await alice.session.answer(ask.id, {"choice": "yes"})
                assert await alice.saw("agent_completed") == {"result": "The sky is clear."}
                assert await alice.saw("told") == {"who": "Bob"}
                assert (await alice.saw("tool_completed"))["tool_call_id"] == "toolu_77"
                process.send_signal(signal.SIGINT)
                _, err = await process.communicate()
            assert err.decode().splitlines()[-1] == "KeyboardInterrupt"
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    run(main)


def test_it_is_short() -> None:
    """The example has fewer than thirty lines of code."""
    (example,) = examples("actors/aio/README.md")
    assert len([line for line in example.splitlines() if line.strip()]) < 30
