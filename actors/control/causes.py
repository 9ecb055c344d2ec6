"""The causes for which events are not acked: from what is known of a user or a thread to one of them, and a sentence.

A table with an order: the first cause that holds is the first sentence, and
the others that hold follow it as notes. Pure: what is known comes as a record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from actors.control.answers import DeviceAnswer, EventAnswer
from actors.delivery.cursor import Standing
from actors.kernel.failures import Failure
from actors.observability.explain import clock
from actors.observability.owners import Dispute, Ownership
from actors.observability.refusals import Refusal, host_of
from actors.stores.store import Trouble
from actors.users.presence import Departure

STALLED_SECONDS = 2.0
"""Time without progress from which on a device is said to have stopped reading: a slow network has pauses of one."""

GRACE_SECONDS = 2.0
"""Time beyond that in which a client owes its ack, for the way to it and back."""

LOSS_SECONDS = 300.0
"""Age of a loss that is still the matter: as old as what is retained."""

TRIED_AGAIN = "it is tried again, every second at least, until that is mended"
"""The way out of a store's trouble, for which there is no command to give."""

_NAMED = 3
"""Things that a sentence names; of more it says how many there are."""


@attrs.frozen(kw_only=True)
class Seen:
    """A device, and how it stands to the first event that no device has acked."""

    device: DeviceAnswer
    standing: Standing


@attrs.frozen(kw_only=True)
class Evidence:
    """All that is known of a user's delivery at one moment."""

    user_id: str
    now: float
    """Wall clock, seconds; so are all times here."""
    known: bool = True
    """True if there is a log, a device or a thread of the user."""
    placed: int = 0
    """Events that the log has had."""
    unacked: int = 0
    unwritten: int = 0
    first: int = 0
    """The first offset that no device has acked."""
    oldest: EventAnswer | None = None
    """The event there, where it is at hand."""
    acked_at: float | None = None
    devices: Sequence[Seen] = ()
    departure: Departure | None = None
    """The last device that left."""
    quarantine: Failure | None = None
    threads: Sequence[str] = ()
    threads_total: int = 0
    quarantined_threads: Sequence[tuple[str, Failure]] = ()
    trouble: Trouble | None = None
    lost: int = 0
    """Events that left the log before a socket took them, as far as is remembered."""
    lost_at: float = 0.0
    """The time of the last of them."""
    unconfirmed: int = 0
    """Events that left the log, written and not acked."""
    disputes: Sequence[tuple[Dispute, str]] = ()
    """Threads that were named for the user, and their owners."""
    losses: Sequence[tuple[Ownership, str | None]] = ()
    """Threads that were the user's, and their owners now."""
    lively: Sequence[tuple[str, str | None]] = ()
    """Threads that were emitted into lately, and their owners, where the user has none."""
    denied: Sequence[Refusal] = ()
    """The refusals of this user's credentials since a device of the user came or left, oldest first."""
    denied_strangers: Sequence[Refusal] = ()
    """Those of credentials of which it is not known whose they were."""
    refused: Sequence[tuple[str, int]] = ()
    """Sockets that were refused for another reason before their user was known, by reason."""
    ack_seconds: float = 1.0
    ping_seconds: float = 15.0
    pong_seconds: float = 10.0
    write_deadline_seconds: float = 10.0


Found = tuple[str, str]
"""A cause, in a word of the table, and the sentence."""


def judge(evidence: Evidence) -> list[Found]:
    """Return the causes that hold, the one that decides first; always at least one."""
    found = [cause for look in _LOOKS if (cause := look(evidence)) is not None]
    return found or [_idle(evidence)]


# --- the server's part ---------------------------------------------------------------


def _quarantined(seen: Evidence) -> Found | None:
    if seen.quarantine is None:
        return None
    return "quarantined", (
        f"{seen.user_id} is out of service since {clock(seen.quarantine.at)}, because its actor crashed too often"
        f" ({seen.quarantine.error}): devices are refused, and {_waiting(seen.unacked)} in its log;"
        f" `actors release users/{seen.user_id}` puts it back"
    )


