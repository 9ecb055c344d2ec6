"""The runtime, from asyncio: in a thread with Trio in it, while everything of the host is asyncio's.

async with aio.open_runtime(on_message=assistant) as runtime:
    host, port = await runtime.serve(port=8765)
    receipt = await runtime.thread("t1").emit("report_ready", {"pages": 3}, user_id="alice")
    await receipt.reached(actors.Stage.ACKED)
"""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, TypeVar, overload
from weakref import WeakValueDictionary

import actors.runtime
from actors.aio.adapters import Hosted
from actors.aio.bridge import Bridge, host_loop
from actors.aio.following import Following, followed
from actors.aio.frozen import frozen
from actors.aio.line import Line
from actors.aio.portal import Portal
from actors.aio.receipt import Fate, Receipt, fate_from
from actors.aio.run import Run, opened
from actors.checks import check_instance
from actors.delivery.balance import Audit
from actors.delivery.dead_letters import DeadLetter
from actors.environment import Environment
from actors.events.delivered import History
from actors.events.event import Payload
from actors.events.items import Sent
from actors.kernel.failures import Failure
from actors.limits import Limits
from actors.observability.connection_state import ConnectionState
from actors.observability.statistics import Statistics
from actors.protocol.client_messages import Origin
from actors.runs.asks import Answer
from actors.runs.endings import Cancellation
from actors.runs.lead import AHEAD_SECONDS
from actors.runs.run import Message
from actors.runs.supervisor import OnDisconnect
from actors.runs.turns import Concurrency
from actors.server.authentication import COOKIE, Authenticate, trust
from actors.server.drain import DrainReport, RunsPolicy
from actors.server.handshake import Service
from actors.server.messages import Authorize, deny
from actors.stores.store import Store
from actors.wire.http import Page

T = TypeVar("T")

_MOMENT_SECONDS = 0.2

OnMessage = Callable[[Run, Message], Awaitable[Any]]
"""The application's coroutine function that answers a user's message, in the host's loop; its result is the run's."""

OnUndelivered = Callable[[Fate], Awaitable[None]]
"""The application's coroutine function that takes the fate of an event that no device acked in time."""


