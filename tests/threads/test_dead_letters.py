"""What becomes of a thread's messages that the actor could not finish."""

from __future__ import annotations

from typing import cast

import pytest

import actors
from actors import Cause, Stage
from actors.delivery.accounts import LOST
from actors.errors import ActorsError, Quarantined, RuntimeClosed
from actors.kernel.failures import Failure
from actors.kernel.mailbox import Ended
from actors.kernel.signals import Reply
from actors.stores.memory import MemoryStore
from actors.stores.store import Binding, Placement
from actors.threads.dead_letters import ThreadKind
from actors.threads.messages import OwnerRequest, StoreAnswer
from tests.support.stores import bind


def kind_of(runtime: actors.Runtime) -> ThreadKind:
    return cast(ThreadKind, runtime.tree.threads._kind)


def request(reply: Reply[Binding]) -> OwnerRequest:
    return OwnerRequest("t", "alice", False, act="bind", reply=reply)


@pytest.mark.parametrize(
    ("ended", "error", "cause"),
    [
        (Ended.CRASHED, ActorsError, "crashed"),
        (Ended.QUARANTINED, Quarantined, "quarantined"),
        (Ended.CLOSED, RuntimeClosed, "shutdown"),
    ],
)
async def test_a_bind_is_refused(ended: Ended, error: type[Exception], cause: str) -> None:
    """The caller is told that the owner was not changed, and why."""
    async with actors.open_runtime() as runtime:
        reply: Reply[Binding] = Reply()
        assert not kind_of(runtime).dead_letter(request(reply), ended)
        with pytest.raises(error) as refused:
            await reply.wait()
        assert str(refused.value) == f"the owner was not changed ({cause})"


@pytest.mark.parametrize("ended", Ended)
async def test_what_the_store_has_is_left_to_it(ended: Ended) -> None:
    """Of an act that the store has taken nothing is said, however its thread ends: its answer, which may be on its way
    behind others, will say it."""
    async with actors.open_runtime() as runtime:
        reply: Reply[Binding] = Reply()
        bind, emission = request(reply), runtime.tree.emitter.compose("t", "x", {})
        bind.sent = emission.sent = True
        for _ in range(2):
            for message in (bind, emission):
                assert not kind_of(runtime).dead_letter(message, ended)
            emission.answer = Placement(1, "0")
        assert not reply.answered
        assert emission.receipt.stage is Stage.ACCEPTED
        emission.receipt.move(LOST[Cause.CRASHED], 0)


@pytest.mark.parametrize("ended", Ended)
async def test_an_answer_is_noted_by_the_next_actor_or_here(ended: Ended) -> None:
    """An answer that comes before a crash is given to the next actor; at the end of the thread it is noted without
    one, once, and its caller is told."""
    async with actors.open_runtime() as runtime:
        waiting = await runtime.thread("t").emit("x", {})
        reply: Reply[Binding] = Reply()
        act = request(reply)
        act.answer = bind(cast(MemoryStore, runtime.tree.store), "t", "alice")
        for message in (StoreAnswer(act, act.answer), act):
            act.sent = message is not act  # one that was answered at once is itself what is in hand
            assert kind_of(runtime).dead_letter(message, ended) == (ended is Ended.CRASHED)
        assert reply.answered == (ended is not Ended.CRASHED)
        if reply.answered:
            assert (await reply.wait()).user_id == "alice"
            assert (waiting.stage, waiting.offset) == (Stage.STORED, 1)
            assert not kind_of(runtime).dead_letter(act, Ended.CRASHED), "it has an answer"


async def test_a_quarantine_leaves_what_is_held() -> None:
    """The events of a thread without an owner are the store's, and wait there."""
    async with actors.open_runtime() as runtime:
        receipts = [await runtime.thread("t").emit("x", {}) for _ in range(3)]
        failure = Failure(path="threads/t", handling="Emission", error="", traceback="", at=0.0)
        kind_of(runtime).quarantined("t", failure)
        assert {receipt.stage for receipt in receipts} == {Stage.BUFFERED}
