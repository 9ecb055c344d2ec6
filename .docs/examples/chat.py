"""The assistant as a service: for users with a token, with a page of its own, in a file that outlives the process."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import trio
from assistant import assistant  # the agent of the first program

import actors
from actors import control
from actors.web import pages
from actors.wire.http import Page

HERE = Path(__file__).parent
STATE = Path(os.environ.get("STATE_DIRECTORY", HERE))
USERS = {"token-of-alice": "alice", "token-of-bob": "bob"}  # your own table
PAGES = pages() | {
    "/": Page((HERE / "chat.html").read_bytes(), "text/html; charset=utf-8"),
    "/chat.js": Page((HERE / "chat.js").read_bytes(), "text/javascript; charset=utf-8"),
}


async def who(credentials: actors.Credentials) -> str | None:
    return USERS.get(credentials.token)


async def main() -> None:
    store = actors.SQLiteStore(STATE / "events.db")
    async with (
        actors.open_runtime(authenticate=who, on_message=assistant, store=store, pages=PAGES) as runtime,
        trio.open_nursery() as nursery,
    ):
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            host, port = await nursery.start(runtime.serve, "127.0.0.1", int(os.environ.get("PORT", "8765")))
            await nursery.start(control.serve, runtime, os.environ.get("CONTROL"))  # `actors status` asks there
            print(f"Talk to it on http://{host}:{port}/#token-of-alice", flush=True)
            await anext(signals)
        await runtime.drain(10)  # runs finish, devices are told to come back; a second signal ends it at once
        nursery.cancel_scope.cancel()


with suppress(KeyboardInterrupt):  # Ctrl-C, again
    trio.run(main)