class Thread:
    """The handle of a conversation; cheap, because it holds no state of it."""

    __slots__ = ("_bridge", "_inner", "_limits", "_line", "thread_id")

    def __init__(self, bridge: Bridge, inner: actors.runtime.Thread, *, limits: Limits, line: Line) -> None:
        self.thread_id = inner.thread_id
        self._bridge = bridge
        self._inner = inner
        self._limits = limits
        self._line = line

    def __repr__(self) -> str:
        return f"<aio.Thread {self.thread_id}>"

    async def emit(
        self,
        type: str,  # noqa: A002 - the word of the protocol
        payload: Payload,
        *,
        run_id: str | None = None,
        event_id: str | None = None,
        user_id: str | None = None,
    ) -> Receipt:
        """Emit an event; waits for room, and with ``ahead`` for devices. Tasks wait in the order of their calls.

        The arguments and errors are those of ``actors.Thread.emit``; the
        payload is encoded in this call, and may be changed afterwards. What it
        raises of those errors, that event is not delivered. Cancelled, the
        event may be on its way already: emit again under an ``event_id``, and
        it is there once.
        """
        ready = frozen(type, payload, self._limits)
        options: dict[str, Any] = {"run_id": run_id, "event_id": event_id, "user_id": user_id}

        def now() -> Receipt:
            return Receipt(self._bridge, self._inner.emit_nowait(type, ready, **options))

        async def later() -> Receipt:
            return Receipt(self._bridge, await self._inner.emit(type, ready, **options))

        return await self._bridge.attempt(now, later, self._line)

    async def send(
        self,
        payload: Payload,
        *,
        user_id: str,
        message_id: str | None = None,
        run_id: str | None = None,
        type: str = "user_message",  # noqa: A002 - the word of the protocol
        authorize: bool = False,
    ) -> Sent:
        """Place a message of a user that came another way than over a device, as ``actors.Thread.send`` does.

        Cancelled, it may have been placed or not: send it again with its id.
        """
        ready = frozen(type, payload, self._limits)
        options: dict[str, Any] = {"message_id": message_id, "run_id": run_id, "type": type, "authorize": authorize}
        return await self._bridge.call(partial(self._inner.send, ready, user_id=user_id, **options))

    async def ask(
        self,
        type: str,  # noqa: A002 - the word of the protocol
        payload: Payload,
        *,
        timeout: float,  # noqa: ASYNC109 - what devices are told, and not only when to give up
        run_id: str | None = None,
    ) -> Answer:
        """Ask the owner something, and wait for the first answer of a device, as ``actors.Thread.ask`` does.

        Cancelled, the question is withdrawn from all devices.
        """
        ready = frozen(type, payload, self._limits)
        return await self._bridge.call(partial(self._inner.ask, type, ready, timeout=timeout, run_id=run_id))

    @asynccontextmanager
    async def run(
        self,
        agent_name: str,
        *,
        run_id: str | None = None,
        ahead: int | None = None,
        ahead_seconds: float | None = None,
    ) -> AsyncIterator[Run]:
        """Run an agent in the block: ``agent_started`` before it, and exactly one terminal event after it.

        A block that ends is ``agent_completed``, with ``run.result`` if that
        was set; one that raises is ``agent_failed``, and the exception comes
        out; one whose task is cancelled is ``agent_cancelled``, and
        CancelledError comes out. A cancellation by a client, or by
        :meth:`Runtime.cancel`, cancels the task as ``asyncio.timeout()`` does,
        and stops at the block. ``ahead`` is as in :meth:`Runtime.thread`.
        Raises RuntimeClosed where the runtime ends before the block.
        """
        manager = partial(self._inner.run, agent_name, run_id=run_id, ahead=ahead, ahead_seconds=ahead_seconds)
        async with opened(self._bridge, manager, self._limits) as run:
            yield run


