"""Servers that are told to stop: what devices see of it, and what is left."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.raw import CLOSE, Message, Peer, frame
from tests.system.asgi.servers import Place, places_of, running

PATIENCE_SECONDS = 60.0
"""A safety net against hangs, not a measurement."""

DRAINING = ["uvicorn", "anycorn on Trio, from code", "hypercorn, from code"]
"""The servers that drain before they stop, with nothing but a signal."""


async def begin(place: Place, device: Peer, **payload: Any) -> None:
    """A run that has begun."""
    await device.say({"op": "send", "id": "c1", "thread_id": "t1", "payload": payload})
    await device.next_op("reply")


async def rest(device: Peer) -> tuple[list[str], int | None]:
    """The types, and the ops, of everything up to the end, acked as it comes; and the code of the Close."""
    seen: list[str] = []
    code = None
    while (came := await device.next_frame()) is not None:
        if came.opcode == CLOSE:
            code = int.from_bytes(came.payload[:2])
            await device.send(frame(CLOSE, came.payload[:2]))
            continue
        message = _message(device)
        seen += [event["type"] for event in message.get("events", [])] or [message.get("op") or message["type"]]
        last = message.get("to") if message.get("op") == "batch" else message.get("offset")
        if last is not None:
            await device.ack(last)
    return seen, code


def _message(device: Peer) -> Message:
    return device.messages()[-1]


@pytest.mark.parametrize("name", DRAINING)
async def test_drained_by_a_signal(name: str, tmp_path: Path) -> None:
    """On SIGTERM devices are told, the run goes on to its end and is acked, and then they are sent away with 1012;
    below the mount as on the own port."""
    with running(name, tmp_path) as server, trio.fail_after(PATIENCE_SECONDS):
        places = places_of(server)
        async with places["mount"].device("alice") as mounted, places["own port"].device("alice") as own:
            await begin(places["mount"], mounted, steps=5, seconds=0.1)
            server.signal(signal.SIGTERM)
            ends: list[tuple[list[str], int | None]] = []

            async def watch(device: Peer) -> None:
                ends.append(await rest(device))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch, mounted)
                nursery.start_soon(watch, own)
            for seen, code in ends:
                assert ("going_away" in seen, seen[-1], code) == (True, "agent_completed", 1012), seen
        assert await trio.to_thread.run_sync(server.wait) in {0, -signal.SIGTERM}
        assert "Traceback" not in server.text()


async def test_the_second_signal_does_not_wait(tmp_path: Path) -> None:
    """Whoever asks twice is in a hurry: the server's own handler has the second signal."""
    with running("uvicorn", tmp_path) as server, trio.fail_after(PATIENCE_SECONDS):
        async with places_of(server)["mount"].device("alice") as device:
            await begin(places_of(server)["mount"], device, steps=1, seconds=60)
            server.signal(signal.SIGTERM)
            await device.next_op("going_away")
            server.signal(signal.SIGTERM)
            _seen, code = await rest(device)
            assert code == 1012
    assert server.process.returncode is not None


@pytest.mark.parametrize("name", ["uvicorn", "anycorn on Trio, from code"])
async def test_interrupted(name: str, tmp_path: Path) -> None:
    """Ctrl-C ends a server with devices attached, without a traceback of ours."""
    with running(name, tmp_path) as server, trio.fail_after(PATIENCE_SECONDS):
        async with places_of(server)["mount"].device("alice") as device:
            server.signal(signal.SIGINT)
            await rest(device)
        await trio.to_thread.run_sync(server.wait)
        assert "actors/asgi" not in server.text()


async def test_drained_before_it_is_told_to_stop(tmp_path: Path) -> None:
    """Where no signal reaches the application, a hook drains before: afterwards new devices are told to come later."""
    with running("hypercorn on Trio", tmp_path) as server, trio.fail_after(PATIENCE_SECONDS):
        place = places_of(server)["mount"]
        async with place.device("alice") as device, trio.open_nursery() as nursery:
            nursery.start_soon(place.told, "POST", "/drain")
            seen, code = await rest(device)
            assert (seen[-1], code) == ("going_away", 1012)
        answer = await place.ask(place.upgrade("actors.v1"))
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert (await place.get("/healthz")).status == 503
        server.signal(signal.SIGTERM)
        assert await trio.to_thread.run_sync(server.wait) == 0


async def test_a_stalled_reader_holds_no_drain_up(tmp_path: Path) -> None:
    """A socket that was given up is the server's business: the drain is over without it."""
    with running("anycorn on Trio", tmp_path) as server, trio.fail_after(PATIENCE_SECONDS):
        place = places_of(server)["mount"]
        async with place.device("slow"):
            while (await place.state())["held"] == 0:
                await place.emit("slow", 8, 200_000)
            said = await place.told("POST", "/drain")
            assert "0 aborted" in said
            assert "user slow:" in said
            assert (await place.state())["held"] == 1
