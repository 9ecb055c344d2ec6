"""The tree of actors by page: users in the order of their names, each with devices, threads and runs."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import islice

from actors.control.answers import ActiveRunAnswer, ThreadAnswer, TreeAnswer, UserAnswer
from actors.control.causes import clock
from actors.control.devices import device_answer
from actors.control.evidence import MOST, ledger_of, threads_of_users
from actors.kernel.failures import Failure
from actors.runs.run import Run
from actors.runtime import Runtime
from actors.users.presence import Presence

MOST_USERS = 200
"""Users of one page: 5 ms of work, and as many as a screen shows."""

Threads = dict[str, tuple[int, list[str]]]


def tree(runtime: Runtime, after: str | None = None, limit: int = 50, prefix: str = "") -> TreeAnswer:
    """Return a page of the users that have books or devices, after a name, and of those whose names begin so.

    Of all other users nothing but the name is looked at.
    """
    limit = min(limit, MOST_USERS)
    names = users_of(runtime)
    selected = [name for name in names if name.startswith(prefix)] if prefix else names
    later = selected if after is None else (name for name in selected if name > after)
    page = heapq.nsmallest(limit + 1, later)
    threads = threads_of_users(runtime, page[:limit])
    runs = _runs(runtime, set(page[:limit]))
    return TreeAnswer(
        users=[_user(runtime, name, threads, runs.get(name, [])) for name in page[:limit]],
        total=len(selected),
        after=page[limit - 1] if len(page) > limit else None,
    )


def users_of(runtime: Runtime) -> set[str]:
    """Return the users that have books or devices."""
    return runtime.tree.registry.users | runtime.tree.accounts.users.keys()


def _user(runtime: Runtime, name: str, threads: Threads, runs: list[ActiveRunAnswer]) -> UserAnswer:
    presence, ledger = runtime.tree.registry.known(name), ledger_of(runtime, name)
    devices = () if presence is None else tuple(presence.devices)
    total, named = threads[name]
    return UserAnswer(
        user_id=name,
        low=1 if ledger is None else ledger.low,
        head=0 if ledger is None else ledger.head,
        unacked=0 if ledger is None else ledger.retained,
        unwritten=0 if ledger is None else ledger.stored,
        devices=[device_answer(runtime, device) for device in devices[:MOST]],
        devices_total=len(devices),
        threads=[_thread(runtime, thread_id) for thread_id in named],
        threads_total=total,
        runs=runs[:MOST],
        runs_total=len(runs),
        away=None if devices else _away(presence),
        quarantined=_error(runtime.tree.users.quarantined(name)),
    )


def _thread(runtime: Runtime, thread_id: str) -> ThreadAnswer:
    return ThreadAnswer(thread_id=thread_id, quarantined=_error(runtime.tree.threads.quarantined(thread_id)))


def _error(failure: Failure | None) -> str | None:
    return None if failure is None else failure.error


def _away(presence: Presence | None) -> str | None:
    if presence is None or not presence.departures:
        return None
    last = presence.departures[-1]
    return f"{last.label} left at {clock(last.at)} ({last.name}: {last.text})"


def _runs(runtime: Runtime, users: set[str]) -> dict[str, list[ActiveRunAnswer]]:
    """Return the active runs in the threads of some users, of at most a thousand, which is all by default."""
    found: dict[str, list[ActiveRunAnswer]] = {}
    for run in _active(runtime):
        owner = runtime.owner(run.thread_id)
        if owner in users:
            found.setdefault(owner, []).append(run_answer(run))
    return found


def _active(runtime: Runtime) -> Iterator[Run]:
    return islice(runtime.tree.runs.registry.active.values(), 1_000)


def run_answer(run: Run) -> ActiveRunAnswer:
    """Return a run as it is shown."""
    state = "waiting" if run.beginning.waiting else "active" if run.beginning.emitted else "begins"
    return ActiveRunAnswer(run_id=run.run_id, thread_id=run.thread_id, agent_name=run.agent_name, state=state)
