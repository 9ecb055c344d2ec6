"""The collector: what it tells of a runtime, in which thread, and that texts of clients are no labels."""

from __future__ import annotations

import re

import pytest
import trio
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import actors
import actors.aio
from actors.metrics import Collector
from actors.metrics.rows import BESIDE, ROWS
from tests.aio.support import run
from tests.support.raw import ACTORS, upgrade_request
from tests.support.served import ask, served

Scraped = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(collector: Collector) -> Scraped:
    """The samples, by name and labels, as Prometheus reads them."""
    registry = CollectorRegistry()
    registry.register(collector)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def value(scraped: Scraped, name: str, /, **labels: str) -> float:
    """One sample."""
    return scraped[f"trio_actors_{name}", tuple(sorted(labels.items()))]


async def test_what_happened() -> None:
    """Events, connections, refusals, requests and runs are told by the words of the tables they are in."""

    async def answer(run: actors.Run, message: actors.Message) -> None:
        await run.emit("said", {})

    async with served(on_message=answer) as server, server.peer() as peer:
        runtime = server.runtime
        await peer.attach("alice")
        await ask(server, upgrade_request(ACTORS, origin="http://evil.example"))
        await peer.say({"op": "send", "id": 1, "payload": {}})
        while not any(one.get("type") == "agent_completed" for one in peer.messages()):
            await peer.next_message()
        await peer.ack(3)
        await peer.say({"op": "juggle", "id": 2})
        await peer.echo()
        async with runtime.thread("t").run("writer"), runtime.thread("t").run("of-alice"):
            now = scrape(Collector(runtime, agents=["writer", "reader"]))
    assert value(now, "events_accepted_total") == 6
    assert value(now, "events_settled_total", outcome="acked") == 3
    assert value(now, "events", place="held") == 2
    assert value(now, "connections") == 1
    assert value(now, "connections_opened_total", kind="v1") == 1
    assert value(now, "connections_opened_total", kind="plain") == 0
    assert value(now, "connections_closed_total", name="stalled") == 0
    assert value(now, "handshakes_refused_total", status="403", reason="origin") == 1
    assert value(now, "requests_total", op="send", name="ok") == 1
    assert value(now, "requests_total", op="other", name="unknown_op") == 1
    assert value(now, "resumes_total", verdict="fresh") == 1
    assert value(now, "runs_ended_total", outcome="agent_completed") == 1
    assert value(now, "run_seconds_count") == 1
    assert value(now, "run_seconds_bucket", le="+Inf") == 1
    assert [value(now, "runs", agent=name) for name in ("writer", "reader", "answer", "other")] == [1, 0, 0, 1]
    assert not any("of-alice" in str(key) or "evil" in str(key) or "juggle" in str(key) for key in now)


async def test_every_row_is_told() -> None:
    """A registry knows all names before the first scrape, and refuses a second runtime's under the same ones."""
    async with actors.open_runtime() as runtime:
        collector = Collector(runtime)
        assert {family.name for family in collector.describe()} == {family.name for family in collector.collect()}
        names = {re.sub(r"_(bucket|sum|count)$", "", name) for name, _ in scrape(collector)}
        silent = {"trio_actors_books_balanced", "trio_actors_requests_total", "trio_actors_handshakes_refused_total"}
        assert names | silent == {row.exported for row in ROWS} | set(BESIDE)
        registry = CollectorRegistry(auto_describe=True)
        registry.register(collector)
        with pytest.raises(ValueError, match="Duplicated timeseries"):
            registry.register(Collector(runtime))


async def test_in_another_thread() -> None:
    """A scrape of a thread of the host's sees the last beat of the pulse: whole steps, and it waits for nothing."""
    async with actors.open_runtime(limits=actors.Limits(sweep_seconds=5.0)) as runtime:
        collector = Collector(runtime)
        await runtime.thread("t").emit("step", {}, user_id="alice")
        assert value(scrape(collector), "events_accepted_total") == 1
        assert value(await trio.to_thread.run_sync(scrape, collector), "events_accepted_total") == 0
    async with actors.open_runtime(limits=actors.Limits(sweep_seconds=0.01)) as runtime:
        collector = Collector(runtime)
        await runtime.thread("t").emit("step", {}, user_id="alice")
        while runtime.tree.pulse.seen.events.accepted == 0:  # noqa: ASYNC110 - a beat has nothing to wait for
            await trio.sleep(0.01)
        assert value(await trio.to_thread.run_sync(scrape, collector), "events_accepted_total") == 1
    assert value(scrape(collector), "events_accepted_total") == 1


def test_from_asyncio() -> None:
    """A runtime that an asyncio program opened is read there, without waiting for its loop."""

    async def main() -> None:
        async with actors.aio.open_runtime() as runtime:
            assert value(scrape(Collector(runtime)), "connections") == 0

    run(main)


async def test_what_is_no_runtime() -> None:
    """A wrong object is refused where it is given, not at the first scrape."""
    with pytest.raises(TypeError, match=r"runtime: expected an instance of actors\.runtime\.Runtime, got"):
        Collector("runtime")
