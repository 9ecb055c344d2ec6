"""The users that may connect: a TOML file with a user for each token."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from actors.errors import Unencodable
from actors.events.event import check_identifier
from actors.protocol.client_messages import TEXT_CHARACTERS
from actors.server.authentication import Authenticate, Credentials
from actors.tools.terminal import CannotStart

_EXPECTED = 'expected token = "user"'


def read_tokens(path: Path) -> dict[str, str]:
    """Read the users by token.

    Raises :class:`~actors.tools.terminal.CannotStart`, which names the line and
    shows no token, for anything but ``token = "user"`` lines.
    """
    text = _read(path)
    try:
        tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a very long number, or a list nested too deep
        raise CannotStart(f"{path}: expected TOML, {_without_keys(error)}") from None
    tokens: dict[str, str] = {}
    for line, token, user_id in _entries(text):
        problem = _problem_of_user(user_id) or _problem_of_token(token)
        if problem is not None:
            raise CannotStart(f"{path}: line {line}: {problem}")
        tokens[token] = user_id
    if not tokens:
        raise CannotStart(f'{path}: expected a line token = "user" for each who may connect, got none')
    return tokens


def check_against(tokens: dict[str, str]) -> Authenticate:
    """Return an ``authenticate`` that looks a token up."""
    # By digest, because the time of a comparison would otherwise tell how much
    # of a token was right.
    users = {_digest(token): user_id for token, user_id in tokens.items()}

    async def authenticate(credentials: Credentials) -> str | None:
        return users.get(_digest(credentials.token))

    return authenticate


def _read(path: Path) -> str:
    """Read the file's text, without the byte order mark that some editors add."""
    try:
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise CannotStart(f"{path}: expected a file of tokens, {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise CannotStart(f"{path}: line {line}: expected UTF-8, got other bytes") from None


def _without_keys(error: Exception) -> str:
    """Return the parser's message without the keys that it quotes, because they are tokens."""
    what, at, where = str(error).rpartition(" (at ")
    return f"{what.partition(' (')[0]}{at}{where}" if at else where.partition(" (")[0]


def _entries(text: str) -> Iterator[tuple[int, str, Any]]:
    """Yield the line, key and value of each statement of a TOML text, as if it stood alone."""
    begun, statement = 1, ""
    for number, line in enumerate(text.split("\n"), 1):
        statement += f"{line}\n"
        try:
            found = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue  # its value goes on in the next line
        for key, value in found.items():
            yield begun, key, value
        begun, statement = number + 1, ""


def _problem_of_user(user_id: object) -> str | None:
    if isinstance(user_id, dict):
        return f"{_EXPECTED}, got a table; quote a token with dots in it"
    try:
        check_identifier("user", user_id)
    except Unencodable as error:
        return str(error)
    assert isinstance(user_id, str), "it can be an id"
    if user_id.strip() != user_id:
        return "user: expected a name without white space around it"
    return None


def _problem_of_token(token: str) -> str | None:
    """Return the reason why no client could have a token, or every client has it."""
    if not token.strip():
        return f"{_EXPECTED}, got an empty token, which is what a client without one has"
    if token.strip() != token or not token.isprintable():
        return f"{_EXPECTED}, got a token with white space around it or control characters in it"
    if len(token) > TEXT_CHARACTERS:
        return f"{_EXPECTED}, with a token of at most {TEXT_CHARACTERS} characters, got {len(token)}"
    return None


def _digest(token: str) -> bytes:
    return sha256(token.encode(errors="surrogatepass")).digest()
