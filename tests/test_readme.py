"""The README is true: its example runs as printed."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from actors.errors import PeerError
from actors.examples import assistant
from tests.peers.served import served
from tests.tools.command import device, events

README = Path(__file__).parent.parent / "README.md"


def examples() -> list[str]:
    """The Python examples, as they stand on the page."""
    return re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


def printed() -> str:
    """The embedding example."""
    return examples()[0]


async def test_the_example_runs_as_printed() -> None:
    """The embedding example, copied from the page, answers a message with a whole run."""
    with trio.fail_after(30):
        process = await trio.lowlevel.open_process([sys.executable, "-c", printed()])
        try:
            seen = await ask("ws://127.0.0.1:8765/ws", "What is the weather in Oslo?")
        finally:
            process.terminate()
            await process.wait()
    assert [type_ for type_ in seen if type_ != "agent_delta"] == [
        "user_message",
        "agent_started",
        "agent_thinking",
        "tool_executing",
        "tool_completed",
        "agent_completed",
    ]


async def ask(url: str, text: str) -> list[str]:
    """Say something to a server as soon as it listens; the types of the events up to the end of the run."""
    while True:
        try:
            async with device(url, "alice") as websocket:
                request = {"op": "send", "id": 1, "payload": {"text": text}}
                await websocket.send(msgspec.json.encode(request).decode())
                seen: list[str] = []
                while not seen or seen[-1] != "agent_completed":
                    seen += [msgspec.json.decode(came)["type"] for came in await events(websocket, 1)]
                return seen
        except PeerError as error:
            if error.name != "vanished":
                raise
            await trio.sleep(0.05)


async def test_the_client_example_runs_as_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """The client example, copied from the page, prints the answer to its question."""
    names: dict[str, Any] = {}
    exec(examples()[1], names)  # noqa: S102 - it is this project's own page
    async with served(on_message=assistant.assistant) as house:
        assert isinstance(house.address, tuple)
        host, port = house.address
        await names["follow"](f"ws://{host}:{port}/ws", "alice")
    assert capsys.readouterr().out.startswith("The sky over Oslo is clear tonight, at 4 degrees.")


async def test_the_proxy_example_runs_as_printed() -> None:
    """The fault proxy's example, copied from the page, gets its event over a line that is slow and was reset."""
    names: dict[str, Any] = {}
    exec(examples()[3], names)  # noqa: S102 - it is this project's own page
    async with served() as house:
        assert isinstance(house.address, tuple)
        await house.emit(1)
        event = await names["first_event_over_a_bad_line"](*house.address)
    assert event.offset == 1


async def test_the_simulation_example_runs_as_printed() -> None:
    """The simulation example, copied from the page, passes."""
    done = await trio.run_process([sys.executable, "-c", examples()[2]], capture_stderr=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_the_example_is_the_demo() -> None:
    """What the page prints is the assistant that ``actors demo`` runs, in some 25 lines of code."""
    assert printed() == Path(assistant.__file__).read_text()
    code = [line for line in printed().splitlines() if line.strip() and not line.startswith(('"""', "import"))]
    assert len(code) <= 25


def test_links_lead_somewhere() -> None:
    """Every file that the page points to is there."""
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", README.read_text())
    assert links
    assert [link for link in links if not (README.parent / link).exists()] == []
