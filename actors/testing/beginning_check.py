"""The beginning of a life, held against the disk that it begins with: where logs go on, and what devices acked."""

from __future__ import annotations

from actors.limits import Limits
from actors.stores.journal import Restored, RestoredLog, RestoredThread
from actors.stores.local import LocalStore
from actors.testing.journal import Disk, fold
from actors.testing.records import Records


def left_on(disk: Disk, limits: Limits) -> Restored:
    """Return what an ended life has left on a disk."""
    left = fold([effect for _, _, effects in disk.commits for effect in effects], limits)
    left.clean = disk.clean
    return left


def check_beginning(records: Records, store: LocalStore, left: Restored, limits: Limits, now: float) -> None:
    """Check what a life begins with, at ``now`` of the wall clock.

    Each log goes on where it ended, after a life without order under another
    name; nothing is missing but for its age; nothing counts as acked that no
    device acked; and threads have their owners, and what they held.
    """
    for log in left.logs:
        _check_epoch(records, store, log, clean=left.clean)
        _check_low(records, store, log, limits, now)
        _check_acks(records, store, log)
    for thread in left.threads:
        _check_thread(records, store, thread)


def _check_epoch(records: Records, store: LocalStore, log: RestoredLog, *, clean: bool) -> None:
    present = store.state.logs.get(log.user_id) or store.state.ends[log.user_id]
    if clean and present.epoch != log.epoch:
        records.complain(3, f"{log.user_id} goes on in {present.epoch} after an orderly end in {log.epoch}")
    if clean:
        return
    shared = [fork.offset for fork in present.lineage if fork.epoch == log.epoch]
    if shared != [log.head] or present.epoch == log.epoch:
        text = f"{log.user_id} has ended at {log.head} of {log.epoch}, without order, and goes on in {present.epoch}"
        records.complain(9, f"{text}, which shares {shared}")


def _check_low(records: Records, store: LocalStore, log: RestoredLog, limits: Limits, now: float) -> None:
    """Check that a log has all that it had, but for what is too old, or too much behind what was placed since."""
    bounds = store.state.bounds(log.user_id)
    old = sum(at < now - limits.retained_seconds for at in log.times)
    if bounds.low > max(log.low + old, bounds.head - limits.retained_events + 1):
        records.complain(9, f"{log.user_id} has ended with {log.low} to {log.head}, and goes on with {bounds}")


def _check_thread(records: Records, store: LocalStore, thread: RestoredThread) -> None:
    thread_id, user_id = thread.record.thread_id, thread.record.user_id
    owner = store.state.owner(thread_id)
    if owner != user_id:
        records.complain(4, f"thread {thread_id} had the owner {user_id}, and has {owner} in the next life")
    if user_id is not None or not thread.held:
        return
    first, last = thread.held[0].seq, thread.held[-1].seq
    there = [hold for hold in store.restored_holds() if hold.thread_id == thread_id]
    # A run that its store closes adds an event, for which the oldest may have to go.
    if not there or there[0].last_seq < last or (there[0].last_seq == last and there[0].first_seq != first):
        records.complain(9, f"thread {thread_id} held {first} to {last}, and holds {there} in the next life")


def _check_acks(records: Records, store: LocalStore, log: RestoredLog) -> None:
    restored = store.restored(log.user_id)
    for first, last in () if restored is None else restored.acked:
        for offset in range(max(first, log.low), min(last, log.head) + 1):
            known = records.log_at((log.user_id, log.epoch, offset))
            if offset not in known.acked and offset not in known.forgotten:
                records.complain(3, f"offset {offset} of {log.user_id} counts as acked in the next life, and was not")
