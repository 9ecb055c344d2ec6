"""Arguments of a command line: each function reads one, or raises :data:`Wrong` with what was expected."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from actors import __version__
from actors.errors import Unencodable
from actors.events.event import check_identifier
from actors.server.origins import allowed
from actors.tools.build import build
from actors.tools.terminal import complain, say

Wrong = argparse.ArgumentTypeError
"""The error for a wrong argument: argparse prints the usage and the text, and exits with status 2."""


def text(words: str) -> str:
    """Read any text as UTF-8, also where the locale's encoding is another and Python has the bytes as surrogates."""
    try:
        words.encode()
    except UnicodeEncodeError:
        try:
            return os.fsencode(words).decode()
        except UnicodeDecodeError as error:
            raise Wrong(f"expected UTF-8, got the byte 0x{error.object[error.start]:02x}") from None
        except UnicodeEncodeError:
            raise Wrong("expected text, got half of a surrogate pair") from None
    return words


def identifier(name: str) -> Callable[[str], str]:
    """Return a reader of an id, a user's name or an event's type: 1 to 256 characters."""

    def read(words: str) -> str:
        try:
            check_identifier(name, found := text(words))
        except Unencodable as error:
            raise Wrong(str(error)) from None
        return found

    return read


def token(words: str) -> str:
    """Read a credential, which is never shown."""
    if not words:
        raise Wrong("expected a token, got none")
    return text(words)


def host(words: str) -> str:
    """Read an address or a name to listen on; an IPv6 address may have brackets, as in a URL."""
    found = text(words)
    if found.startswith("[") and found.endswith("]"):
        found = found[1:-1]
    if not found:
        raise Wrong("expected an address, got none; 0.0.0.0 is every one")
    return found


def store(words: str) -> Path | None:
    """Read where events are kept: ``sqlite:PATH``, or ``memory``, which is None."""
    kind, _, path = text(words).partition(":")
    if kind == "sqlite" and path:
        return Path(path)
    if words != "memory":
        raise Wrong(f"expected memory or sqlite:PATH, got {words!r}")
    return None


def origin(words: str) -> str:
    """Read the origin of pages that may connect, or ``*`` for every one."""
    found = text(words)
    try:
        allowed(found)
    except ValueError as error:
        raise Wrong(str(error)) from None
    return found


def port(words: str) -> int:
    """Read a TCP port; 0 is a free one."""
    if not words.isdecimal() or int(words) > 65_535:
        raise Wrong(f"expected a port, 0 to 65535, got {words!r}")
    return int(words)


def address(words: str) -> tuple[str, int]:
    """Read ``HOST:PORT``, or a port of this machine alone; an IPv6 address has brackets, as in a URL."""
    name, _, number = words.rpartition(":")
    if ":" in name and not name.startswith("["):
        raise Wrong(f"expected HOST:PORT, an address of IPv6 in brackets, got {words!r}")
    return host(name) if name or words.startswith(":") else "127.0.0.1", port(number)


def web_address(words: str) -> str:
    """Read the address of a page that takes requests."""
    found = text(words)
    try:
        parts = urlsplit(found)
        is_one = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:  # brackets without an address in them, a port beyond 65535
        is_one = False
    if not is_one or not found.isprintable() or " " in found:
        raise Wrong(f"expected an address http://… or https://…, got {words!r}")
    return found


def count(words: str) -> int:
    """Read a whole number, at least 1."""
    return _whole(words, 1)


def number(words: str) -> int:
    """Read a whole number, at least 0."""
    return _whole(words, 0)


def seconds(words: str) -> float:
    """Read a time in seconds, which may be 0 or infinite (``inf``)."""
    found = _float(words)
    if not found >= 0:
        raise Wrong(f"expected seconds, 0 or more, got {words!r}")
    return found


def patience(words: str) -> float:
    """Read a timeout in seconds: more than 0, and finite."""
    found = _float(words)
    if not 0 < found < math.inf:
        raise Wrong(f"expected seconds, more than 0, got {words!r}")
    return found


def _whole(words: str, least: int) -> int:
    if not words.isdecimal() or int(words) < least:
        raise Wrong(f"expected a whole number, {least} or more, got {words!r}")
    return int(words)


def _float(words: str) -> float:
    try:
        return float(words)
    except ValueError:
        return math.nan


class Parser(argparse.ArgumentParser):
    """A parser that reports a failure to write its help."""

    def _print_message(self, message: str, file: Any = None) -> None:
        # Everything that argparse writes goes through here, and its own version swallows every OSError.
        if message:
            if file is None or file is sys.stderr:
                complain(message.removesuffix("\n"))
            else:
                say(message)


class Version(argparse.Action):
    """The option ``--version``: the release and the build."""

    def __init__(self, option_strings: list[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show which release and which build this is, and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Print and exit."""
        say(f"trio-actors {__version__} ({build()})\n")
        parser.exit()
