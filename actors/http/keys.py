"""Keys: which program calls, and how far it reaches."""

from __future__ import annotations

import hmac
import tomllib
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import attrs
import msgspec

from actors.errors import Unencodable
from actors.events.event import check_identifier

LEAST_CHARACTERS = 16
"""The shortest key: who has it can emit for every user, and may try as often as the network allows."""

_MOST_CHARACTERS = 1_024
_EXPECTED = 'expected name = "key", or a table [name] with key, threads, users and admin'


class BadKeys(ValueError):
    """A file of keys that cannot be read; the text names the entry, and shows no key."""


@attrs.frozen(kw_only=True)
class Key:
    """One program that may call, and its reach."""

    name: str
    threads: tuple[str, ...] = ()
    """Prefixes of the threads that it may name; none: all."""
    users: tuple[str, ...] = ()
    """Prefixes of the users that it may speak for; none: all."""
    admin: bool = False
    """True if it may read the books and end things."""

    def reaches_thread(self, thread_id: str) -> bool:
        """Return true if it may name this thread."""
        return not self.threads or thread_id.startswith(self.threads)

    def reaches_user(self, user_id: str) -> bool:
        """Return true if it may speak for this user."""
        return not self.users or user_id.startswith(self.users)


ANYONE = Key(name="anyone on this machine", admin=True)
"""The key of each caller where keys are not checked."""


class Keys:
    """The keys of one server, by digest, because they need not be in memory as they are."""

    def __init__(self, keys: Mapping[str, Key]) -> None:
        self._keys = tuple((_digest(text), key) for text, key in keys.items())

    def __repr__(self) -> str:
        return f"<Keys of {', '.join(key.name for _, key in self._keys)}>"

    def find(self, authorization: str | None) -> Key | None:
        """Return the key of a header ``Authorization``; None for none that is known.

        Looks at every key, however early one fits, so that the time tells nothing.
        """
        scheme, _, text = (authorization or "").partition(" ")
        came = _digest(text.strip())
        found = None
        for digest, key in self._keys:
            if hmac.compare_digest(digest, came):
                found = key
        return found if scheme.lower() == "bearer" else None


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    key: str
    threads: list[str] = []
    users: list[str] = []
    admin: bool = False


def read_keys(path: Path) -> Keys:
    """Read a TOML file of keys: ``name = "key"``, or a table with ``key``, ``threads``, ``users`` and ``admin``.

    Raises :class:`BadKeys`, which names the entry and shows no key.
    """
    keys: dict[str, Key] = {}
    for name, value in _read(path).items():
        try:
            text, key = _key(name, value)
        except (Unencodable, msgspec.ValidationError, ValueError) as error:
            raise BadKeys(f"{path}: key {name!r}: {error}") from None
        if text in keys:
            raise BadKeys(f"{path}: key {name!r}: expected a key of its own, it is that of {keys[text].name!r}")
        keys[text] = key
    if not keys:
        raise BadKeys(f"{path}: {_EXPECTED}, got none")
    return Keys(keys)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise BadKeys(f"{path}: expected a file of keys, {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise BadKeys(f"{path}: expected UTF-8, got other bytes") from None
    except (ValueError, RecursionError):  # without the parser's text, because it may quote a key
        raise BadKeys(f"{path}: expected TOML; {_EXPECTED}") from None


def _key(name: str, value: object) -> tuple[str, Key]:
    check_identifier("name", name)
    if not isinstance(value, str | dict):
        raise ValueError(f"{_EXPECTED}, got {type(value).__name__}")
    entry = _Entry(value) if isinstance(value, str) else msgspec.convert(value, _Entry)
    text = entry.key
    if not LEAST_CHARACTERS <= len(text) <= _MOST_CHARACTERS:
        raise ValueError(f"expected a key of {LEAST_CHARACTERS} to {_MOST_CHARACTERS} characters, got {len(text)}")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("expected a key of visible ASCII characters, got others")
    return text, Key(name=name, threads=tuple(entry.threads), users=tuple(entry.users), admin=entry.admin)


def _digest(text: str) -> bytes:
    return sha256(text.encode(errors="surrogatepass")).digest()
