"""Users who are known by the session cookie of a web application beside this server."""

import sqlite3
import time

import trio

import actors

QUERY = "SELECT user_id FROM sessions WHERE key = ? AND expires > ?"  # your application's table


def look_up(key: str) -> str | None:
    with sqlite3.connect("file:sessions.db?mode=ro", uri=True) as database:
        row = database.execute(QUERY, (key, time.time())).fetchone()
    return None if row is None else row[0]


async def who(credentials: actors.Credentials) -> str | None:
    return await trio.to_thread.run_sync(look_up, credentials.token)


def open_runtime() -> "actors.Runtime":
    return actors.open_runtime(authenticate=who, cookie="session_id", origins="https://chat.example")
