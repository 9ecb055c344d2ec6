"""Evidence: what a runtime knows of one user's delivery, or of one thread's, gathered in one step."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice

from actors.connections.actor import Connection
from actors.control.answers import EventAnswer, RangeAnswer
from actors.control.causes import Evidence, Seen
from actors.control.devices import device_answer
from actors.delivery.dead_letters import DeadLetter
from actors.delivery.frames import texts_of
from actors.delivery.ledger import Ledger, open_spans
from actors.delivery.log import NotAtHand
from actors.events.event import decode
from actors.kernel.dynamic_supervisor import named_lately
from actors.kernel.failures import Failure
from actors.runtime import Runtime
from actors.stages import Cause
from actors.stores.state import StoreState, threads_of
from actors.users.presence import Presence

MOST = 20
"""Devices, ranges, threads and notes in an answer: as many as a person reads."""

_LIVELY = 3

_BEFORE_HELLO = frozenset({"no_hello", "unavailable"})
"""The rows of the closing table by which a device is refused whose user is not known. Credentials that were refused are
remembered one by one, because of some it is known whose they were."""

_REMEMBERED = "unauthenticated"


def evidence_of(runtime: Runtime, user_id: str) -> Evidence:
    """Gather what is known of a user."""
    tree, limits = runtime.tree, runtime.limits
    presence = tree.registry.known(user_id)
    ledger = ledger_of(runtime, user_id)
    restored = tree.store.restored(user_id) if ledger is None else None
    total, threads = threads_of_users(runtime, [user_id])[user_id]
    first = 0 if ledger is None else ledger.first_unacked()
    unacked, placed = (0, 0) if ledger is None else (ledger.retained, ledger.head)
    if restored is not None:
        acked = sum(last - begin + 1 for begin, last in restored.acked)
        placed, unacked = restored.head, max(restored.head - restored.low + 1 - acked, 0)
    letters = [one for one in runtime.dead_letters if one.user_id == user_id and one.cause is Cause.RETENTION]
    quarantine = tree.users.quarantined(user_id)
    denied = tree.server.authentication.refusals.since(_settled_at(presence))
    return Evidence(
        user_id=user_id,
        now=runtime.environment.wall_clock(),
        known=bool(placed or total or quarantine or _was_here(presence)),
        placed=placed,
        unacked=unacked,
        unwritten=0 if ledger is None else ledger.stored,
        first=first,
        oldest=event_at(presence, first) if unacked else None,
        acked_at=None if presence is None else presence.acked_at,
        devices=_devices(runtime, presence, first),
        departure=presence.departures[-1] if presence is not None and presence.departures else None,
        quarantine=quarantine,
        threads=threads,
        threads_total=total,
        quarantined_threads=_quarantined_threads(runtime, user_id),
        trouble=tree.store.trouble,
        lost=sum(one.count for one in letters),
        lost_at=max((one.at for one in letters), default=0.0),
        unconfirmed=0 if ledger is None else ledger.unconfirmed,
        disputes=[(one, _owner(runtime, one.thread_id)) for one in islice(tree.owners.disputes(user_id=user_id), MOST)],
        losses=[(one, runtime.owner(one.thread_id)) for one in islice(tree.owners.lost_by(user_id), MOST)],
        lively=() if total else lively(runtime, user_id),
        denied=[one for one in denied if one.user_id == user_id],
        denied_strangers=[one for one in denied if one.user_id is None],
        refused=refused(runtime),
        ack_seconds=limits.ack_seconds,
        ping_seconds=limits.ping_seconds,
        pong_seconds=limits.pong_seconds,
        write_deadline_seconds=limits.write_deadline_seconds,
    )  # fmt: skip


def ledger_of(runtime: Runtime, user_id: str) -> Ledger | None:
    """Return the books of a user's log, if they are open."""
    account = runtime.tree.accounts.users.get(user_id)
    return None if account is None else account.ledger


