"""The lives of one file, and the devices that live through them: what each was told, held against what is there."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import msgspec
import trio

from actors.client import CaughtUp, Event, Gap, RequestRefused, Reset, Session, connect
from actors.delivery.lineage import MOST_FORKS
from actors.runs.run import TERMINAL
from actors.stores.sqlite.inspection import inspected, problems
from tests.system.chaos.keeping import record_of
from tests.system.chaos.processes import Process, started, until, url_of

_FAULT = re.compile("ERROR|Error|trouble|Traceback")
"""A remark of a server that has nothing to complain of has none of these words."""


_LATE_SECONDS = 5.0
"""Time for a device to take what its socket has, when its server has ended."""


class Entry(msgspec.Struct):
    """An event as it is in the file."""

    type: str
    event_id: str
    thread_id: str
    seq: int
    offset: int
    payload: dict[str, Any]
    run_id: str | None = None


def logs_of(path: Path) -> dict[str, list[Entry]]:
    """Read every log of a file."""
    logs: dict[str, list[Entry]] = defaultdict(list)
    with inspected(path) as found:
        for event in found.events():
            assert event.text is not None, f"offset {event.offset} of {event.user_id} is damaged"
            logs[event.user_id].append(msgspec.json.decode(event.text, type=Entry))
    return logs


@attrs.define(eq=False)
class Copy:
    """A device's copy of its user's log."""

    user_id: str
    ids: dict[tuple[str, int], str] = attrs.field(factory=dict)
    """The events' ids, by thread and seq; of tokens that came joined, those of the last ones."""
    heads: Counter[str] = attrs.field(factory=Counter)
    """The last seq of each thread."""
    offset: int = 0
    life: int = 0
    """The last life of the file from which it had anything."""
    surprises: list[str] = attrs.field(factory=list)
    """All but the next event."""
    resets: int = 0
    """Resets after more lives than a log knows forks of, while this device was away."""
    ended: set[str] = attrs.field(factory=set)
    """The runs of which it has the last event."""
    openings: int = 0
    is_open: bool = False
    caught_up_at: list[float] = attrs.field(factory=list)

    def take(self, item: object, life: int) -> None:
        """Take one item of a session, in a life of the file."""
        match item:
            case Event():
                self.add(item.thread_id, item.seq0 or item.seq, item.seq, item.offset, str(item.event_id))
                if item.run_id is not None and item.type in TERMINAL:
                    self.ended.add(item.run_id)
            case Reset():
                self.begin_anew(life)
            case Gap():
                self.surprises.append(str(item))
            case CaughtUp():
                self.caught_up_at.append(trio.current_time())
        self.life = life

    def begin_anew(self, life: int) -> None:
        """Take a reset, which only a device may be told that was away for more lives than a lineage has forks."""
        if life - self.life <= MOST_FORKS:
            self.surprises.append(f"reset at {self.offset} from life {self.life} in life {life}")
        self.heads.clear()
        self.ids.clear()
        self.offset = 0
        self.resets += 1

    def add(self, thread_id: str, first_seq: int, last_seq: int, offset: int, event_id: str) -> None:
        """Take one event, or tokens that came as one."""
        if first_seq != self.heads[thread_id] + 1 or offset <= self.offset:
            said = f"seq {first_seq} to {last_seq} of {thread_id} at offset {offset}"
            self.surprises.append(f"{said} after seq {self.heads[thread_id]}, offset {self.offset}")
        self.heads[thread_id], self.offset = last_seq, offset
        self.ids[thread_id, last_seq] = event_id


@attrs.define(eq=False)
class Asking:
    """The requests of one device, each a message to one thread of its user."""

    name: str
    thread_id: str | None = None
    sent: list[str] = attrs.field(factory=list)
    runs: set[str] = attrs.field(factory=set)
    """The runs that answer them."""
    stop_requested: bool = False
    over: bool = False

    async def run(self, session: Session, chance: random.Random) -> None:
        """Send one message after the other; the client sends again what had no answer."""
        while not self.stop_requested:
            self.sent.append(f"{self.name}-{len(self.sent)}")
            try:
                sent = await session.send({"text": self.sent[-1]}, thread_id=self.thread_id)
                self.thread_id = sent.thread_id
                self.runs.add(str(sent.run_id))
            except RequestRefused as refusal:
                if not refusal.temporary:
                    raise
                self.sent.pop()  # as many messages wait as may
            await trio.sleep(chance.uniform(0.0, 0.2))
        self.over = True


