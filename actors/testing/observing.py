"""Observers at the runtime's doors: they tell the oracle every emit and every change of owner, by any caller."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from actors.runtime import Runtime
from actors.testing.oracle import Oracle
from actors.testing.records import Emit
from actors.threads.messages import Emission


def observe(runtime: Runtime, oracle: Oracle) -> None:
    """Note every emit and every change of owner of a runtime from now on."""
    _observe_emits(runtime.tree.emitter, oracle)
    _observe_owners(runtime, oracle)
    for supervisor in (runtime.tree.users, runtime.tree.threads):
        _observe_quarantines(supervisor, oracle)


def _observe_quarantines(supervisor: Any, oracle: Oracle) -> None:
    told = supervisor._kind.quarantined

    def observed(key: str, failure: Any) -> None:
        oracle.quarantine(f"{supervisor.name}/{key}")
        told(key, failure)

    supervisor._kind.quarantined = observed


def _observe_emits(emitter: Any, oracle: Oracle) -> None:
    """Observe three doors: waiting, at once, and in a reserved place. The first goes through the second."""
    emit, emit_nowait, emit_reserved = emitter.emit, emitter.emit_nowait, emitter.emit_reserved
    waiting: list[Emission] = []

    async def observed(emission: Emission) -> Any:
        noted = _begin(emission, oracle)
        waiting.append(emission)
        try:
            receipt = await emit(emission)
        except BaseException:
            oracle.refused(noted)
            raise
        finally:
            waiting[:] = [one for one in waiting if one is not emission]
        oracle.accepted(noted, receipt)
        return receipt

    def at_once(door: Any) -> Any:
        def observed_at_once(emission: Emission) -> Any:
            if any(one is emission for one in waiting):
                return door(emission)
            noted = _begin(emission, oracle)
            try:
                receipt = door(emission)
            except BaseException:
                oracle.refused(noted)
                raise
            oracle.accepted(noted, receipt)
            return receipt

        return observed_at_once

    emitter.emit = observed
    emitter.emit_nowait = at_once(emit_nowait)
    emitter.emit_reserved = at_once(emit_reserved)


def _begin(emission: Emission, oracle: Oracle) -> Emit:
    noted = oracle.emitting(msgspec.json.decode(bytes(emission.body) + b"}"), emission.user_id)
    if emission.user_id is not None:
        act = oracle.owning(emission.thread_id, emission.user_id, only_if_free=True)
        act.pending = lambda: not emission.settled
    return noted


def _observe_owners(runtime: Runtime, oracle: Oracle) -> None:
    change = runtime._change_owner

    async def observed(thread_id: str, act: Literal["bind", "rebind", "unbind"], user_id: str | None) -> None:
        noted = oracle.owning(thread_id, user_id, only_if_free=act == "bind")
        try:
            await change(thread_id, act, user_id)
        except Exception as error:  # a refusal, in whatever form
            doubtful = "it is not known" in str(error)
            oracle.owned(thread_id, noted, happened=None if doubtful else False)
            noted.pending = (lambda: _is_busy(runtime, thread_id)) if doubtful else None
            raise
        except BaseException:  # cancelled: it may have happened, or may yet, while the thread has work left
            oracle.owned(thread_id, noted, happened=None)
            noted.pending = lambda: _is_busy(runtime, thread_id)
            noted.owns = lambda: runtime.owner(thread_id) == user_id
            raise
        oracle.owned(thread_id, noted, happened=True)

    runtime._change_owner = observed  # type: ignore[method-assign]


def _is_busy(runtime: Runtime, thread_id: str) -> bool:
    """True if a thread's actor has something left to do."""
    threads = runtime.tree.threads
    mailbox = threads._recent.get(thread_id) or threads._older.get(thread_id)
    return mailbox is not None and not mailbox.idle
