"""Statistics: a runtime in numbers, which say what the books and the tables say, at a cost that does not grow."""

from __future__ import annotations

import sys

import pytest
import trio
from trio.testing import MockClock

import actors
from actors import Cause, Limits, Stage
from actors.kernel.failures import Failure
from tests.support.served import served


async def test_what_happened() -> None:
    """Events, connections, requests and runs are counted by the words of the tables they are in."""

    async def agent(run: actors.Run, message: actors.Message) -> None:
        if message.payload:
            raise ValueError

    async with served(on_message=agent, limits=Limits(retained_events=5)) as server:
        runtime = server.runtime
        async with server.peer() as peer:
            await peer.attach("alice")
            await peer.say({"op": "send", "id": 1, "thread_id": "another's", "payload": {}})
            await peer.next_op("reply")
            await peer.say({"op": "send", "id": 2, "payload": {"fail": True}})
            await peer.next_op("reply")
            # The run may have failed before the reply to its message is written, and be read with it.
            while not (ends := [one for one in peer.messages() if one.get("type") == "agent_failed"]):
                await peer.next_message()
            await peer.ack(ends[0]["offset"])
            await peer.echo()
            now = runtime.statistics()
            assert (now.connections, now.handshakes, now.connections_opened) == (1, 0, 1)
            assert now.events == runtime.audit().total
            assert now.events.acked == 3
            await peer.leave()
        await server.gone()
        for _ in range(7):
            await runtime.thread("t").emit("step", {}, user_id="alice")
        now = runtime.statistics()
    assert now.connections_closed == {"left": 1}
    assert now.resumes == {"fresh": 1}
    assert now.requests == {("send", "unknown_thread"): 1, ("send", ""): 1}
    assert (now.runs, now.runs_begun, now.runs_ended) == (0, 1, {"agent_failed": 1})
    assert now.failures == len(runtime.failures) == 1
    assert now.dropped == {Cause.RETENTION: 2}
    assert now.events.dropped == 2
    assert runtime.statistics().connections == 0


async def test_crashes(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Restarts are counted by the kind of actor, and so is what was taken out of service."""
    async with actors.open_runtime(limits=Limits(restarts=1)) as runtime:
        failure = Failure(path="threads/t", handling="Emission", error="", traceback="", at=0.0)
        runtime.failures.note_restart("threads/t")
        runtime.failures.note_restart("users/alice")
        runtime.failures.note_restart("threads/u")
        runtime.failures.note_quarantine("threads/t", failure)
        now = runtime.statistics()
    assert (now.restarts, now.quarantines) == ({"threads": 2, "users": 1}, 1)


async def test_it_costs_the_same_for_any_number_of_users() -> None:
    """Reading takes as many calls beside 300 users as beside none, so a scrape stops nothing."""

    def calls() -> int:
        count = 0

        def note(frame: object, event: str, argument: object) -> None:
            nonlocal count
            count += event in {"call", "c_call"}

        sys.setprofile(note)
        try:
            runtime.statistics()
        finally:
            sys.setprofile(None)
        return count

    async with actors.open_runtime() as runtime:
        empty = calls()
        for number in range(300):
            receipt = await runtime.thread(f"t{number}").emit("step", {}, user_id=f"user-{number}")
            assert receipt.stage is Stage.STORED
        await runtime.thread("held").emit("step", {})
        assert calls() == empty
        assert runtime.statistics().events == runtime.audit().total


async def test_it_is_for_the_thread_of_the_runtime() -> None:
    """Elsewhere the numbers could be of two moments, so it refuses."""
    async with actors.open_runtime() as runtime:
        with pytest.raises(actors.ForeignThread):
            await trio.to_thread.run_sync(runtime.statistics)
