"""The queries of people who look at a runtime from outside, as functions of it: each one step, without I/O.

What they show is bounded, and none of them adds up what grows with the users,
so that to look costs the users nothing.
"""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version
from itertools import islice

import attrs

from actors.control.answers import (
    AuditAnswer,
    BalanceAnswer,
    Connections,
    Count,
    DeadLetterAnswer,
    DeadLetters,
    ExplainAnswer,
    FailureAnswer,
    Failures,
    QuarantineAnswer,
    ReleaseAnswer,
    StatusAnswer,
)
from actors.control.causes import clock, events
from actors.control.devices import device_answer
from actors.control.evidence import MOST
from actors.control.page import tree, users_of
from actors.control.trace import trace
from actors.control.why import why, why_thread
from actors.delivery.balance import Balance
from actors.runtime import Runtime

__all__ = [
    "audit", "connections", "dead_letters", "explain", "failures", "release", "status", "trace", "tree", "why",
    "why_thread",
]  # fmt: skip

MOST_CONNECTIONS = 1_000
"""Connections of one page: 20 ms of work."""


def status(runtime: Runtime) -> StatusAnswer:
    """Return a runtime in numbers, and its state in a sentence."""
    numbers, runtime_tree = runtime.statistics(), runtime.tree
    trouble = runtime_tree.store.trouble
    quarantined = [
        QuarantineAnswer(path=f"{supervisor.name}/{key}", error=failure.error, at=failure.at)
        for supervisor in (runtime_tree.users, runtime_tree.threads)
        for key, failure in islice(supervisor.out_of_service.items(), MOST)
    ]
    told = StatusAnswer(
        text="",
        version=_version(),
        pid=os.getpid(),
        at=runtime.environment.wall_clock(),
        state=_state(runtime),
        trouble=None if trouble is None else str(trouble),
        trouble_since=None if trouble is None else trouble.since,
        users=len(users_of(runtime)),
        threads=len(runtime_tree.accounts.holds),
        events=balance_answer(numbers.events),
        balanced=numbers.events.balanced,
        dropped={str(cause): count for cause, count in numbers.dropped.items()},
        connections=numbers.connections,
        handshakes=numbers.handshakes,
        connections_opened=numbers.connections_opened,
        connections_closed=dict(numbers.connections_closed),
        resumes=dict(numbers.resumes),
        requests=[Count(name=op, detail=refusal, count=n) for (op, refusal), n in sorted(numbers.requests.items())],
        runs=numbers.runs,
        runs_begun=numbers.runs_begun,
        runs_ended=dict(numbers.runs_ended),
        failures=numbers.failures,
        restarts=dict(numbers.restarts),
        quarantines=numbers.quarantines,
        quarantined=quarantined,
        quarantined_now=len(runtime_tree.users.out_of_service) + len(runtime_tree.threads.out_of_service),
    )
    told.text = _sentence(told)
    return told


def explain(runtime: Runtime, event_id: str, thread_id: str | None = None) -> ExplainAnswer:
    """Say where an event is, and why; see :meth:`actors.runtime.Runtime.explain`."""
    fate = runtime.explain(event_id, thread_id)
    receipt = fate.receipt
    told = ExplainAnswer(
        event_id=event_id, known=fate.known, text=str(fate), steps=fate.steps, threads=fate.threads, thread_id=thread_id
    )
    if receipt is None:
        return told
    told.thread_id, told.stage, told.seq = receipt.thread_id, receipt.stage.name.lower(), receipt.seq
    told.cause = None if receipt.cause is None else str(receipt.cause)
    if (position := receipt.position) is not None:
        told.user_id, told.epoch, told.offset = position.user_id, position.epoch, position.offset
    return told


def audit(runtime: Runtime) -> AuditAnswer:
    """Return the totals of the books, which are counted as events happen: nothing is added up."""
    totals = runtime.statistics().events
    told = AuditAnswer(balanced=totals.balanced, users=len(runtime.tree.accounts.users), total=balance_answer(totals))
    told.text = _equation(totals)
    return told


def failures(runtime: Runtime) -> Failures:
    """Return the newest failures, oldest first."""
    kept = [FailureAnswer(**attrs.asdict(failure)) for failure in runtime.failures]
    return Failures(failures=kept, total=runtime.failures.total)


def dead_letters(runtime: Runtime) -> DeadLetters:
    """Return the newest drops, oldest first."""
    return DeadLetters(dead_letters=[DeadLetterAnswer(**attrs.asdict(letter)) for letter in runtime.dead_letters])


def connections(
    runtime: Runtime, after: str | None = None, limit: int = 50, *, user_id: str | None = None, behind: bool = False
) -> Connections:
    """Return a page of the connections, after one of this label; of one user, or those that are behind alone."""
    limit = min(limit, MOST_CONNECTIONS)
    found = runtime.tree.server.connections.values()
    later = (one for one in found if after is None or _number(one.label) > _number(after))
    wanted = (one for one in later if user_id in (None, one.user_id))
    shown = (device_answer(runtime, one) for one in wanted)
    page = list(islice((one for one in shown if not behind or one.lag_events or one.backlog_bytes), limit + 1))
    return Connections(
        connections=page[:limit], total=len(found), after=page[limit - 1].label if len(page) > limit else None
    )


def release(runtime: Runtime, path: str) -> ReleaseAnswer:
    """Put a quarantined actor back into service. Raises ValueError when there is no such actor, or it is in service."""
    runtime.release(path)
    return ReleaseAnswer(path=path)


def balance_answer(balance: Balance) -> BalanceAnswer:
    """Return a row of the books as it is shown."""
    return BalanceAnswer(**attrs.asdict(balance))


def _number(label: str) -> int:
    """Return the number in a label, by which connections are in the order in which they came; 0 for no label."""
    return int(label[1:]) if label[1:].isdecimal() else 0


def _state(runtime: Runtime) -> str:
    if runtime.tree.emitter.closed:
        return "closed"
    return "draining" if runtime.tree.messages.refusing else "open"


def _sentence(told: StatusAnswer) -> str:
    """Return what is the matter, the worst first; or that all is well."""
    matters = [] if told.balanced else ["the books do not add up"]
    if told.trouble is not None and told.trouble_since is not None:
        matters.append(f"nothing is stored since {clock(told.trouble_since)}: {told.trouble}")
    if told.quarantined_now:
        first = told.quarantined[0]
        more = f" and {told.quarantined_now - 1} more are" if told.quarantined_now > 1 else " is"
        matters.append(f"{first.path}{more} out of service ({first.error}); `actors release {first.path}` puts it back")
    if told.state != "open":
        matters.append(f"it is {told.state}")
    return "; ".join(matters) or f"open, {events(told.events.accepted)} accepted and accounted for"


def _equation(totals: Balance) -> str:
    """Return the equation of the books, with its numbers; what an earlier life left stands where there is some."""
    columns = attrs.asdict(totals)
    accepted, restored = columns.pop("accepted"), columns.pop("restored")
    left = f"accepted {accepted}" + (f" + restored {restored}" if restored else "")
    right = " + ".join(f"{name} {number}" for name, number in columns.items())
    return f"{left} {'=' if totals.balanced else '≠'} {right}"


def _version() -> str:
    try:
        return version("trio-actors")
    except PackageNotFoundError:
        return "0"
