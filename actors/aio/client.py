"""A device for asyncio programs: the Python client in a thread of its own, iterated over from here.

async with aio.connect("wss://chat.example/ws", token=token) as session:
    await session.send({"text": "What is the weather in Oslo?"})
    async for item in session:
        ...
"""

from __future__ import annotations

import inspect
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import actors.client.session
from actors.aio.bridge import Bridge, host_loop
from actors.aio.frozen import frozen
from actors.aio.portal import Portal
from actors.aio.upcoming import Upcoming
from actors.client.errors import SessionEnded
from actors.client.items import Cancellation, State
from actors.client.options import Token
from actors.client.session import CONNECT_SECONDS, QUEUED_BYTES, QUEUED_ITEMS
from actors.environment import Environment
from actors.errors import RuntimeClosed
from actors.events.delivered import History
from actors.events.event import Payload
from actors.events.items import Cursor, Item, Sent
from actors.limits import Limits
from actors.protocol.client_messages import Origin

T = TypeVar("T")

_PATIENCE_SECONDS = 5.0
"""Time for a token's function to unwind when the session is left."""


class Session:
    """A session, from asyncio; made by :func:`connect`.

    Iterate over it in one task: an item is acked when the application comes
    back for the next one. What it raises is what ``actors.client.Session`` raises.
    """

    def __init__(self, bridge: Bridge, inner: actors.client.session.Session) -> None:
        self.cursor: Cursor | None = None
        """The cursor of the last item that was yielded; ``None`` before the first."""
        self._bridge = bridge
        self._inner = inner
        self._upcoming = Upcoming(bridge, self._take)

    @property
    def state(self) -> State:
        """The newest state."""
        return self._inner.state

    def __aiter__(self) -> Session:
        """Return the session itself."""
        return self

    async def __anext__(self) -> Item:
        """Return the next item. Cancelled, it stays the next item.

        Raises :class:`trio.BusyResourceError` when another task is iterating.
        """
        try:
            item, self.cursor = await self._upcoming.take()
        except RuntimeClosed:
            raise _ended() from None
        return item

    async def send(
        self,
        payload: Payload,
        *,
        thread_id: str | None = None,
        type: str = "user_message",  # noqa: A002 - its name
        traceparent: str | None = None,
    ) -> Sent:
        """Place a message in a thread, or in a new one; returns when the server has placed it.

        Waits for as long as the server cannot be reached: use ``asyncio.timeout``.
        Cancelled after it was sent, it may or may not be placed.
        """
        ready = frozen(type, payload, Limits())
        options: dict[str, Any] = {"thread_id": thread_id, "type": type, "traceparent": traceparent}
        return await self._call(partial(self._inner.send, ready, **options))

    async def answer(self, ask_id: str, payload: Payload) -> None:
        """Answer a question; of several devices' answers the first one counts."""
        await self._call(partial(self._inner.answer, ask_id, frozen("answer", payload, Limits())))

    async def cancel(self, run_id: str) -> Cancellation:
        """Cancel a run and those below it; returns when they have ended, or when the server's 5 seconds are over."""
        return await self._call(partial(self._inner.cancel, run_id))

    async def read(self, thread_id: str, *, after_seq: int = 0, limit: int | None = None) -> History:
        """Read at most ``limit`` of the events that one thread retains, after a ``seq``."""
        return await self._call(partial(self._inner.read, thread_id, after_seq=after_seq, limit=limit))

    def reconnect_now(self) -> None:
        """Make the next attempt now, because the machine has come online, or the user is looking at it again."""
        self._soon(self._inner.reconnect_now)

    async def _call(self, function: Callable[[], Awaitable[T]]) -> T:
        try:
            return await self._bridge.call(function)
        except RuntimeClosed:
            raise _ended() from None

    def _soon(self, function: Callable[..., object], *args: Any) -> None:
        try:
            self._bridge.soon(function, *args)
        except RuntimeClosed:
            raise _ended() from None

    async def _take(self) -> tuple[Item, Cursor | None]:
        item = await self._inner.__anext__()
        return item, self._inner.cursor


def _ended() -> SessionEnded:
    return SessionEnded("the connect block has ended")


@asynccontextmanager
async def connect(
    url: str,
    *,
    token: Token | None = None,
    cursor: Cursor | None = None,
    origin: Origin = "unacked",
    headers: Mapping[str, str] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    connect_seconds: float = CONNECT_SECONDS,
    queued_items: int = QUEUED_ITEMS,
    queued_bytes: int = QUEUED_BYTES,
    on_state: Callable[[State], None] = lambda state: None,
    environment: Environment | None = None,
) -> AsyncIterator[Session]:
    """Open a session with the server at a URL, for as long as the block runs, in a thread of its own.

    The options and errors are those of :func:`actors.client.connect`. A
    function for the ``token``, and ``on_state``, are called in this loop.
    Raises :class:`~actors.errors.ForeignLoop` where asyncio does not run.
    """
    bridge = Bridge(host_loop("connect", "in a Trio program, use actors.client.connect"))

    async def ask() -> str | None:
        assert callable(token), "a token that is text is not asked for"
        found = token()
        return await found if inspect.isawaitable(found) else found

    async def fresh_token() -> str | None:
        return await bridge.visit(ask)

    def tell(state: State) -> None:
        bridge.host(on_state, state)

    enter = partial(
        actors.client.session.connect,
        url,
        token=fresh_token if callable(token) else token,
        cursor=cursor,
        origin=origin,
        headers=headers,
        ssl_context=ssl_context,
        connect_seconds=connect_seconds,
        queued_items=queued_items,
        queued_bytes=queued_bytes,
        on_state=tell if callable(on_state) else on_state,
        environment=environment,
    )
    async with Portal(bridge, enter, name="actors client", patience_seconds=_PATIENCE_SECONDS) as portal:
        yield Session(bridge, portal.inner)
