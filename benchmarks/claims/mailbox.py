"""The claim: a hop to an idle actor costs what a bare buffer does, and a small part of one through a parked task.

Ways to have an actor handle a message, each over many messages:

- *bare call*: ``actor.handle(message)``, without a mailbox.
- *tell, idle*: :meth:`Mailbox.tell` to an actor that has nothing to do, handled in the sender's step.
- *channel, same task*: a Trio memory channel as a buffer; sent, taken out at once, handled.
- *tell, busy*: :meth:`Mailbox.tell` to an actor with work queued; a queue's length of messages, then its task
  handles them. The task's start and end are in the figure, divided by the messages.
- *channel, parked task*: the usual actor, a task in ``await receive()``; sent, and the sender yields to the
  scheduler until the message was handled. The cost of yielding is in the figure.
- *pykka, a thread*: an actor of Pykka, which is a thread with a queue; the sender waits until the message was handled.
- *Erlang, a process*: a process of the BEAM in compiled Erlang; a queue's length of messages, and then the sender waits
  until they were handled. Clocked in the BEAM itself, after the others.

The rounds are interleaved, A B C A B C, so that a change of the machine's speed affects all of them; quoted is
the median of the rounds, and its ratio to the bare call's. The cyclic collector runs between the measurements
and in none of them. A message that was not handled breaks the run.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Awaitable, Callable

import attrs
import trio

from actors.kernel.failures import Failure, failure_of
from actors.kernel.mailbox import Dispatcher, Ended, Mailbox
from benchmarks.erlang import erlang
from benchmarks.figures import Cell, Table, ratios, spread
from benchmarks.progress import Progress
from benchmarks.pykka_hop import pykka_missing, pykka_thread

CAPACITY = 256
"""Capacity of a mailbox or channel, as in the runtime (``Limits.mailbox_messages``)."""

NESTING = 16
"""Handlers on one stack, as in the runtime (``Limits.nesting``)."""

NO_FAST_LANE = 0
"""A nesting that allows no handler on the sender's stack, so that every message finds the actor busy."""

BATCHES, QUICK_BATCHES = 400, 40
"""Messages of one round, in capacities of a queue."""

ROUNDS, QUICK_ROUNDS = 15, 5
SLOW_SHARE = 20
"""The divisor of the messages for a way that yields to the scheduler, so that all ways take about as long."""

MESSAGE = "message"


class Counter:
    """The cheapest actor: it counts its messages."""

    def __init__(self) -> None:
        self.handled = 0

    def handle(self, message: str) -> None:
        """Count."""
        self.handled += 1

    async def settle(self) -> None:
        """Leave nothing to settle."""


@attrs.frozen
class TaskRunner:
    """The parent of a mailbox, which runs its task and expects no crash."""

    nursery: trio.Nursery

    def schedule(self, mailbox: Mailbox[str]) -> None:
        """Start a task."""
        self.nursery.start_soon(mailbox.run)

    def dead_letter(self, message: str, ended: Ended) -> None:
        """Break the run."""
        raise AssertionError(f"{message} was not handled ({ended})")

    def failure_of(self, key: str, handling: str, error: BaseException) -> Failure:
        """Format a crash."""
        return failure_of(key, handling, error, 0.0)

    def path(self, key: str) -> str:
        """Return the path of the actor."""
        return key


Way = Callable[[Counter, int, trio.Nursery], Awaitable[None]]
"""A function that makes an actor handle a number of messages, and returns when it has."""


async def bare_call(actor: Counter, count: int, _: trio.Nursery) -> None:
    """Call the handler."""
    handle = actor.handle
    for _number in range(count):
        handle(MESSAGE)


async def tell_idle(actor: Counter, count: int, nursery: trio.Nursery) -> None:
    """Tell an actor that has no message queued."""
    tell = Mailbox("idle", actor, parent=TaskRunner(nursery), dispatcher=Dispatcher(CAPACITY, NESTING)).tell
    for _ in range(count):
        tell(MESSAGE)


