"""The verdict: what must be so once nothing goes wrong any more, and at each end of a runtime."""

from __future__ import annotations

import math
from collections import Counter
from typing import Protocol

from actors.limits import Limits
from actors.receipts import Receipt
from actors.runtime import Runtime
from actors.stores.journal import Placed as PlacedEffect
from actors.testing.balance_check import check_balance
from actors.testing.crashes import Crashes
from actors.testing.device import Device
from actors.testing.follower import Follower
from actors.testing.journal import Disk, fold
from actors.testing.oracle import Oracle
from actors.testing.records import DELTA, STARTED, TERMINAL, Emit, Log, Records
from actors.testing.store import FaultyMemoryStore, FaultyStore


class WorldView(Protocol):
    """The part of a :class:`~actors.testing.World` that a verdict looks at."""

    runtime: Runtime
    limits: Limits
    store: FaultyStore | FaultyMemoryStore
    records: Records
    oracle: Oracle
    crashes: Crashes
    own_failures: list[str]
    followers: list[Follower]
    up: bool
    durable: bool
    disk: Disk | None

    @property
    def staying(self) -> list[Device]:
        """The devices that have not left for good, and ack what they get."""
        ...

    def is_current(self, device: Device | Follower) -> bool:
        """True if a device has all that its user's log has."""
        ...

    def questions_of(self, user_id: str) -> set[str]:
        """Return the ids of the questions that are open to a user."""
        ...


def check_settled(world: WorldView) -> None:
    """Liveness: what was accepted has arrived or has a reason; every run has ended; the books agree."""
    if not world.up:
        world.records.complain(7, "the runtime is not there")
        return
    _check_devices(world)
    _check_receipts(world, world.records.life, closed=False)
    _check_books(world)
    _check_logs(world)
    _check_runs(world)
    _check_failures(world)
    if world.durable:
        check_durability(world)


def check_life(world: WorldView) -> None:
    """Check a runtime that has ended: every receipt has an answer, and nothing is left in its books."""
    if not hasattr(world, "runtime"):
        return
    world.oracle.probe()
    _check_receipts(world, world.records.life, closed=True)
    _check_books(world)
    _check_failures(world)


def check_remains(world: WorldView) -> None:
    """Check that nothing is left for devices that have all gone (invariant 8)."""
    runtime, runs, asks = world.runtime, world.runtime.tree.runs, world.runtime.tree.asks
    left = {
        "connections": runtime.tree.server.connections,
        "active runs": runs.registry.active,
        "runs whose code goes on": runs.registry.abandoned,
        "threads on the roster": len(runs.roster),
        "turns": runs.admission._turns,
        "expected messages": runs.admission.expected,
        "tasks of runs": runs.admission._tasks,
        "waiting cancels": runs.registry._awaited,
        "messages": runs.admission.messages,
        "open questions": asks._open,
        "threads with questions": len(asks._threads),
        "scheduled threads": runtime.tree.threads._scheduled,
        "scheduled users": runtime.tree.users._scheduled,
        "holds": [hold for hold in runtime.tree.accounts.holds.values() if hold.held],
        "devices": [one.devices for one in runtime.tree.registry._presences.values() if one.devices],
        "gathered texts": [output for _, output, _ in runs.deltas._due if output.gathering],
    }
    for what, there in left.items():
        if there:
            world.records.complain(8, f"{what} are left when everybody has gone: {there}")


# --- devices --------------------------------------------------------------------


def _check_devices(world: WorldView) -> None:
    """Check that each device that stays is at the head of the log, and that its requests are answered."""
    for one in world.staying:
        if one.open:
            world.records.complain(7, f"{one.label} has no answer to {[asked.message for asked in one.open]}")
    everybody: list[Device | Follower] = [*world.staying, *world.followers]
    for device in everybody:
        bounds = world.store.bounds(device.user_id)
        if not world.is_current(device):
            where = f"at {device.cursor}, caught up: {device.caught_up}"
            world.records.complain(7, f"{device.label} is {where}, and the log stands at {bounds}")
        stale = [run_id for run_id in device.running if _has_ended(world, run_id)]
        if stale:
            world.records.complain(5, f"{device.label} takes for active, and they have ended: {stale}")
        asked = world.questions_of(device.user_id)
        if asked != set(device.questions):
            world.records.complain(7, f"{device.label} shows {sorted(device.questions)}, and {sorted(asked)} are open")


def _has_ended(world: WorldView, run_id: str) -> bool:
    """True if a log has, or had, the last event of a run, from which every device that knew of the run knows its
    end."""
    return any(
        receipt.position is not None
        for emit in world.records.emits.values()
        if emit.run_id == run_id and emit.life == world.records.life and emit.type in TERMINAL
        for receipt in emit.receipts
    )


# --- receipts and books -----------------------------------------------------------


def _check_receipts(world: WorldView, life: int, *, closed: bool) -> None:
    for emit in world.records.emits.values():
        of_this_runtime = emit.life == life and emit.runtime == world.records.runtime
        for receipt in emit.receipts if of_this_runtime else ():
            if not receipt.stage.final and not _may_stay(world, receipt) and not (closed and world.durable):
                world.records.complain(1, f"{receipt} is not final, and {'it ended' if closed else 'all is calm'}")
            elif receipt.stage.name == "DROPPED":
                _check_drop(world, emit, receipt, closed=closed)


