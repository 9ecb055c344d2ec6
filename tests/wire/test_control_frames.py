"""Control frames are those of the protocol engine."""

from __future__ import annotations

from wsproto.frame_protocol import FrameProtocol

from actors.delivery.frames import text_frame
from actors.wire.control_frames import PING, close_frame, is_close


def test_control_frames() -> None:
    """A ping is the engine's; a Close is recognised, and nothing else is taken for one."""
    engine = FrameProtocol(client=False, extensions=[])
    assert engine.ping() == PING
    assert close_frame(1000, "bye") == engine.close(1000, "bye")
    assert is_close(close_frame(1000, "bye"))
    assert len(close_frame(1000, "é" * 200)) <= 127
    others = (PING, text_frame(b""), bytes(engine.pong(b"x")))
    assert not any(is_close(other) for other in others)
