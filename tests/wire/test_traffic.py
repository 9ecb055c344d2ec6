"""Traffic: what many transports have written, in total."""

from __future__ import annotations

import trio

from actors.delivery.frames import text_frame
from actors.limits import Limits
from actors.wire.traffic import Traffic
from actors.wire.transport import Transport, tell
from tests.support.served import served
from tests.wire.test_transport import Pipe


async def test_bytes_count_when_a_socket_takes_them_and_frames_when_they_are_written() -> None:
    """Two transports add to the same totals; frames that are held count once, and those after the end do not."""
    traffic, frame = Traffic(), text_frame(b"x" * 10)
    pipes = Pipe(window=1_000), Pipe()
    async with trio.open_nursery() as nursery:
        transports = [
            Transport(pipe, nursery, limits=Limits(), on_drained=lambda: None, on_failed=lambda _: None)
            for pipe in pipes
        ]

        def look() -> int:
            for transport in transports:
                tell(transport, traffic)
            return traffic.written_bytes

        for transport in transports:
            transport.hold(frame * 2, 2)
            transport.release()
            transport.write(frame)
        look()
        look()
        assert repr(traffic) == f"<Traffic 6 frames, {3 * len(frame)} bytes>"
        pipes[1].open(2 * len(frame))
        while look() < 5 * len(frame):  # noqa: ASYNC110 - the pipe has nothing to wait for
            await trio.sleep(0.001)
        for transport in transports:
            transport.abort()
            transport.write(frame)
        look()
        assert (traffic.written_frames, traffic.written_bytes) == (6, 5 * len(frame))


async def test_frames_are_those_of_the_wire() -> None:
    """A runtime counts as many frames as a device reads, the goodbye included, and the bytes of the upgrade as well."""
    async with served() as server:
        async with server.peer() as peer:
            await peer.attach("alice")
            await server.emit(5)
            for _ in range(5):
                event = await peer.next_event()
            await peer.ack(event["offset"])
            await peer.echo()
            await peer.leave()
            read = sum(len(frame.payload) + 2 for frame in peer.frames)
        await server.gone()
        now = server.runtime.statistics()
    assert now.written_frames == len(peer.frames)
    assert now.written_bytes > read
