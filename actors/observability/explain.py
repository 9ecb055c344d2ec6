"""The fate of an event, as a sentence: where it is, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import attrs

from actors.delivery.accounts import Accounts
from actors.delivery.cursor import Standing
from actors.events.delivered import Position
from actors.events.states import DOUBTFUL
from actors.kernel.failures import Failure
from actors.observability.owners import Ownership
from actors.observability.refusals import Refusals, host_of
from actors.receipts import Fate, Receipt
from actors.stages import Cause, Promise, Stage
from actors.stores.store import Trouble
from actors.users.presence import Departure, Presence, Subscriber

CAUSES: dict[Cause, str] = {
    Cause.RETENTION: "left the log before any socket took it",
    Cause.UNBOUND_OVERFLOW: "its thread had no owner, and its hold was full",
    Cause.UNBOUND_EXPIRED: "its thread had no owner for as long as a hold lasts",
    Cause.OWNER_CHANGED: "its owner lost the thread before it was placed",
    Cause.CONFLICT: "its id already named another event of the thread",
    Cause.NOT_THE_OWNER: "it was emitted for a user who does not own the thread",
    Cause.CRASHED: "its thread's actor crashed with it in hand",
    Cause.LOST: "the store lost it, and the log goes on in another epoch",
    Cause.QUARANTINED: "its thread was taken out of service before the store had it",
    Cause.RUN_OVER: "its run had ended by the time it came to the store",
    Cause.DAMAGED: "the store can no longer read it",
    Cause.TROUBLE: "the store could not store, and took nothing meanwhile",
    Cause.SHUTDOWN: "the runtime closed before it was written",
}


_SURVIVES = {
    Promise.NOTHING: "",
    Promise.PROCESS: ", on disk",
    Promise.POWER: ", safe on disk",
}


_MOST_GONE = 3
"""Devices that have gone, of which each is told."""

_STANDINGS: dict[Standing, str] = {
    "began later": "and had begun after it",
    "behind": "before it was sent the event",
    "missed": "and had been told that the event was gone",
    "handed": "and was sent the event, but had not acked it",
    "acked": "and had acked the event",
}


def forgotten(event_id: str, thread_id: str | None = None) -> Fate:
    """Return the fate of an event that the runtime no longer remembers, or never knew."""
    where = "here" if thread_id is None else f"in thread {thread_id}"
    return Fate(event_id=event_id, receipt=None, steps=(f"{event_id}: forgotten, or never accepted {where}",))


def ambiguous(event_id: str, threads: Sequence[str]) -> Fate:
    """Return the fate of an id that names several events, each in a thread of its own."""
    which = f"{', '.join(threads[:-1])} and {threads[-1]}"
    text = f"{event_id}: {len(threads)} events have this id, in the threads {which}; name the thread of one"
    return Fate(event_id=event_id, receipt=None, steps=(text,), threads=tuple(threads))


@attrs.frozen(kw_only=True)
class Surroundings:
    """The surroundings of an event: its thread's actor and owner, the owner's actor and devices, the store."""

    presence: Presence | None = None
    """That of the owner in whose log the event is."""
    owner_failure: Failure | None = None
    """The last failure of that owner's actor, if it is out of service."""
    thread_failure: Failure | None = None
    """The last failure of the thread's actor, if it is out of service."""
    last_failure: Failure | None = None
    """The last failure of the thread's actor that is remembered."""
    restarting: Failure | None = None
    """The last failure of the thread's actor, if it has crashed and is about to be started again."""
    ownership: Ownership | None = None
    """The newest change of the thread's owner, if there was one lately."""
    refusals: Refusals | None = None
    """The clients whose credentials were refused."""
    trouble: Trouble | None = None
    """The store's."""


def fate_of(receipt: Receipt, accounts: Accounts, around: Surroundings, now: float) -> Fate:
    """Return the steps of an event so far, at ``now`` of the monotonic clock, in seconds."""
    steps = [f"accepted {clock(receipt.accepted_at)}"]
    if receipt.seq is None:
        steps.append(f"thread {receipt.thread_id}")
    else:
        steps.append(f"thread {receipt.thread_id}, seq {receipt.seq}")
    position = receipt.position
    if position is not None:
        steps.append(f"owner {position.user_id}{_owned(position.user_id, around.ownership)}")
        steps.append(f"offset {position.offset}{_SURVIVES[receipt.promise]}")
    steps.append(_outcome(receipt, accounts))
    steps += _hindrances(receipt, around)
    if position is not None and not (receipt.stage.final and receipt.stage is not Stage.ACKED):
        failure = around.owner_failure
        if failure is not None and receipt.stage is not Stage.ACKED:
            steps.append(f"owner {position.user_id} is {_out_of_service(failure)}")
        steps.append(_devices(receipt, position, around, now))
    return Fate(event_id=receipt.event_id, receipt=receipt, steps=tuple(steps))


def _owned(user_id: str, ownership: Ownership | None) -> str:
    """Say of an event's owner that the thread has another one now, or had another one before, where that is known."""
    if ownership is None:
        return ""
    at = clock(ownership.at)
    if ownership.user_id != user_id:
        present = "no owner" if ownership.user_id is None else f"the owner {ownership.user_id}"
        return f" (then; the thread has {present} since {at})"
    return "" if ownership.former is None else f" (since {at}; before that {ownership.former})"