@attrs.define(kw_only=True)
class File:
    """One file, the process that has it open, and its devices."""

    path: Path
    record: Path
    users: list[str]
    pause_seconds: float
    url: str = ""
    lives: int = 0
    began: float = 0.0
    """When its present process was started: before it can listen, because a device may be there at once."""
    remarks: list[str] = attrs.field(factory=list)
    """Whatever its processes had to remark."""
    copies: list[Copy] = attrs.field(factory=list)
    asking: list[Asking] = attrs.field(factory=list)

    @asynccontextmanager
    async def served(self) -> AsyncIterator[Process]:
        """Have a process serve it while the body runs, on the port of the one before."""
        port = self.url.removesuffix("/ws").rpartition(":")[2] or "0"
        words = str(self.path), port, str(self.record), str(self.pause_seconds), *self.users
        self.lives += 1
        self.began = trio.current_time()
        async with started("tests.system.chaos.keeping", *words) as server:
            yield server
            self.remarks += [line for line in server.said.splitlines() if _FAULT.search(line)]

    async def listening(self, server: Process) -> None:
        """Wait until a process serves it."""
        self.url = await url_of(server) or self.url

    async def watch(self, copy: Copy, asking: Asking | None = None, chance: random.Random | None = None) -> None:
        """Be a device."""
        self.copies.append(copy)

        def count(state: Any) -> None:
            copy.is_open = state.name == "open"
            copy.openings += copy.is_open

        async with (
            connect(self.url, token=copy.user_id, origin="low", on_state=count) as session,
            trio.open_nursery() as nursery,
        ):
            if asking is not None and chance is not None:
                self.asking.append(asking)
                nursery.start_soon(asking.run, session, chance)
            async for item in session:
                copy.take(item, self.lives)

    async def quiet(self) -> None:
        """Wait until every request is answered by a run that has ended, and every device has caught up."""
        for asking in self.asking:
            asking.stop_requested = True
        await until(lambda: all(asking.over for asking in self.asking))
        asked = set().union(*(asking.runs for asking in self.asking))
        await until(lambda: asked <= set().union(*(copy.ended for copy in self.copies)))
        await until(
            lambda: all(copy.is_open and max(copy.caught_up_at, default=0.0) > self.began for copy in self.copies)
        )

    async def complete(self) -> None:
        """Wait until every device has everything that is in the file."""
        heads = {user_id: len(log) for user_id, log in logs_of(self.path).items()}
        with trio.move_on_after(_LATE_SECONDS):  # what is missing then is wrong
            await until(lambda: all(copy.offset >= heads[copy.user_id] for copy in self.copies))

    # --- what is wrong ------------------------------------------------------------

    def wrong(self) -> Iterator[str]:
        """Say what is missing, twice, elsewhere, or was told to a device and is not so."""
        logs = logs_of(self.path)
        yield from problems(self.path)
        yield from self.remarks
        yield from self._numbering(logs)
        yield from self._stored(logs)
        yield from self._copies(logs)
        yield from self.unanswered(logs)

    def _numbering(self, logs: dict[str, list[Entry]]) -> Iterator[str]:
        for user_id, log in logs.items():
            seqs: Counter[str] = Counter()
            for offset, entry in enumerate(log, 1):
                seqs[entry.thread_id] += 1
                if (entry.offset, entry.seq) != (offset, seqs[entry.thread_id]):
                    yield f"{user_id}: expected offset {offset}, got {entry}"
            ticks = [entry.event_id for entry in log if entry.type == "tick"]
            if ticks != [f"{user_id}-{number}" for number in range(len(ticks))]:
                yield f"{user_id}: the emitter's events are not each there once, in order"
            twice = [event_id for event_id, times in Counter(entry.event_id for entry in log).items() if times > 1]
            yield from (f"{user_id}: {event_id} is there twice" for event_id in twice)

    def _stored(self, logs: dict[str, list[Entry]]) -> Iterator[str]:
        for told in record_of(self.record):
            log = logs[told.user_id]
            entry = log[told.offset - 1] if told.offset <= len(log) else None
            if entry is None or (entry.event_id, entry.seq) != (told.event_id, told.seq):
                yield f"expected {told}, there is {entry}"

    def _copies(self, logs: dict[str, list[Entry]]) -> Iterator[str]:
        for copy in self.copies:
            yield from (f"a device of {copy.user_id}: {surprise}" for surprise in copy.surprises)
            there = {(entry.thread_id, entry.seq): entry.event_id for entry in logs[copy.user_id]}
            for thread_id, head in Counter(thread_id for thread_id, _ in there).items():
                if copy.heads[thread_id] != head:
                    yield f"a device of {copy.user_id} has {thread_id} up to {copy.heads[thread_id]}, there is {head}"
            for place, event_id in copy.ids.items():
                if there.get(place) != event_id:
                    yield f"a device of {copy.user_id} has {event_id} at {place}, there is {there.get(place)}"

    def unanswered(self, logs: dict[str, list[Entry]]) -> Iterator[str]:
        """Say which requests are not one message, answered by one run with one first and one last event."""
        runs: dict[str, list[Entry]] = defaultdict(list)
        answers: dict[str, list[str]] = defaultdict(list)
        messages: dict[str, list[str]] = defaultdict(list)
        for entry in (entry for log in logs.values() for entry in log):
            if entry.type == "user_message":
                messages[entry.payload["text"]].append(entry.event_id)
            elif entry.run_id is not None:
                runs[entry.run_id].append(entry)
            if entry.type == "agent_started":
                answers[entry.payload["message_id"]].append(entry.event_id)
        for text in (text for asking in self.asking for text in asking.sent):
            if len(messages[text]) != 1 or len(answers[messages[text][0]]) != 1:
                yield f"request {text}: expected one message and one run, got {messages[text]}"
        for run_id, events in runs.items():
            yield from _whole(run_id, [entry.type for entry in events])

    def told(self) -> int:
        """Count the events that were told STORED."""
        return sum(1 for _ in record_of(self.record))

    def count(self, *types: str) -> int:
        """Count the events of some types in the file."""
        return sum(entry.type in types for log in logs_of(self.path).values() for entry in log)


def _whole(run_id: str, types: list[str]) -> Iterable[str]:
    edges = [at for at, type_ in enumerate(types) if type_ == "agent_started" or type_ in TERMINAL]
    if edges != [0, len(types) - 1] or types[0] != "agent_started":
        yield f"run {run_id}: expected one first and one last event, got {types}"
