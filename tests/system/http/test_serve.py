"""``actors serve --http``: real processes, real programs, and what becomes of them when they are ended."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from tests.support.pages import ROOT
from tests.system.http.command import KEY, Served, one_for_all, served
from tests.tools.command import device, events

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Those of one process for all tests that do not end it."""
    with one_for_all(tmp_path_factory.mktemp("http")) as found:
        yield found


@pytest.fixture
async def server(addresses: tuple[str, str]) -> AsyncIterator[Served]:
    """That process, and a client."""
    devices, url = addresses
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=20) as client:
        yield Served(None, devices, url, client)


async def test_the_fuzzer_finds_nothing(server: Served, at_length: bool, tmp_path: Path) -> None:
    """No request that the document allows, or forbids, is answered as the document does not say, or breaks anything.

    One check is left out: that whatever the schemas allow is accepted. They
    cannot say that a number in a payload must arrive as it is, which ids
    belong together, or that a question finds someone to answer it. And two
    requests are: one ends the server, and one has no end, because a trace is
    told for as long as its reader stays.
    """
    words = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/v1/openapi.json",
        "--header", f"Authorization: Bearer {KEY}", "--exclude-path", "/v1/drain",
        "--exclude-path", "/v1/users/{user_id}/trace", "--exclude-checks", "positive_data_acceptance",
        "--generation-database", "none", "--no-color",
        "--max-examples", "200" if at_length else "2", "--seed", "1", "--request-timeout", "30",
    ]  # fmt: skip
    env = os.environ | {"SCHEMATHESIS_HOOKS": "tests.system.http.fuzzing", "PYTHONPATH": str(ROOT)}
    done = await trio.run_process(
        words, env=env, cwd=tmp_path, capture_stdout=True, stderr=subprocess.STDOUT, check=False
    )
    assert done.returncode == 0, done.stdout.decode()
    failures = (await server.client.get("/v1/failures")).json()["failures"]
    # Runs that the fuzzer itself said had failed are in the runtime's record, and nothing else is.
    assert all(failure["path"].startswith("runs/") for failure in failures), failures
    assert (await server.client.get("/v1/audit")).json()["balanced"]


async def test_an_event_from_a_program_to_a_device_and_back(server: Served) -> None:
    """The program waits for the ack of a real device."""
    async with device(server.devices, "alice") as websocket, trio.open_nursery() as nursery:
        nursery.start_soon(partial(events, websocket, 1, ack=True))
        event = {"type": "x", "user_id": "alice"}
        came = await server.client.post("/v1/threads/waits/events?wait=acked", json=event)
        assert (came.status_code, came.json()["stage"]) == (200, "acked")


async def test_killed_in_the_middle_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    """A client that retries until it has an answer finds each event once, in order, over a server that is killed."""
    words = ("--store", f"sqlite:{tmp_path / 'events.db'}")
    sent = 0
    for life in range(2):
        async with served(tmp_path, *words) as server:
            while sent < 10 * (life + 1):
                assert (await server.emit(sent)).json()["seq"] == sent + 1
                if sent % 3 == 0:  # that answer was lost
                    assert (await server.emit(sent)).json()["seq"] == sent + 1
                sent += 1
            with trio.move_on_after(0.002):  # and this one, with its server
                await server.emit(sent)
            server.signal(signal.SIGKILL)
    async with served(tmp_path, *words) as server:
        assert (await server.emit(sent)).json()["seq"] == sent + 1
        assert await server.numbers() == list(range(sent + 1))


async def test_told_to_end_it_answers_what_is_under_way(tmp_path: Path) -> None:
    """On SIGTERM a request that waits is answered, a stream is ended whole, and the process is gone."""
    async with served(tmp_path, "--drain", "1") as server, trio.open_nursery() as nursery:
        answers: list[int] = []

        async def wait() -> None:
            event = {"type": "x", "user_id": "alice"}
            came = await server.client.post("/v1/threads/t1/events?wait=acked&timeout_s=60", json=event)
            answers.append(came.status_code)

        await server.emit(0)
        headers = {"accept": "text/event-stream"}
        async with server.client.stream("GET", "/v1/threads/t1/events", headers=headers) as tail:
            nursery.start_soon(wait)
            lines = tail.aiter_lines()
            async for line in lines:
                if line == "id: 2":
                    server.signal(signal.SIGTERM)
        finished = await server.ended()
        assert (finished.status, answers) == (0, [202])
        assert "drained: 2 events not confirmed" in finished.err
        assert "Traceback" not in finished.err