def _thread_quarantined(seen: Evidence) -> Found | None:
    if not seen.quarantined_threads:
        return None
    thread_id, failure = seen.quarantined_threads[0]
    more = len(seen.quarantined_threads) - 1
    return "quarantined", (
        f"thread {thread_id} of {seen.user_id} is out of service since {clock(failure.at)}, because its actor crashed"
        f" too often ({failure.error}), and takes no event; `actors release threads/{thread_id}` puts it back"
        + _also(more)
    )


def _troubled(seen: Evidence) -> Found | None:
    if seen.trouble is None:
        return None
    return "store", (
        f"nothing is stored since {clock(seen.trouble.since)}, for {seen.user_id} or any user: {seen.trouble};"
        f" {TRIED_AGAIN}"
    )


# --- the devices' part ---------------------------------------------------------------


def _denied(seen: Evidence) -> Found | None:
    if seen.devices or not seen.denied:
        return None
    waiting = f"; {_waiting(seen.unacked)} in its log{_since(seen)}" if seen.unacked else ""
    return "refused", (
        f"no device of {seen.user_id} is here, because its credentials were refused{_denial(seen)}{waiting}"
    )


def _denied_beside(seen: Evidence) -> Found | None:
    if not seen.devices or not seen.denied or seen.now - seen.denied[-1].at > LOSS_SECONDS:
        return None
    return "refused", (
        f"another device of {seen.user_id} is not here, because its credentials were refused{_denial(seen)}"
    )


def _denial(seen: Evidence) -> str:
    """Say how often, when and why, and the way out: a client does not come back with what was refused."""
    last, count = seen.denied[-1], len(seen.denied)
    often = "" if count == 1 else f" {count} times, the last time"
    return (
        f"{often} at {clock(last.at)}, from {host_of(last.peer)}: {last.reason} (in its {last.source});"
        " it comes back when its client gets fresh ones"
    )


def _away(seen: Evidence) -> Found | None:
    if seen.devices or seen.denied or seen.quarantine or not seen.unacked:
        return None
    last = "or was lately" if seen.departure is None else f"since {_left(seen.departure)}"
    text = f"no device of {seen.user_id} is here, {last}; {_waiting(seen.unacked)} in its log{_since(seen)}"
    return "away", text + _refused(seen)


def _left(departure: Departure) -> str:
    return f"{departure.label} left at {clock(departure.at)} ({departure.name}: {departure.text})"


def _refused(seen: Evidence) -> str:
    """Say which sockets were refused whose users are not known: one of them may be this user's."""
    text = ""
    if seen.denied_strangers:
        last, count = seen.denied_strangers[-1], len(seen.denied_strangers)
        clients = "a client was" if count == 1 else f"{count} clients were, the last"
        text += (
            f"; a device of this user may be among those that were refused without a name: {clients} at"
            f" {clock(last.at)}, from {host_of(last.peer)}: {last.reason} (in its {last.source})"
        )
    if seen.refused:
        reasons = ", ".join(f"{reason} {count}" for reason, count in seen.refused[:_NAMED])
        text += f"; sockets of users that are not known were refused: {reasons}"
    return text


def _stalled(seen: Evidence) -> Found | None:
    stalled = [one.device for one in seen.devices if _has_stalled(one.device, seen.now)]
    if not stalled or _some_other_acks(seen, stalled):
        return None
    device = max(stalled, key=lambda one: seen.now - (one.stalled_at or seen.now))
    assert device.stalled_at is not None, "a device that stalls does so since some time"
    waiting = device.backlog_bytes or 0
    if device.pending_bytes is not None:
        waiting = device.pending_bytes
    return "stalled", (
        f"{device.label} of {seen.user_id} stopped reading at {clock(device.stalled_at)},"
        f" {seen.now - device.stalled_at:.0f} s ago: {waiting:,} bytes wait for it, and {events(seen.unacked)} for its"
        f" ack; it is cut off {seen.write_deadline_seconds:g} s after the last byte that it took"
    )


def _has_stalled(device: DeviceAnswer, now: float) -> bool:
    return device.stalled_at is not None and now - device.stalled_at >= STALLED_SECONDS


def _some_other_acks(seen: Evidence, troubled: Sequence[DeviceAnswer]) -> bool:
    """Return true if nothing waits, because another device acks what these do not."""
    return not seen.unacked and len(troubled) < len(seen.devices)


