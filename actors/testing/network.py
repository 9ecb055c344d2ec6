"""A network in memory: lines that delay, split, stall and break, each as it is told.

The server's end is an :class:`~actors.wire.endpoint.Endpoint`, so the real
write path runs over it. Nothing here is random: conditions come from outside.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import attrs
import trio

ROOM_BYTES = 4_096
"""The bytes that a line keeps unread: few, so that a lagging device is felt soon."""


@attrs.frozen(kw_only=True)
class Conditions:
    """The behaviour of a line while no trouble comes to it."""

    up_seconds: float = 0.0
    """From the device to the server."""
    down_seconds: float = 0.0
    bite_bytes: int | None = None
    """The most that is taken or arrives at once."""
    room_bytes: int = ROOM_BYTES


CALM = Conditions(room_bytes=65_536)


class Flow:
    """One direction of a line: bytes that are under way, and when they arrive."""

    def __init__(self, seconds: float, room_bytes: float, *, bite_bytes: int | None) -> None:
        self.ended: bool = False
        """Nothing more is sent; what is under way arrives."""
        self.broken: bool = False
        """Nothing more arrives."""
        self.frozen: bool = False
        """Nothing arrives for now."""
        self.size: int = 0
        self._seconds = seconds
        self._room_bytes = room_bytes
        self._bite_bytes = bite_bytes
        self._chunks: deque[tuple[float, bytes]] = deque()
        self._lot = trio.lowlevel.ParkingLot()

    def put(self, data: bytes | bytearray | memoryview) -> int:
        """Take what there is room for."""
        taken = int(min(len(data), self._room_bytes - self.size, self._bite_bytes or math.inf))
        if taken > 0:
            self._chunks.append((trio.current_time() + self._seconds, bytes(data[:taken])))
            self.size += taken
            self.stir()
        return max(taken, 0)

    def take(self, most_bytes: int) -> bytes | None:
        """Return what has arrived; ``None`` when nothing has, ``b""`` when nothing will."""
        if self.broken:
            raise trio.BrokenResourceError("the line broke")
        now, taken = trio.current_time(), bytearray()
        most = min(most_bytes, self._bite_bytes or most_bytes)
        while self._chunks and not self.frozen and self._chunks[0][0] <= now and len(taken) < most:
            at, chunk = self._chunks.popleft()
            room = most - len(taken)
            taken += chunk[:room]
            if len(chunk) > room:
                self._chunks.appendleft((at, chunk[room:]))
        if taken:
            self.size -= len(taken)
            self.stir()
            return bytes(taken)
        return b"" if self.ended and not self._chunks else None

    def lose(self, keep_bytes: int) -> None:
        """Let only so much arrive of what is under way, and nothing after it."""
        kept: deque[tuple[float, bytes]] = deque()
        for at, chunk in self._chunks:
            kept.append((at, chunk[:keep_bytes]))
            keep_bytes -= len(kept[-1][1])
        self._chunks = deque(one for one in kept if one[1])
        self.size = sum(len(chunk) for _, chunk in self._chunks)
        self.ended = True
        self.stir()

    def snap(self) -> None:
        """Break: what is under way is lost."""
        self.broken = True
        self._chunks.clear()
        self.size = 0
        self.stir()

    def calm(self) -> None:
        """Hold up nothing that comes from now on."""
        self._seconds, self._room_bytes, self._bite_bytes = 0.0, math.inf, None
        self.freeze(frozen=False)

    def freeze(self, *, frozen: bool) -> None:
        """Let nothing arrive, or let it arrive again."""
        self.frozen = frozen
        self.stir()

    def stir(self) -> None:
        """Have the waiting tasks look again."""
        self._lot.unpark_all()

    async def until(self, ready: Callable[[], bool]) -> None:
        """Wait for something about this flow; a checkpoint."""
        await trio.lowlevel.checkpoint()
        while not ready():
            with trio.move_on_at(self._next_arrival()):
                await self._lot.park()

    @property
    def readable(self) -> bool:
        """True if :meth:`take` has an answer."""
        if self.broken:
            return True
        if self._chunks:
            return not self.frozen and self._chunks[0][0] <= trio.current_time()
        return self.ended

    @property
    def writable(self) -> bool:
        """True if :meth:`put` takes something."""
        return self.broken or self.size < self._room_bytes

    def _next_arrival(self) -> float:
        if not self._chunks or self.frozen or self._chunks[0][0] <= trio.current_time():
            return math.inf
        return self._chunks[0][0]


class Line:
    """One connection: the flow up to the server, and the one down to the device."""

    def __init__(self, number: int, conditions: Conditions, *, on_taken: Callable[[bytes], None]) -> None:
        self.number = number
        self.up: Flow = Flow(conditions.up_seconds, math.inf, bite_bytes=conditions.bite_bytes)
        self.down: Flow = Flow(conditions.down_seconds, conditions.room_bytes, bite_bytes=conditions.bite_bytes)
        self.server: ServerEnd = ServerEnd(self, on_taken)
        self.device: DeviceEnd = DeviceEnd(self)

    def cut(self, keep_bytes: int) -> None:
        """Break the line; of what is under way to the device, so many bytes still arrive."""
        self.up.snap()
        self.down.lose(keep_bytes)
        self.down.stir()

    def reset(self) -> None:
        """Break the line for both ends at once."""
        self.up.snap()
        self.down.snap()

    def calm(self) -> None:
        """From now on it is a good line."""
        self.up.calm()
        self.down.calm()

    def freeze(self, *, frozen: bool) -> None:
        """Both ends are there, and hear nothing of each other."""
        self.up.freeze(frozen=frozen)
        self.down.freeze(frozen=frozen)


class ServerEnd:
    """The server's end of a line: an :class:`~actors.wire.endpoint.Endpoint`."""

    carrier = None
    has_read_ahead = False
    """True for none, because what has arrived is with the line."""

    def __init__(self, line: Line, on_taken: Callable[[bytes], None]) -> None:
        self.peer: str = f"line {line.number}"
        self._line = line
        self._on_taken = on_taken
        self._closed = False

    def fileno(self) -> int:
        """Return -1, because no system knows of this network."""
        return -1

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """Hand over what the line takes; the tap sees exactly that."""
        line = self._line
        if self._closed or line.up.broken or line.down.broken:
            raise trio.BrokenResourceError(f"{self.peer}: broken")
        taken = line.down.put(data)
        if taken:
            self._on_taken(bytes(data[:taken]))
        return taken

    def receive(self, most_bytes: int) -> bytes | None:
        """Return what has arrived."""
        if self._closed:
            raise trio.BrokenResourceError(f"{self.peer}: closed")
        return self._line.up.take(most_bytes)

    def receive_ahead(self, most_bytes: int) -> bytes | None:
        """Return ``None``, because what has arrived is with the line."""

    def pending_bytes(self) -> int:
        """Return the number of bytes that the device has not read."""
        return self._line.down.size

    async def wait_writable(self) -> None:
        """Wait for room, or for the end."""
        flow = self._line.down
        await flow.until(lambda: self._closed or flow.writable or self._line.up.broken)
        self._check()

    async def wait_readable(self) -> None:
        """Wait for something to read, or for the end."""
        flow = self._line.up
        await flow.until(lambda: self._closed or flow.readable)
        self._check()

    def finish(self) -> None:
        """Send nothing more."""
        self._line.down.ended = True
        self._line.down.stir()

    def close(self) -> None:
        """End the line; what it took still arrives."""
        if not self._closed:
            self._closed = True
            self.finish()
            self._line.up.stir()

    def abort(self) -> None:
        """End the line now."""
        if not self._closed:
            self._line.down.snap()
            self.close()

    def _check(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError(f"{self.peer}: this end is closed")


class DeviceEnd:
    """The device's end of a line."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._gone = False

    def send(self, data: bytes) -> None:
        """Say something; on a line that is broken it is lost, and the device will find out."""
        while data and not (self._line.up.broken or self._line.up.ended):
            data = data[self._line.up.put(data) :]

    async def receive(self) -> bytes:
        """Return what has arrived, ``b""`` at the end; a checkpoint."""
        flow = self._line.down
        while True:
            await flow.until(lambda: self._gone or flow.readable)
            if self._gone:
                return b""
            try:
                data = flow.take(65_536)
            except trio.BrokenResourceError:
                return b""
            if data is not None:
                return data

    def vanish(self) -> None:
        """Go without a word: the device reads no more, and the server is not told."""
        self._gone = True
        self._line.freeze(frozen=True)

    def close(self) -> None:
        """Hang up; the server hears of it when what was said before has arrived."""
        self._line.up.ended = True
        self._line.up.stir()
        self._line.down.snap()
