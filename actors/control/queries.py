"""The queries of people who look at a runtime from outside, as functions of it: each one step, without I/O.

What they show is bounded, and none of them adds up what grows with the users,
so that to look costs the users nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import chain, islice
from typing import Any

import attrs

from actors import __version__
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
from actors.control.causes import TRIED_AGAIN, events
from actors.control.devices import device_answer
from actors.control.evidence import MOST
from actors.control.lately import lately
from actors.control.page import tree, users_of
from actors.control.trace import trace
from actors.control.why import why, why_device, why_thread
from actors.delivery.balance import Balance
from actors.delivery.subscription import State
from actors.kernel.dynamic_supervisor import DynamicSupervisor
from actors.observability.explain import clock
from actors.runtime import Runtime
from actors.users.presence import Subscriber

__all__ = [
    "audit", "connections", "dead_letters", "explain", "failures", "release", "status", "trace", "tree", "why",
    "why_device", "why_thread",
]  # fmt: skip

LATE_SECONDS = 0.5
"""Time for which the loop may be late before that is the matter: what a person notices."""

MOST_RECORDS = 1_000
"""Failures, or drops, of one answer: as many as a runtime keeps."""

MOST_CONNECTIONS = 1_000
"""Connections of one page: 20 ms of work."""


def status(runtime: Runtime) -> StatusAnswer:
    """Return a runtime in numbers, and its state in a sentence."""
    numbers, runtime_tree = runtime.statistics(), runtime.tree
    trouble = runtime_tree.store.trouble
    supervisors: tuple[DynamicSupervisor[Any], ...] = (runtime_tree.users, runtime_tree.threads)
    quarantined = [
        QuarantineAnswer(path=f"{supervisor.name}/{key}", error=failure.error, at=failure.at)
        for supervisor in supervisors
        for key, failure in islice(supervisor.out_of_service.items(), MOST)
    ]
    told = StatusAnswer(
        text="",
        notes=lately(runtime),
        version=__version__,
        pid=os.getpid(),
        at=runtime.environment.wall_clock(),
        opened_at=runtime_tree.opened_at,
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
        handshakes_refused=[
            Count(name=reason, detail=str(code), count=n)
            for (code, reason), n in sorted(numbers.handshakes_refused.items())
        ],
        connections_behind=numbers.connections_behind,
        lag_events_max=numbers.lag_events_max,
        backlog_bytes=numbers.backlog_bytes,
        written_bytes=numbers.written_bytes,
        written_frames=numbers.written_frames,
        connections_opened=numbers.connections_opened,
        connections_closed=dict(numbers.connections_closed),
        resumes=dict(numbers.resumes),
        requests=[Count(name=op, detail=refusal, count=n) for (op, refusal), n in sorted(numbers.requests.items())],
        runs=numbers.runs,
        runs_begun=numbers.runs_begun,
        runs_ended=dict(numbers.runs_ended),
        asks_open=numbers.asks_open,
        asks_closed=dict(numbers.asks_closed),
        loop_lag_seconds=numbers.loop_lag_seconds,
        standstill=runtime_tree.pulse.standstill,
        books_balanced=numbers.books_balanced,
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
    numbers = runtime.statistics()
    totals, checked = numbers.events, numbers.books_balanced
    found = {None: "they were not checked user by user yet", True: "each user's books add up"}
    return AuditAnswer(
        balanced=totals.balanced and checked is not False,
        users=len(runtime.tree.accounts.users),
        total=balance_answer(totals),
        checked=checked,
        text=f"{equation(totals)}; {found.get(checked, 'the books of some user do not add up')}",
    )


def failures(runtime: Runtime, limit: int = MOST_RECORDS) -> Failures:
    """Return the newest failures, oldest first."""
    kept = [FailureAnswer(**attrs.asdict(failure)) for failure in tuple(runtime.failures)[-limit:]]
    return Failures(failures=kept, total=runtime.failures.total)


def dead_letters(runtime: Runtime, limit: int = MOST_RECORDS) -> DeadLetters:
    """Return the newest drops, oldest first."""
    letters = runtime.dead_letters[-limit:]
    return DeadLetters(dead_letters=[DeadLetterAnswer(**attrs.asdict(letter)) for letter in letters])


def connections(
    runtime: Runtime, after: str | None = None, limit: int = 50, *, user_id: str | None = None, behind: bool = False
) -> Connections:
    """Return a page of the devices, after the one of a label; of one user, or those that are behind alone.

    First those with sockets, then followers, each in the order in which they came.
    """
    limit = min(limit, MOST_CONNECTIONS)
    sockets, followers = runtime.tree.server.connections.values(), runtime.tree.followers
    every: Iterable[Subscriber] = chain(sockets, followers)
    later = (one for one in every if after is None or _place(one.label) > _place(after))
    wanted = (one for one in later if user_id in (None, one.user_id) and (not behind or _is_behind(one)))
    page = [device_answer(runtime, one) for one in islice(wanted, limit + 1)]
    return Connections(
        connections=page[:limit],
        total=len(sockets) + len(followers),
        after=page[limit - 1].label if len(page) > limit else None,
    )


def release(runtime: Runtime, path: str) -> ReleaseAnswer:
    """Put a quarantined actor back into service. Raises ValueError when there is no such actor, or it is in service."""
    runtime.release(path)
    return ReleaseAnswer(path=path)


def balance_answer(balance: Balance) -> BalanceAnswer:
    """Return a row of the books as it is shown."""
    return BalanceAnswer(**attrs.asdict(balance))


def _place(label: str) -> tuple[str, int]:
    """Return a label as a key, by which devices are in the order of a page: ``c9`` before ``c10`` and ``f1``."""
    return label[:1], int(label[1:]) if label[1:].isdecimal() else 0


def _is_behind(device: Subscriber) -> bool:
    subscription = device.subscription
    return subscription is not None and subscription.state is not State.LIVE


def _state(runtime: Runtime) -> str:
    if runtime.tree.emitter.closed:
        return "closed"
    return "draining" if runtime.tree.messages.refusing else "open"


def _sentence(told: StatusAnswer) -> str:
    """Return what is the matter, the worst first; or that all is well."""
    matters = [] if told.balanced and told.books_balanced is not False else ["the books do not add up"]
    if told.trouble is not None and told.trouble_since is not None:
        matters.append(f"nothing is stored since {clock(told.trouble_since)}: {told.trouble}; {TRIED_AGAIN}")
    if told.quarantined_now:
        first = told.quarantined[0]
        more = f" and {told.quarantined_now - 1} more are" if told.quarantined_now > 1 else " is"
        matters.append(f"{first.path}{more} out of service ({first.error}); `actors release {first.path}` puts it back")
    if told.loop_lag_seconds >= LATE_SECONDS:
        late = f"was late by {told.loop_lag_seconds:.1f} s lately: some code in it blocks"
        matters.append(f"its event loop {told.standstill or late}; code that blocks belongs in a thread")
    if told.state == "draining":
        matters.append(
            f"it is draining, so what is new is refused: runs left {told.runs:,}, connections {told.connections:,}"
        )
    elif told.state != "open":
        matters.append(f"it is {told.state}")
    return "; ".join(matters) or f"open, {events(told.events.accepted)} accepted and accounted for"


def equation(totals: Balance) -> str:
    """Return the equation of the books, with its numbers; what an earlier life left stands where there is some."""
    columns = attrs.asdict(totals)
    accepted, restored = columns.pop("accepted"), columns.pop("restored")
    left = f"accepted {accepted}" + (f" + restored {restored}" if restored else "")
    right = " + ".join(f"{name} {number}" for name, number in columns.items())
    return f"{left} {'=' if totals.balanced else '≠'} {right}"