def _silent(seen: Evidence) -> Found | None:
    silent = [one.device for one in seen.devices if _is_silent(one, seen)]
    if not silent or _some_other_acks(seen, silent):
        return None
    device = max(silent, key=lambda one: seen.now - (one.heard_at or seen.now))
    assert device.heard_at is not None, "what is silent was heard before"
    text = f"nothing was heard of {device.label} of {seen.user_id} since {clock(device.heard_at)}, "
    text += f"{seen.now - device.heard_at:.0f} s ago"
    if device.pinged_at is not None:
        text += f"; it owes the answer to a ping since {clock(device.pinged_at)}"
    text += f": {_silence(device)}"
    if seen.unacked:
        text += f"; {_waiting(seen.unacked)} for its ack"
    return "silent", f"{text}; it is given up {seen.pong_seconds:g} s after the ping"


def _silence(device: DeviceAnswer) -> str:
    """Say what silence means: the system knows whether the peer's has confirmed the bytes, which may be a proxy's."""
    if device.pending_bytes is None:
        return "it stopped reading, or its network is gone"
    if not device.pending_bytes:
        return "what was written has reached its machine, where its program stopped reading, or else a proxy before it"
    return f"its network is gone, or it sleeps (half-open); {device.pending_bytes:,} bytes have not reached it"


def _is_silent(one: Seen, seen: Evidence) -> bool:
    device = one.device
    if device.heard_at is None:
        return False
    if device.pinged_at is not None and seen.now - device.pinged_at >= GRACE_SECONDS:
        return True
    return bool(seen.unacked and one.standing == "handed" and device.kind == "v1") and (
        seen.now - max(device.heard_at, 0.0 if seen.oldest is None else seen.oldest.at)
        >= seen.ack_seconds + GRACE_SECONDS
        and bool(device.pending_bytes)
    )


def _shed(seen: Evidence) -> Found | None:
    if not seen.lost or seen.now - seen.lost_at > LOSS_SECONDS:
        return None
    here = bool(seen.devices or (seen.departure is not None and seen.departure.at >= seen.lost_at))
    too_fast = "more was emitted than its devices took" if here else "no device was here"
    return "retention", (
        f"{events(seen.lost)} of {seen.user_id} {_were(seen.lost)} dropped by retention, the last at"
        f" {clock(seen.lost_at)}, before any device took {_them(seen.lost)}: {too_fast}"
        + ("; emit with ahead=, so that the emitter waits" if here else "")
    )


def _behind(seen: Evidence) -> Found | None:
    behind = [one.device for one in seen.devices if one.standing == "behind"]
    if not seen.unacked or len(behind) < len(seen.devices) or not behind:
        return None
    reading = [one for one in behind if not _has_stalled(one, seen.now)]
    if not reading:
        return None
    device = min(reading, key=lambda one: one.lag_events)
    return "behind", f"{device.label} of {seen.user_id} reads, and is {events(device.lag_events)} behind{_since(seen)}"


def _unread(seen: Evidence) -> Found | None:
    handed = [one.device for one in seen.devices if one.standing == "handed" and not _is_given_up(one, seen)]
    if not seen.unacked or not handed:
        return None
    device, count = handed[0], events(seen.unacked)
    if all(one.kind == "plain" for one in handed):
        return "plain", f"{device.label} of {seen.user_id} was sent {count}, and is a plain client, which does not ack"
    device = next(one for one in handed if one.kind != "plain")
    due = seen.now - seen.ack_seconds - GRACE_SECONDS
    if seen.oldest is not None and seen.oldest.at > due:
        return "fresh", f"{count} went out to {device.label} of {seen.user_id} a moment ago, and its ack is not due yet"
    heard = "" if device.heard_at is None else _heard(device.heard_at, seen)
    last = "no device has acked anything" if seen.acked_at is None else f"the last ack came at {clock(seen.acked_at)}"
    return "unacked", (
        f"{device.label} of {seen.user_id} was sent {count}{_since(seen)}, and has not acked {_them(seen.unacked)}"
        f"{heard}; {last}"
    )


def _is_given_up(one: Seen, seen: Evidence) -> bool:
    """Return true for a device of which a cause further up has said why it does not ack."""
    return _has_stalled(one.device, seen.now) or _is_silent(one, seen)


