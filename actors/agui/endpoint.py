"""The endpoint: AG-UI over server-sent events, as ``HttpAgent`` of ``@ag-ui/client`` asks for it.

    POST    a RunAgentInput: a run, from its prelude to its end or to a question
    GET     ?threadId=…: the thread from a prelude on, across its runs
    DELETE  ?threadId=…&runId=…: cancel that run, or without ``runId`` the one that is active

It is an ASGI application of the runtime's own loop. A client that goes away
ends its stream and nothing else; the same POST again is the same run, said from
a prelude on, because a message has its id from the run that the client named.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import blake2b

import attrs
import msgspec

from actors.agui.exchange import Exchange
from actors.agui.problems import RAISED, Refused
from actors.agui.requests import Asked, parse
from actors.agui.stream import ThreadStream
from actors.asgi.courier import Receive, Send
from actors.asgi.translation import Scope, head_of, peer_of
from actors.connections.following import Following
from actors.events.event import check_identifier
from actors.kernel.bounded import RecentMap
from actors.runtime import Runtime
from actors.server.origins import is_loopback

_REMEMBERED = 10_000
"""Runs by the names that clients have for them, and questions, that are remembered: what a client may still ask for."""

_METHODS = b"GET, POST, DELETE"


@attrs.frozen(kw_only=True)
class _Focus:
    """The run that a request is answered with."""

    run_id: str
    is_answer: bool = False


class Endpoint:
    """The ASGI application; :func:`open_endpoint` opens one beside a runtime."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._runs: RecentMap[tuple[str, str, str], str] = RecentMap(_REMEMBERED)
        """Runs by user, thread and the client's own name."""
        self._askers: RecentMap[str, str] = RecentMap(_REMEMBERED)
        """Runs by the questions that they have asked."""

    def __repr__(self) -> str:
        return f"<Endpoint of {self._runtime!r}>"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Nothing of what it is refused for is raised."""
        if scope["type"] != "http":
            raise RuntimeError(f"expected an HTTP request, got {scope['type']}")
        exchange = Exchange(scope, receive=receive, send=send)
        try:
            await self._answer(exchange)
        except RAISED as error:
            await exchange.refuse(error)

    async def _answer(self, exchange: Exchange) -> None:
        match exchange.scope["method"]:
            case "POST":
                await self._run(exchange)
            case "GET":
                await self._connect(exchange)
            case "DELETE":
                await self._cancel(exchange)
            case method:
                refused = Refused("unknown_op", f"expected {_METHODS.decode()}, got {method}")
                await exchange.refuse(refused, (b"allow", _METHODS))

    async def _identify(self, exchange: Exchange) -> str:
        scope = exchange.scope
        authentication = self._runtime.tree.server.authentication
        server = scope.get("server")
        is_here = server is not None and server[1] is not None and is_loopback(server[0])
        if authentication.is_trusting and not is_here:
            text = "expected a server on a loopback address while tokens are not checked; pass authenticate"
            raise Refused("unauthenticated", text)
        return await authentication.identify_hello(head_of(scope, scope["path"]), peer_of(scope), exchange.token)

    # --- a run ----------------------------------------------------------------------

    async def _run(self, exchange: Exchange) -> None:
        kind = exchange.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # a page elsewhere may send anything else without asking
            raise Refused("bad_request", f"expected Content-Type: application/json, got {kind[:80]!r}")
        user_id = await self._identify(exchange)
        asked = parse(await exchange.body())
        for name in ("thread_id", "run_id"):
            check_identifier(name, getattr(asked, name))
        async with exchange.until_it_leaves(), self._runtime.follow(user_id, asked.thread_id) as followed:
            stream = ThreadStream(self._runtime, user_id=user_id, thread_id=asked.thread_id)
            stream.mapper.recall(asked.messages)
            focus = await self._begin(stream, asked, user_id)
            self._runs.put((user_id, asked.thread_id, asked.run_id), focus.run_id)
            await stream.read()
            said = stream.mapper.prelude(
                asked.messages,
                alias=asked.run_id,
                of=focus.run_id,
                is_whole=stream.is_whole,
                is_answer=focus.is_answer,
            )
            await exchange.say(said)
            await self._follow(exchange, stream, followed)

    async def _follow(self, exchange: Exchange, stream: ThreadStream, followed: Following) -> None:
        async def say(events: list[dict[str, object]]) -> None:
            self._note_questions(events)
            await exchange.say(events)

        await stream.follow(followed, say)
        await exchange.finish()

    async def _begin(self, stream: ThreadStream, asked: Asked, user_id: str) -> _Focus:
        """Answer what was asked, or send what is new; returns the run that goes on, or begins."""
        message = asked.message
        if asked.resume:
            await stream.read()
            for answer in asked.resume:
                name = _name(user_id, asked.thread_id, asked.run_id, answer.interrupt_id)
                # One that is closed, or was answered elsewhere, is as good as answered: the run has gone on.
                self._runtime.tree.asks.answer(answer.interrupt_id, answer.content, user_id, name)
            if not asked.ends_with_the_user or message is None or stream.mapper.knows(message["id"]):
                asker = self._askers.get(asked.resume[0].interrupt_id)
                run_id = (asker and stream.mapper.top_of(asker)) or stream.mapper.newest
                if run_id is None:
                    raise Refused("unknown_run", "expected a question of a run of this thread")
                return _Focus(run_id=run_id, is_answer=True)
        if message is None:
            raise Refused("bad_request", "expected a message of the user, got none")
        name = _name(user_id, asked.thread_id, asked.run_id)
        thread = self._runtime.thread(asked.thread_id)
        payload = asked.payload_of(message)
        sent = await thread.send(payload, user_id=user_id, message_id=f"m_{name}", run_id=f"run_{name}", authorize=True)
        if sent.run_id is None:
            raise Refused("bad_request", "expected a server that answers messages, this one has no on_message")
        return _Focus(run_id=sent.run_id)

    def _note_questions(self, events: list[dict[str, object]]) -> None:
        for event in events:
            match event:
                case {"outcome": {"type": "interrupt", "interrupts": interrupts}}:
                    for interrupt in interrupts:
                        self._askers.put(interrupt["id"], interrupt["metadata"]["trio-actors"].get("run_id", ""))

    # --- a thread, and the end of a run ---------------------------------------------

    async def _connect(self, exchange: Exchange) -> None:
        user_id, thread_id = await self._identify(exchange), _thread_of(exchange)
        async with exchange.until_it_leaves(), self._runtime.follow(user_id, thread_id) as followed:
            stream = ThreadStream(self._runtime, user_id=user_id, thread_id=thread_id)
            await stream.read()
            await exchange.say(stream.mapper.prelude(is_whole=stream.is_whole))
            await self._follow(exchange, stream, followed)

    async def _cancel(self, exchange: Exchange) -> None:
        user_id, thread_id = await self._identify(exchange), _thread_of(exchange)
        name = exchange.parameter("runId")
        if name is None:
            stream = ThreadStream(self._runtime, user_id=user_id, thread_id=thread_id)
            await stream.read()
            run_id = stream.mapper.saying
        else:
            run_id = self._runs.get((user_id, thread_id, name)) or f"run_{_name(user_id, thread_id, name)}"
        outcome = None if run_id is None else await self._runtime.tree.runs.endings.cancel(run_id, "user", user_id)
        if outcome is None:
            raise Refused("unknown_run")
        await exchange.answer(200, {"stopped": outcome.stopped, "running": outcome.running})


@asynccontextmanager
async def open_endpoint(runtime: Runtime) -> AsyncIterator[Endpoint]:
    """Open the endpoint beside a runtime: ``Realtime(apps={"/agui": actors.agui.open_endpoint})``."""
    yield Endpoint(runtime)


def _thread_of(exchange: Exchange) -> str:
    thread_id = exchange.parameter("threadId")
    if not thread_id:
        raise Refused("bad_request", "expected a parameter threadId")
    check_identifier("threadId", thread_id)
    return thread_id


def _name(*parts: str) -> str:
    """Derive a name from a request: the same for the same request of the same user."""
    return blake2b(msgspec.json.encode(parts), digest_size=12).hexdigest()