class Runtime:
    """One delivery runtime, from asyncio; :func:`open_runtime` makes it.

    Its methods are for tasks of the loop that opened it, and raise
    :class:`~actors.errors.ForeignThread` or
    :class:`~actors.errors.ForeignLoop` elsewhere. What only looks can be
    called after the end, too.
    """

    def __init__(self, bridge: Bridge, runtime: actors.runtime.Runtime) -> None:
        self.bridge = bridge
        """The ways into the runtime's loop, and back."""
        self.runtime = runtime
        """The runtime over there, for code that runs over there."""
        self.limits = runtime.limits
        self._lines: WeakValueDictionary[str, Line] = WeakValueDictionary()
        """The emits that wait for room, by thread, while there are handles of it."""

    def __repr__(self) -> str:
        return f"<aio.Runtime {self.bridge!r}>"

    # --- events ---------------------------------------------------------------

    def thread(self, thread_id: str, *, ahead: int | None = None, ahead_seconds: float | None = None) -> Thread:
        """The handle of a conversation, which need not exist yet.

        With ``ahead``, an awaited ``emit``, and ``run.flushed()``, wait before
        there are more than so many events that no device has acked, for at most
        ``ahead_seconds``, as ``actors.Runtime.thread`` says. Raises as that does.
        """
        inner = self.runtime.thread(thread_id, ahead=ahead, ahead_seconds=ahead_seconds)
        return Thread(self.bridge, inner, limits=self.limits, line=self._lines.setdefault(thread_id, Line()))

    async def explain(self, event: str | Receipt, thread_id: str | None = None) -> Fate:
        """Say where an event is and why, by its receipt or its id, as ``actors.Runtime.explain`` does."""
        wanted = event if isinstance(event, str) else event.inner
        return await self._look(lambda: fate_from(self.bridge, self.runtime.explain(wanted, thread_id)))

    async def audit(self) -> Audit:
        """Count the events in each stage at this moment: per user, for threads without an owner, and in total."""
        return await self._look(self.runtime.audit)

    async def statistics(self) -> Statistics:
        """Read what this runtime has done and has, in numbers; the cost does not grow with users or events."""
        return await self._look(self.runtime.statistics)

    async def connections(self, *, after: str | None = None, limit: int | None = None) -> tuple[ConnectionState, ...]:
        """Look at the devices that are connected, as ``actors.Runtime.connections`` does."""
        return await self._look(partial(self.runtime.connections, after=after, limit=limit))

    async def dead_letters(self) -> tuple[DeadLetter, ...]:
        """The newest drops, by range, oldest first."""
        return await self._look(lambda: self.runtime.dead_letters)

    async def failures(self) -> tuple[Failure, ...]:
        """The newest failures, each once, newest last."""
        return await self._look(lambda: tuple(self.runtime.failures))

    async def read(self, thread_id: str, *, after_seq: int = 0, limit: int | None = None) -> History:
        """Read a thread's retained events after a sequence number, as ``actors.Runtime.read`` does."""
        return await self.bridge.call(partial(self.runtime.read, thread_id, after_seq=after_seq, limit=limit))

    async def cancel(self, run_id: str, *, reason: str = "application") -> Cancellation:
        """Cancel a run and its children, and wait up to ``cancel_seconds`` for their code to stop.

        Called from inside of the run, it ends there with the run.
        """
        return await self.bridge.call(partial(self.runtime.cancel, run_id, reason=reason))

    # --- owners ---------------------------------------------------------------

    async def bind(self, thread_id: str, user_id: str) -> None:
        """Make a user the owner of a thread that has none, as ``actors.Runtime.bind`` does."""
        await self.bridge.call(self.runtime.bind, thread_id, user_id)

    async def rebind(self, thread_id: str, user_id: str) -> None:
        """Make a user the owner of a thread in place of any other."""
        await self.bridge.call(self.runtime.rebind, thread_id, user_id)

    async def unbind(self, thread_id: str) -> None:
        """Leave a thread without an owner, so that its events are held."""
        await self.bridge.call(self.runtime.unbind, thread_id)

    async def owner(self, thread_id: str) -> str | None:
        """The user who owns a thread, or None."""
        return await self._look(lambda: self.runtime.owner(thread_id))

    async def devices(self, user_id: str) -> int:
        """The number of connections that a user has."""
        return await self._look(lambda: self.runtime.devices(user_id))

    async def release(self, path: str) -> None:
        """Put a quarantined actor back into service. Raises ValueError when there is no such actor."""
        await self.bridge.ask(self.runtime.release, path)

    async def revoke(self, user_id: str) -> int:
        """End every connection of a user whose credentials are revoked, for good; returns their number."""
        return await self.bridge.ask(self.runtime.revoke, user_id)

    # --- connections ----------------------------------------------------------

    def follow(
        self,
        user_id: str,
        thread_id: str | None = None,
        *,
        after: tuple[str, int] | None = None,
        origin: Origin = "head",
    ) -> AbstractAsyncContextManager[Following]:
        """Follow a user's log in the block, as a device in this process, as ``actors.Runtime.follow`` does.

        async with runtime.follow("alice", "t1") as followed:
            async for item in followed:
                ...
        """
        manager = partial(self.runtime.follow, user_id, thread_id, after=after, origin=origin)
        return followed(self.bridge, manager)

    @overload
    async def serve(
        self,
        host: str | None = None,
        port: int | None = None,
        *,
        path: None = None,
        ssl_context: ssl.SSLContext | None = None,
        prefix: str = "",
    ) -> tuple[str, int]: ...

    @overload
    async def serve(
        self, *, path: str | bytes | os.PathLike[str], ssl_context: ssl.SSLContext | None = None, prefix: str = ""
    ) -> str: ...

    async def serve(
        self,
        host: str | None = None,
        port: int | None = None,
        *,
        path: str | bytes | os.PathLike[str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        prefix: str = "",
    ) -> tuple[str, int] | str:
        """Listen, in the runtime's thread; returns the address, and serves until the runtime is left.

        The arguments and errors are those of ``actors.Runtime.serve``. What
        the host's loop does cannot delay a heartbeat there.
        """
        serve = partial(self.runtime.serve, host, port, path=path, ssl_context=ssl_context, prefix=prefix)

        async def listen() -> tuple[str, int] | str:
            address: tuple[str, int] | str = await self.bridge.nursery.start(serve)
            return address

        return await self.bridge.call(listen)

    async def drain(self, deadline_seconds: float, *, runs: RunsPolicy = "finish") -> DrainReport:
        """Go away in good order, within so many seconds, as ``actors.Runtime.drain`` does.

        Raises RuntimeError, without effect, in a task that it would end and
        wait for: one that answers a message, or is in a run.
        """
        if self.bridge.is_inside:
            text = "drain: expected a task outside of what it ends, this one is inside of a run or a connection"
            raise RuntimeError(f"{text}; start it with asyncio.create_task, or set an event that the host waits for")
        return await self.bridge.call(partial(self.runtime.drain, deadline_seconds, runs=runs))

    async def _look(self, function: Callable[[], T]) -> T:
        return function() if self.bridge.over else await self.bridge.ask(function)


@asynccontextmanager
async def open_runtime(
    *,
    authenticate: Authenticate = trust,
    cookie: str = COOKIE,
    from_request: bool = False,
    authorize: Authorize = deny,
    on_message: OnMessage | None = None,
    concurrency: Concurrency = "queue",
    on_disconnect: OnDisconnect = "detach",
    on_undelivered: OnUndelivered | None = None,
    ahead: int | None = None,
    ahead_seconds: float = AHEAD_SECONDS,
    store: Store | None = None,
    limits: Limits | None = None,
    origins: str | Iterable[str] | None = None,
    pages: Mapping[str, Page] | None = None,
    services: Mapping[str, Service] | None = None,
    environment: Environment | None = None,
) -> AsyncIterator[Runtime]:
    """Run a delivery runtime in a thread of its own, around the body of ``async with``.

    The options are those of :func:`actors.open_runtime`. ``authenticate``,
    ``authorize``, ``on_message`` and ``on_undelivered`` are coroutine functions
    of this loop; they see the context variables of this call. ``services`` are
    called in the runtime's loop, with Trio.

    Raises ValueError and TypeError, before anything is started, for an option
    that cannot be meant, and :class:`~actors.errors.ForeignLoop` where asyncio
    does not run. When the runtime's restarts are exhausted, this task is
    cancelled and :class:`~actors.errors.RestartsExhausted` comes out. On the
    way out, cancelled or not, the runtime ends as the Trio one does, and its
    thread has ended when this has; code of the host that was cancelled and
    goes on is left behind after ``shutdown_seconds``, and reported.
    """
    loop = host_loop("open_runtime", "in a Trio program, use actors.open_runtime")
    limits = Limits() if limits is None else limits
    check_instance("limits", limits, Limits)
    bridge = Bridge(loop)
    hosted = Hosted(bridge, limits)
    enter = partial(
        actors.runtime.open_runtime,
        authenticate=hosted.authenticate(authenticate),
        cookie=cookie,
        from_request=from_request,
        authorize=hosted.authorize(authorize),
        on_message=hosted.on_message(on_message),
        concurrency=concurrency,
        on_disconnect=on_disconnect,
        on_undelivered=hosted.on_undelivered(on_undelivered),
        ahead=ahead,
        ahead_seconds=ahead_seconds,
        store=store,
        limits=limits,
        origins=origins,
        pages=pages,
        services=services,
        environment=environment,
    )
    # A moment longer than the runtime gives its runs, so that it reports those that it closes without their code.
    patience_seconds = limits.shutdown_seconds + _MOMENT_SECONDS
    async with Portal(bridge, enter, name="actors", patience_seconds=patience_seconds) as portal:
        runtime = portal.inner

        def report(error: BaseException) -> None:
            runtime.failures.report("aio", "a call from asyncio", error)

        bridge.report = report
        yield Runtime(bridge, runtime)
