"""One connection through a :func:`~actors.testing.fault_proxy`: bytes in, and what its faults leave of them out."""

from __future__ import annotations

import socket
import struct
from collections import Counter

import trio

from actors.testing.chance import Chance
from actors.testing.network_faults import CHUNK_BYTES, Direction, Faults, Harm, Mark, Shaper, Step

_CHUNKS_UNDER_WAY = 64
"""The most that one direction holds, 256 KiB: a sender that is faster finds its socket full, as on any long line."""


class Network:
    """The state that all connections of a proxy share."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        """The server's address."""
        self.stalled = False
        """True while nothing passes."""
        self.stirred: trio.lowlevel.ParkingLot = trio.lowlevel.ParkingLot()
        """The tasks of connections that wait for that to change."""
        self.harmed: Counter[str] = Counter()
        self.passed_bytes: Counter[str] = Counter()


class Link:
    """One connection: a pipe in each direction, between two ends."""

    def __init__(self, network: Network, faults: Faults, *, client: trio.SocketStream, chance: Chance) -> None:
        self.network = network
        self.faults = faults
        self.passed_at: float = trio.current_time()
        self._ends = [client]
        self._up = Pipe(self, "up", shaper=Shaper(faults.up, chance.of("up")))
        self._down = Pipe(self, "down", shaper=Shaper(faults.down, chance.of("down")))
        self._stalled = False
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        """Reach the server, and pass on what there is until both directions have ended, or it is harmed."""
        (client,) = self._ends
        with self._scope:
            try:
                server = await trio.open_tcp_stream(*self.network.target)
            except OSError:
                self.network.harmed["unreachable"] += 1
                self.end(reset=True)
                return
            self._ends.append(server)
            async with server, trio.open_nursery() as nursery:
                nursery.start_soon(self._watch)
                nursery.start_soon(self._up.read, client)
                nursery.start_soon(self._up.write, server, self._down)
                nursery.start_soon(self._down.read, server)
                nursery.start_soon(self._down.write, client, self._up)

    @property
    def stalled(self) -> bool:
        """True while nothing passes."""
        return self._stalled or self.network.stalled

    def suffer(self, harm: Harm, direction: Direction | None = None) -> None:
        """Do harm, and count it."""
        if harm == "none":
            return
        self.network.harmed[harm] += 1
        if harm == "vanish":
            for pipe in (self._up, self._down):
                pipe.lost |= direction in {None, pipe.direction}
            self.network.stirred.unpark_all()
        else:
            self.end(reset=harm == "reset")

    def end(self, *, reset: bool) -> None:
        """Be over, for both ends."""
        for stream in self._ends if reset else ():
            set_to_reset(stream)
        self._scope.cancel()

    def end_way(self) -> None:
        """Note that one direction has ended, and that its end was passed on."""
        if self._up.ended and self._down.ended:
            self.end(reset=False)

    async def reach_limit(self) -> None:
        """Do the harm that comes when a direction reaches its limit."""
        if self.faults.stall_seconds:
            self.network.harmed["stall"] += 1
            self._stalled = True
            await trio.sleep(self.faults.stall_seconds)
            self._stalled = False
            self.network.stirred.unpark_all()
        self.suffer(self.faults.harm)

    async def _watch(self) -> None:
        while (idle_at := self.passed_at + self.faults.idle_seconds) > trio.current_time():  # noqa: ASYNC110 - it is time
            await trio.sleep_until(idle_at)
        self.network.harmed["idle"] += 1
        self.suffer(self.faults.idle_harm)


class Pipe:
    """One direction: what one end has said waits in the channel until the other gets it."""

    def __init__(self, link: Link, direction: Direction, *, shaper: Shaper) -> None:
        self.direction = direction
        self.lost: bool = False
        """Nothing comes out any more, whatever goes in; and so it stays."""
        self.ended: bool = False
        self._link = link
        self._shaper = shaper
        self._broken = False
        """The end that it reads from is gone."""
        self._into, self._out = trio.open_memory_channel[list[Step]](_CHUNKS_UNDER_WAY)

    async def read(self, source: trio.SocketStream) -> None:
        """Take what one end says, and note when it says no more."""
        try:
            await self._into.send(self._shaper.take(b"", trio.current_time()))
            while data := await source.receive_some(CHUNK_BYTES):
                await self._into.send(self._shaper.take(bytes(data), trio.current_time()))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._broken = True
        await self._note_end()

    async def write(self, sink: trio.SocketStream, back: Pipe) -> None:
        """Give it to the other end when it is due; ``back`` hears of it when there is no other end any more."""
        async for steps in self._out:
            for due, what in steps:
                await trio.sleep_until(due)
                while self._link.stalled and not self.lost:
                    await self._link.network.stirred.park()
                try:
                    await self._pass_on(what, sink)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    self.lost = back._broken = True
                    if back.lost:  # the other end has gone
                        self._link.end(reset=True)
                    await back._note_end()

    async def _note_end(self) -> None:
        due = trio.current_time() + self._link.faults.linger_seconds
        await self._into.send([(due, "reset" if self._broken else "end")])

    async def _pass_on(self, what: bytes | Mark, sink: trio.SocketStream) -> None:
        if self.lost:
            return
        match what:
            case "harm":
                await self._link.reach_limit()
            case "end":
                await sink.send_eof()
                self.ended = True
                self._link.end_way()
            case "reset":
                self._link.end(reset=True)
            case _:
                self._link.network.passed_bytes[self.direction] += len(what)
                self._link.passed_at = trio.current_time()
                await sink.send_all(what)


def set_to_reset(stream: trio.SocketStream) -> None:
    """Have a socket closed with a RST."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
