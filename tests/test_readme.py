"""The README is true: its examples run as printed, and so do its commands."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
import trio

from actors.errors import PeerError
from actors.examples import assistant
from tests.support.raw import connected
from tests.support.served import served
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


async def test_the_example_says_what_to_try_next() -> None:
    """It prints where it listens, where its page is; a message without text is answered like any other."""
    with trio.fail_after(30):
        process = await trio.lowlevel.open_process(
            [sys.executable, "-u", "-c", printed()], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            said = (await process.stdout.receive_some()).decode()
            url = next(word.strip(",") for word in said.split() if word.startswith("http://"))
            where = urlsplit(url)
            assert where.hostname is not None
            assert where.port is not None
            async with connected((where.hostname, where.port)) as peer:
                assert (await peer.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")).status == 200
            seen = await ask(f"ws{url.removeprefix('http')}ws", {"voice": "none"})
            assert seen[-1] == "agent_completed"
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 130
            assert await process.stderr.receive_some() == b""
        finally:
            process.kill()


async def ask(url: str, text: str | dict[str, Any]) -> list[str]:
    """Say something to a server as soon as it listens; the types of the events up to the end of the run."""
    payload = {"text": text} if isinstance(text, str) else text
    while True:
        try:
            async with device(url, "alice") as websocket:
                request = {"op": "send", "id": 1, "payload": payload}
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


def test_what_is_to_be_installed_can_be() -> None:
    """Every ``pip install`` on the page and in an error works from the checkout: it names a folder and known extras."""
    pages = [README, *(README.parent / "actors").rglob("*.py"), *(README.parent / "benchmarks").rglob("*.py")]
    found = [words for page in pages for words in re.findall(r"pip install ([^\n&)]+)", page.read_text())]
    extras = tomllib.loads((README.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert len(found) >= 4
    for words in found:
        assert (target := re.match(r"(?:-q )?(?:-e )?'?\.(?:\[(\w+)\])?", words)), words
        assert target[1] is None or target[1] in extras


def test_links_lead_somewhere() -> None:
    """Every file that the page points to is there."""
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", README.read_text())
    assert links
    assert [link for link in links if not (README.parent / link).exists()] == []
