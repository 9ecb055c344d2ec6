"""The emitter's half: who waits to hear of a placement hears it once, whatever becomes of event and emitter."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio

import actors
from actors.errors import ActorsError, StoreUnavailable
from actors.kernel.signals import Reply
from actors.limits import Limits
from actors.runtime import Runtime
from actors.stores.store import Store
from actors.testing.journal import Fault
from actors.threads.messages import Emission, OwnerRequest, ThreadMessage
from tests.stores.held import FullStore, HeldStore
from tests.stores.waiting import WaitingStore


class Recorder:
    """An arrival that counts."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def placed(self) -> None:
        self.heard.append("placed")

    def refused(self) -> None:
        self.heard.append("refused")


def waiting() -> WaitingStore:
    """A store that has to be waited for."""
    return WaitingStore(delay_seconds=0)


stores = pytest.mark.parametrize("store", [lambda: None, waiting], ids=["memory", "waiting"])
Stores = Callable[[], WaitingStore | None]


@asynccontextmanager
async def opened(store: Store | None = None, **limits: Any) -> AsyncIterator[Runtime]:
    """A runtime in which alice owns ``t`` and bob ``bobs``."""
    with trio.fail_after(60):
        async with actors.open_runtime(store=store, limits=Limits(**limits)) as runtime:
            await runtime.bind("t", "alice")
            await runtime.bind("bobs", "bob")
            yield runtime


def compose(
    runtime: Runtime,
    recorder: Recorder,
    thread_id: str = "t",
    event_id: str | None = "x",
    text: str = "",
    **fields: Any,
) -> Emission:
    """An event whose arrival is recorded."""
    payload = {"text": text}
    return runtime.tree.emitter.compose(thread_id, "say", payload, event_id=event_id, arrival=recorder, **fields)


async def emit(runtime: Runtime, recorder: Recorder, thread_id: str = "t", **fields: Any) -> None:
    """Emit, and wait until it is known what became of the event."""
    with suppress(ActorsError):
        receipt = await runtime.tree.emitter.emit(compose(runtime, recorder, thread_id, **fields))
        await receipt.reached(actors.Stage.STORED)
    while not recorder.heard:
        await trio.lowlevel.checkpoint()
    await runtime.tree.threads.wait_settled()


@stores
async def test_a_new_event(store: Stores) -> None:
    """An event that is new and in its owner's log was placed."""
    async with opened(store()) as runtime:
        await emit(runtime, recorder := Recorder(), user_id="alice")
    assert recorder.heard == ["placed"]


@stores
async def test_a_repetition(store: Stores) -> None:
    """A repetition is not new, and neither is a conflict."""
    async with opened(store()) as runtime:
        recorders = [Recorder() for _ in range(3)]
        for recorder, text in zip(recorders, ("yes", "yes", "no"), strict=True):
            await emit(runtime, recorder, text=text)
    assert [recorder.heard for recorder in recorders] == [["placed"], ["refused"], ["refused"]]


@stores
async def test_somebody_elses_thread(store: Stores) -> None:
    """An event for another owner than the thread has is refused."""
    async with opened(store()) as runtime:
        await emit(runtime, recorder := Recorder(), "bobs", user_id="alice")
    assert recorder.heard == ["refused"]


@stores
async def test_nobodys_thread(store: Stores) -> None:
    """An event that is held is in nobody's log: nobody is there for whom anything could follow from it."""
    async with opened(store()) as runtime:
        recorder = Recorder()
        await runtime.tree.emitter.emit(compose(runtime, recorder, "unowned"))
        await runtime.tree.threads.wait_settled()
        await runtime.bind("unowned", "alice")
    assert recorder.heard == ["refused"]


@pytest.mark.parametrize("fault", ["full", "unwritten", "unanswered"])
async def test_a_failed_commit(fault: Fault) -> None:
    """An event whose commit failed, whether it was written or not, is new all the same, once."""
    async with opened(store := waiting()) as runtime:
        store.journal.faults.append(fault)
        recorders = [Recorder(), Recorder()]
        for recorder in recorders:
            await runtime.tree.emitter.emit(compose(runtime, recorder))
        await runtime.tree.threads.wait_settled()
    assert [recorder.heard for recorder in recorders] == [["placed"], ["refused"]]


