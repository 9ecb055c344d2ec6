"""Settlements: the ack of one event of many, linked to the event's span."""

from __future__ import annotations

from functools import partial

import pytest
from opentelemetry.trace import SpanKind

import actors
import actors.otel
from actors.otel.settlements import Settlements
from tests.otel.recording import Recording, traceparent_of
from tests.support.served import served


async def test_the_ack_of_an_event() -> None:
    """It has a span of its own trace, which links to that of the event; once, and not for what runs emit."""
    recording = Recording()
    async with served() as server, server.peer() as peer:
        actors.otel.trace(server.runtime, recording.provider, settle_every=1)
        thread = server.runtime.thread("t1")
        await peer.attach("alice")
        receipt = await thread.emit("report_ready", {}, user_id="alice")
        async with thread.run("indexer") as run:
            run.delta("token")
        for _ in range(4):
            await peer.next_event()
        await peer.ack(4)
        await receipt.reached(actors.Stage.ACKED)
        await peer.ack(4)
        await peer.echo()
        assert list(server.runtime.failures) == []
    span = recording.named("settle report_ready")
    assert span.kind is SpanKind.CLIENT
    assert span.parent is None
    (link,) = span.links
    assert f"{link.context.span_id:016x}" in traceparent_of(recording.named("send report_ready"))
    assert recording.attributes("settle report_ready") == {
        "messaging.system": "trio_actors",
        "messaging.operation.type": "settle",
        "messaging.operation.name": "ack",
        "messaging.destination.name": "thread",
        "messaging.message.conversation_id": "t1",
        "messaging.message.id": receipt.event_id,
        "trio_actors.event.type": "report_ready",
    }


@pytest.mark.parametrize(("every", "expected"), [(1, 6), (4, 2), (64, 1)])
async def test_one_of_many(every: int, expected: int) -> None:
    """The first event, and each so many after it."""
    recording = Recording()
    async with actors.open_runtime() as runtime:
        actors.otel.trace(runtime, recording.provider, settle_every=every)
        async with runtime.follow("alice", origin="low") as followed:
            for n in range(6):
                await runtime.thread("t1").emit("step", {"n": n}, user_id="alice")
            await runtime.thread("t1").emit("last", {})
            while not isinstance(item := await anext(followed), actors.Event) or item.type != "last":
                pass
    assert recording.names.count("settle step") == expected


async def test_events_that_are_held() -> None:
    """An event of a thread without an owner is acked when it was bound; until then it is looked for."""
    recording = Recording()
    async with actors.open_runtime() as runtime:
        actors.otel.trace(runtime, recording.provider, settle_every=1)
        await runtime.thread("t1").emit("held", {})
        async with runtime.follow("alice", origin="low") as followed:
            await runtime.thread("t2").emit("step", {}, user_id="alice")
            await runtime.bind("t1", "alice")
            await runtime.thread("t2").emit("last", {})
            while not isinstance(item := await anext(followed), actors.Event) or item.type != "last":
                pass
    assert {"settle held", "settle step"} <= set(recording.names)


async def test_what_is_never_acked_is_forgotten() -> None:
    """Neither users without a device, nor events that were lost, gather."""
    recording = Recording()
    settlements = Settlements(recording.tracer, 1)
    async with actors.open_runtime() as runtime:
        context = recording.tracer.start_span("send").get_span_context()
        watch = partial(settlements.watch, type_="step", span=context)
        for n in range(400):
            watch(await runtime.thread(f"t{n}").emit("step", {}, user_id=f"user {n}"))
            settlements.acked("nobody", "ep", 1, 1, 1)
        assert len(settlements._of_users) <= 256
        for _ in range(20):
            watch(await runtime.thread("held").emit("step", {}))
        assert len(settlements._unplaced) == 8
        settlements.acked("nobody", "ep", 1, 1, 1)
        assert len(settlements._unplaced) == 8