def _may_stay(world: WorldView, receipt: Receipt) -> bool:
    """True if a receipt may stay as it is, because its only device was forgotten."""
    position = receipt.position
    if position is None:
        return False
    log = world.records.log_at((position.user_id, position.epoch, position.offset))
    return position.offset in log.forgotten


def _check_drop(world: WorldView, emit: Emit, receipt: Receipt, *, closed: bool) -> None:
    """Check that there was the reason for which an event was dropped."""
    owners = world.records.owners_of(emit.thread_id)
    cause, position = receipt.cause.name if receipt.cause else "", receipt.position
    if cause == "RETENTION" and position is not None:
        bounds = world.store.bounds(position.user_id)
        fine = bounds.epoch != position.epoch or position.offset < bounds.low
    elif cause == "LOST" and position is not None:
        fine = world.records.is_lost(position.user_id, position.epoch, position.offset)
    elif cause == "SHUTDOWN":
        fine = closed
    elif cause == "CRASHED":
        fine = world.crashes.count(f"threads/{emit.thread_id}") > 0
    elif cause == "QUARANTINED":
        fine = len(world.crashes.fired) > world.limits.restarts
    elif cause in {"OWNER_CHANGED", "NOT_THE_OWNER"}:
        fine = owners.changes > 0
    elif cause.startswith("UNBOUND"):
        fine = None in owners.at(emit.begun, math.inf)
    else:
        fine = False
    if not fine:
        world.records.complain(1, f"{receipt} was dropped ({cause}), and there was no reason to")


def _check_books(world: WorldView) -> None:
    """Check that the books say what the emitters' receipts say; notices are the runtime's own events."""
    records = world.records
    audit = check_balance(world.runtime, records)
    if world.durable:  # events of other runtimes are in the books as well, and there their receipts are not
        return
    emits = [one for one in records.emits.values() if one.life == records.life and one.receipts]
    calls = sum(one.calls for one in emits)
    # Of several receipts for one event some may be copies, which the books have in a column of their own.
    most = Counter(receipt.stage.name for one in emits for receipt in one.receipts)
    least = Counter(stage for one in emits for stage in {receipt.stage.name for receipt in one.receipts})
    most_notices = sum(owners.changes for (life, _), owners in records.owners.items() if life == records.life)
    total = audit.total
    rows = {
        "accepted": (total.accepted, calls, calls),
        "deduplicated": (total.deduplicated, 0, calls - len(emits)),
        "acked": (total.acked, least["ACKED"], most["ACKED"]),
        "unconfirmed": (total.unconfirmed, least["UNCONFIRMED"], most["UNCONFIRMED"]),
        "dropped": (total.dropped, least["DROPPED"], most["DROPPED"]),
        "retained": (total.retained, least["STORED"] + least["WRITTEN"], most["STORED"] + most["WRITTEN"]),
        "held": (total.held, least["BUFFERED"], most["BUFFERED"]),
        "queued": (total.queued, least["ACCEPTED"], most["ACCEPTED"]),
    }
    for name, (booked, lowest, highest) in rows.items():
        if not lowest <= booked <= highest + most_notices:
            records.complain(1, f"the books say {name} {booked}, and receipts {lowest} to {highest}")


# --- order, runs, failures ----------------------------------------------------------


def _check_logs(world: WorldView) -> None:
    """Check invariant 2 over everything that the runtime ever sent to devices."""
    for (user_id, epoch), log in world.records.logs.items():
        _check_order(world, log, f"{user_id}, epoch {epoch}")
    _check_emit_order(world)


def check_durability(world: WorldView) -> None:
    """Check invariants 5 and 9 over all lives of a durable store: what was told STORED is in no part of a log that was
    lost, and each run begins once and ends once, whatever was killed meanwhile."""
    records = world.records
    for emit in records.emits.values():
        for place in emit.told:
            if records.is_lost(*place):
                records.complain(9, f"event {emit.event_id} was told to be stored at {place}, and is lost")
    edges: dict[tuple[str, bool], dict[tuple[str, int], str]] = {}
    for (user_id, epoch), log in records.logs.items():
        for offset, event in log.events.items():
            if records.is_lost(user_id, epoch, offset):
                records.complain(9, f"offset {offset} of {user_id} was written to a device before it was safe: {event}")
            elif event.type in {STARTED, *TERMINAL} and event.run_id is not None:
                places = edges.setdefault((event.run_id, event.type in TERMINAL), {})
                places[event.thread_id, event.seq] = event.type
    for (run_id, ends), places in edges.items():
        if len(places) > 1:
            records.complain(5, f"run {run_id} {'ends' if ends else 'begins'} {len(places)} times: {places}")
    _check_disk(world)


