"""A trace: what happens to one user, as it happens, for as long as it is read.

It listens as an instrument, and at the sockets of the user's devices, and does
neither while there is no trace. A reader that is slow loses lines, and is told
how many; the runtime never waits for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import msgspec
import trio

from actors.connections.actor import Connection, transport_of
from actors.control.answers import TraceLine
from actors.control.causes import events
from actors.delivery.dead_letters import DeadLetter
from actors.kernel.failures import Barrier, Failure, printable
from actors.kernel.signals import Doorbell
from actors.observability.instrument import Instrument, OwnerChange
from actors.receipts import Receipt
from actors.runtime import Runtime

TEXT_CHARACTERS = 100
"""Characters of a message that are shown: its type and ids, and where its text begins."""

BUFFERED_LINES = 1_000
"""Lines that wait for their reader; beyond it they are counted and left out."""

_CONNECTIONS = "/connections/"
_OPCODES = {8: "close", 9: "ping", 10: "pong"}


@contextmanager
def trace(runtime: Runtime, user_id: str) -> Iterator[Lines]:
    """Listen to what happens to a user in the block; iterate over the lines in one task."""
    lines = Lines(runtime.environment.wall_clock)
    listening = Listening(runtime, user_id, lines=lines)
    runtime.instruments.add(listening)
    presence = runtime.tree.registry.known(user_id)
    for device in () if presence is None else tuple(presence.devices):
        if isinstance(device, Connection):
            listening.listen(device)
    try:
        yield lines
    finally:
        runtime.instruments.remove(listening)
        listening.close()


class Lines:
    """The lines of a trace that were not read yet; of very many, some, and how many were left out."""

    def __init__(self, wall_clock: Callable[[], float]) -> None:
        self._wall_clock = wall_clock
        self._lines: deque[TraceLine] = deque()
        self._missed = 0
        self._bell = Doorbell()

    def __repr__(self) -> str:
        return f"<Lines {len(self._lines)} wait, {self._missed} missed>"

    def __aiter__(self) -> Lines:
        """Return the lines themselves."""
        return self

    async def __anext__(self) -> TraceLine:
        """Return the next line; a checkpoint. Cancelled, it stays the next line."""
        await trio.lowlevel.checkpoint()
        while not self._lines:
            await self._bell.wait()
        line = self._lines.popleft()
        if not self._lines:
            self._tell_missed()
        return line

    def say(
        self,
        kind: str,
        text: str,
        *,
        device: str | None = None,
        thread_id: str | None = None,
        event_id: str | None = None,
        offset: int | None = None,
    ) -> None:
        """Add a line, or count it where too many wait. Never waits."""
        if len(self._lines) >= BUFFERED_LINES:
            self._missed += 1
            return
        self._tell_missed()
        self._lines.append(
            TraceLine(
                at=self._wall_clock(), kind=kind, text=shortened(text),
                device=device, thread_id=thread_id, event_id=event_id, offset=offset,
            )
        )  # fmt: skip
        self._bell.ring()

    def _tell_missed(self) -> None:
        missed, self._missed = self._missed, 0
        if missed:
            text = f"{missed:,} lines were left out here, because they were not read as fast as they came"
            self._lines.append(TraceLine(at=self._wall_clock(), kind="missed", text=text, missed=missed))


class Listening(Instrument):
    """Listens to one user, for a trace."""

    def __init__(self, runtime: Runtime, user_id: str, *, lines: Lines) -> None:
        self._runtime = runtime
        self._user_id = user_id
        self._path = f"users/{user_id}"
        self._say = lines.say
        self._taps: dict[str, tuple[Connection, DeviceTap]] = {}
        self._losing: set[OwnerChange] = set()
        """Changes under way by which the user may lose a thread."""

    def __repr__(self) -> str:
        return f"<Listening to {self._user_id}, at {len(self._taps)} sockets>"

    def listen(self, connection: Connection) -> None:
        """Listen at a device's socket."""
        if connection.label not in self._taps:
            tap = DeviceTap(connection.label, self._say, on_failed=partial(self._fail, connection))
            self._taps[connection.label] = connection, tap
            transport_of(connection).taps += (tap,)

    def close(self) -> None:
        """Listen at no socket any more."""
        for label in tuple(self._taps):
            self._leave(label)

    # --- events -----------------------------------------------------------------

    def placed(self, receipt: Receipt, user_id: str, epoch: str, offset: int) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        if user_id == self._user_id:
            text = f"stored: seq {receipt.seq} of thread {receipt.thread_id}, offset {offset}"
            self._say("event", text, thread_id=receipt.thread_id, event_id=receipt.event_id, offset=offset)

    def written(self, user_id: str, epoch: str, first: int, last: int) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        if user_id == self._user_id:
            self._say("event", f"written: {_offsets(first, last)}", offset=last)

    def acked(self, user_id: str, epoch: str, first: int, last: int, fresh: int) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        if user_id == self._user_id:
            again = "" if fresh else ", again"
            self._say("event", f"acked: {_offsets(first, last)}{again}", offset=last)

    def dropped(self, letter: DeadLetter) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        if letter.user_id == self._user_id:
            self._say("event", f"dropped: {events(letter.count)} ({letter.cause})", offset=letter.last)

    # --- owners and runs ----------------------------------------------------------

    def owner_changing(self, change: OwnerChange) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        if self._owns(change.thread_id):
            self._losing.add(change)

    def owner_changed(self, change: OwnerChange, error: BaseException | None) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        had = change in self._losing
        self._losing.discard(change)
        if had and error is None and change.user_id != self._user_id:
            now = "has no owner" if change.user_id is None else f"is bound to {change.user_id}"
            self._say("owner", f"{change.act}: thread {change.thread_id} {now}", thread_id=change.thread_id)

    def bound(self, thread_id: str, user_id: str | None, placed: int) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        if user_id == self._user_id:
            held = f", with {events(placed)} that it held" if placed else ""
            self._say("owner", f"thread {thread_id} is bound to {user_id}{held}", thread_id=thread_id)

    def disputed(self, thread_id: str, user_id: str) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        if user_id == self._user_id or self._owns(thread_id):
            owner = self._runtime.tree.store.known_owner(thread_id)
            self._say(
                "owner", f"refused: thread {thread_id}, for {user_id}; it is bound to {owner}", thread_id=thread_id
            )

    def run_began(self, thread_id: str, run_id: str, agent_name: str, parent_id: str | None) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        if self._owns(thread_id):
            self._say("run", f"run {run_id} of {agent_name} begins in thread {thread_id}", thread_id=thread_id)

    def run_ended(self, thread_id: str, run_id: str, outcome: str | None) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        if self._owns(thread_id):
            self._say("run", f"run {run_id} ends: {outcome or 'its first event was refused'}", thread_id=thread_id)

    # --- devices and failures -------------------------------------------------------

    def resumed(self, path: str, verdict: str) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        owner, label = _device_of(path)
        if owner != self._path:
            return
        connections = self._runtime.tree.server.connections.values()
        connection = next((one for one in connections if one.label == label), None)
        if connection is not None:
            self.listen(connection)
        self._say("device", f"begins: {verdict}", device=label)

    def connection_closed(self, label: str, path: str, row: str) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        if _device_of(path)[0] == self._path:
            self._leave(label)
            self._say("device", f"ended: {row}", device=label)

    def crashed(self, failure: Failure) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        if self._concerns(failure.path):
            self._say("failure", f"{failure.path}: {failure.error}")

    def quarantined(self, path: str, failure: Failure) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        if self._concerns(path):
            self._say("failure", f"{path} is out of service")

    def _concerns(self, path: str) -> bool:
        kind, _, name = path.partition("/")
        return path == self._path or path.startswith(f"{self._path}/") or (kind == "threads" and self._owns(name))

    def _owns(self, thread_id: str) -> bool:
        return self._runtime.tree.store.known_owner(thread_id) == self._user_id

    def _leave(self, label: str) -> None:
        connection, tap = self._taps.pop(label, (None, None))
        if connection is not None:
            transport = transport_of(connection)
            transport.taps = tuple(one for one in transport.taps if one is not tap)

    def _fail(self, connection: Connection, error: BaseException) -> None:
        self._leave(connection.label)
        self._runtime.failures.report(f"{connection.path}/trace", "a message", error)


