"""Calls: one request on its way, from its bytes to checked arguments, and the answers to it."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import attrs
import msgspec
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Send

from actors.events.event import explain_json
from actors.events.traceparent import heeded
from actors.http.keys import Key
from actors.http.problems import RAISED, RETRY_AFTER, Problem
from actors.http.schemas import Error, Refusal
from actors.runtime import Runtime

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

PRIVATE = "actors.private"
"""The key of an ASGI scope by which the server of the API says that only this machine reaches it."""

_JSON = "application/json"
_encode = msgspec.json.Encoder(decimal_format="number").encode


@attrs.frozen(kw_only=True)
class Bounds:
    """The bounds of the API, each with its reason."""

    body_bytes: int = 1 << 20
    """One body, or one line of a stream: four times the largest event, so that white space is no reason to refuse."""
    head_seconds: float = 5.0
    """From accept, or from an answer, to the end of the next head. Programs send it whole."""
    body_seconds: float = 30.0
    """From the head to the end of a body. A megabyte at 35 KB/s."""
    discarded_bytes: int = 16 << 20
    """The rest of a body that was refused is read so far, because a client that is cut off sees no answer."""
    discarded_seconds: float = 2.0
    """The time for that."""
    requests: int = 1_000
    """Requests in progress, streams among them. Each holds a task and a socket."""
    waiting_bytes: int = 256 << 10
    """Answers of one stream that wait for their reader; beyond it no more is read."""
    write_seconds: float = 10.0
    """Time without progress after which a client that reads nothing is cut off."""


@attrs.frozen(kw_only=True)
class Call:
    """One request: what it asks for, and which program asks."""

    runtime: Runtime
    key: Key
    request: Request
    receive: Receive
    ids: Mapping[str, str]
    """The ids in the path, by name."""
    query: Any
    """The parameters, as the struct of the operation."""
    body: Any = None
    """The body, as the struct of the operation."""
    bounds: Bounds = Bounds()
    leaving: trio.Event = attrs.field(factory=trio.Event)
    """Set when the server goes, and what waits is to be answered as it is."""

    @property
    def thread_id(self) -> str:
        """The thread in the path, which the key must reach."""
        thread_id = self.ids["thread_id"]
        self.check_thread(thread_id)
        return thread_id

    @property
    def traceparent(self) -> str | None:
        """The trace that the request belongs to, as its header says."""
        headers: list[str] = self.request.headers.getlist("traceparent")
        return heeded(headers[0]) if len(headers) == 1 else None

    def check_thread(self, thread_id: str) -> None:
        """Raise Problem unless the key reaches a thread."""
        if not self.key.reaches_thread(thread_id):
            prefixes = ", ".join(map(repr, self.key.threads))
            raise Problem("forbidden", f"expected a thread whose id begins with {prefixes}, got {thread_id!r}")

    def check_user(self, user_id: str | None) -> None:
        """Raise Problem unless the key reaches a user; one that is bound to some reaches no thread without an owner."""
        if not self.key.users:
            return
        prefixes = ", ".join(map(repr, self.key.users))
        if user_id is None:
            raise Problem("forbidden", f"expected a user whose name begins with {prefixes}, the thread has no owner")
        if not self.key.reaches_user(user_id):
            raise Problem("forbidden", f"expected a user whose name begins with {prefixes}")

    async def owner(self, thread_id: str) -> str | None:
        """Return the owner of a thread, which the key must reach. Raises Problem, and StoreUnavailable."""
        owner = await self.runtime.tree.store.owner(thread_id)
        self.check_user(owner)
        return owner

    async def user_for(self, thread_id: str, user_id: str | None) -> str | None:
        """Return the user to emit for, who becomes the owner or must be it; the key must reach them.

        A key of some users emits for one of them in any case, so that an owner
        who comes in between is found out by the store.
        """
        self.check_thread(thread_id)
        if not self.key.users:
            return user_id
        if user_id is None:
            return await self.owner(thread_id)
        self.check_user(user_id)
        return user_id

    async def unless_gone(self, act: Callable[[], Awaitable[T]]) -> T | None:
        """Await a call, unless the client goes meanwhile, or the server: then the call is cancelled.

        Returns None where the server goes, and raises ClientGone where the client does.
        """
        found: T | None = None
        error: Exception | None = ClientGone()
        async with trio.open_nursery() as nursery:

            async def leave() -> None:
                nonlocal error
                await self.leaving.wait()
                error = None
                nursery.cancel_scope.cancel()

            async def watch() -> None:
                while (await self.receive())["type"] != "http.disconnect":
                    pass
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            nursery.start_soon(leave)
            try:
                found = await act()
                error = None
            except RAISED as raised:
                error = raised
            nursery.cancel_scope.cancel()
        if error is not None:
            raise error
        return found


def answer(value: msgspec.Struct, status: int = 200) -> Response:
    """Return a struct as an answer."""
    return Response(_encode(value), status, media_type=_JSON, headers={"cache-control": "no-store"})


def error_of(problem: Problem) -> Error:
    """Return a problem as it is written."""
    row = problem.row
    return Error(code=row.code, name=row.name, temporary=row.temporary, message=problem.text)


def refuse(problem: Problem, headers: Mapping[str, str], retry_seconds: float) -> Response:
    """Return the answer to a request that is not carried out."""
    response = answer(Refusal(error=error_of(problem)), problem.status)
    if problem.row.name in RETRY_AFTER:
        response.headers["retry-after"] = str(max(math.ceil(retry_seconds), 1))
    if problem.status == 401:
        response.headers["www-authenticate"] = "Bearer"
    response.headers.update(headers)
    return response


def read_query(request: Request, kind: type[S]) -> S:
    """Read the parameters. Raises Problem for one that is unknown, wrong, or there twice."""
    try:
        pairs = parse_qsl(
            request.scope["query_string"].decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict"
        ) if request.scope["query_string"] else []  # fmt: skip
    except ValueError:
        raise Problem("bad_request", "expected parameters as name=value, in UTF-8") from None
    values = dict(pairs)
    if len(values) < len(pairs):
        raise Problem("bad_request", "expected each parameter once")
    for name, value in values.items():
        if name.endswith("_s") and value.strip().lower().lstrip("+-") in {"nan", "inf", "infinity"}:
            raise Problem("bad_request", f"{name}: expected seconds, got {value}")
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise Problem("bad_request", f"parameters: {error}") from None


async def read_body(request: Request, receive: Receive, kind: type[S], bounds: Bounds) -> S:
    """Read a body as JSON. Raises Problem for what is too big, too slow or wrong."""
    check_content(request, _JSON)
    text = await _read(request, receive, bounds)
    try:
        text.decode()
        return msgspec.json.decode(text or b"{}", type=kind)
    except UnicodeDecodeError as error:
        byte = f"the byte 0x{text[error.start]:02x} at byte {error.start}"
        raise Problem("bad_request", f"expected UTF-8, got {byte}") from None
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise Problem("bad_request", f"body: {explain_json(text, error, 'body')}") from None


def check_content(request: Request, expected: str) -> None:
    """Raise Problem unless a body is of this type, in UTF-8 and as it is; one that is announced as empty need not be.

    The type is asked for because a page of another site can send a form or a
    plain text to this machine without asking, and nothing else.
    """
    headers = request.headers
    if "transfer-encoding" not in headers and headers.get("content-length", "0").strip("0") == "":
        return
    kind, _, parameters = headers.get("content-type", "").partition(";")
    charset = parameters.replace('"', "").replace(" ", "").lower()
    if kind.strip().lower() != expected or charset not in ("", "charset=utf-8"):
        got = repr(headers["content-type"]) if "content-type" in headers else "none"
        raise Problem("bad_request", f"expected Content-Type: {expected}, got {got}", status=415)
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem("bad_request", "expected a body without Content-Encoding", status=415)


async def _read(request: Request, receive: Receive, bounds: Bounds) -> bytes:
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > bounds.body_bytes:
        raise Problem("too_big", f"expected a body of at most {bounds.body_bytes} bytes, got {length}")
    body = bytearray()
    with trio.move_on_after(bounds.body_seconds):
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            body += message.get("body", b"")
            if len(body) > bounds.body_bytes:
                raise Problem("too_big", f"expected a body of at most {bounds.body_bytes} bytes, got more")
            if not message.get("more_body", False):
                return bytes(body)
    raise Problem("too_slow", f"expected the whole body within {bounds.body_seconds:g} s")


class ClientGone(Exception):
    """The client has gone before its request was whole; there is no one to answer."""


async def send_last(response: Response, receive: Receive, send: Send, bounds: Bounds) -> None:
    """Send an answer to a request of which the body was not read to its end; then read a part of that.

    A server closes such a connection, and bytes that were not read would
    make a reset of it, after which the client may not see the answer.
    """
    await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": True})
    left = bounds.discarded_bytes
    with trio.move_on_after(bounds.discarded_seconds):
        while left > 0:
            message = await receive()
            left -= len(message.get("body", b""))
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                break
    await send({"type": "http.response.body", "body": b"", "more_body": False})
