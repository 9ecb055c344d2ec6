"""Which pages may connect: what an allow-list takes, and what it means."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from actors.server.origins import allowed, is_allowed, page_of_host, parse_origin
from tests.support.raw import upgrade_request
from tests.support.served import served


@pytest.mark.parametrize(
    ("entry", "origin"),
    [
        ("https://chat.example.com", "https://chat.example.com"),
        ("HTTPS://Chat.Example.COM", "https://chat.example.com"),
        ("https://chat.example.com:443", "https://chat.example.com"),
        ("https://chat.example.com:0443", "https://chat.example.com"),
        ("https://chat.example.com:", "https://chat.example.com"),
        ("http://chat.example.com:80", "http://chat.example.com"),
        ("http://chat.example.com:443", "http://chat.example.com:443"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://127.0.0.1:8765", "http://127.0.0.1:8765"),
        ("http://[0:0::1]:8765", "http://[::1]:8765"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://BÜCHER.example", "https://xn--bcher-kva.example"),
        ("https://my_app.example", "https://my_app.example"),
        ("https://chat.example.com.", "https://chat.example.com."),
        ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("file://", "file://"),
    ],
)
def test_an_entry(entry: str, origin: str) -> None:
    """An entry means one origin, however it is spelt; a browser's spelling matches it, a longer or shorter one does
    not."""
    for origins in (entry, [entry], {entry: 1}, iter([entry])):
        allow_list = allowed(origins)
        assert allow_list is not None
        assert is_allowed(origin, allow_list)
        for other in (origin[:-1], f"{origin}x", f"x{origin}", "null", "", f"{origin} {origin}"):
            assert not is_allowed(other, allow_list)


@pytest.mark.parametrize(
    "entry",
    [
        "",
        " ",
        "chat.example.com",
        "chat.example.com:443",
        "//chat.example.com",
        "https:chat.example.com",
        "https:///chat",
        "https://",
        "https://:443",
        "https://chat.example.com/",
        "https://chat.example.com/app",
        "https://chat.example.com?x",
        "https://chat.example.com#x",
        "https://alice@chat.example.com",
        "https://alice:pw@chat.example.com",
        " https://chat.example.com",
        "https://chat.example.com\n",
        "https://a.example,https://b.example",
        "https://a.example https://b.example",
        "https://*.example.com",
        "*.example.com",
        "https://*",
        "**",
        "https://chat.example.com:*",
        "https://chat.example.com:99999",
        "https://chat.example.com:0",
        "https://chat.example.com:http",
        "https://chat..example.com",
        "https://[::1",
        "https://::1",
        "https://[1.2.3.4]",
        "https://127.1",
        "https://1.2.3.4.5",
        "https://xn--\u00ff.example",
        "wss://chat.example.com",
        "blob:https://chat.example.com/1",
        "null",
        "NULL",
        r"https://chat\.example\.com",
    ],
)
def test_an_entry_that_matches_nothing(entry: str) -> None:
    """What no page can come from is refused, alone or among others, with what was expected and what came."""
    for origins in (entry, ["https://good.example", entry]):
        with pytest.raises(ValueError, match="origins: expected '\\*', or an origin such as") as caught:
            allowed(origins)
        assert str(caught.value).endswith(f"got {entry!r}")


@pytest.mark.parametrize("origins", [5, True, b"https://a.example", [b"https://a.example"], [None], [["https://a"]]])
def test_no_text(origins: Iterable[str]) -> None:
    """What is no text is refused as such."""
    with pytest.raises(TypeError, match="origins: expected"):
        allowed(origins)


def test_no_list_and_an_empty_one() -> None:
    """No list is another thing than an empty one, which lets no page in; an asterisk lets in all."""
    assert allowed(None) is None
    assert allowed([]) == frozenset()
    for everybody in ("*", ["*"], ["https://a.example", "*"]):
        assert is_allowed("null", allowed(everybody) or frozenset())


def test_a_page_of_the_host() -> None:
    """The host of the page is told as it is compared."""
    assert page_of_host("https://X.Example.", "x.example:443") == "x.example"
    assert page_of_host("http://[0::1]:8765", "[::1]:8765") == "::1"
    assert page_of_host("https://x", "y") is None


@pytest.mark.parametrize("text", ["https://[::1]:1", "http://a.b.c"])
def test_parse_twice(text: str) -> None:
    """What was read once reads the same in its browser's spelling."""
    assert parse_origin(text) == parse_origin(text.upper())


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://chat.example.com", 101),
        ("https://chat.example.co", 403),
        ("https://chat.example.com.evil.example", 403),
        ("https", 403),
        ("https://", 403),
        ("c", 403),
        ("", 403),
        ("http://127.0.0.1:8765", 403),
    ],
)
async def test_a_string_is_one_origin(origin: str, status: int) -> None:
    """A list that is a string lets in the pages of that origin, and of no part of it."""
    async with served(origins="https://chat.example.com") as server, server.peer() as peer:
        request = upgrade_request(origin=origin, cookie="actors_token=alice")
        assert (await peer.ask(request)).status == status
