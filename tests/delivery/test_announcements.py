"""Announcements are sent in pieces, composed when their turn comes, and before the pongs that wait for them."""

from __future__ import annotations

from actors.delivery.announcements import Announcements


def test_in_pieces() -> None:
    """So many bytes at once, and at most one text more; what is over by then is left out."""
    telling = Announcements()
    texts: list[bytes | None] = [b"a" * 10, b"b" * 10, b"c" * 10]
    telling.begin([lambda number=number: texts[number] for number in range(3)])  # type: ignore[misc] # it binds early
    assert telling.take(15, b"pong") == [b"a" * 10, b"b" * 10]
    texts[2] = None
    assert not telling.is_over
    assert telling.take(15, b"pong") == []
    assert telling.is_over


def test_pongs() -> None:
    """A ping is answered at once when there is nothing to tell; else after the last thing, each once."""
    telling = Announcements()
    assert not telling.postpone_pong()
    telling.begin([lambda: b"a", lambda: b"b"])
    assert telling.postpone_pong()
    assert telling.take(1, b"pong") == [b"a"]
    assert telling.postpone_pong()
    assert telling.take(1, b"pong") == [b"b", b"pong", b"pong"]
    assert not telling.postpone_pong()
