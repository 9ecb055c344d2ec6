"""Undelivered events, told to a program elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from starlette.responses import Response

import actors
from actors.http.undelivered import Overflow, UndeliveredNotices
from tests.http.receiver import always, receiver, webhook
from tests.http.serving import until

SOON = actors.Limits(undelivered_seconds=0.05, sweep_seconds=0.01)


async def test_a_program_is_told_of_each() -> None:
    """Once, with the way that the event has come, signed; an event that was acked is none."""
    async with receiver(always(Response(status_code=204))) as program, webhook(program.url) as hook:
        notices = UndeliveredNotices(hook)
        async with (
            actors.open_runtime(on_undelivered=notices.on_undelivered, limits=SOON) as runtime,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(notices.run, runtime.failures)
            for number in range(3):
                await runtime.thread("t1").emit("x", {"n": number}, event_id=f"e{number}", user_id="alice")
            await until(lambda: len(program.came) == 3)
            nursery.cancel_scope.cancel()
    assert sorted(came["event_id"] for came in program.came) == ["e0", "e1", "e2"]
    first = next(came for came in program.came if came["event_id"] == "e0")
    assert (first["user_id"], first["thread_id"], first["stage"], first["seq"]) == ("alice", "t1", "stored", 1)
    assert first["steps"][-1] == "no device of alice is here, or was lately"
    assert len(set(program.ids)) == 3
    assert repr(notices) == "<UndeliveredNotices to <Webhook 127.0.0.1>, 0 wait>"


async def test_a_program_that_refuses() -> None:
    """It is in the runtime's failures, and the others are told."""
    async with receiver(always(Response(status_code=400))) as program, webhook(program.url) as hook:
        notices = UndeliveredNotices(hook)
        async with (
            actors.open_runtime(on_undelivered=notices.on_undelivered, limits=SOON) as runtime,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(notices.run, runtime.failures)
            for _ in range(20):
                await runtime.thread("t1").emit("x", {}, user_id="alice")
            await until(lambda: len(program.came) == 20 == runtime.failures.total)
            assert "WebhookFailed" in runtime.failures[0].error
            nursery.cancel_scope.cancel()


async def test_a_program_that_hangs_holds_no_event() -> None:
    """The runtime hands over each in its time; beyond the bound it is a failure, and the rest is as it was."""

    async def reply(body: Any) -> Response:
        await trio.sleep_forever()
        raise AssertionError

    async with receiver(reply) as program, webhook(program.url) as hook:
        notices = UndeliveredNotices(hook, waiting=4)
        async with (
            actors.open_runtime(on_undelivered=notices.on_undelivered, limits=SOON) as runtime,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(notices.run, runtime.failures)
            for _ in range(30):
                await runtime.thread("t1").emit("x", {}, user_id="alice")
            await until(lambda: len(program.came) == 16)
            await until(lambda: runtime.failures.total >= 10)
            assert runtime.failures.total == 10
            assert "Overflow" in runtime.failures[0].error
            nursery.cancel_scope.cancel()


async def test_beyond_the_bound() -> None:
    """Nothing is kept that nobody takes."""
    async with webhook("http://127.0.0.1:9/") as hook, actors.open_runtime() as runtime:
        notices = UndeliveredNotices(hook, waiting=0)
        receipt = await runtime.thread("t").emit("x", {})
        with pytest.raises(Overflow):
            await notices.on_undelivered(runtime.explain(receipt))
