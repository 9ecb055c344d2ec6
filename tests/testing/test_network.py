"""Lines: what is sent arrives whole, late, in pieces, or not at all, as the conditions say."""

from __future__ import annotations

import pytest
import trio

from actors.testing.network import CALM, Conditions, Line


def line(conditions: Conditions = CALM) -> tuple[Line, list[bytes]]:
    """A line, and what it has taken of the server."""
    taken: list[bytes] = []
    return Line(1, conditions, on_taken=taken.append), taken


async def test_there_and_back(autojump_clock: object) -> None:
    """Bytes go both ways, each way in its own time."""
    one, taken = line(Conditions(up_seconds=1.0, down_seconds=2.0))
    assert one.server.send(b"down") == 4
    one.device.send(b"up")
    assert one.server.receive(100) is None
    await one.server.wait_readable()
    assert (one.server.receive(100), trio.current_time()) == (b"up", 1.0)
    assert (await one.device.receive(), trio.current_time()) == (b"down", 2.0)
    assert taken == [b"down"]


async def test_room(autojump_clock: object) -> None:
    """A line takes what there is room for, and more once the device has read."""
    one, taken = line(Conditions(room_bytes=5))
    assert one.server.send(b"abcdefgh") == 5
    assert one.server.send(b"fgh") == 0
    assert one.server.pending_bytes() == 5
    assert await one.device.receive() == b"abcde"
    await one.server.wait_writable()
    assert one.server.send(b"fgh") == 3
    assert taken == [b"abcde", b"fgh"]


async def test_bites(autojump_clock: object) -> None:
    """Nothing is lost where little is taken at once."""
    one, _ = line(Conditions(bite_bytes=3))
    assert one.server.send(b"abcdefgh") == 3
    one.device.send(b"abcdefgh")
    assert [one.server.receive(100) for _ in range(3)] == [b"abc", b"def", b"gh"]


async def test_cut(autojump_clock: object) -> None:
    """Of what is under way a part arrives; then it is over for both."""
    one, _ = line(Conditions(down_seconds=1.0))
    one.server.send(b"abcdef")
    one.cut(4)
    assert await one.device.receive() == b"abcd"
    assert await one.device.receive() == b""
    with pytest.raises(trio.BrokenResourceError):
        one.server.send(b"x")
    with pytest.raises(trio.BrokenResourceError):
        one.server.receive(1)


async def test_frozen(autojump_clock: object) -> None:
    """Nothing arrives while a line is frozen, and nothing is lost."""
    one, _ = line()
    one.server.send(b"abc")
    one.freeze(frozen=True)
    with trio.move_on_after(10):
        await one.device.receive()
    assert trio.current_time() == 10
    one.freeze(frozen=False)
    assert await one.device.receive() == b"abc"


async def test_closed_and_aborted(autojump_clock: object) -> None:
    """Bytes taken before a close arrive; bytes taken before an abort do not."""
    closed, _ = line()
    closed.server.send(b"abc")
    closed.server.close()
    assert [await closed.device.receive(), await closed.device.receive()] == [b"abc", b""]
    with pytest.raises(trio.ClosedResourceError):
        await closed.server.wait_readable()
    aborted, _ = line()
    aborted.server.send(b"abc")
    aborted.server.abort()
    assert await aborted.device.receive() == b""


async def test_hung_up(autojump_clock: object) -> None:
    """A device that hangs up ends the line, after what it has said; one that vanishes does not."""
    one, _ = line()
    one.device.send(b"bye")
    one.device.close()
    assert [one.server.receive(9), one.server.receive(9)] == [b"bye", b""]
    other, _ = line()
    other.device.vanish()
    assert await other.device.receive() == b""
    assert other.server.receive(9) is None
    assert other.server.send(b"hello?") == 6
