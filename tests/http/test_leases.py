"""Leases: a run of a program elsewhere has one first and one last event, whatever becomes of the program."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio

import actors
from actors.http.leases import Leases
from actors.http.problems import Problem
from actors.http.schemas import NewRun, RunEnd, RunFailure

NEW = NewRun(thread_id="t1", agent_name="indexer", run_id="r1")


class Leasing:
    """Leases over a runtime of their own, whose thread is alice's."""

    def __init__(self, runtime: actors.Runtime, nursery: trio.Nursery) -> None:
        self.runtime = runtime
        self.leases = Leases(runtime, nursery)

    async def emit(self, type_: str = "x", **options: Any) -> actors.Receipt:
        """Emit in the run."""
        given = {"run_id": "r1", "event_id": None, "user_id": None} | options
        return await self.leases.emit("t1", type_, {}, **given)

    async def told(self) -> list[tuple[str, dict[str, Any]]]:
        """The events of the thread."""
        return [(event.type, event.payload) for event in (await self.runtime.read("t1")).events]


@pytest.fixture
async def leasing() -> Any:
    """Leases that end with the test."""
    async with actors.open_runtime() as runtime, trio.open_nursery() as nursery:
        await runtime.bind("t1", "alice")
        yield Leasing(runtime, nursery)
        nursery.cancel_scope.cancel()


async def test_a_run_is_ended_as_its_program_says(leasing: Leasing) -> None:
    """Between its first and its last event stand those that were emitted in it."""
    lease = await leasing.leases.begin(NEW)
    assert (lease.state, repr(lease)) == ("active", "<Lease of r1 in t1: active>")
    await leasing.emit("progress")
    ended = await leasing.leases.end("r1", RunEnd(outcome="completed", result=msgspec.Raw(b'{"n":[1]}')))
    assert ended.state == "completed"
    assert await leasing.told() == [
        ("agent_started", {"agent_name": "indexer"}),
        ("progress", {}),
        ("agent_completed", {"result": {"n": [1]}}),
    ]
    assert list(leasing.runtime.failures) == []


@pytest.mark.parametrize(
    ("end", "last"),
    [
        (RunEnd(outcome="completed"), ("agent_completed", {})),
        (RunEnd(outcome="cancelled", reason="bored"), ("agent_cancelled", {"reason": "bored"})),
        (RunEnd(outcome="cancelled"), ("agent_cancelled", {"reason": "application"})),
        (RunEnd(outcome="failed"), ("agent_failed", {"error": {"type": "Error", "message": ""}})),
        (
            RunEnd(outcome="failed", error=RunFailure(type="Timeout", message="é")),
            ("agent_failed", {"error": {"type": "Timeout", "message": "é"}}),
        ),
    ],
    ids=lambda one: one.outcome if isinstance(one, RunEnd) else "",
)
async def test_each_outcome(leasing: Leasing, end: RunEnd, last: tuple[str, Any]) -> None:
    """The last event says how it ended."""
    await leasing.leases.begin(NEW)
    lease = await leasing.leases.end("r1", end)
    assert lease.state == end.outcome
    assert (await leasing.told())[-1] == last


async def test_a_program_that_is_not_heard_is_lost(leasing: Leasing, autojump_clock: object) -> None:
    """The run fails when nothing was said of it for the time of its lease, and not before."""
    lease = await leasing.leases.begin(NewRun(thread_id="t1", agent_name="x", run_id="r1", lease_s=10))
    for _ in range(3):
        await trio.sleep(9)
        await leasing.emit()
    await trio.sleep(9)
    leasing.leases.find("r1")
    await trio.sleep(9)
    assert lease.state == "active"
    await lease.over.wait()
    error = {"type": "ProducerLost", "message": "no request about the run came for 10 s"}
    assert (await leasing.told())[-1] == ("agent_failed", {"error": error})
    with pytest.raises(actors.RunEnded):
        await leasing.emit()


async def test_its_user_cancels_it(leasing: Leasing) -> None:
    """The program learns it with its next event, and its own end changes nothing."""
    lease = await leasing.leases.begin(NEW)
    await leasing.runtime.cancel("r1", reason="user")
    assert lease.state == "cancelled"
    with pytest.raises(actors.RunEnded):
        await leasing.emit()
    assert (await leasing.leases.end("r1", RunEnd(outcome="completed"))).state == "cancelled"
    assert [type_ for type_, _ in await leasing.told()] == ["agent_started", "agent_cancelled"]


async def test_each_request_may_be_repeated(leasing: Leasing) -> None:
    """Begun twice, also at once, it is one run; ended twice, it has one last event; its events are once."""
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(leasing.leases.begin, NEW)
    first = await leasing.emit(event_id="e1")
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(leasing.leases.end, "r1", RunEnd(outcome="completed"))
    assert (await leasing.leases.begin(NEW)).state == "completed"
    assert (await leasing.emit(event_id="e1")).seq == first.seq
    with pytest.raises(actors.RunEnded):
        await leasing.emit(event_id="e2")
    assert [type_ for type_, _ in await leasing.told()] == ["agent_started", "x", "agent_completed"]


async def test_an_id_is_one_runs(leasing: Leasing) -> None:
    """Another run under it is a conflict: of another thread or agent, or of the application's own."""
    await leasing.leases.begin(NEW)
    for other in (
        NewRun(thread_id="t2", agent_name="indexer", run_id="r1"),
        NewRun(thread_id="t1", agent_name="other", run_id="r1"),
    ):
        with pytest.raises(actors.IdempotencyConflict):
            await leasing.leases.begin(other)
    async with leasing.runtime.thread("t1").run("own", run_id="r2"):
        with pytest.raises(actors.IdempotencyConflict):
            await leasing.leases.begin(NewRun(thread_id="t1", agent_name="own", run_id="r2"))
    with pytest.raises(Problem, match="expected an event in its thread t1"):
        await leasing.leases.emit("t2", "x", {}, run_id="r1", event_id=None, user_id=None)


async def test_what_is_wrong_ends_nothing(leasing: Leasing) -> None:
    """A result that no event can carry is refused, and the run goes on."""
    lease = await leasing.leases.begin(NEW)
    with pytest.raises(actors.Unencodable, match=r"payload\.result"):
        await leasing.leases.end("r1", RunEnd(outcome="completed", result=msgspec.Raw(b"123456789012345678901")))
    with pytest.raises(actors.Unencodable):
        await leasing.emit("agent_completed")
    assert lease.state == "active"
    with pytest.raises(Problem, match="no such run is known"):
        leasing.leases.find("r9")


async def test_a_runtime_that_ends_takes_its_leases_along() -> None:
    """Their runs are cancelled, and none can begin any more."""
    async with trio.open_nursery() as nursery, actors.open_runtime() as runtime:
        leases = Leases(runtime, nursery)
        lease = await leases.begin(NEW)
        await runtime.drain(0)
        await lease.over.wait()
        assert lease.state == "cancelled"
        with pytest.raises(actors.RuntimeClosed):
            await leases.begin(NewRun(thread_id="t1", agent_name="x"))
        assert repr(leases) == "<Leases of 0 runs>"


async def test_the_owner_that_an_event_names(leasing: Leasing) -> None:
    """An event in a run binds a thread without an owner, and is refused for another user."""
    await leasing.runtime.unbind("t1")
    await leasing.leases.begin(NEW)
    await leasing.emit(user_id="bob")
    assert leasing.runtime.owner("t1") == "bob"
    with pytest.raises(actors.NotTheOwner):
        await leasing.emit(user_id="alice")