@pytest.mark.parametrize(("restarts", "heard"), [(1, ["placed"]), (0, ["refused"])])
async def test_a_crash(restarts: int, heard: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that waits for room when its actor crashes is placed after the restart; out of service, it is lost."""
    async with opened(store := FullStore(), restarts=restarts) as runtime:

        async def crash() -> None:
            monkeypatch.undo()
            store.gate.set()
            raise RuntimeError("a bug")

        monkeypatch.setattr(store, "room", crash)
        await emit(runtime, recorder := Recorder())
        assert len(runtime.failures) == 1
    assert recorder.heard == heard


@pytest.mark.parametrize("restarts", [1, 0])
async def test_a_crash_while_the_store_has_the_event(restarts: int) -> None:
    """An event that the store has is placed, whatever becomes of its actor meanwhile."""
    async with opened(store := HeldStore(), restarts=restarts) as runtime:
        recorder = Recorder()
        await runtime.tree.emitter.emit(compose(runtime, recorder))
        await store.journal.asked.wait()
        mailbox = runtime.tree.threads.mailbox("t")
        mailbox.actor = BrokenActor()
        mailbox.tell(unbind())
        while not len(runtime.failures):
            await trio.lowlevel.checkpoint()
        store.journal.released.set()
        await runtime.tree.threads.wait_settled()
    assert recorder.heard == ["placed"]


def unbind() -> OwnerRequest:
    """A message to a thread."""
    return OwnerRequest("t", None, True, act="unbind", reply=Reply())


class BrokenActor:
    """An actor with a bug."""

    def handle(self, message: ThreadMessage) -> bool | None:
        raise RuntimeError("a bug")

    async def settle(self) -> None:
        """Nothing."""


async def test_a_crash_with_the_event_in_hand() -> None:
    """An event that crashed its actor was not placed."""
    async with opened() as runtime:
        runtime.tree.threads.mailbox("t").actor = BrokenActor()
        await emit(runtime, recorder := Recorder())
    assert recorder.heard == ["refused"]


async def test_the_end_of_the_runtime() -> None:
    """Nothing follows from an event that the store cannot answer for when everything ends: it is in doubt."""
    async with opened(store := waiting(), shutdown_seconds=0.01, close_seconds=0.01, store_seconds=0.01) as runtime:
        store.journal.full = True
        recorder = Recorder()
        receipt = await runtime.tree.emitter.emit(compose(runtime, recorder))
    assert recorder.heard == ["refused"]
    with pytest.raises(StoreUnavailable):
        await receipt.reached(actors.Stage.STORED)


async def test_what_has_no_room_when_the_runtime_ends() -> None:
    """An event that the store had no room for is lost with the end of everything, and no longer anybody's."""
    async with opened(FullStore(), shutdown_seconds=0.01, close_seconds=0.01) as runtime:
        recorder = Recorder()
        receipt = await runtime.tree.emitter.emit(compose(runtime, recorder))
    assert recorder.heard == ["refused"]
    assert receipt.cause is actors.Cause.SHUTDOWN


async def test_an_emitter_who_waits_for_room() -> None:
    """An emitter that waits for room goes on when there is some; one that goes before that has handed nothing over."""
    async with opened(store := FullStore(), mailbox_messages=1) as runtime, trio.open_nursery() as nursery:
        first, second, gone = (Recorder() for _ in range(3))
        for recorder, event_id in ((Recorder(), "a"), (first, "b")):
            await runtime.tree.emitter.emit(compose(runtime, recorder, event_id=event_id))
            await trio.testing.wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            nursery.start_soon(runtime.tree.emitter.emit, compose(runtime, second, event_id="c"))
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
            await runtime.tree.emitter.emit(compose(runtime, gone, event_id="d"))
        store.gate.set()
        while not second.heard:
            await trio.lowlevel.checkpoint()
        await runtime.tree.threads.wait_idle()
    assert (first.heard, second.heard, gone.heard) == (["placed"], ["placed"], [])


async def test_a_quarantined_thread() -> None:
    """A thread that is out of service takes nothing: its emitter is told, and nobody else."""
    async with opened(restarts=0) as runtime:
        mailbox = runtime.tree.threads.mailbox("t")
        mailbox.actor = BrokenActor()
        mailbox.tell(unbind())
        await runtime.tree.threads.wait_idle()
        recorder = Recorder()
        with pytest.raises(actors.Quarantined):
            await runtime.tree.emitter.emit(compose(runtime, recorder))
    assert recorder.heard == []


async def test_what_cannot_be_encoded() -> None:
    """A value that cannot travel is its emitter's error, before the arrival hears of it."""
    async with opened() as runtime:
        recorder = Recorder()
        for wrong in ({"event_id": ""}, {"user_id": ""}, {"text": "\ud800"}):
            with pytest.raises(actors.Unencodable):
                compose(runtime, recorder, **wrong)
        assert runtime.audit().total.accepted == 0
    assert recorder.heard == []


async def test_a_closed_runtime() -> None:
    """A runtime that is closed takes nothing more."""
    async with opened() as runtime:
        pass
    with pytest.raises(actors.RuntimeClosed):
        compose(runtime, Recorder())


class Belongings:
    """What an emitter has in its hands while it emits."""


@stores
@pytest.mark.parametrize(
    ("thread_id", "payload"),
    [("t", {"another": "event"}), ("bobs", {})],
    ids=["a conflict", "another owner"],
)
async def test_a_refused_emit_keeps_nothing(store: Stores, thread_id: str, payload: dict[str, Any]) -> None:
    """However many emits are refused, what their emitters had in hand can be freed."""

    async def refused(runtime: Runtime) -> weakref.ref[Belongings]:
        mine = Belongings()
        with suppress(actors.IdempotencyConflict, actors.NotTheOwner, actors.Dropped):
            receipt = await runtime.thread(thread_id).emit("step", payload, event_id="x", user_id="alice")
            await receipt.reached(actors.Stage.STORED)
            raise AssertionError("it is refused")
        return weakref.ref(mine)

    async with opened(store()) as runtime:
        await runtime.thread("t").emit("step", {}, event_id="x")
        refs = [await refused(runtime) for _ in range(3)]
        await trio.lowlevel.checkpoint()
        gc.collect()
        assert [ref() for ref in refs] == [None] * 3
