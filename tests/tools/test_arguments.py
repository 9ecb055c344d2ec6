"""One argument of a command line: what it means, or what was expected in its place."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors.tools.arguments import (
    Wrong,
    address,
    count,
    host,
    identifier,
    number,
    origin,
    patience,
    port,
    seconds,
    store,
    text,
    token,
    web_address,
)


@pytest.mark.parametrize(
    ("read", "words", "expected"),
    [
        (text, "Zoë", "Zoë"),
        (text, "Zo\udcc3\udcab", "Zoë"),
        (identifier("thread_id"), "t1", "t1"),
        (token, "secret", "secret"),
        (host, "[::1]", "::1"),
        (store, "memory", None),
        (store, "sqlite:a:b.db", Path("a:b.db")),
        (origin, "https://chat.example", "https://chat.example"),
        (origin, "*", "*"),
        (port, "0", 0),
        (port, "65535", 65_535),
        (address, "8766", ("127.0.0.1", 8766)),
        (address, "10.0.0.1:0", ("10.0.0.1", 0)),
        (address, "[::1]:8766", ("::1", 8766)),
        (web_address, "https://bot.example:8443/hook?x=1", "https://bot.example:8443/hook?x=1"),
        (count, "1", 1),
        (number, "0", 0),
        (seconds, "inf", math.inf),
        (seconds, "0", 0.0),
        (patience, "0.5", 0.5),
    ],
)
def test_what_an_argument_means(read: Callable[[str], Any], words: str, expected: object) -> None:
    """An argument is read into the value that it stands for; UTF-8 is read in every locale."""
    assert read(words) == expected


@pytest.mark.parametrize(
    ("read", "words", "expected"),
    [
        (text, "\ud83d", "half of a surrogate pair"),
        (text, "\udcff", "expected UTF-8, got the byte 0xff"),
        (identifier("thread_id"), "", "thread_id: expected"),
        (token, "", "expected a token, got none"),
        (host, "[]", "expected an address, got none"),
        (store, "events.db", "expected memory or sqlite:PATH, got 'events.db'"),
        (store, "sqlite:", "expected memory or sqlite:PATH"),
        (origin, "chat.example", "expected '\\*', or an origin such as"),
        (port, "65536", "expected a port, 0 to 65535, got '65536'"),
        (port, "-1", "expected a port"),
        (address, "localhost", "expected a port, 0 to 65535, got 'localhost'"),
        (address, ":8766", "expected an address, got none"),
        (address, "::1", "expected HOST:PORT, an address of IPv6 in brackets, got '::1'"),
        (web_address, "bot.example/hook", "expected an address http://… or https://…, got 'bot.example/hook'"),
        (web_address, "ftp://bot.example", "expected an address http"),
        (web_address, "http://", "expected an address http"),
        (web_address, "http://[x/", "expected an address http"),
        (web_address, "http://x:65536/", "expected an address http"),
        (web_address, "http://x/a b", "expected an address http"),
        (count, "0", "expected a whole number, 1 or more, got '0'"),
        (number, "1.5", "expected a whole number, 0 or more"),
        (seconds, "nan", "expected seconds, 0 or more, got 'nan'"),
        (seconds, "soon", "expected seconds, 0 or more, got 'soon'"),
        (patience, "inf", "expected seconds, more than 0, got 'inf'"),
        (patience, "0", "expected seconds, more than 0"),
    ],
)
def test_what_cannot_be_meant(read: Callable[[str], Any], words: str, expected: str) -> None:
    """Anything else is refused, with what was expected."""
    with pytest.raises(Wrong, match=expected.replace("(", r"\(")):
        read(words)
