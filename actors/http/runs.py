"""Runs over HTTP: of programs elsewhere, which begin and end here; and the end of any run."""

from __future__ import annotations

import trio
from starlette.responses import Response

from actors.http.calls import Call, answer
from actors.http.leases import Lease, Leases
from actors.http.problems import Problem
from actors.http.schemas import CancelAnswer, Cancelling, NewRun, RunEnd


async def begin_run(call: Call, leases: Leases) -> Response:
    """Begin a run, with its first event; said again with its ``run_id``, it is the same run."""
    new: NewRun = call.body
    user_id = await call.user_for(new.thread_id, new.user_id)
    if user_id is not None:
        await call.runtime.bind(new.thread_id, user_id)
    lease = await leases.begin(new, call.traceparent)
    return answer(lease.answer())


async def get_run(call: Call, leases: Leases) -> Response:
    """Say whether a run goes on, at its end or in the time given; the lease of the run begins anew."""
    lease = await _find(call, leases)

    async def end() -> None:
        with trio.move_on_after(call.query.timeout_s):
            await lease.over.wait()

    await call.unless_gone(end)
    lease.touch()
    return answer(lease.answer())


async def end_run(call: Call, leases: Leases) -> Response:
    """End a run, with its last event; one that is over stays as it ended."""
    lease = await _find(call, leases)
    end: RunEnd = call.body
    await leases.end(lease.run_id, end)
    return answer(lease.answer())


async def cancel_run(call: Call) -> Response:
    """Cancel any run and its children, and wait for their code to stop."""
    run_id, body = call.ids["run_id"], call.body
    run = call.runtime.tree.runs.registry.find(run_id)
    if run is not None:
        call.check_thread(run.thread_id)
        await call.owner(run.thread_id)
    elif call.key.threads or call.key.users:  # because whose run it would be is not known
        raise Problem("unknown_run")
    reason: Cancelling = body
    done = await call.runtime.cancel(run_id, reason=reason.reason)
    if not done.stopped and not done.running:
        raise Problem("unknown_run")
    return answer(CancelAnswer(run_id=run_id, stopped=done.stopped, running=done.running))


async def _find(call: Call, leases: Leases) -> Lease:
    lease = leases.find(call.ids["run_id"])
    call.check_thread(lease.thread_id)
    if call.key.users:
        await call.owner(lease.thread_id)
    return lease
