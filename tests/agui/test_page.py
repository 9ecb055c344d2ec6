"""The page of the folder: its server and its page, as printed, on a real server that the reader has."""

from __future__ import annotations

import re
import socket
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import trio

import actors.agui
from tests.support.npm import agui_project
from tests.system.client_js.node import NO_NODE, node_command

PAGE = (Path(actors.agui.__file__).parent / "README.md").read_text()
_PATIENCE_SECONDS = 60.0
_SERVERS = {
    "uvicorn": ("uvicorn", "--port", "{port}", "--log-level", "warning"),
    "anycorn on Trio": ("anycorn", "--worker-class", "trio", "--bind", "127.0.0.1:{port}"),
}


def block(name: str) -> str:
    """The code of the page under a name."""
    found = re.search(rf"<!-- agui: {name} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None, name
    return found[1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


async def answers(port: int) -> None:
    """Until a server is there."""
    while True:
        try:
            await trio.to_thread.run_sync(urllib.request.urlopen, f"http://127.0.0.1:{port}/healthz")
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            await trio.sleep(0.05)


def test_they_are_short() -> None:
    """Each is under 30 lines."""
    assert all(len(block(name).splitlines()) < 30 for name in ("server", "page"))


@pytest.mark.slow
@pytest.mark.parametrize("name", _SERVERS)
async def test_they_run_as_printed(tmp_path: Path, name: str) -> None:
    """The question is asked and answered over the WebSocket, and the unmodified HttpAgent shows the same thread."""
    command = node_command()
    if command is None:
        pytest.skip(NO_NODE)
    project, port = agui_project(tmp_path), free_port()
    (project / "app.py").write_text(block("server"))
    (project / "package.json").write_text('{"type": "module"}')
    (project / "page.mjs").write_text(block("page").replace("8000", str(port)))
    (project / "http.mjs").write_text(_OVER_HTTP.replace("8000", str(port)))
    words = [word.format(port=port) for word in _SERVERS[name]]
    server = await trio.lowlevel.open_process([sys.executable, "-m", *words, "app:app"], cwd=project)
    try:
        with trio.fail_after(_PATIENCE_SECONDS):
            await answers(port)
            for script, expected in (
                ("page.mjs", "The sky is clear. Booked."),
                ("http.mjs", "The sky is clear. As you like."),
            ):
                run = [*command, "--no-warnings", script]
                ran = await trio.run_process(run, capture_stdout=True, cwd=project)
                assert ran.stdout.decode().strip() == expected
    finally:
        server.kill()
        with trio.CancelScope(shield=True):
            await server.wait()


_OVER_HTTP = """
import { createRequire } from "node:module";
const { HttpAgent } = createRequire(import.meta.url)("@ag-ui/client");
const agent = new HttpAgent({ url: "http://127.0.0.1:8000/agui", headers: { Authorization: "Bearer alice" } });
agent.addMessage({ id: "u1", role: "user", content: "Dinner?" });
await agent.runAgent();
const resume = agent.pendingInterrupts.map(({ id }) => ({ interruptId: id, status: "cancelled" }));
await agent.runAgent({ resume });
console.log(agent.messages.at(-1).content);
"""
