"""The reason for which events of a user, or of a thread, are not acked; one sentence first, then what there is."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from msgspec import structs

from actors.control.answers import WhyAnswer
from actors.control.causes import Evidence, Found, clock, events, judge
from actors.control.devices import device_answer
from actors.control.evidence import MOST, evidence_of, letters_of, ranges_of
from actors.runtime import Runtime


def why(runtime: Runtime, user_id: str) -> WhyAnswer:
    """Say which events of a user no device has acked, and why."""
    seen = evidence_of(runtime, user_id)
    (cause, text), *others = judge(seen)
    return WhyAnswer(
        about="user",
        name=user_id,
        known=cause != "unknown",
        cause=cause,
        text=text,
        notes=[*(other for _, other in others), *_notes(runtime, seen)][:MOST],
        unacked=seen.unacked,
        unwritten=seen.unwritten,
        acked_at=seen.acked_at,
        ranges=ranges_of(runtime, user_id),
        devices=[one.device for one in seen.devices],
        threads=list(seen.threads),
        threads_total=seen.threads_total,
    )


def why_thread(runtime: Runtime, thread_id: str) -> WhyAnswer:
    """Say where the events of a thread go, and why its owner's devices have not acked them."""
    owner = runtime.owner(thread_id)
    found = [cause for look in _LOOKS if (cause := look(runtime, thread_id, owner)) is not None]
    told = WhyAnswer(about="thread", name=thread_id, known=True, cause="", text="", notes=[], user_id=owner)
    if owner is not None:
        theirs = why(runtime, owner)
        text = f"thread {thread_id} is bound to {owner}{_since(runtime, thread_id)}: {theirs.text}"
        found.append((theirs.cause, text))
        told.unacked, told.unwritten, told.acked_at = theirs.unacked, theirs.unwritten, theirs.acked_at
        told.ranges, told.devices = theirs.ranges, theirs.devices
        told.notes = theirs.notes
    elif not found:
        told.known = False
        found.append(("unknown", f"nothing is known of thread {thread_id} here: it has no owner, and holds no event"))
    (told.cause, told.text), *others = found
    told.notes = [*(other for _, other in others), *_drops(runtime, thread_id), *told.notes][:MOST]
    return told


def why_device(runtime: Runtime, label: str) -> WhyAnswer:
    """Say the same of the user of a device, and how the device stands."""
    connections = runtime.tree.server.connections.values()
    device = next((one for one in connections if one.label == label), None)
    told = WhyAnswer(about="device", name=label, known=device is not None, cause="unknown", text="", notes=[])
    if device is None:
        told.text = f"no connection {label} is here; `actors connections` lists those that are"
    elif device.user_id is None or device.subscription is None:
        told.cause, told.text = "saying hello", f"{label} has not said hello yet, so its user is not known"
    else:
        theirs = why(runtime, device.user_id)
        shown = device_answer(runtime, device)
        told = structs.replace(theirs, about="device", name=label, user_id=device.user_id)
        told.text = f"{label} is a device of {device.user_id}, {shown.state} ({shown.text}): {theirs.text}"
    return told


# --- a user's notes -----------------------------------------------------------------


def _notes(runtime: Runtime, seen: Evidence) -> list[str]:
    notes = []
    if seen.oldest is not None and seen.oldest.event_id is not None:
        fate = runtime.explain(seen.oldest.event_id, seen.oldest.thread_id)
        if fate.known:
            notes.append(f"the oldest of them, {seen.oldest.event_id}: {fate}")
    if seen.unconfirmed:
        notes.append(f"{events(seen.unconfirmed)} were written, and left the log before any device acked them")
    if seen.departure is not None and seen.devices:
        last = seen.departure
        notes.append(f"the last device that left: {last.label}, at {clock(last.at)} ({last.name}: {last.text})")
    return notes


# --- a thread's causes --------------------------------------------------------------


def _quarantined(runtime: Runtime, thread_id: str, owner: str | None) -> Found | None:
    failure = runtime.tree.threads.quarantined(thread_id)
    if failure is None:
        return None
    return "quarantined", (
        f"thread {thread_id} is out of service since {clock(failure.at)}, because its actor crashed too often"
        f" ({failure.error}), and takes no event; `actors release threads/{thread_id}` puts it back"
    )


def _unbound(runtime: Runtime, thread_id: str, owner: str | None) -> Found | None:
    hold = runtime.tree.accounts.holds.get(thread_id)
    if owner is not None or hold is None:
        return None
    seconds = runtime.limits.unbound_seconds
    return "no_owner", (
        f"thread {thread_id} has no owner: its {events(hold.held)} {'is' if hold.held == 1 else 'are'} held until it is"
        f" bound to a user, for {seconds:g} s each at most{_since(runtime, thread_id)}"
    )


def _disputed(runtime: Runtime, thread_id: str, owner: str | None) -> Found | None:
    dispute = next(runtime.tree.owners.disputes(thread_id=thread_id), None)
    if dispute is None:
        return None
    return "other_owner", (
        f"thread {thread_id} is bound to {owner}{_since(runtime, thread_id)}, and was named for {dispute.user_id} at"
        f" {clock(dispute.at)}, whose devices get nothing of it"
    )


_LOOKS: tuple[Callable[[Runtime, str, str | None], Found | None], ...] = (_quarantined, _disputed, _unbound)


def _since(runtime: Runtime, thread_id: str) -> str:
    change = runtime.tree.owners.last_of(thread_id)
    if change is None:
        return ""
    if change.user_id is None:
        return f" (it was taken from {change.former} at {clock(change.at)})"
    before = "" if change.former is None else f", before that to {change.former}"
    return f" (since {clock(change.at)}{before})"


def _drops(runtime: Runtime, thread_id: str) -> list[str]:
    return [
        f"{events(one.count)} of the thread dropped at {clock(one.at)} ({one.cause})"
        for one in islice(letters_of(runtime, thread_id), 3)
    ]
