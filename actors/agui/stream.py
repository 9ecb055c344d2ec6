"""A thread of a user as a stream of AG-UI events: its history, then what comes, joined without a seam."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime

import trio

from actors.agui.course import METADATA, Question
from actors.agui.mapper import Mapper
from actors.agui.messages import AguiEvent
from actors.agui.problems import row_of
from actors.connections.following import Following
from actors.errors import StoreError
from actors.events.delivered import Event
from actors.events.items import Ask, AskClosed, Gap, Inactive, Item, Reset
from actors.runtime import Runtime

PULSE_SECONDS = 15.0
"""Silence after which a client is told that the stream is there: half of what proxies wait at least."""

_RETRY_SECONDS = 0.5
"""The wait after a store could not load the log."""

Say = Callable[[list[AguiEvent]], Awaitable[None]]
"""Takes events to the client; none, to tell it that the stream is there."""


class ThreadStream:
    """One stream of one thread, to ``say``."""

    def __init__(self, runtime: Runtime, *, user_id: str, thread_id: str) -> None:
        self.mapper: Mapper = Mapper(thread_id)
        self.is_whole: bool = True
        """Nothing of the thread is missing."""
        self._runtime = runtime
        self._user_id = user_id
        self._thread_id = thread_id

    def __repr__(self) -> str:
        return f"<ThreadStream {self._user_id} {self.mapper!r}>"

    async def read(self) -> list[AguiEvent]:
        """Feed the mapper with what it does not have of the thread, if it is the user's; what it says to that."""
        said: list[AguiEvent] = []
        while self._runtime.owner(self._thread_id) == self._user_id:
            history = await self._runtime.read(self._thread_id, after_seq=self.mapper.seq)
            if history.head_seq < self.mapper.seq:
                said += self.mapper.reset()
                continue
            for event in history.events:
                said += self._feed(event)
            if not history.more:
                break
        return said

    async def follow(self, followed: Following, say: Say) -> None:
        """Say what comes, until the run that was asked for is over, or nothing more will come."""
        while not self.mapper.is_over:
            item: Item | None = None
            ended = True
            with trio.move_on_after(PULSE_SECONDS) as pulse, suppress(StopAsyncIteration):
                try:
                    item, ended = await anext(followed), False
                except StoreError:
                    await trio.sleep(_RETRY_SECONDS)
                    ended = False
            if pulse.cancelled_caught:
                await say([])
            elif ended:
                await say([self._end_of(followed)])
                return
            elif item is not None and (said := await self._take(item)):
                await say(said)

    async def _take(self, item: Item) -> list[AguiEvent]:
        match item:
            case Event():
                said = await self.read() if self._is_out_of_order(item) else []
                return said + self._feed(item)
            case Ask():
                return self.mapper.ask(self._question(item))
            case AskClosed():
                return self.mapper.ask_closed(item.id)
            case Gap():
                return await self.read()
            case Inactive():
                return await self.read() + self.mapper.lose(item.run_id, item.reason)
            case Reset():
                return self.mapper.reset()
        return []

    def _is_out_of_order(self, event: Event) -> bool:
        return event.seq > self.mapper.seq and _first_of(event) != self.mapper.seq + 1

    def _feed(self, event: Event) -> list[AguiEvent]:
        first, following = _first_of(event), self.mapper.seq + 1
        if event.seq < following:
            return []
        said: list[AguiEvent] = []
        if first > following:
            self.is_whole = False
            said += self.mapper.gap(following, first - 1)
        return said + self.mapper.feed(event)

    def _question(self, ask: Ask) -> Question:
        end: str | None = None
        if ask.timeout_s is not None:
            at = self._runtime.tree.context.environment.wall_clock() + ask.timeout_s
            end = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return Question(id=ask.id, type=ask.type, payload=ask.payload, run_id=ask.run_id, expires_at=end)

    def _end_of(self, followed: Following) -> AguiEvent:
        """Say why the stream ends before its run; a client that may come back for the rest is told so."""
        name, text = followed.ended or ("shutting_down", "")
        row = row_of(name)
        about = {"metadata": {METADATA: {"temporary": row.temporary}}}
        return {"type": "RUN_ERROR", "message": text or row.text, "code": name, **about}


def _first_of(event: Event) -> int:
    return event.seq if event.seq0 is None else event.seq0
