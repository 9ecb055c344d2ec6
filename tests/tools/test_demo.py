"""``actors demo``: seen as a user sees it."""

from __future__ import annotations

import signal

import msgspec

from actors.tools.assistant import SCRIPT
from tests.tools.command import device, events, run, running

TYPES = [type_.value for type_, _ in SCRIPT]


async def test_once_proves_it_in_text() -> None:
    """Eight events in order with seq, offset and stage, eight explanations, books that balance, status 0."""
    finished = await run("demo", "--once")
    told = finished.out.splitlines()
    assert finished.status == 0, finished.out
    for number, (line, type_) in enumerate(zip(told[:8], TYPES, strict=True), 1):
        assert line.split()[:6] == ["seq", str(number), "offset", str(number), "WRITTEN", type_]
    assert all("offset" in line and "acked by a device" in line for line in told[8:16])
    assert told[-2] == (
        "audit, total: accepted 8 = queued 0 + held 0 + retained 0 + acked 8"
        " + unconfirmed 0 + dropped 0 + deduplicated 0"
    )
    assert told[-1] == "all 8 events arrived in order and were acked"
    assert len(finished.err.splitlines()) == 1, "expected nothing but the address"


async def test_once_proves_it_in_json() -> None:
    """The same as objects, told apart by their kind."""
    finished = await run("demo", "--once", "--json")
    told = finished.objects
    assert finished.status == 0
    assert [said["kind"] for said in told] == ["event"] * 8 + ["explain"] * 8 + ["audit", "verdict"]
    assert [said["event"]["type"] for said in told[:8]] == TYPES
    assert [(said["seq"], said["offset"], said["stage"]) for said in told[:8]] == [
        (number, number, "WRITTEN") for number in range(1, 9)
    ]
    assert [said["event_id"] for said in told[8:16]] == [said["event"]["event_id"] for said in told[:8]]
    assert len({said["event"]["run_id"] for said in told[:8]}) == 1
    assert all(said["stage"] == "ACKED" and "acked" in said["text"] for said in told[8:16])
    assert told[16]["balanced"]
    assert told[16]["users"]["alice"]["acked"] == 8
    assert told[17] == {"kind": "verdict", "passed": True, "problems": []}


async def test_whoever_connects_has_an_assistant() -> None:
    """Each user who connects gets the script in a thread of his own, and SIGTERM ends it with status 0."""
    async with running("demo") as command, device(command.url, "alice") as alice, device(command.url, "bob") as bob:
        for user_id, websocket in (("alice", alice), ("bob", bob)):
            texts = await events(websocket, len(SCRIPT), ack=True)
            seen = [msgspec.json.decode(text) for text in texts]
            assert [event["type"] for event in seen] == TYPES
            assert {event["thread_id"] for event in seen} == {f"demo-{user_id}"}
        command.signal(signal.SIGTERM)
        finished = await command.ended()
    assert finished.status == 0
    assert f"websocat --protocol actors.v1 {command.url}" in finished.err
