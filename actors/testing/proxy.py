"""A network that misbehaves, in front of a real server: a TCP proxy that does to connections what it is told.

    async with fault_proxy("127.0.0.1", 8765) as proxy, connect(proxy.url, token="alice") as session:
        ...
        proxy.vanish()  # half-open: what both ends say disappears, and neither is told
        ...
        assert proxy.harmed["vanish"] == 1

What goes wrong is set for each connection before it begins, as :class:`~actors.testing.network_faults.Faults`, or for
all open ones, by the methods of :class:`FaultProxy`. The faults are Toxiproxy's, and those of middleboxes:

    latency, bandwidth   Way(latency_seconds=0.2, jitter_seconds=0.1), Way(bytes_per_second=16_384)
    slicer               Way(slice_bytes=(1, 7))
    limit_data           Faults(down=Way(limit_bytes=500))
    reset_peer           Faults(down=Way(limit_bytes=500), harm="reset"), proxy.reset()
    timeout              Faults(down=Way(limit_bytes=0), stall_seconds=3.0), proxy.stall() and proxy.go_on()
    slow_close           Faults(linger_seconds=2.0)
    a proxy that is off  Faults(refuse=True), proxy.sever() and proxy.mend()
    half-open            Faults(down=Way(limit_bytes=500), harm="vanish"), proxy.vanish("down")
    an idle cutter       Faults(idle_seconds=60.0, idle_harm="reset")

The sockets are real, and so is the clock: virtual time that jumps at once (``autojump_clock``) runs ahead of them. With
both ends in one process it can be made to leave loopback the moment it takes,
``trio.testing.MockClock(autojump_threshold=0.002)``: a minute of silence takes a second, and all that the system does
with the bytes is still its own. A network without any system is what :func:`actors.testing.simulate` has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from actors.kernel.affinity import check_trio
from actors.kernel.failures import cancels
from actors.testing.chance import Chance
from actors.testing.link import Link, Network, set_to_reset
from actors.testing.network_faults import Direction, Faults, Harm


class FaultProxy:
    """A proxy that runs; made by :func:`fault_proxy`. Its methods return at once."""

    def __init__(self, host: str, port: int, *, faults: Callable[[], Faults], chance: Chance) -> None:
        self._network = Network((host, port))
        self.faults = faults
        """Called for the faults of each connection; a change holds for the connections to come."""
        self.port = 0
        """The port that it listens on, at 127.0.0.1."""
        self.connections: int = 0
        """The number of connections, refused ones too."""
        self.passed_bytes: Counter[str] = self._network.passed_bytes
        """The bytes that it passed on, ``up`` and ``down``."""
        self.harmed: Counter[str] = self._network.harmed
        """The number of connections harmed in each way: ``close``, ``reset``, ``vanish``, ``stall``, ``refuse``,
        ``idle``; ``unreachable`` when there was no server."""
        self._chance = chance
        self._links: set[Link] = set()
        self._refusing = False

    @property
    def target(self) -> tuple[str, int]:
        """The server's address; a change holds for the connections to come."""
        return self._network.target

    @target.setter
    def target(self, address: tuple[str, int]) -> None:
        self._network.target = address

    @property
    def url(self) -> str:
        """A runtime's endpoint, through the proxy."""
        return f"ws://127.0.0.1:{self.port}/ws"

    def cut(self) -> None:
        """Close all connections of the moment, as a process that ends does; what is under way is lost."""
        self._harm("close")

    def reset(self) -> None:
        """End all connections of the moment with a RST to both ends; what is under way is lost."""
        self._harm("reset")

    def vanish(self, direction: Direction | None = None) -> None:
        """Make all connections of the moment half-open: what one end says, or both, is read and thrown away, its
        goodbye too. For good, whatever is mended: no stream goes on behind a hole."""
        self._harm("vanish", direction)

    def stall(self) -> None:
        """Pass nothing on until :meth:`go_on`, on new connections either. Nothing is lost: bytes under way wait, and
        a sender of more finds a full socket. Never ended, it is the other kind of half-open."""
        self._network.stalled = True
        self.harmed["stall"] += len(self._links)

    def go_on(self) -> None:
        """End the stall, and pass on what was said meanwhile."""
        self._network.stalled = False
        self._network.stirred.unpark_all()

    def refuse(self) -> None:
        """Reset new connections as soon as they are made, until :meth:`mend`."""
        self._refusing = True

    def sever(self) -> None:
        """Cut all connections and refuse new ones, until :meth:`mend`."""
        self.refuse()
        self.cut()

    def mend(self) -> None:
        """Take connections again, and go on."""
        self._refusing = False
        self.go_on()

    def _harm(self, harm: Harm, direction: Direction | None = None) -> None:
        for link in list(self._links):
            link.suffer(harm, direction)

    async def serve(self, client: trio.SocketStream) -> None:
        """Serve one connection, until it ends."""
        self.connections += 1
        faults = self.faults()
        async with client:
            if faults.refuse or self._refusing:
                self.harmed["refuse"] += 1
                set_to_reset(client)
                return
            link = Link(self._network, faults, client=client, chance=self._chance.of(self.connections))
            self._links.add(link)
            try:
                await link.run()
            finally:
                self._links.discard(link)


@asynccontextmanager
async def fault_proxy(
    host: str, port: int, faults: Callable[[], Faults] = Faults, *, chance: Chance | None = None
) -> AsyncIterator[FaultProxy]:
    """Open a proxy in front of the server at an address, on a free port of 127.0.0.1, for as long as the block runs.

    ``faults`` is called for each connection, and must not raise. Jitter and the sizes of slices follow from
    ``chance``, and are the same in every run without it; when the system passes them on is its own affair. When the
    block ends or is cancelled, all connections end, half-open ones too. The body's own exceptions pass through.
    """
    check_trio("fault_proxy")
    proxy = FaultProxy(host, port, faults=faults, chance=chance or Chance("fault proxy"))
    outcome: BaseException | None = None
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        proxy.port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, proxy.serve, listeners)
        try:
            yield proxy
        except BaseException as error:  # raised again below, outside of the nursery
            if cancels(error):
                raise
            outcome = error
        nursery.cancel_scope.cancel()
    if outcome is not None:
        raise outcome