async def test_ended_beside_clients_that_do_nothing(tmp_path: Path) -> None:
    """Connections that are idle, half asked or unread keep no process alive."""
    async with served(tmp_path, "--drain", "0") as server:
        host, port = server.url.removeprefix("http://").split(":")
        streams = [await trio.open_tcp_stream(host, int(port)) for _ in range(3)]
        await streams[1].send_all(b"POST /v1/events HTTP/1.1\r\nHost: x\r\n")
        await streams[2].send_all(
            f"POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nTransfer-Encoding: chunked\r\n"
            "Content-Type: application/x-ndjson\r\n\r\n5\r\nhello".encode()
        )
        await trio.sleep(0.1)
        server.signal(signal.SIGTERM)
        assert (await server.ended()).status == 0
        for stream in streams:
            await stream.aclose()


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="the limits of another process cannot be set")
async def test_a_flood_that_takes_every_descriptor_ends_nothing(tmp_path: Path) -> None:
    """Neither door ends when the system has no descriptor left; a moment later both are open again."""
    async with served(tmp_path) as server:
        assert server.command is not None
        resource.prlimit(server.command.pid, resource.RLIMIT_NOFILE, (40, 40))
        host, port = server.url.removeprefix("http://").split(":")
        for door in (server.command.port, int(port)):
            streams = [await trio.open_tcp_stream(host, door) for _ in range(60)]
            await trio.sleep(0.3)
            for stream in streams:
                await stream.aclose()
        assert (await server.client.get("/healthz")).status_code == 200
        async with device(server.devices, "alice") as websocket:
            assert (await server.emit(1)).status_code == 200
            await events(websocket, 1)


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
async def test_curl(server: Served) -> None:
    """An event, and lines from standard input, with receipts."""
    auth = ["-sS", "-H", f"Authorization: Bearer {KEY}"]
    event = '{"type":"report_ready","payload":{"pages":3},"user_id":"alice"}'
    words = ["curl", *auth, "-H", "Content-Type: application/json", "-H", "Idempotency-Key: report-7", "-d", event]
    for _ in range(2):
        done = await trio.run_process([*words, f"{server.url}/v1/threads/curl/events"], capture_stdout=True)
        assert json.loads(done.stdout)["seq"] == 1
    lines = b"".join(b'{"type":"x","thread_id":"curl-2","payload":{"n":%d}}\n' % n for n in range(1_000))
    words = [
        "curl",
        *auth,
        "-H",
        "Content-Type: application/x-ndjson",
        "-T",
        "-",
        "-X",
        "POST",
        f"{server.url}/v1/events",
    ]
    done = await trio.run_process(words, stdin=lines, capture_stdout=True)
    receipts = [json.loads(line) for line in done.stdout.splitlines()]
    assert [receipt["seq"] for receipt in receipts] == list(range(1, 1_001))


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")
async def test_node(server: Served) -> None:
    """A program in JavaScript runs an agent: its run, its tokens on a stream, its question, its end."""
    async with device(server.devices, "alice") as websocket, trio.open_nursery() as nursery:
        nursery.start_soon(answer_questions, websocket)
        words = ["node", str(HERE / "agent.mjs"), server.url, KEY]
        done = await trio.run_process(words, capture_stdout=True, capture_stderr=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        nursery.cancel_scope.cancel()
    told = json.loads(done.stdout)
    assert told["answer"] == {"choice": "yes"}
    assert [receipt["seq"] for receipt in told["receipts"]] == [2, 3, 4]
    came = (await server.client.get("/v1/threads/node/events")).json()["events"]
    types = [event["type"] for event in came]
    assert types == ["agent_started", "agent_delta", "agent_delta", "agent_delta", "agent_completed"]


async def answer_questions(websocket: object) -> None:
    """Be a user who says yes."""
    while True:
        message = json.loads(await websocket.receive())  # type: ignore[attr-defined]
        if message.get("op") == "ask":
            answer = {"op": "answer", "id": 1, "ask": message["event"]["event_id"], "payload": {"choice": "yes"}}
            await websocket.send(json.dumps(answer))  # type: ignore[attr-defined]


@pytest.mark.skipif(shutil.which("go") is None, reason="there is no Go")
async def test_go(server: Served) -> None:
    """A program in Go emits with retries, and waits for the ack."""
    done = await trio.run_process(
        ["go", "run", str(HERE / "producer.go"), server.url, KEY], capture_stdout=True, capture_stderr=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["seq"] == 1