class DeviceTap:
    """The messages of one device, each as a line. A fault of its own ends it, and not the device's connection."""

    def __init__(
        self, label: str, say: Callable[..., None], *, on_failed: Callable[[BaseException], object]
    ) -> None:  # fmt: skip
        self._label = label
        self._say = say
        self._on_failed = on_failed

    def __repr__(self) -> str:
        return f"<DeviceTap of {self._label}>"

    def sent(self, frames: bytes) -> None:
        """See :class:`~actors.wire.transport.Tap`."""
        with Barrier(self._on_failed):
            for text in _messages(frames):
                self._say("out", text, device=self._label)

    def received(self, text: str) -> None:
        """See :class:`~actors.wire.transport.Tap`."""
        with Barrier(self._on_failed):
            shown = "a message with a token, not shown" if _may_name_a_token(text) else text
            self._say("in", shown, device=self._label)


def _may_name_a_token(text: str) -> bool:
    """Return true for what may hold credentials, however their field's name is escaped."""
    if "\\u" in text:
        try:
            text = msgspec.json.encode(msgspec.json.decode(text)).decode()
        except msgspec.DecodeError:
            return True
    return '"token"' in text


def shortened(text: str) -> str:
    """Cut a text in its middle to what a person reads, and escape what a terminal would obey."""
    if len(text) > TEXT_CHARACTERS:
        text = f"{text[: TEXT_CHARACTERS - 20]} … {text[-17:]}"
    return printable(text)


def _messages(frames: bytes) -> Iterator[str]:
    """Yield the messages in frames that a server wrote: whole ones, and not masked (RFC 6455, section 5.2)."""
    start = 0
    while start < len(frames):
        opcode, size = frames[start] & 0x0F, frames[start + 1]
        start += 2
        if size > 125:
            width = 2 if size == 126 else 8
            size = int.from_bytes(frames[start : start + width])
            start += width
        text = frames[start : start + min(size, 4 * TEXT_CHARACTERS)]
        if size > len(text):
            text += b" ..." + frames[start + size - TEXT_CHARACTERS : start + size]
        yield _OPCODES.get(opcode) or text.decode(errors="replace")
        start += size


def _device_of(path: str) -> tuple[str, str]:
    """Return the path of a device's user, and the device's label."""
    owner, _, label = path.rpartition(_CONNECTIONS)
    return owner, label


def _offsets(first: int, last: int) -> str:
    return f"offset {first}" if first == last else f"offsets {first} to {last}"
