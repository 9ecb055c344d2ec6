"""What becomes of a thread's messages and holds that the actor could not finish."""

from __future__ import annotations

from typing import cast

import pytest

import actors
from actors import Cause, Stage
from actors.errors import ActorsError, Quarantined, RuntimeClosed
from actors.kernel.failures import Failure
from actors.kernel.mailbox import Ended
from actors.kernel.signals import Reply
from actors.stores.store import Binding
from actors.threads.dead_letters import ThreadKind
from actors.threads.messages import Bind


def kind_of(runtime: actors.Runtime) -> ThreadKind:
    return cast(ThreadKind, runtime.tree.threads._kind)


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
        assert not kind_of(runtime).dead_letter(Bind("bind", "alice", reply), ended)
        with pytest.raises(error) as refused:
            await reply.wait()
        assert str(refused.value) == f"the owner was not changed ({cause})"


async def test_a_bind_whose_outcome_is_unknown_is_given_again() -> None:
    """After a crash the next actor asks the store; at the end of the thread the caller is told what is not known."""
    async with actors.open_runtime() as runtime:
        reply: Reply[Binding] = Reply()
        bind = Bind("bind", "alice", reply, bind_sent=True)
        assert kind_of(runtime).dead_letter(bind, Ended.CRASHED)
        assert not reply.answered
        assert not kind_of(runtime).dead_letter(bind, Ended.QUARANTINED)
        with pytest.raises(Quarantined, match="it is not known whether the owner was changed"):
            await reply.wait()
        assert not kind_of(runtime).dead_letter(bind, Ended.CRASHED), "it has an answer"


async def test_a_quarantine_drops_what_is_held() -> None:
    """The events of a thread without an owner go with its quarantine, each with its cause."""
    async with actors.open_runtime() as runtime:
        receipts = [await runtime.thread("t").emit("x", {}) for _ in range(3)]
        failure = Failure(path="threads/t", handling="Emission", error="", traceback="", at=0.0)
        kind_of(runtime).quarantined("t", failure)
        assert {(receipt.stage, receipt.cause) for receipt in receipts} == {(Stage.DROPPED, Cause.QUARANTINED)}
