"""Tickets: your application gives one to a user who is signed in, and it is good once, for half a minute."""

import secrets

import trio

import actors

SECONDS = 30
tickets: dict[str, tuple[str, float]] = {}


def issue(user_id: str) -> str:
    """What your endpoint returns to the page of a user who is signed in."""
    ticket = secrets.token_urlsafe()
    tickets[ticket] = user_id, trio.current_time() + SECONDS
    return ticket


async def who(credentials: actors.Credentials) -> str | None:
    user_id, ends = tickets.pop(credentials.token, ("", 0.0))
    for stale in [key for key, (_, end) in tickets.items() if end < trio.current_time()]:
        del tickets[stale]
    return user_id if trio.current_time() < ends else None
