"""Answering: a program elsewhere that answers the messages of users, over a webhook.

Its answer is the run: an object, or a line for each of what it says as it says
it; or 202, and then it tells with requests of its own, under a lease.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import msgspec
import trio

from actors.events.event import Lifecycle
from actors.events.json_lines import LINE_BYTES, Line, LineReader
from actors.http.leases import AgentFailure, Lease, Leases, failure_of
from actors.http.schemas import JsonObject, RunFailure, StrictStruct, empty_object
from actors.http.webhook import Webhook
from actors.runs.run import Message, Run
from actors.server.messages import name_of

_LEASE_SECONDS = 60.0
_TOO_LONG = "expected an object, or lines, of at most a megabyte each"
_CLOSE_SECONDS = 1.0
_encode = msgspec.json.Encoder().encode


class Said(StrictStruct):
    """One object, or one line, of an answer."""

    text: str | None = None
    """Text of the answer, as ``agent_delta``."""
    type: str | None = None
    """The type of an event, with its payload."""
    payload: JsonObject = msgspec.field(default_factory=empty_object)
    result: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    """The result of the run; any JSON value."""
    error: RunFailure | None = None
    """The run has failed."""


class BadAnswer(AgentFailure):
    """An answer of a program that cannot be understood."""


class Answering:
    """The ``on_message`` of a program elsewhere."""

    def __init__(self, webhook: Webhook) -> None:
        self._webhook = webhook
        self._leases: Leases | None = None
        self._begun = trio.Event()

    def __repr__(self) -> str:
        return f"<Answering by {self._webhook!r}>"

    def begin(self, leases: Leases | None) -> None:
        """Begin to answer, with the leases of the API if there is one: by them a program may go on with its answer.

        A runtime that continues an earlier life has messages before its API is there; they wait for this.
        """
        self._leases = leases
        self._begun.set()

    async def on_message(self, run: Run, message: Message) -> Any:
        """Ask for the answer to a message, and tell it as it comes; a run that is cancelled breaks it off."""
        await self._begun.wait()
        body = _encode(
            {
                "thread_id": message.thread_id,
                "user_id": message.user_id,
                "event_id": message.event_id,
                "run_id": run.run_id,
                "type": message.type,
                "payload": message.payload,
            }
        )
        id_ = f"msg_{name_of(message.thread_id, message.event_id)}"
        if self._leases is None:
            return await self._ask(run, id_, body, None)
        with self._leases.lend(run, _LEASE_SECONDS) as lease:  # before it is asked, because it may be quick
            return await self._ask(run, id_, body, lease)

    async def _ask(self, run: Run, id_: str, body: bytes, lease: Lease | None) -> Any:
        response = await self._webhook.send(id_, body, traceparent=run.traceparent)
        try:
            if response.status_code != httpx.codes.ACCEPTED:
                return await self._tell(run, response)
        finally:
            await response.aclose()
        if lease is None or self._leases is None:
            raise BadAnswer("expected the answer, got 202, and there is no API by which it could follow")
        lease.touch()
        await self._leases.conclude(lease)
        return run.result

    async def _tell(self, run: Run, response: httpx.Response) -> Any:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise BadAnswer("expected an answer without Content-Encoding")
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        reader = LineReader()
        whole: list[bytes] = []
        try:
            async with _pieces(response) as pieces:
                async for piece in pieces:
                    whole += [await self._take(run, line, kind) for line in reader.feed(piece)]
                    if sum(map(len, whole)) > LINE_BYTES:
                        raise BadAnswer(_TOO_LONG)
        except httpx.TransportError as error:
            raise BadAnswer(f"expected the whole answer, it broke off ({error or type(error).__name__})") from None
        whole += [await self._take(run, line, kind) for line in reader.finish()]
        if kind != "application/x-ndjson" and (text := b"\n".join(whole).strip()):
            await _say(run, text)
        return run.result

    async def _take(self, run: Run, line: Line, kind: str) -> bytes:
        """Say a line of a stream; return one of a single object, which may be printed on several."""
        if line.text is None:
            raise BadAnswer(_TOO_LONG)
        if kind == "application/x-ndjson":
            if line.text.strip():
                await _say(run, line.text)
            return b""
        if kind != "application/json":
            raise BadAnswer(f"expected application/json or application/x-ndjson, got {kind or 'no content type'}")
        return line.text


@asynccontextmanager
async def _pieces(response: httpx.Response) -> AsyncIterator[AsyncIterator[bytes]]:
    """Read the body of an answer in the block; left early, close it, and end what reads it in the library below.

    An asynchronous generator that is left where it is would be ended by the garbage collector, at some other time.
    """
    pieces = response.aiter_raw()
    try:
        yield pieces
    finally:
        with trio.move_on_after(_CLOSE_SECONDS, shield=True):
            await response.aclose()
            with suppress(httpx.TransportError):
                async for _ in pieces:
                    pass


async def _say(run: Run, text: bytes) -> None:
    try:
        said = msgspec.json.decode(text, type=Said)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadAnswer(f"expected text, an event, a result or an error, {error}") from None
    if said.text:
        try:
            run.delta(said.text)
        except trio.WouldBlock:
            await run.emit(Lifecycle.AGENT_DELTA, {"text": said.text})
    if said.type is not None:
        await run.emit(said.type, said.payload)
    if said.result:
        run.result = msgspec.Raw(said.result)
    if said.error is not None:
        raise failure_of(said.error)
    await trio.lowlevel.checkpoint()
