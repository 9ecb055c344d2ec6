"""Restoring: the state of a store, as a life before has left it in a journal."""

from __future__ import annotations

import msgspec

from actors.delivery.bounds import RestoredBounds, Spans
from actors.delivery.log import Log
from actors.environment import Environment
from actors.events.event import Lifecycle, encode
from actors.limits import Limits
from actors.stages import Promise
from actors.stores.holds import ThreadHold
from actors.stores.journal import Restored, RestoredLog, RestoredThread
from actors.stores.progress import Progress
from actors.stores.records import FirstAppend, HeldEvent, RunMark
from actors.stores.state import FIRST_GENERATION, StoreState, ThreadState
from actors.stores.store import Append, Binding, RestoredHold

_EMITTER_LOST = {"error": {"type": "EmitterLost", "message": "the process that ran it has ended"}}

_OWN_LIMITS = Limits()
"""The limits of events that the store makes: not those of a deployment, under which a long id could keep it from
opening."""

Firsts = dict[tuple[str, int], tuple[str, FirstAppend]]
"""The given ids and first appends of events, by thread and ``seq``."""


def restore(restored: Restored, state: StoreState, progress: Progress, now: float) -> set[str]:
    """Take over what an earlier life left; returns the users whose logs go on in another epoch for it.

    After a life that was not closed in order, every log forks where it ends.
    """
    for log in restored.logs:
        _restore_log(log, state, now, clean=restored.clean)
        progress.restore(log.user_id, log.low, log.acked, log.written)
    firsts = _restore_ids(restored, state)
    for thread in restored.threads:
        _restore_thread(thread, firsts, state)
    for run in restored.runs:
        state.runs.restore(RunMark(run.run_id, run.thread_id, run.open, run.message, run.user_id))
    return set() if restored.clean else {log.user_id for log in restored.logs}


def restored_holds(state: StoreState) -> list[RestoredHold]:
    """Return what threads hold."""
    holds = ((thread_id, thread.hold) for thread_id, thread in state.threads.items())
    return [
        RestoredHold(thread_id, hold.events[0].seq, hold.events[-1].seq)
        for thread_id, hold in holds
        if hold is not None and hold.events
    ]


def restored_bounds(log: Log, progress: tuple[Spans, int], promise: Promise, until: float) -> RestoredBounds:
    """Describe a log for the books, with what devices acked and up to where sockets took everything."""
    acked, written = progress
    return RestoredBounds(
        epoch=log.epoch,
        low=log.low,
        head=log.shown,
        acked=acked,
        written=written,
        promise=promise,
        until=until,
    )


def last_event_of(mark: RunMark, environment: Environment) -> Append:
    """Compose the last event of a run whose process ended before it."""
    event_id, at = environment.new_id("e"), environment.wall_clock()
    body = encode(Lifecycle.AGENT_FAILED, _EMITTER_LOST, mark.thread_id, mark.run_id, event_id, at, _OWN_LIMITS)
    return Append(mark.thread_id, event_id, body, run_id=mark.run_id, edge="closes")


def _restore_log(log: RestoredLog, state: StoreState, now: float, *, clean: bool) -> None:
    there = Log.restore(log.epoch, log.lineage, low=log.low, times=log.times, sizes=log.sizes)
    if not clean:
        # It may have lost events that devices have seen, whatever the journal says: a disk is silent about it. The name
        # is one that no life and no log has had, because a number of lives comes again if the first commits of one are
        # lost, or an older copy of the file is put back; and the books tell two owners' logs apart by it.
        there.fork(state.new_epoch(), there.head)
    state.restore_log(log.user_id, there, now)


def _restore_ids(restored: Restored, state: StoreState) -> Firsts:
    firsts: Firsts = {}
    for given in restored.given_ids:
        epoch = given.epoch if given.user_id is None else _epoch_of(given.user_id, state)
        first = FirstAppend(given.fingerprint, given.seq, given.at, given.user_id, epoch, given.offset)
        state.window.put(given.thread_id, given.event_id, first)
        firsts[given.thread_id, given.seq] = given.event_id, first
    return firsts


def _restore_thread(thread: RestoredThread, firsts: Firsts, state: StoreState) -> None:
    record, there = thread.record, ThreadState()
    # A thread whose owner never changed has no record in the journal, only what it holds.
    there.user_id, there.generation, there.seq = record.user_id, record.generation or FIRST_GENERATION, record.seq
    if record.binding:
        there.binding = msgspec.msgpack.decode(record.binding, type=Binding)
        if there.binding.user_id is not None:
            there.binding.epoch = _epoch_of(there.binding.user_id, state)
    events = []
    for held in thread.held:
        event_id, first = firsts.get((record.thread_id, held.seq), ("", None))
        events.append(HeldEvent(held.body, held.seq, held.at, first, event_id))
    if record.user_id is None and (events or record.shed):
        there.hold = hold = ThreadHold(record.thread_id, disowned=there.generation != FIRST_GENERATION)
        hold.shed = dict(record.shed) or None
        last_shed = events[0].seq - 1 if events else record.seq
        hold.first_shed = last_shed - sum(count for _, count in record.shed) + 1
        state.holds.restore(hold, events)
    state.threads[record.thread_id] = there


def _epoch_of(user_id: str, state: StoreState) -> str:
    """Return the present epoch of a log, because an event that is still there is there under that name."""
    log = state.logs.get(user_id) or state.ends.get(user_id)
    return "" if log is None else log.epoch
