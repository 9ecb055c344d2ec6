"""The documents are true: examples run as printed, links lead somewhere, and the map is the listing."""

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
from actors.events.event import Lifecycle
from actors.examples import assistant
from tests.support.pages import ROOT, documents, examples, prose
from tests.support.raw import connected
from tests.test_architecture import FLOORS, PACKAGE
from tests.tools.command import device, events

README = ROOT / "README.md"


COMMANDS = (
    "python3 -m venv .venv && .venv/bin/pip install -q . && .venv/bin/actors demo",
    "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/pytest",
)
"""How to see it, and how to test it."""

OWN_STYLE = {"actors/protocol/README.md", "actors/server/threats.md", "tests/protocol/transcripts/README.md"}
"""Specifications, whose lines are their clauses."""


def named(page: Path) -> str:
    """A page by its path from the root."""
    return page.relative_to(ROOT).as_posix()


def printed() -> str:
    """The embedding example."""
    (example,) = examples("README.md")
    return example


async def test_the_example_runs_as_printed() -> None:
    """The embedding example, copied from the page, answers a message with a whole run."""
    with trio.fail_after(60):
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
    with trio.fail_after(60):
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


def test_the_example_is_the_demo() -> None:
    """What the page prints is the assistant that ``actors demo`` runs, in some 25 lines of code."""
    assert printed() == Path(assistant.__file__).read_text()
    code = [line for line in printed().splitlines() if line.strip() and not line.startswith(('"""', "import"))]
    assert len(code) <= 25


def test_what_is_to_be_installed_can_be() -> None:
    """Every ``pip install`` on a page and in an error works from the checkout: it names a folder and known extras."""
    pages = [*documents(), *(ROOT / "actors").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    found = [words for page in pages for words in re.findall(r"pip install ([^\n&)]+)", page.read_text())]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert len(found) >= 4
    for words in found:
        assert (target := re.match(r"(?:-q |--no-cache-dir )?(?:-e )?'?\.(?:\[([\w,]+)\])?", words)), words
        assert target[1] is None or set(target[1].split(",")) <= set(extras)


# --- the front door -----------------------------------------------------------


def test_it_is_a_front_door() -> None:
    """The README is read in one sitting, has a picture, and both commands on lines of their own."""
    lines = README.read_text().splitlines()
    assert len(lines) <= 250
    assert "(tests/system/web/page.png)" in README.read_text()
    for command in COMMANDS:
        assert lines.count(f"    {command}") == 1


@pytest.mark.parametrize("page", documents(), ids=named)
def test_one_sentence_a_line(page: Path) -> None:
    """A line of prose is one sentence, and no longer than a reader takes in."""
    if named(page) in OWN_STYLE:
        return
    for line in prose(page):
        text = re.sub(r"`[^`]*`|\*\*[^*]*\*\*|^ *\d+\.", "x", line)
        assert len(line if page == README else re.sub(r"\]\([^)]*\)", "]", line)) <= 200, line
        assert re.search(r"[.?!]\)? +[A-Z]", text) is None, line


# --- links and the map ----------------------------------------------------------


@pytest.mark.parametrize("page", documents(), ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    """Every file and every heading that a page points to is there."""
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
        path, _, heading = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not heading or heading in headings(target), link


@pytest.mark.parametrize("page", documents(), ids=named)
def test_paths_that_are_named_are_there(page: Path) -> None:
    """What a page calls by its path from the root, a test that it says to run for one, is there."""
    for name in re.findall(
        r"(?<!trio-)\b((?:actors|tests|benchmarks)/[\w./]+)", re.sub(r"\]\([^)]*\)", "]", page.read_text())
    ):
        assert name.endswith("test_") or (ROOT / name.rstrip(".")).exists(), name


def headings(page: Path) -> set[str]:
    """The headings of a page, as links name them."""
    found = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_the_map_is_the_listing() -> None:
    """The map has every folder and module of the package, once, and on the floor on which the architecture has it."""
    rows = re.findall(r"^\| (\d+) \| \[([\w.]+)/?\]\(", (PACKAGE / "README.md").read_text(), re.MULTILINE)
    mapped = [(int(number), name.removesuffix(".py")) for number, name in rows]
    assert mapped == sorted(mapped, key=lambda row: row[0])
    assert len(set(mapped)) == len(mapped)
    assert set(mapped) == {(number, name) for number, names in enumerate(FLOORS, 1) for name in names}
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert {name for _, name in mapped} == there - {"__init__", "__main__"}


def test_the_tree_is_the_one_that_runs() -> None:
    """Both pictures of the tree name the children that the runtime starts, in their order."""
    started = re.findall(r'Child\(name="(\w+)"', (PACKAGE / "tree.py").read_text())
    for page in (README, PACKAGE / "README.md"):
        drawn = re.findall(r"^(?:runtime ─| +)[┬├└] (\w+)", page.read_text(), re.MULTILINE)
        assert sorted(drawn) == sorted(started)


def test_the_events_of_a_run_are_in_the_table() -> None:
    """Each type of the lifecycle has a row that says what its payload is, and when it comes."""
    table = (PACKAGE / "runs" / "README.md").read_text()
    assert [type_ for type_ in Lifecycle if f"| `{type_}` | " not in table] == []
