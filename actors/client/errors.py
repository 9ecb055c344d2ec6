"""The errors of a client.

    ActorsError
    ├── SessionEnded      the server refused for good: another token, another URL, another program
    ├── SessionLost       the request may or may not have been carried out
    └── RequestRefused    the server did not carry the request out, and says why

Each text says what was expected, and what was got instead.
"""

from __future__ import annotations

from actors.errors import ActorsError


class SessionEnded(ActorsError):
    """The end of a session: the server refused this client for good, or the ``connect`` block has ended.

    ``code`` is the close code (section 9 of the protocol page), ``status`` the
    HTTP status when the server refused the upgrade.
    """

    def __init__(self, text: str, code: int | None = None, *, status: int | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.status = status


class SessionLost(ActorsError):
    """A request that was sent and got no reply: it may or may not have been carried out.

    The server has forgotten the session, or ten minutes have passed, after
    which it forgets the request. It was not sent again, because the server
    might carry it out twice.
    """


class RequestRefused(ActorsError):
    """A request that the server did not carry out: a row of the table in section 7 of the protocol page."""

    def __init__(self, code: int, name: str, *, temporary: bool, text: str) -> None:
        super().__init__(f"{name} ({code}): {text}")
        self.code = code
        self.name = name
        self.temporary = temporary
        """True if the same request may succeed later."""
