"""The errors of a client.

    ActorsError
    ├── SessionEnded      the server refused for good: another token, another URL, another program
    ├── SessionLost       nobody knows whether the request was carried out
    └── RequestRefused    the server did not carry the request out, and says why

Each text says what was expected and what came.
"""

from __future__ import annotations

from actors.errors import ActorsError


class SessionEnded(ActorsError):
    """The server does not want this client back, and why; or the ``connect`` block has ended.

    ``code`` is the close code (section 9 of the protocol page), ``status`` the
    HTTP status when the upgrade was refused.
    """

    def __init__(self, text: str, code: int | None = None, *, status: int | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.status = status


class SessionLost(ActorsError):
    """The request was sent, and its reply never came: the server has forgotten the session, or ten minutes have gone
    by, after which it forgets the request. It may or may not have been carried out. Sent again it might be doubled, so
    it was not."""


class RequestRefused(ActorsError):
    """A request was not carried out: a row of the table in section 7 of the protocol page."""

    def __init__(self, code: int, name: str, *, temporary: bool, text: str) -> None:
        super().__init__(f"{name} ({code}): {text}")
        self.code = code
        self.name = name
        self.temporary = temporary
        """Whether the same request may succeed later."""