def _heard(at: float, seen: Evidence) -> str:
    if seen.oldest is not None and at < seen.oldest.at:
        found = f"{seen.ping_seconds + seen.pong_seconds:g} s"
        return (
            f", and nothing was heard of it since {clock(at)}: its program hangs, or its network is gone (half-open),"
            f" and then it is given up within {found} of that"
        )
    return f", though it was heard at {clock(at)}"


def _missed(seen: Evidence) -> Found | None:
    others = [one for one in seen.devices if one.standing in ("began later", "missed")]
    if not seen.unacked or len(others) < len(seen.devices) or not others:
        return None
    one = others[0]
    how = "began after them" if one.standing == "began later" else "came too late for them"
    return "began later", (
        f"{_waiting(seen.unacked)} for a device of {seen.user_id} that takes them{_since(seen)}:"
        f" {one.device.label}, which is here, {how}"
    )


# --- the owners' part ----------------------------------------------------------------


def _disputed(seen: Evidence) -> Found | None:
    if not seen.disputes:
        return None
    dispute, owner = seen.disputes[0]
    more = len(seen.disputes) - 1
    return "other_owner", (
        f"thread {dispute.thread_id} was named for {seen.user_id} at {clock(dispute.at)}, and is bound to {owner},"
        " whose devices get what is emitted into it"
        + (f"; {_threads(more)} named for it {'is' if more == 1 else 'are'} not its own either" if more else "")
    )


def _lost_threads(seen: Evidence) -> Found | None:
    if not seen.losses:
        return None
    change, owner = seen.losses[0]
    now = "has no owner" if owner is None else f"is bound to {owner}"
    more = len(seen.losses) - 1
    return "other_owner", (
        f"thread {change.thread_id} was {seen.user_id}'s until {clock(change.at)}, and {now}"
        + (f"; {_threads(more)} {_were(more)} taken from it, too" if more else "")
    )


def _idle(seen: Evidence) -> Found:
    name = seen.user_id
    if not seen.known:
        text = f"nothing is known of {name} here: no log, no device, no thread"
        return "unknown", text + _others(seen) + _refused(seen)
    if not seen.placed:
        owns = "owns no thread" if not seen.threads_total else f"owns {_named(seen.threads, seen.threads_total)}"
        text = f"nothing waits for {name}, because nothing was emitted for it: it {owns}"
        return "nothing", text + ("" if seen.threads_total else _others(seen))
    fate = f"all {events(seen.placed)} of its log were acked or have left it"
    if seen.unconfirmed:
        fate += f", {seen.unconfirmed:,} of them unconfirmed"
    last = "" if seen.acked_at is None else f"; the last ack came at {clock(seen.acked_at)}"
    return "acked", f"nothing of {name} is unacked: {fate}{last}"


def _others(seen: Evidence) -> str:
    if not seen.lively:
        return ""
    named = [f"{thread_id} ({'no owner' if owner is None else f'of {owner}'})" for thread_id, owner in seen.lively]
    return f"; threads that were in use lately: {', '.join(named[:_NAMED])}"


_LOOKS: tuple[Callable[[Evidence], Found | None], ...] = (
    _quarantined,
    _thread_quarantined,
    _troubled,
    _stalled,
    _silent,
    _denied,
    _away,
    _shed,
    _behind,
    _unread,
    _missed,
    _denied_beside,
    _disputed,
    _lost_threads,
)
"""In this order, because a cause further up keeps those below it from mattering."""


# --- words ------------------------------------------------------------------------------


def events(count: int) -> str:
    """Format a number of events."""
    return f"{count:,} event{'' if count == 1 else 's'}"


def _waiting(count: int) -> str:
    return f"{events(count)} wait{'s' if count == 1 else ''}"


def _also(count: int) -> str:
    """Say that there are more threads of which the same holds."""
    return f"; the same holds for {_threads(count)}" if count else ""


def _threads(count: int) -> str:
    """Format a number of threads beside one."""
    return f"{count:,} other thread{'' if count == 1 else 's'}"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _them(count: int) -> str:
    return "it" if count == 1 else "them"


def _since(seen: Evidence) -> str:
    return "" if seen.oldest is None else f", the oldest since {clock(seen.oldest.at)}"


def _named(names: Sequence[str], total: int) -> str:
    few = ", ".join(names[:_NAMED])
    return f"{total:,} thread{'' if total == 1 else 's'} ({few}{', …' if total > _NAMED else ''})"
