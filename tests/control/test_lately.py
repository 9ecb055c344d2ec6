"""Lately: the status leads who does not know whom to ask for."""

from __future__ import annotations

import trio

import actors
from actors.control import lately, queries
from actors.control.lately import LAG_EVENTS
from actors.observability.explain import clock
from tests.support.raw import upgrade_request
from tests.support.served import served


async def test_nothing() -> None:
    """Where nothing happened, and where a user who is away lost something, there is nothing to say."""
    async with actors.open_runtime(limits=actors.Limits(retained_events=1)) as runtime:
        for _ in range(3):
            await runtime.thread("t1").emit("x", {}, user_id="alice")
        assert runtime.dead_letters
        assert queries.status(runtime).notes == []


async def test_a_page() -> None:
    """The origin that was refused is named, with both ways out."""
    async with served() as server:
        for origin in ("https://app.example", "https://app.example", "https://other.example"):
            async with server.peer() as peer:
                await peer.ask(upgrade_request("actors.v1", extra=[("Origin", origin)]))
        (note,) = queries.status(server.runtime).notes
        assert note.startswith("pages of https://app.example were refused 2 times (origin), the last at ")
        assert note.endswith(
            ": if they are yours, list https://app.example in origins= of open_runtime (actors serve"
            " --origin), or let the proxy pass on Host"
            " as it came; so were pages of 1 more"
        )


async def test_credentials() -> None:
    """A user whose credentials were refused is named, and what to ask next; without a name it is the address."""

    async def refuse(credentials: actors.Credentials) -> str | None:
        if credentials.token == "expired":
            raise actors.Refused("the token expired", user_id="dave")
        return None

    async with served(authenticate=refuse) as server:
        notes = []
        for token in ("expired", "unknown"):
            async with server.peer() as peer:
                await peer.open("actors.v1")
                await peer.say({"op": "hello", "v": 1, "token": token})
                await peer.farewell()
            notes += queries.status(server.runtime).notes
        assert notes[0].startswith("credentials were refused once, the last at ")
        assert notes[0].endswith(" (the token expired), of dave; `actors why dave` says more")
        assert notes[1].startswith("credentials were refused 2 times, the last at ")
        assert notes[1].endswith(" (authenticate found no user for it), from 127.0.0.1, of a user who is not known")


async def test_drops() -> None:
    """Of each cause the last drop is named, with the user or the thread to ask for."""
    limits = actors.Limits(retained_events=2, write_bytes=1_000, unbound_events=1)
    async with served(limits=limits) as server, server.peer() as peer:
        await peer.attach("alice")
        for _ in range(2):
            await server.runtime.thread("held").emit("x", {})
        server.runtime.tree.thread_context.note_shed()
        while not any(one.cause is actors.Cause.RETENTION for one in server.runtime.dead_letters):
            await server.emit(20, size=100_000)
        notes = [note for note in queries.status(server.runtime).notes if note.startswith("events were dropped")]
        at = {str(one.cause): clock(one.at) for one in server.runtime.dead_letters}
        assert sorted(notes) == [
            "events were dropped (retention: left the log before any socket took it), the last at"
            f" {at['retention']}, of alice; `actors why alice` says more",
            "events were dropped (unbound_overflow: its thread had no owner, and its hold was full), the last at"
            f" {at['unbound_overflow']}, of thread held; `actors why --thread held` says more",
        ]


async def test_devices_that_are_behind() -> None:
    """Many events that a device lacks are told; a few, that it is about to be sent, are not."""
    async with actors.open_runtime() as runtime:
        survey = runtime.tree.pulse.survey
        survey.behind, survey.lag_events = 1, LAG_EVENTS
        assert lately.lately(runtime) == [
            "1 device is behind, by 100 events at most; `actors connections --behind` lists them"
        ]
        survey.lag_events -= 1
        assert lately.lately(runtime) == []
        await trio.lowlevel.checkpoint()
