"""From what a person writes to the URL that is dialled."""

from __future__ import annotations

import pytest

from actors.client.address import address_of

DIALLED = [
    ("ws://host/ws", "ws://host/ws"),
    ("wss://host:8765/chat/ws?room=1", "wss://host:8765/chat/ws?room=1"),
    ("http://127.0.0.1:8765/", "ws://127.0.0.1:8765/ws"),
    ("https://chat.example", "wss://chat.example/ws"),
    ("HTTPS://Chat.Example//", "wss://Chat.Example/ws"),
    ("ws://[::1]:8765", "ws://[::1]:8765/ws"),
    ("ws://host?room=1", "ws://host/ws?room=1"),
    ("ws://host#top", "ws://host/ws"),
    ("ws://host/?next=//a@b", "ws://host/ws?next=//a@b"),
    ("ws://host/@me", "ws://host/@me"),
    ("ws://host/ws/", "ws://host/ws/"),
    ("http://host/a%2Fb#top", "ws://host/a%2Fb"),
    ("ws://host/grüße ws", "ws://host/gr%C3%BC%C3%9Fe%20ws"),
    ("  ws://host/ws \n", "ws://host/ws"),
]
"""What a person writes, and what is dialled."""

NONE = [
    *("", " ", "host", "host:80/ws", "//host/ws", "ws:host/ws", "ws:/host/ws", "ws:///ws", "ws://", "ftp://host/ws"),
    *("ws://host:0/ws", "ws://host:99999", "ws://[", "ws://ho st/ws"),
]
"""What is no address."""

SECRET = ["ws://user:secret@host/ws", "ws://user@host", "//user:secret@host", "ftp://u:secret@host", "ws://u:s@host:0/"]
"""What has a user in it, and mostly a password."""


@pytest.mark.parametrize(("written", "dialled"), DIALLED)
def test_addresses(written: str, dialled: str) -> None:
    """A page's address leads to its WebSocket, one without a path to ``/ws``; what URLs cannot hold is escaped."""
    assert address_of(written) == dialled
    assert address_of(dialled) == dialled


@pytest.mark.parametrize("written", NONE)
def test_what_is_none(written: str) -> None:
    """Anything else is refused with what was expected, and what came."""
    with pytest.raises(ValueError, match="expected a URL like wss://host/ws") as caught:
        address_of(written)
    assert repr(written) in str(caught.value)


@pytest.mark.parametrize("written", SECRET)
def test_passwords_are_not_repeated(written: str) -> None:
    """A URL with a password is refused without quoting it."""
    with pytest.raises(ValueError, match=r"expected a URL like wss://host/ws, without a password, got one with a"):
        address_of(written)
