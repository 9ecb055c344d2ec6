"""The tunnel: an endpoint whose other end is told, and never waited for."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.asgi.tunnel import ROOM_BYTES, Tunnel


class Ends:
    """A tunnel, and what its courier is told."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.tunnel = Tunnel("a peer", deliver=self.told.append, end=self.told.append)


async def test_room() -> None:
    """What is on its way is bounded; what was taken makes room, and wakes the one who waits for it."""
    ends = Ends()
    assert ends.tunnel.send(b"x" * (ROOM_BYTES - 1)) == ROOM_BYTES - 1
    await ends.tunnel.wait_writable()
    assert ends.tunnel.send(b"yz") == 1
    assert (ends.tunnel.send(b"z"), ends.tunnel.pending_bytes()) == (0, ROOM_BYTES)
    assert ends.told == [b"x" * (ROOM_BYTES - 1), b"y"]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends.tunnel.wait_writable)
        await wait_all_tasks_blocked()
        ends.tunnel.took(1)
    assert ends.tunnel.send(b"z") == 1


async def test_what_the_client_says() -> None:
    """The courier waits until what it brought was received, so that a client cannot fill memory; then comes the end."""
    tunnel = Ends().tunnel
    assert tunnel.receive(10) is None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tunnel.feed, b"abc")
        await tunnel.wait_readable()
        assert (tunnel.has_read_ahead, tunnel.receive(2)) == (True, b"ab")
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        assert (tunnel.receive_ahead(9), tunnel.has_read_ahead) == (b"c", False)
    tunnel.stop()
    await tunnel.wait_readable()
    assert tunnel.receive(1) == b""


@pytest.mark.parametrize(("act", "is_aborted"), [("close", False), ("abort", True)])
async def test_ended_here(act: str, is_aborted: bool) -> None:
    """The courier is told once how it ended; who waits is woken, and nothing is taken or brought any more."""
    ends = Ends()
    tunnel = ends.tunnel

    async def waits() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await tunnel.wait_readable()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waits)
        await wait_all_tasks_blocked()
        getattr(tunnel, act)()
    tunnel.abort()
    tunnel.close()
    assert ends.told == [is_aborted]
    await tunnel.feed(b"x")
    assert not tunnel.has_read_ahead
    for broken in (lambda: tunnel.send(b"x"), lambda: tunnel.receive(1)):
        with pytest.raises(trio.BrokenResourceError):
            broken()


async def test_ended_there() -> None:
    """A server that takes nothing more breaks the pipe, and wakes who waits; what it brought before is still read."""
    tunnel = Ends().tunnel
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tunnel.feed, b"abc")
        await wait_all_tasks_blocked()
        tunnel.snap()
    assert tunnel.receive(9) == b"abc"
    await tunnel.wait_writable()
    for broken in (lambda: tunnel.send(b"x"), lambda: tunnel.receive(1)):
        with pytest.raises(trio.BrokenResourceError):
            broken()


async def test_finished() -> None:
    """After an answer nothing more comes: who lingers for it is at the end at once."""
    ends = Ends()
    ends.tunnel.finish()
    assert (ends.tunnel.receive(1), ends.told) == (b"", [False])


async def test_held() -> None:
    """It is the carrier of itself, and let go of when the courier is back."""
    tunnel = Ends().tunnel
    assert (tunnel.carrier, tunnel.fileno(), tunnel.name) == (tunnel, -1, "ASGI")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tunnel.wait_released)
        await wait_all_tasks_blocked()
        tunnel.close()
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        tunnel.release()
    tunnel.release()
