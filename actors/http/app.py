"""The API as an ASGI application: which operation, which key, which arguments; and an answer, whatever happens.

It is plain ASGI, and runs where the runtime does: in Trio's loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlsplit

import trio
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from actors.events.event import check_identifier
from actors.http.calls import PRIVATE, Bounds, Call, ClientGone, read_body, read_query, refuse, send_last
from actors.http.keys import ANYONE, Key, Keys
from actors.http.leases import Leases
from actors.http.operations import Operation, Table, WrongMethod
from actors.http.problems import RAISED, Problem, problem_of
from actors.http.routes import table
from actors.http.tail import Bells
from actors.kernel.failures import Barrier, cancels
from actors.observability.lines import KEY_REFUSED
from actors.runtime import Runtime
from actors.wire.http import Page


class Api:
    """The producers' API of one runtime, an ASGI application; :func:`open_api` makes it."""

    def __init__(
        self, runtime: Runtime, *, keys: Keys | None, bounds: Bounds, pages: Mapping[str, Page], nursery: trio.Nursery
    ) -> None:
        self._runtime = runtime
        self._keys = keys
        self._bounds = bounds
        self.leases: Leases = Leases(runtime, nursery)
        """The runs of programs elsewhere."""
        self._table: Table = table(self.leases, Bells(runtime), pages)
        self._requests = 0
        self._leaving = trio.Event()

    def __repr__(self) -> str:
        return f"<Api of {self._runtime!r}, {self._requests} requests in progress>"

    def leave(self) -> None:
        """Let no request wait any longer, because the server goes: each is answered as it stands, streams end."""
        self._leaving.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; what an operation raises is a failure of the runtime's, and of this request alone."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        else:
            self._requests += 1
            try:
                await self._answer(scope, receive, send)
            finally:
                self._requests -= 1

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = _Body(receive)
        begun = _Begun(send)
        problem = Problem("failed")
        headers: dict[str, str] = {}

        def report(error: BaseException) -> None:
            self._runtime.failures.report("http", f"{scope['method']} {scope['path']}", error)

        with Barrier(report):
            try:
                response = await self._carry_out(scope, body.receive)
                await response(scope, body.receive, begun.send)
                return
            except ClientGone:
                return
            except RAISED as error:
                problem = problem_of(error)
                headers = {"allow": problem.allow} if isinstance(problem, WrongMethod) else {}
        if begun.is_set:  # there is no way to take an answer back but to break it off
            raise BrokenAnswer(problem.text)
        response = refuse(problem, headers, self._runtime.limits.retry_seconds)
        if body.is_read:
            await response(scope, body.receive, send)
        else:
            await send_last(response, body.receive, send, self._bounds)

    async def _carry_out(self, scope: Scope, receive: Receive) -> ASGIApp:
        request = Request(scope)
        operation, ids = self._table.find(scope["method"], _path_of(scope))
        key = self._key(request, operation)
        if self._requests > self._bounds.requests:
            raise Problem("too_many_requests", f"expected at most {self._bounds.requests} requests at once")
        for name, value in ids.items():
            check_identifier(name, value)
        query = read_query(request, operation.query)
        body: Any = None
        if operation.body is not None and not operation.lines:
            body = await read_body(request, receive, operation.body, self._bounds)
        call = Call(
            runtime=self._runtime, key=key, request=request, receive=receive,
            ids=ids, query=query, body=body, bounds=self._bounds,
            leaving=self._leaving,
        )  # fmt: skip
        response: ASGIApp = await operation.act(call)
        return response

    def _key(self, request: Request, operation: Operation) -> Key:
        """Return the key of a request. Raises Problem for none, and for one that does not reach the operation."""
        if self._keys is None:
            if not request.scope.get(PRIVATE):
                raise Problem("forbidden", "expected an API with keys, because others may reach this server")
            _check_local(request)
            return ANYONE
        if operation.open:
            return Key(name="any")
        key = self._keys.find(request.headers.get("authorization"))
        if key is None:
            raise self._refused(request, "unauthenticated", "expected Authorization: Bearer and a key of this server")
        if operation.admin and not key.admin:
            raise self._refused(request, "forbidden", "expected a key with admin = true", key)
        return key

    def _refused(self, request: Request, reason: str, text: str, key: Key | None = None) -> Problem:
        """Say in the log that a program was refused for its key, which is named and never shown; returns the answer."""
        peer = "an unknown address" if request.client is None else request.client.host
        name = "none that is known" if key is None else key.name
        lines = self._runtime.tree.context.lines
        lines.say(KEY_REFUSED, (peer, name), peer=peer, reason=reason, key=name, why=text)
        return Problem(reason, text)


class BrokenAnswer(Exception):
    """An answer had begun when it failed; the connection is broken off, so that the client sees it."""


class _Body:
    """Notes if a request was read to its end."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.is_read = False

    async def receive(self) -> Any:
        message = await self._receive()
        self.is_read = self.is_read or not message.get("more_body", False)
        return message


class _Begun:
    """Notes if an answer has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.is_set = False

    async def send(self, message: Any) -> None:
        self.is_set = True
        await self._send(message)


@asynccontextmanager
async def open_api(
    runtime: Runtime,
    *,
    keys: Keys | None = None,
    bounds: Bounds | None = None,
    pages: Mapping[str, Page] = MappingProxyType({}),
) -> AsyncIterator[Api]:
    """Make the API of a runtime, an ASGI application for a server in the same Trio loop.

    ``keys`` says which programs may call; without them every program of this
    machine may, and only :func:`~actors.http.server.serve` on loopback is
    answered, because what reaches a host's own server could forge the rest.
    ``pages`` are shown beside it, by path and without a key: the inspector is
    :func:`actors.web.inspector_pages`. At the end of the block the runs of
    programs elsewhere are cancelled. The body's own exception comes out bare,
    not in a group.
    """
    ended: BaseException | None = None
    async with trio.open_nursery() as nursery:
        api = Api(runtime, keys=keys, bounds=bounds or Bounds(), pages=pages, nursery=nursery)
        nursery.start_soon(_leave_with, runtime, api)
        try:
            yield api
        except BaseException as error:
            if cancels(error):
                raise
            ended = error
        nursery.cancel_scope.cancel()
    if ended is not None:
        raise ended


async def _leave_with(runtime: Runtime, api: Api) -> None:
    """Let requests end when the runtime ends the connections of devices, because a host's server waits for them."""
    await runtime.tree.server.closing.wait()
    api.leave()


def _path_of(scope: Scope) -> bytes:
    """Return the path within this application, as it came: still quoted."""
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    root = quote(scope.get("root_path", "")).encode()
    return raw.removeprefix(root) if root else raw


def _check_local(request: Request) -> None:
    """Raise Problem for what a page of another site makes a browser send, where no key is asked for.

    A page may name this machine in a form, and by a name of its own that means
    this machine; then a browser tells on it with ``Origin``, or with ``Host``.
    A page of this very server has its address as its origin: the inspector.
    """
    at = request.headers.get("host", "")
    try:
        host = urlsplit(f"//{at}").hostname or ""
    except ValueError:  # brackets around what is no address
        host = ""
    own = f"{request.url.scheme}://{at}"
    if request.headers.get("origin", own) != own or not _is_loopback(host):
        raise Problem("forbidden", "expected a program of this machine and no page, since keys are not checked")


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


async def _live(receive: Receive, send: Send) -> None:
    """Answer a server that asks how the application lives: as long as its runtime."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
