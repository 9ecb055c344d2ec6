"""The fate of an event, as a sentence: where it is, and why."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from actors.delivery.accounts import Accounts
from actors.events.delivered import Position
from actors.events.states import DOUBTFUL
from actors.kernel.failures import Failure
from actors.receipts import Fate, Receipt
from actors.stages import Cause, Promise, Stage
from actors.stores.store import Trouble
from actors.users.presence import Presence, Subscriber

_CAUSES = {
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


def forgotten(event_id: str, thread_id: str | None = None) -> Fate:
    """Return the fate of an event that the runtime no longer remembers, or never knew."""
    where = "here" if thread_id is None else f"in thread {thread_id}"
    return Fate(event_id=event_id, receipt=None, steps=(f"{event_id}: forgotten, or never accepted {where}",))


def ambiguous(event_id: str, threads: Sequence[str]) -> Fate:
    """Return the fate of an id that names several events, each in a thread of its own."""
    which = f"{', '.join(threads[:-1])} and {threads[-1]}"
    text = f"{event_id}: {len(threads)} events have this id, in the threads {which}; name the thread of one"
    return Fate(event_id=event_id, receipt=None, steps=(text,), threads=tuple(threads))


def fate_of(
    receipt: Receipt,
    accounts: Accounts,
    presence: Presence | None,
    quarantine: Failure | None,
    now: float,
    *,
    trouble: Trouble | None = None,
) -> Fate:
    """Return the steps of an event so far, at ``now`` of the monotonic clock, in seconds.

    ``presence`` and ``quarantine`` are those of its owner, ``trouble`` is the store's.
    """
    steps = [f"accepted {_clock(receipt.accepted_at)}"]
    if receipt.seq is None:
        steps.append(f"thread {receipt.thread_id}")
    else:
        steps.append(f"thread {receipt.thread_id}, seq {receipt.seq}")
    position = receipt.position
    if position is not None:
        steps += [f"owner {position.user_id}", f"offset {position.offset}{_SURVIVES[receipt.promise]}"]
    steps.append(_outcome(receipt, accounts))
    if trouble is not None and not receipt.stage.final and receipt.promise is Promise.NOTHING:
        steps.append(f"nothing is stored since {_clock(trouble.since)}: {trouble}")
    if position is not None and not (receipt.stage.final and receipt.stage is not Stage.ACKED):
        steps.append(_devices(position, presence, now))
        if quarantine is not None:
            steps.append(f"owner {position.user_id} is out of service: {quarantine.error}")
    return Fate(event_id=receipt.event_id, receipt=receipt, steps=tuple(steps))


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
    return f"dropped ({cause}): {_CAUSES[cause]}"


def _devices(position: Position, presence: Presence | None, now: float) -> str:
    """Describe the connected devices, or else the last one that was."""
    devices = () if presence is None else tuple(presence.devices)
    if devices:
        count = f"{len(devices)} device{'' if len(devices) == 1 else 's'}"
        return f"{count}: " + "; ".join(_device(device, position, now) for device in devices)
    if presence is None or not presence.departures:
        return f"no device of {position.user_id} is here, or was lately"
    last = presence.departures[-1]
    return f"no device is here; the last, {last.label}, went at {_clock(last.at)} ({last.name}: {last.text})"


def _device(device: Subscriber, position: Position, now: float) -> str:
    if device.subscription is not None:
        ledger = device.subscription.ledger.of(position.epoch)
        if ledger is None or position.offset > ledger.end:
            return f"{device.label} reads another epoch of the log"
    return device.describe(position.offset, now)


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at).strftime("%H:%M:%S")
