"""Who may connect: a TOML file with a user for each token."""

from __future__ import annotations

import tomllib
from hashlib import sha256
from pathlib import Path

from actors.errors import Unencodable
from actors.events import check_identifier
from actors.server import Authenticate, Credentials
from actors.tools.terminal import CannotStart


def read_tokens(path: Path) -> dict[str, str]:
    """Users by token. Raises :class:`~actors.tools.terminal.CannotStart` for anything but ``token = "user"`` lines."""
    try:
        tokens = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CannotStart(f"{path}: expected a file of tokens, {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CannotStart(f"{path}: expected TOML, {error}") from None
    # Tokens are secrets: what is wrong is said by their number.
    for number, user_id in enumerate(tokens.values(), 1):
        if isinstance(user_id, dict):
            raise CannotStart(f"{path}: token {number}: expected a user, got a table; quote a token with dots in it")
        try:
            check_identifier(f"token {number}: user", user_id)
        except Unencodable as error:
            raise CannotStart(f"{path}: {error}") from None
    if not tokens:
        raise CannotStart(f'{path}: expected a line token = "user" for each who may connect, got none')
    return tokens


def check_against(tokens: dict[str, str]) -> Authenticate:
    """What says who a token belongs to."""
    # Looked up by digest: how long a refusal takes then says nothing about
    # how much of a token was right.
    users = {_digest(token): user_id for token, user_id in tokens.items()}

    async def authenticate(credentials: Credentials) -> str | None:
        return users.get(_digest(credentials.token))

    return authenticate


def _digest(token: str) -> bytes:
    return sha256(token.encode(errors="surrogatepass")).digest()
