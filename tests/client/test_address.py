"""From what a person writes to the URL that is dialled."""

from __future__ import annotations

import pytest

from actors.client.address import address_of


@pytest.mark.parametrize(
    ("written", "dialled"),
    [
        ("ws://host/ws", "ws://host/ws"),
        ("wss://host:8765/chat/ws?room=1", "wss://host:8765/chat/ws?room=1"),
        ("http://127.0.0.1:8765/", "ws://127.0.0.1:8765/ws"),
        ("https://chat.example", "wss://chat.example/ws"),
        ("HTTPS://Chat.Example//", "wss://Chat.Example/ws"),
        ("ws://[::1]:8765", "ws://[::1]:8765/ws"),
        ("ws://host?room=1", "ws://host/ws?room=1"),
        ("ws://host/ws/", "ws://host/ws/"),
        ("http://host/a%2Fb#top", "ws://host/a%2Fb"),
        ("ws://host/grüße ws", "ws://host/gr%C3%BC%C3%9Fe%20ws"),
    ],
)
def test_addresses(written: str, dialled: str) -> None:
    """A page's address leads to its WebSocket, one without a path to ``/ws``; what URLs cannot hold is escaped."""
    assert address_of(written) == dialled
    assert address_of(dialled) == dialled


@pytest.mark.parametrize(
    "written",
    ["", "host", "host:80/ws", "//host/ws", "ws:///ws", "ftp://host/ws", "ws://host:0/ws", "ws://host:99999", "ws://["],
)
def test_what_is_none(written: str) -> None:
    """Anything else is refused with what was expected, and what came."""
    with pytest.raises(ValueError, match="expected a URL like wss://host/ws") as caught:
        address_of(written)
    assert repr(written) in str(caught.value)


def test_passwords_are_not_repeated() -> None:
    """A URL with a password is refused without quoting it."""
    with pytest.raises(ValueError, match="expected a URL like wss://host/ws, without a password") as caught:
        address_of("ws://user:secret@host/ws")
    assert "secret" not in str(caught.value)
