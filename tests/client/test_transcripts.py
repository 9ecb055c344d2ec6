"""The client plays its side of the transcripts in ``tests/protocol/transcripts``, in memory and in virtual time."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.client import (
    Active,
    Ask,
    AskClosed,
    CaughtUp,
    Cursor,
    Event,
    Gap,
    Inactive,
    Item,
    RequestRefused,
    Reset,
    Session,
    SessionEnded,
    SessionLost,
    connect,
)
from actors.environment import Environment
from tests.protocol.reading import Scenario
from tests.support.client_interface import ClientView, ServerSide, SessionOptions
from tests.support.expected_items import DeliveredItem
from tests.support.expected_items import event as given_event
from tests.support.raw import Message
from tests.support.scripted_server import URL, Line, Scripted, server
from tests.support.transcript_runner import left_out, play, plays

__all__ = ["server"]

PLAYS = plays({})


class Highest(random.Random):
    """Makes every wait as long as it may be."""

    def random(self) -> float:
        """Almost 1."""
        return 1 - 2**-53


class Library:
    """The client, and an application that takes all it is given."""

    def __init__(self, server: Scripted, clock: MockClock, nursery: trio.Nursery) -> None:
        self._server = server
        self._clock = clock
        self._nursery = nursery
        self._given: list[DeliveredItem] = []
        self._outcomes: dict[str, Message] = {}
        self._refused: int | None = None
        self._session: Session
        self._asking: trio.Nursery
        self._left = trio.Event()
        self._free = trio.Event()
        self._free.set()

    async def begin(self, chosen: SessionOptions) -> None:
        """Open a session in a task of its own."""
        self._left = trio.Event()
        self._nursery.start_soon(self._apply, chosen)

    async def accept(self) -> Line:
        """The next connection, in memory."""
        return await self._server.accept()

    async def ask(self, id_: str, request: Message) -> None:
        """Make a request in a task of its own."""
        self._asking.start_soon(self._ask, id_, request)

    async def hold(self) -> None:
        """Keep the next item in hand."""
        self._free = trio.Event()

    async def release(self) -> None:
        """Take items again."""
        self._free.set()

    async def leave(self) -> None:
        """Leave the ``connect`` block."""
        self._left.set()

    async def settle(self, server_side: ServerSide | None) -> ClientView:
        """Everything is in this process, so what waits waits for time."""
        await wait_all_tasks_blocked()
        cursor = self._session.cursor
        kept = None if cursor is None else (cursor.epoch, cursor.offset)
        return ClientView(self._server.attempts, self._given, self._outcomes, self._refused, kept)

    async def advance(self, most_seconds: float) -> float:
        """To the next deadline, a little more lest it be lost in rounding."""
        until = trio.lowlevel.current_statistics().seconds_to_next_deadline
        seconds = max(0.0, min(until, most_seconds))
        self._clock.jump(seconds + 1e-9)
        return seconds

    async def _apply(self, chosen: SessionOptions) -> None:
        options: dict[str, Any] = {"token": chosen.token, "origin": chosen.origin}
        if chosen.cursor is not None:
            options["cursor"] = Cursor(*chosen.cursor)
        if chosen.cookie is not None:
            options["headers"] = {"Cookie": f"actors_token={chosen.cookie}"}
        async with (
            connect(URL, environment=Environment(random=Highest()), **options) as self._session,
            trio.open_nursery() as self._asking,
        ):
            self._asking.start_soon(self._take)
            await self._left.wait()
            self._asking.cancel_scope.cancel()

    async def _take(self) -> None:
        try:
            async for item in self._session:
                self._given.append(delivered(item))
                await self._free.wait()
        except SessionEnded as error:
            self._refused = error.code

    async def _ask(self, id_: str, request: Message) -> None:
        try:
            self._outcomes[id_] = msgspec.json.decode(msgspec.json.encode(await self._asked(request)))
        except RequestRefused as error:
            self._outcomes[id_] = {
                "code": error.code,
                "name": error.name,
                "temporary": error.temporary,
                "message": str(error),
            }
        except SessionLost:
            self._outcomes[id_] = {"name": "session_lost"}

    async def _asked(self, request: Message) -> Any:
        def named(*names: str) -> dict[str, Any]:
            return {name: request[name] for name in names if name in request}

        match request:
            case {"op": "send", "payload": payload}:
                return await self._session.send(payload, **named("thread_id", "type", "traceparent"))
            case {"op": "cancel", "run_id": run_id}:
                return await self._session.cancel(run_id)
            case {"op": "answer", "ask": ask, "payload": payload}:
                await self._session.answer(ask, payload)
                return {}
            case {"op": "read", "thread_id": thread_id}:
                return await self._session.read(thread_id, **named("after_seq", "limit"))
        raise AssertionError(request)


def delivered(item: Item) -> DeliveredItem:
    """An item, as the runner compares it."""
    match item:
        case Event():
            return given_event(msgspec.to_builtins(item))
        case Gap(first, last, cause):
            return ("gap", first, last, cause)
        case Reset(epoch, low):
            return ("reset", epoch, low)
        case CaughtUp(offset):
            return ("caught_up", offset)
        case Active():
            return ("active", item.run_id, item.payload, item.waiting)
        case Inactive(run_id, reason):
            return ("inactive", run_id, reason)
        case Ask():
            return ("ask", item.id, item.payload)
        case AskClosed(id_, reason):
            return ("ask_closed", id_, reason)


@pytest.mark.parametrize(("scenario", "device"), PLAYS, ids=str)
async def test_the_client_does_what_the_transcript_has(
    server: Scripted, scenario: Scenario, device: str, mock_clock: MockClock
) -> None:
    """Its messages, acks, items and reconnects are those of the transcript."""
    async with trio.open_nursery() as nursery:
        await play(Library(server, mock_clock, nursery), scenario, device)
        nursery.cancel_scope.cancel()


def test_nothing_else_is_left_out() -> None:
    """All that is not for servers only is played, but for what has a reason."""
    assert left_out({}) == {"opening:ticket:A", "requests:too_many_requests:A"}
    assert len({str(scenario) for scenario, _ in PLAYS}) >= 140
    assert len(PLAYS) >= 180