def threads_of_users(runtime: Runtime, users: Collection[str]) -> dict[str, tuple[int, list[str]]]:
    """Return the number of threads of each of these users, and some of them.

    A store of another kind than this package's does not list its threads: then those that were named lately count.
    """
    state = getattr(runtime.tree.store, "state", None)
    if isinstance(state, StoreState):
        return threads_of(state, users, MOST)
    owned: dict[str, list[str]] = {user_id: [] for user_id in users}
    for thread_id in named_lately(runtime.tree.threads):
        if (owner := runtime.owner(thread_id)) in owned:
            owned[owner].append(thread_id)
    return {user_id: (len(found), found[:MOST]) for user_id, found in owned.items()}


def ranges_of(runtime: Runtime, user_id: str) -> list[RangeAnswer]:
    """Return the events of a user that no device has acked, as neighbours of one stage; the oldest ranges."""
    ledger, presence = ledger_of(runtime, user_id), runtime.tree.registry.known(user_id)
    ranges: list[RangeAnswer] = []
    for first, last, written in () if ledger is None else open_spans(ledger):
        stage = "written" if written else "stored"
        if ranges and (ranges[-1].last, ranges[-1].stage) == (first - 1, stage):
            ranges[-1].last = last
        elif len(ranges) == MOST:
            break
        else:
            ranges.append(RangeAnswer(first=first, last=last, stage=stage, oldest=event_at(presence, first)))
    return ranges


def event_at(presence: Presence | None, offset: int) -> EventAnswer | None:
    """Return the event at an offset of a user's log, where the log is followed and the event at hand."""
    if presence is None or presence.view is None:
        return None
    try:
        chunk = presence.view.read(offset, 1)
    except NotAtHand:
        return None
    if chunk.first != offset or not chunk.frames:
        return None
    event = decode(next(texts_of(chunk.frames)))
    return EventAnswer(
        event_id=event.event_id, type=event.type, thread_id=event.thread_id, offset=offset, at=event.timestamp
    )  # fmt: skip


def lively(runtime: Runtime, user_id: str) -> list[tuple[str, str | None]]:
    """Return threads that were named lately and are not a user's, the newest first, with their owners."""
    named = reversed(tuple(named_lately(runtime.tree.threads)))
    others = ((thread_id, runtime.owner(thread_id)) for thread_id in named)
    return list(islice(((thread_id, owner) for thread_id, owner in others if owner != user_id), _LIVELY))


def refused(runtime: Runtime) -> list[tuple[str, int]]:
    """Return why sockets were refused before their user was known, and how many, the most frequent first; but for
    their credentials."""
    numbers = runtime.statistics()
    refusals = numbers.handshakes_refused.items()
    found = {f"{code} {reason}": count for (code, reason), count in refusals if reason != _REMEMBERED}
    found |= {name: count for name, count in numbers.connections_closed.items() if name in _BEFORE_HELLO}
    return sorted(found.items(), key=lambda one: -one[1])


def letters_of(runtime: Runtime, thread_id: str) -> Iterator[DeadLetter]:
    """Yield the newest drops of a thread's events, newest first."""
    return (one for one in reversed(runtime.dead_letters) if one.thread_id == thread_id)


def _was_here(presence: Presence | None) -> bool:
    return presence is not None and bool(presence.devices or presence.departures)


def _settled_at(presence: Presence | None) -> float:
    """Return the time at which a device of a user was let in or left last: what was refused before may be the same."""
    if presence is None:
        return 0.0
    came = [device.since for device in presence.devices if isinstance(device, Connection)]
    return max([*came, *(one.at for one in presence.departures)], default=0.0)


def _devices(runtime: Runtime, presence: Presence | None, first: int) -> list[Seen]:
    if presence is None:
        return []
    seen = []
    for device in presence.devices[:MOST]:
        if device.subscription is not None:
            standing = device.subscription.cursor.standing(first)
            seen.append(Seen(device=device_answer(runtime, device, first), standing=standing))
    return seen


def _quarantined_threads(runtime: Runtime, user_id: str) -> list[tuple[str, Failure]]:
    threads = runtime.tree.threads.out_of_service.items()
    return list(islice(((name, failure) for name, failure in threads if runtime.owner(name) == user_id), MOST))


def _owner(runtime: Runtime, thread_id: str) -> str:
    owner = runtime.owner(thread_id)
    assert owner is not None, "a dispute is about a thread that has an owner"
    return owner
