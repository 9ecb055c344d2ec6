"""The courier: it carries one client's messages between an ASGI server and a tunnel.

It lives in the loop of the ASGI server, Trio or asyncio: it needs an event of
that loop, and what is told to the tunnel goes through functions that its host
gives it. A server that raises has lost its client, whatever it says: that ends
the connection, and is not raised.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from actors.asgi.translation import ASGIMessage, Reply, Scope, bytes_of, close_of
from actors.errors import RuntimeClosed
from actors.kernel.failures import Barrier

Receive = Callable[[], Awaitable[ASGIMessage]]
Send = Callable[[ASGIMessage], Awaitable[None]]


LINGER_SECONDS = 2.0
"""The time for a client to answer a Close, or to go, while what it still says is read."""


class Bell(Protocol):
    """An event of the host's loop, set once."""

    def set(self) -> object:
        """Wake who waits."""

    async def wait(self) -> object:
        """Wait until it is set."""


class Far(Protocol):
    """The tunnel, from the courier's loop. The calls return at once, but for ``feed``."""

    async def feed(self, data: bytes) -> None:
        """Bring bytes of the client, and wait until they were received."""

    def stop(self) -> None:
        """Tell that the client sends nothing more."""

    def took(self, size: int) -> None:
        """Tell that the ASGI server has taken so many bytes."""

    def snap(self) -> None:
        """Tell that the ASGI server takes nothing more."""


class Courier:
    """The two ways of one client's messages."""

    def __init__(self, scope: Scope, *, receive: Receive, send: Send, make_bell: Callable[[], Bell]) -> None:
        self._is_http = scope["type"] == "http"
        self._reply = Reply(scope)
        self._receive = receive
        self._send = send
        self._make_bell = make_bell
        self._bell = make_bell()
        self._bags: deque[bytes] = deque()
        """Bytes to be carried out, oldest first."""
        self._answered = False
        """True once the ASGI server has taken a message."""
        self.lingers: bool = False
        """True once a conversation was ended with a Close, which the client may answer."""
        self._speaks = False
        """True once the upgrade was agreed to."""
        self._ended = False
        self._aborted = False

    # --- told by the tunnel, in the host's loop -----------------------------------

    def deliver(self, data: bytes) -> None:
        """Take bytes to be carried out."""
        self._bags.append(data)
        self._bell.set()

    def end(self, is_aborted: bool) -> None:
        """Carry nothing more than what was taken; or not even that."""
        self._ended = True
        self._aborted = self._aborted or is_aborted
        self._bell.set()

    def settle(self, *raised: BaseException) -> None:
        """Raise what the runtime has raised; not that it has closed, if its client was answered."""
        for error in raised:
            if not (self._answered and isinstance(error, RuntimeClosed)):
                raise error

    # --- the two ways, each in a task of the host's -------------------------------

    async def carry_in(self, far: Far) -> None:
        """Carry the client's messages to the tunnel, one at a time, up to its disconnect.

        Where it ``lingers`` its host lets it go on for ``LINGER_SECONDS`` after
        the end, because a server that is not read from may wait to hand over a
        message for ever, and keep the socket. After any other answer this is
        cancelled, because a server may wait for that.
        Of an HTTP request nothing is carried, because no answer depends on its body.
        """
        with Barrier(lambda error: self._lose(far, error)):
            while not self._is_http:
                message = await self._receive()
                data = bytes_of(message)
                if data:
                    await far.feed(data)
                if message["type"] == "websocket.disconnect":
                    far.stop()
                    break

    async def carry_out(self, far: Far) -> None:
        """Carry what the runtime writes to the ASGI server, until it has ended the connection."""
        with Barrier(lambda error: self._lose(far, error)):
            while not self._aborted:
                if self._bags:
                    data = self._bags.popleft()
                    await self._send_all(self._reply.feed(data), far)
                    far.took(len(data))
                elif self._ended:
                    await self._send_all(self._reply.end(), far)
                    break
                else:
                    self._bell = self._make_bell()
                    await self._bell.wait()

    async def cut(self) -> None:
        """Ask the ASGI server to end a conversation that the runtime has given up without a Close: some keep the socket
        of an application that has merely ended. It may take its time for a closing handshake."""
        if self._aborted and self._speaks and not self.lingers:
            with Barrier(_pass_on):
                await self._send({"type": "websocket.close", "code": 1011, "reason": "given up"})

    async def _send_all(self, messages: list[ASGIMessage], far: Far) -> None:
        for message in messages:
            if self._aborted:
                break
            await self._send(message)
            self._answered = True
            self._speaks = self._speaks or message["type"] == "websocket.accept"
            if message["type"] == "websocket.close":
                self.lingers = self._speaks
                # The rest of the closing handshake is the server's; some tell of its end, and some do not.
                await far.feed(close_of(message["code"], ""))
                far.stop()

    def _lose(self, far: Far, error: BaseException) -> None:
        far.snap()
        _pass_on(error)


def _pass_on(error: BaseException) -> None:
    """Raise what is no error of the server's but the host's own, as an asyncio.CancelledError."""
    if not isinstance(error, Exception):
        raise error