def _hindrances(receipt: Receipt, around: Surroundings) -> Iterator[str]:
    """Say what keeps an event from coming to its owner's log."""
    stage, trouble = receipt.stage, around.trouble
    if trouble is not None and not stage.final and receipt.promise is Promise.NOTHING:
        yield f"nothing is stored since {clock(trouble.since)}: {trouble}"
    is_on_its_way = stage in {Stage.ACCEPTED, Stage.BUFFERED} or receipt.cause is Cause.QUARANTINED
    if around.thread_failure is not None and is_on_its_way:
        yield f"thread {receipt.thread_id} is {_out_of_service(around.thread_failure)}"
    elif receipt.cause is Cause.CRASHED and around.last_failure is not None:
        failure = around.last_failure
        yield f"the last failure of thread {receipt.thread_id}, at {clock(failure.at)}: {failure.error}"
    elif around.restarting is not None and stage is Stage.ACCEPTED:
        failure = around.restarting
        yield f"its thread's actor crashed at {clock(failure.at)} ({failure.error}), and is about to be started again"


def _out_of_service(failure: Failure) -> str:
    """Say since when an actor is out of service, why, and the way out."""
    return (
        f"out of service since {clock(failure.at)}, until 'actors release {failure.path}':"
        f" it crashed again and again, the last time with {failure.error}"
    )


def _outcome(receipt: Receipt, accounts: Accounts) -> str:
    stage = receipt.stage
    if stage is Stage.ACCEPTED:
        asked = receipt.state is not DOUBTFUL
        return "queued for the store" if asked else "given to the store, which did not say whether it took it"
    if stage is Stage.BUFFERED:
        hold = accounts.holds.get(receipt.thread_id)
        if hold is None or receipt.seq is None:  # a receipt of a runtime that has ended
            return "held, until the thread is bound to a user"
        return f"held, {receipt.seq - hold.low + 1} of {hold.held}, until the thread is bound to a user"
    if stage is Stage.STORED:
        return "stored, not written to any device yet"
    if stage is Stage.WRITTEN:
        return "written to a device"
    if stage is Stage.ACKED:
        return "acked by a device"
    if stage is Stage.UNCONFIRMED:
        return "written, and left the log before any device confirmed it"
    cause = receipt.cause
    assert cause is not None, "a dropped event has a cause"
    return f"dropped ({cause}): {CAUSES[cause]}"


def _devices(receipt: Receipt, position: Position, around: Surroundings, now: float) -> str:
    """Describe the connected devices, or else those that left last; and those that were not let in since."""
    presence = around.presence
    devices = () if presence is None else tuple(presence.devices)
    if devices:
        count = f"{len(devices)} device{'' if len(devices) == 1 else 's'}"
        return f"{count}: " + "; ".join(_device(device, position, now) for device in devices)
    departures = [] if presence is None else list(reversed(presence.departures))
    if departures:
        (last, went), *others = (_departure(one, receipt, position) for one in departures[:_MOST_GONE])
        text = "; ".join((f"no device is here; the last, {last}, {went}", *map(" ".join, others)))
        if len(departures) > _MOST_GONE:
            text += f"; and {len(departures) - _MOST_GONE} before"
    else:
        text = f"no device of {position.user_id} is here, or was lately"
    refused = _refused(position.user_id, receipt, departures, around.refusals)
    return f"{text}; {refused}" if refused else text


def _device(device: Subscriber, position: Position, now: float) -> str:
    if device.subscription is not None:
        ledger = device.subscription.ledger.of(position.epoch)
        if ledger is None or position.offset > ledger.end:
            return f"{device.label} reads another epoch of the log"
    return device.describe(position.offset, now)


def _departure(departure: Departure, receipt: Receipt, position: Position) -> tuple[str, str]:
    """Return a device that went, and when it did, why, and whether it had the event."""
    went = f"went at {clock(departure.at)} ({departure.name}: {departure.text})"
    if departure.at < receipt.accepted_at:
        return departure.label, f"{went}, before the event was there"
    cursor = departure.cursor
    if cursor is None or departure.epoch != position.epoch:
        return departure.label, went
    return departure.label, f"{went}, {_STANDINGS[cursor.standing(position.offset)]}"


def _refused(user_id: str, receipt: Receipt, departures: Sequence[Departure], refusals: Refusals | None) -> str | None:
    """Say which clients were refused since the last device went, of which one may be this user's."""
    if refusals is None:
        return None
    since = refusals.since(departures[0].at if departures else receipt.accepted_at)
    own = [one for one in since if one.user_id == user_id]
    if own:
        last = own[-1]
        return f"a device of {user_id} was refused at {clock(last.at)}, from {last.peer}: {last.reason}"
    unknown = [one for one in since if one.user_id is None]
    if not unknown:
        return None
    last = unknown[-1]
    count = "a client was" if len(unknown) == 1 else f"{len(unknown)} clients were"
    hosts = {host_of(one.peer) for one in unknown}
    same = [one.label for one in departures if one.peer and host_of(one.peer) in hosts]
    where = f", from where {same[0]} had come," if same else ""
    which = "the last " if len(unknown) > 1 else ""
    return f"since then {count} refused{where} for credentials, {which}at {clock(last.at)}: {last.reason}"


def clock(at: float) -> str:
    """Format a wall time as a clock shows it."""
    return datetime.fromtimestamp(at).strftime("%H:%M:%S")
