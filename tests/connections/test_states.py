"""The states of connections: pages of them, in order, and nothing looked at that is not on the page."""

from __future__ import annotations

import pytest
import trio

import actors
from actors import ConnectionState
from actors.connections.actor import Connection
from tests.support.raw import ACTORS, upgrade_request
from tests.support.served import served


async def test_every_kind() -> None:
    """A client of the protocol, a plain one, one that has said nothing and a follower, each as far as it has come."""
    async with served() as server, server.peer() as first, server.peer() as plain, server.peer() as silent:
        runtime = server.runtime
        await first.attach("alice")
        await plain.ask(upgrade_request(cookie="actors_token=bob"))
        await silent.open(ACTORS)
        async with runtime.follow("alice"):
            await server.emit(3)
            for _ in range(3):
                event = await first.next_event()
            await first.ack(event["offset"] - 1)
            await first.echo()
            states = runtime.connections()
    assert [(one.label, one.user_id, one.kind, one.state) for one in states] == [
        ("c1", "alice", "v1", "live"),
        ("c2", "bob", "plain", "live"),
        ("c3", None, "v1", "saying hello"),
        ("f1", "alice", "follower", "catching up"),
    ]
    assert [(one.cursor, one.written, one.head, one.lag_events) for one in states] == [
        (2, 3, 3, 0),
        (0, 0, 0, 0),
        (None, None, None, 0),
        (0, 0, 3, 3),
    ]
    assert [one.backlog_bytes is None for one in states] == [False, False, False, True]
    assert len({one.epoch for one in states if one.user_id == "alice"}) == 1
    assert all(one.since > 0 for one in states)


async def test_pages() -> None:
    """Pages follow each other by the last label, also where that one has gone, and join to the whole list."""
    async with served() as server:
        runtime = server.runtime
        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(_hold, server, nursery)
            while len(runtime.connections()) < 12:  # noqa: ASYNC110 - a handshake has nothing to wait for
                await trio.sleep(0.001)
            async with runtime.follow("alice"), runtime.follow("alice"):
                whole = [one.label for one in runtime.connections()]
                assert whole == [*(f"c{number}" for number in range(1, 13)), "f1", "f2"]
                pages: list[tuple[ConnectionState, ...]] = [runtime.connections(limit=5)]
                while pages[-1]:
                    pages.append(runtime.connections(after=pages[-1][-1].label, limit=5))
                assert [one.label for page in pages for one in page] == whole
                assert [one.label for one in runtime.connections(after="c99999", limit=1)] == ["f1"]
                assert [one.label for one in runtime.connections(after="f1")] == ["f2"]
                assert runtime.connections(after="f2") == ()
            nursery.cancel_scope.cancel()


async def _hold(server: object, nursery: trio.Nursery) -> None:
    async with server.peer() as peer:  # type: ignore[attr-defined]  # a Served
        await peer.open(ACTORS)
        await trio.sleep_forever()


async def test_only_the_page_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of two costs two looks, however many connections there are."""
    looked: list[str] = []

    def look(connection: Connection) -> str:
        looked.append(connection.label)
        return connection.label

    async with served() as server, server.peer() as a, server.peer() as b, server.peer() as c, server.peer() as d:
        for peer in (a, b, c, d):
            await peer.open(ACTORS)
        while len(server.runtime.connections()) < 4:  # noqa: ASYNC110 - as above
            await trio.sleep(0.001)
        monkeypatch.setattr("actors.connections.states.state_of_connection", look)
        server.runtime.connections(after="c1", limit=2)
    assert looked == ["c2", "c3"]


@pytest.mark.parametrize("label", ["", "c", "c0", "g1", "c1 ", "1", "f-1", "c" + "9" * 5_000])
async def test_no_label(label: str) -> None:
    """What is no label is refused with what one looks like; a stranger's text is not looked for."""
    async with actors.open_runtime() as runtime:
        with pytest.raises(ValueError, match="after: expected the label of a connection, such as c12 or f3"):
            runtime.connections(after=label)


async def test_no_limit() -> None:
    """A page of nothing is a mistake, and so is one of less."""
    async with actors.open_runtime() as runtime:
        for limit in (0, -1):
            with pytest.raises(ValueError, match="limit: expected a whole number from 1 on"):
                runtime.connections(limit=limit)