def _check_disk(world: WorldView) -> None:
    """Check what is on the disk of a durable store: each batch and each event once, and no run that has yet to begin
    or end."""
    assert world.disk is not None, "a durable store has a disk"
    effects = [effect for _, _, effects in world.disk.commits for effect in effects]
    places = Counter((one.user_id, one.offset) for one in effects if isinstance(one, PlacedEffect))
    batches = Counter((life, number) for life, number, _ in world.disk.commits)
    twice = [place for place, times in (*places.items(), *batches.items()) if times > 1]
    if twice:
        world.records.complain(2, f"these are on the disk more than once: {twice}")
    # The last event of a run goes with the thread's actor if that crashes with it in hand, and the next life says so.
    left = [one for one in fold(effects, world.limits).runs if not world.crashes.count(f"threads/{one.thread_id}")]
    runs = [one.run_id for one in left if f"threads/{one.thread_id}" not in world.records.quarantined]
    if runs:
        world.records.complain(5, f"the store has runs that are due or open, and all is calm: {runs}")


def _check_order(world: WorldView, log: Log, where: str) -> None:
    """Check that within an epoch a thread's numbers ascend with the offsets."""
    last: dict[str, tuple[int, int]] = {}
    for offset in sorted(log.events):
        placed = log.events[offset]
        before = last.get(placed.thread_id)
        if before is not None and placed.type != DELTA and placed.first_seq <= before[1]:
            text = f"{where}: seq {placed.first_seq} at offset {offset}, after seq {before[1]} at {before[0]}"
            world.records.complain(2, f"{text}, thread {placed.thread_id}")
        last[placed.thread_id] = offset, max(placed.seq, 0 if before is None else before[1])


def _check_emit_order(world: WorldView) -> None:
    """Check that an event emitted after another call had returned is behind it, and that no number is given twice."""
    threads: dict[tuple[int, str], list[Emit]] = {}
    for emit in world.records.emits.values():
        if emit.seq:
            threads.setdefault((emit.life, emit.thread_id), []).append(emit)
    for emits in threads.values():
        emits.sort(key=lambda one: one.seq)
        numbers = [one.seq for one in emits]
        if len(set(numbers)) < len(numbers):
            world.records.complain(2, f"thread {emits[0].thread_id}: two events have one number: {numbers}")
        latest: Emit | None = None
        for emit in (one for one in emits if one.alone):
            if latest is not None and emit.ended < latest.begun:
                world.records.complain(2, f"{latest.receipt} stands before {emit.receipt}, and was emitted after it")
            if latest is None or emit.begun > latest.begun:
                latest = emit


def _check_runs(world: WorldView) -> None:
    """Check invariant 5: one first and one last event of each run, in that order, and its text whole in between."""
    runs: dict[tuple[int, str], dict[str, Emit]] = {}
    for emit in world.records.emits.values():
        run_id = emit.run_id
        if run_id is not None and emit.receipt is not None:
            runs.setdefault((emit.life, run_id), {})[emit.event_id] = emit
    for (life, run_id), emits in runs.items():
        _check_run(world, life, run_id, list(emits.values()))


def _check_run(world: WorldView, life: int, run_id: str, emits: list[Emit]) -> None:
    records = world.records
    first = [one for one in emits if one.type == STARTED]
    last = [one for one in emits if one.type in TERMINAL]
    quarantined = f"threads/{emits[0].thread_id}" in records.quarantined
    if any(one.runtime != records.runtime for one in emits) and world.durable:
        return  # the store has ended it, or goes on with it: the logs say how
    if len(first) != 1 or len(last) > 1 or (not last and life == records.life and not quarantined):
        records.complain(5, f"run {run_id} has {len(first)} first and {len(last)} last events")
        return
    numbered = [one.seq for one in emits if one.seq]
    begins, ends = first[0].seq, last[0].seq if last else 0
    if (begins and begins != min(numbered)) or (ends and ends != max(numbered)):
        records.complain(5, f"run {run_id} begins at {begins}, ends at {ends}, and has {sorted(numbered)}")
    deltas = [one for one in sorted(emits, key=lambda one: one.begun) if one.type == DELTA]
    said = "".join(one.payload["text"] for one in deltas)
    told = "".join(records.tokens.get(f"{emits[0].runtime}/{run_id}", [said]))
    if not told.startswith(said) or (said != told and life == records.life and not quarantined):
        records.complain(5, f"run {run_id} was told to say {told!r}, and said {said!r}")


def _check_failures(world: WorldView) -> None:
    """Check invariant 10: each crash was reported once, and no other failure came than those that were injected."""
    failures = [(failure.path, failure.error) for failure in world.runtime.failures]
    for number in list(world.crashes.fired)[world.crashes.before :]:
        actor = world.crashes.fired[number]
        reports = sum(path == actor and f"injected crash {number};" in error for path, error in failures)
        if reports != 1:
            world.records.complain(10, f"crash {number} of {actor} was reported {reports} times")
    expected = ("injected crash", *world.own_failures)
    texts = (f"{path}: {error}" for path, error in failures)
    unexplained = [text for text in texts if not any(part in text for part in expected)]
    if unexplained:
        world.records.complain(10, f"failed, and nobody made it: {unexplained}")
