"""A range of a log on its way to a device: the same messages, as frames and as texts."""

from __future__ import annotations

import pytest

from actors.delivery.frames import text_frame, texts_of
from actors.delivery.outgoing import Outgoing


@pytest.mark.parametrize("before", [(), (b'{"op":"gap"}',), (b'{"op":"welcome"}', b'{"op":"reset"}')])
@pytest.mark.parametrize("events", [(), (b'{"seq":1}', b'{"seq":2}')])
def test_frames_and_texts_agree(before: tuple[bytes, ...], events: tuple[bytes, ...]) -> None:
    """A host that frames the texts itself sends what one that writes the frames does: the messages, then the events."""
    outgoing = Outgoing(1, len(events), b"".join(map(text_frame, events)), before)
    assert [*outgoing.as_texts()] == [*before, *events]
    assert [*texts_of(outgoing.as_frames())] == [*before, *events]