async def channel_same_task(actor: Counter, count: int, _: trio.Nursery) -> None:
    """Send to a channel, receive from it, and call the handler."""
    sending, receiving = trio.open_memory_channel[str](CAPACITY)
    send, receive, handle = sending.send_nowait, receiving.receive_nowait, actor.handle
    for _number in range(count):
        send(MESSAGE)
        handle(receive())


async def tell_busy(actor: Counter, count: int, nursery: trio.Nursery) -> None:
    """Tell an actor as much as its queue takes, and let its task handle that, repeatedly."""
    mailbox = Mailbox("busy", actor, parent=TaskRunner(nursery), dispatcher=Dispatcher(CAPACITY, NO_FAST_LANE))
    tell = mailbox.tell
    for _ in range(count // CAPACITY):
        for _number in range(CAPACITY):
            tell(MESSAGE)
        while not mailbox.idle:
            await trio.lowlevel.checkpoint()


async def channel_parked_task(actor: Counter, count: int, nursery: trio.Nursery) -> None:
    """Send to a task that waits, and wait until it waits again."""
    sending, receiving = trio.open_memory_channel[str](CAPACITY)

    async def serve() -> None:
        async for message in receiving:
            actor.handle(message)

    nursery.start_soon(serve)
    with sending:
        for sent in range(1, count + 1):
            sending.send_nowait(MESSAGE)
            while actor.handled < sent:
                await trio.lowlevel.checkpoint()


WAYS: dict[str, tuple[Way, int]] = {
    "bare call": (bare_call, 1),
    "tell, idle": (tell_idle, 1),
    "channel, same task": (channel_same_task, 1),
    "tell, busy": (tell_busy, 1),
    "channel, parked task": (channel_parked_task, SLOW_SHARE),
}
"""Each way, and the divisor of its messages."""


async def nanoseconds(way: Way, count: int) -> float:
    """Measure one way once; returns the time per message."""
    actor = Counter()
    async with trio.open_nursery() as nursery:
        gc.collect()
        gc.disable()
        try:
            began = time.perf_counter_ns()
            await way(actor, count, nursery)
            took = time.perf_counter_ns() - began
        finally:
            gc.enable()
    if actor.handled != count:
        raise SystemExit(f"{way.__name__}: expected {count:,} messages handled, got {actor.handled:,}")
    return took / count


async def measured(
    ways: dict[str, tuple[Way, int]], batches: int, rounds: int, progress: Progress
) -> dict[str, list[float]]:
    """Measure all ways in turn, in ``rounds`` rounds after one to warm up."""
    figures: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        progress.step(f"round {number}")
        for name, (way, share) in ways.items():
            figure = await nanoseconds(way, batches * CAPACITY // share)
            if number:
                figures[name].append(figure)
    return figures


def table(figures: dict[str, list[float]], notes: list[str]) -> Table:
    """Make the table: the medians, and their ratio to the bare call's in each round."""
    bare = figures["bare call"]
    rows: list[dict[str, Cell]] = [
        {"hop": name, "ns": spread(rounds, 0), "x bare call": ratios(rounds, bare)} for name, rounds in figures.items()
    ]
    return Table("mailbox", "mailbox: one message to an actor, until it is handled", rows, notes=notes)


def options_into(parser: argparse.ArgumentParser) -> None:
    """Add no option."""


def measure(options: argparse.Namespace, progress: Progress) -> list[Table]:
    """Measure all ways that can be measured here."""
    batches, rounds = (QUICK_BATCHES, QUICK_ROUNDS) if options.quick else (BATCHES, ROUNDS)
    progress.begin(rounds + 1)
    ways, notes = dict(WAYS), []
    if (reason := pykka_missing()) is None:
        ways["pykka, a thread"] = (pykka_thread, SLOW_SHARE)
    else:
        notes.append(f"pykka: skipped, {reason}")
    figures = trio.run(measured, ways, batches, rounds, progress)
    found, note = erlang("hop", batches * CAPACITY, rounds)
    if found:
        figures["Erlang, a process"] = found
    return [table(figures, [*notes, note])]
