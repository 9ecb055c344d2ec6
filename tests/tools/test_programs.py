"""``actors serve`` for programs in other languages: its options, and why it cannot start."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

import actors
from actors.tools.cli import _main
from actors.tools.programs import ProgramOptions, programs
from actors.tools.terminal import CannotStart
from tests.http.receiver import SECRET, receiver, reply_with
from tests.http.serving import until
from tests.system.http.command import api_of, served
from tests.tools.command import device, events, run, running

ANYWHERE = "0.0.0.0", 0  # noqa: S104 - what is tested is that it is guarded
LOCAL = "127.0.0.1", 0
MISSING = Path("missing.toml")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"http": ANYWHERE}, "cannot listen on 0.0.0.0:0: expected a loopback address while keys are not checked"),
        ({"http": LOCAL, "keys": MISSING}, "missing.toml: expected a file of keys, No such file or directory"),
        ({"message_url": "http://x/", "secret": MISSING}, "missing.toml: expected a file with a secret, No such file"),
    ],
)
async def test_it_cannot_start(options: dict[str, Any], complaint: str) -> None:
    """It says why, and nothing listens."""
    with pytest.raises(CannotStart, match=re.escape(complaint)):
        async with (
            programs(ProgramOptions(**options)) as doors,
            actors.open_runtime(**doors.hooks) as runtime,
            doors.serving(runtime),
        ):
            raise AssertionError


async def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """It is named."""
    async with served(tmp_path) as server:
        address = server.url.removeprefix("http://")
        finished = await run("serve", "--port", "0", "--http", address)
        assert finished.status == 2
        assert f"cannot listen on {address}: Address already in use" in finished.err


async def test_without_keys_every_program_of_this_machine_may_call() -> None:
    """On loopback, as devices may connect without tokens."""
    async with running("serve", "--http", "0") as command:
        url = await api_of(command)
        assert url.startswith("http://127.0.0.1:")
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/v1/audit")).json()["balanced"]


async def test_a_program_answers_and_is_told(tmp_path: Path) -> None:
    """A device's message goes to it, signed, and its answer to the device."""
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)

    async def reply(body: Any) -> Any:
        return reply_with({"text": f"you said {body['payload']['text']}", "result": {"ok": True}})

    async with receiver(reply) as program:
        words = ("--message-url", program.url, "--undelivered-url", program.url, "--webhook-secret", str(secret))
        async with served(tmp_path, *words) as server, device(server.devices, "alice") as websocket:
            await websocket.send('{"op":"send","id":1,"payload":{"text":"hi"}}')
            *_, delta, last = await events(websocket, 4, ack=True)
            assert '"text":"you said hi"' in delta
            assert '"agent_completed"' in last
        assert [came["user_id"] for came in program.came] == ["alice"]


async def test_a_program_goes_on_by_the_api(tmp_path: Path) -> None:
    """It answers 202 at once, and says the rest with requests of its own, also where it was there before."""
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    asked: list[Any] = []

    async def reply(body: Any) -> Any:
        asked.append(body)
        return reply_with({}, 202)

    async with receiver(reply) as program:
        words = ("--message-url", program.url, "--webhook-secret", str(secret))
        async with served(tmp_path, *words) as server, device(server.devices, "alice") as websocket:
            await websocket.send('{"op":"send","id":1,"payload":{}}')
            await until(lambda: asked)
            run_id, thread_id = asked[0]["run_id"], asked[0]["thread_id"]
            event = {"type": "agent_delta", "payload": {"text": "later"}, "run_id": run_id}
            assert (await server.client.post(f"/v1/threads/{thread_id}/events", json=event)).status_code == 200
            ended = await server.client.post(f"/v1/runs/{run_id}/end", json={"outcome": "completed"})
            assert ended.json()["state"] == "completed"
            *_, delta, last = await events(websocket, 4)
            assert '"text":"later"' in delta
            assert '"agent_completed"' in last


async def test_the_extra_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, with the command that installs it; without these options nothing of it is needed."""
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(CannotStart, match=r"pip install '\.\[http\]'"):
        async with programs(ProgramOptions(http=("127.0.0.1", 0))):
            raise AssertionError
    async with programs(ProgramOptions()) as doors:
        assert doors.hooks == {}


@pytest.mark.parametrize(
    "words",
    [
        ("--keys", "x"),
        ("--webhook-secret", "x"),
        ("--message-url", "http://x/"),
        ("--http", "0", "--message-url", "x", "--webhook-secret", "x"),
        ("--http", "host"),
    ],
)
def test_the_options_belong_together(words: tuple[str, ...], capfd: pytest.CaptureFixture[str]) -> None:
    """Keys are for the API, a secret for webhooks; an address is one of the web."""
    with pytest.raises(SystemExit) as caught:
        _main(["serve", *words])
    assert caught.value.code == 2
    assert "usage: actors" in capfd.readouterr().err
