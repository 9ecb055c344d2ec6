"""Node with the browser's client in it: scripts go in, what they return comes out."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import trio

import actors

CLIENT = Path(actors.__file__).parent / "web" / "actors.js"
NO_NODE = "the browser's client is run by node 20 or later: no such node on the PATH"
_DRIVER = Path(__file__).with_name("driver.mjs")
_LOOK_SECONDS = 0.02
_PATIENCE_SECONDS = 60.0

_SWITCHES: tuple[tuple[str, ...], ...] = ((), ("--experimental-websocket",))
"""The option that gives Node a WebSocket: none is needed since 22, this one in 20."""


class Threw(Exception):
    """A script threw an error; its fields are those of ``error``."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error.get('name')}: {error.get('message')}")
        self.error = error


@cache
def node_command() -> tuple[str, ...] | None:
    """Return the command that runs Node with a WebSocket; ``None`` where there is none that can."""
    node = shutil.which("node")
    for switches in _SWITCHES if node else ():
        command = (str(node), *switches)
        probe = subprocess.run((*command, "-e", "new EventTarget() && WebSocket"), check=False, capture_output=True)
        if probe.returncode == 0:
            return command
    return None


class Node:
    """A Node process, and the sessions in it."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._ids = itertools.count(1)
        self._answers: dict[int, dict[str, Any]] = {}
        self._answered = trio.Event()
        self._ended = False

    async def run(self, script: str, **names: Any) -> Any:
        """Run the body of an async function in which ``names`` are constants; what it returns.

        Raises :class:`Threw`.
        """
        constants = "".join(f"const {name} = {json.dumps(value)}; " for name, value in names.items())
        id_ = next(self._ids)
        assert self._process.stdin is not None
        await self._process.stdin.send_all(json.dumps({"id": id_, "script": constants + script}).encode() + b"\n")
        while id_ not in self._answers:
            assert not self._ended, "node has ended; it says why on its standard error"
            await self._answered.wait()
        answer = self._answers.pop(id_)
        if "error" in answer:
            raise Threw(answer["error"])
        return answer["value"]

    async def until(self, expression: str, **names: Any) -> Any:
        """Wait for an expression to be true; its value."""
        with trio.move_on_after(_PATIENCE_SECONDS):
            while not (value := await self.run(f"return {expression}", **names)):  # noqa: ASYNC110 - Node is waited for
                await trio.sleep(_LOOK_SECONDS)
            return value
        kept = await self.run("return it.sessions")
        pytest.fail(f"expected {expression} {names or ''} within {_PATIENCE_SECONDS:g} s; there is {kept}")

    async def collect(self, url: str, name: str = "a", **options: Any) -> None:
        """Connect a session that is iterated over, and be caught up."""
        await self.run("collect(name, url, options)", name=name, url=url, options={"token": "alice", **options})
        await self.until("it.sessions[name].items.some((item) => item.kind === 'caught_up')", name=name)

    async def items(self, name: str = "a", *kinds: str) -> list[dict[str, Any]]:
        """The items that a session gave, of these kinds; without kinds, all but ``caught_up``."""
        items: list[dict[str, Any]] = await self.run("return it.sessions[name].items", name=name)
        return [item for item in items if (item["kind"] in kinds if kinds else item["kind"] != "caught_up")]

    async def numbers(self, name: str = "a") -> list[int]:
        """The ``n`` of every event that a session gave."""
        return [item["payload"]["n"] for item in await self.items(name, "event")]

    async def until_events(self, count: int, name: str = "a") -> None:
        """Wait until a session has given so many events."""
        events = "it.sessions[name].items.filter((item) => item.kind === 'event').length"
        await self.until(f"{events} >= count", name=name, count=count)

    async def until_state(self, state: str, name: str = "a") -> dict[str, Any]:
        """Wait for a state of a session; the whole of it."""
        script = "it.sessions[name].session.state.name === state && it.sessions[name].session.state"
        found: dict[str, Any] = await self.until(script, name=name, state=state)
        return found

    async def listen(self) -> None:
        """Take what comes out, until the process ends."""
        assert self._process.stdout is not None
        rest = b""
        async for chunk in self._process.stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                answer = json.loads(line)
                self._answers[answer["id"]] = answer
            self._ring()
        self._ended = True
        self._ring()

    def _ring(self) -> None:
        self._answered.set()
        self._answered = trio.Event()


@asynccontextmanager
async def open_node(*program: Path | str) -> AsyncIterator[Node]:
    """A process of its own; skips the test where there is no Node with a WebSocket.

    Without ``program``, a driver and its arguments, it has the browser's client.
    """
    command = await trio.to_thread.run_sync(node_command)
    if command is None:
        pytest.skip(NO_NODE)
    process = await trio.lowlevel.open_process(
        [*command, "--no-warnings", *map(str, program or (_DRIVER, CLIENT))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        async with trio.open_nursery() as nursery:
            node = Node(process)
            nursery.start_soon(node.listen)
            yield node
            nursery.cancel_scope.cancel()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
