"""``actors demo``: seen as a user sees it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.wire.dialled import DialledWebSocket
from tests.tools.command import device, events, run, running

ORDER = [
    "user_message",
    "agent_started",
    "agent_thinking",
    "tool_executing",
    "tool_completed",
    "agent_delta",
    "agent_completed",
]


def unrepeated(types: list[str]) -> list[str]:
    """The types in order, each run of equal ones once: tokens come in as many deltas as they take."""
    return [type_ for type_, before in zip(types, ["", *types], strict=False) if type_ != before]


async def ask(websocket: DialledWebSocket, text: str) -> list[dict[str, Any]]:
    """Send a message, ack every event, and return them up to the end of the run."""
    request = {"op": "send", "id": 1, "payload": {"text": text}}
    await websocket.send(msgspec.json.encode(request).decode())
    seen: list[dict[str, Any]] = []
    while not seen or seen[-1]["type"] not in {"agent_completed", "agent_failed", "agent_cancelled"}:
        (came,) = await events(websocket, 1, ack=True)
        seen.append(msgspec.json.decode(came))
    return seen


async def test_once_proves_it_in_text() -> None:
    """A whole run in order with seq, offset and stage, an explanation of each event, books that balance, status 0."""
    finished = await run("demo", "--once")
    lines = finished.out.splitlines()
    assert finished.status == 0, finished.out
    shown = [line.split() for line in lines if line.startswith("seq ")]
    assert [words[:5] for words in shown] == [
        ["seq", str(number), "offset", str(number), "WRITTEN"] for number in range(1, len(shown) + 1)
    ]
    assert unrepeated([words[5] for words in shown]) == ORDER
    explained = lines[len(shown) : 2 * len(shown)]
    assert all("offset" in line and "acked by a device → 1 device: c1 acked" in line for line in explained)
    assert lines[-2] == (
        f"audit, total: accepted {len(shown)} = queued 0 + held 0 + retained 0 + acked {len(shown)}"
        " + unconfirmed 0 + dropped 0 + deduplicated 0"
    )
    assert lines[-1] == f"all {len(shown)} events arrived in order and were acked"
    assert len(finished.err.splitlines()) == 1, "expected nothing but the address"


async def test_once_proves_it_in_json() -> None:
    """The same as objects, each with its kind."""
    finished = await run("demo", "--once", "--json")
    lines = finished.objects
    assert finished.status == 0
    shown = [said for said in lines if said["kind"] == "event"]
    explained = [said for said in lines if said["kind"] == "explain"]
    assert [said["kind"] for said in lines] == ["event"] * len(shown) + ["explain"] * len(shown) + ["audit", "verdict"]
    assert unrepeated([said["event"]["type"] for said in shown]) == ORDER
    assert [(said["seq"], said["offset"], said["stage"]) for said in shown] == [
        (number, number, "WRITTEN") for number in range(1, len(shown) + 1)
    ]
    assert [said["event_id"] for said in explained] == [said["event"]["event_id"] for said in shown]
    assert {said["event"].get("run_id") for said in shown[1:]} == {shown[1]["event"]["run_id"]}
    assert all(said["stage"] == "ACKED" and "acked" in said["text"] for said in explained)
    assert lines[-2]["balanced"]
    assert lines[-2]["users"]["alice"]["acked"] == len(shown)
    assert lines[-1] == {"kind": "verdict", "passed": True, "problems": [], "events": len(shown)}


async def test_once_proves_it_over_a_file_with_events(tmp_path: Path) -> None:
    """With a file as its store the proof holds a second time, after the events of the first."""
    store = "--store", f"sqlite:{tmp_path / 'events.db'}"
    first = await run("demo", "--once", *store)
    second = await run("demo", "--once", *store)
    assert (first.status, second.status) == (0, 0), second.out
    assert "arrived in order and were acked" in second.out


async def test_whoever_connects_is_answered() -> None:
    """Users have conversations of their own with the assistant, and SIGTERM ends the server with status 0."""
    async with running("demo") as command, device(command.url, "alice") as alice, device(command.url, "bob") as bob:
        hers, his = await ask(alice, "Weather in Rome?"), await ask(bob, "Weather in Bergen?")
        for seen, city in ((hers, "Rome"), (his, "Bergen")):
            assert unrepeated([event["type"] for event in seen]) == ORDER
            answer = "".join(event["payload"]["text"] for event in seen if event["type"] == "agent_delta")
            assert city in answer
        assert {event["thread_id"] for event in hers}.isdisjoint({event["thread_id"] for event in his})
        command.signal(signal.SIGTERM)
        finished = await command.ended()
    assert finished.status == 0
    assert f"websocat --protocol actors.v1 {command.url}" in finished.err
    assert "drained: 0 events not confirmed" in finished.err


async def test_a_real_agent_answers() -> None:
    """``--agent mcp`` answers with the tools of a real MCP server: its calls are events, the second of the first."""
    pytest.importorskip("mcp", reason="mcp is not installed: pip install '.[examples]'")
    async with running("demo", "--agent", "mcp") as command, device(command.url, "alice") as alice:
        seen = await ask(alice, "How far is the cabin in miles?")
        calls = [event["payload"] for event in seen if event["type"] == "tool_completed"]
        assert [call["tool_name"] for call in calls] == ["search_notes", "convert_units"]
        assert all(call["ok"] for call in calls)
        assert seen[-1]["type"] == "agent_completed"
