"""The public face of a runtime: the calls that applications make, and :func:`open_runtime`."""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal

import trio
from msgspec import UNSET, UnsetType

from actors.checks import check_instance, check_word
from actors.context import Context
from actors.delivery.accounts import Audit, DeadLetter
from actors.environment import Environment, check_seconds
from actors.errors import RuntimeClosed
from actors.events.event import History, Payload, check_identifier, check_whole, decode
from actors.handle import Thread
from actors.kernel.affinity import IN_A_RUNTIME, Affinity, check_trio
from actors.kernel.dynamic_supervisor import DynamicSupervisor
from actors.kernel.failures import Failures, cancels, open_interruptible_nursery, ungrouped_interrupt
from actors.kernel.signals import Reply
from actors.limits import Limits
from actors.observability.explain import ambiguous, forgotten
from actors.observability.undelivered import OnUndelivered
from actors.options import Options
from actors.receipts import Fate, Receipt
from actors.runs.supervisor import Agents, Cancellation, OnDisconnect, OnMessage
from actors.runs.turns import Concurrency
from actors.server.authentication import Authenticate, trust
from actors.server.drain import DrainReport, RunsPolicy
from actors.server.handshake import Service
from actors.server.origins import allowed
from actors.server.requests import Authorize, deny
from actors.server.server import Access
from actors.stores.store import Binding, Store
from actors.threads.messages import Bind
from actors.tree import Tree
from actors.wire.endpoint import Endpoint
from actors.wire.http import Page


class Runtime:
    """One delivery runtime; :func:`open_runtime` makes and runs it."""

    def __init__(self, context: Context, options: Options) -> None:
        self.limits = context.limits
        self.environment = context.environment
        self.failures = context.failures
        """Every failure, once, newest last."""
        self._token = trio.lowlevel.current_trio_token()
        self._affinity = Affinity(IN_A_RUNTIME)
        self._ended_at: float | None = None
        """When it was over; Trio's clock may be gone by the time that somebody asks what became of an event."""
        self.tree = Tree(context, options, self._affinity)
        """The parts, for tests and for studying; an application needs none of them."""

    # --- events ---------------------------------------------------------------

    def thread(self, thread_id: str) -> Thread:
        """The handle of a conversation; the conversation need not exist yet.

        Raises :class:`~actors.errors.Unencodable` for what cannot be an id.
        """
        return Thread(thread_id, self.tree.emitter, self.tree.runs, self.tree.asks)

    def emit_from_thread(self, thread_id: str, type: str, payload: Payload, **options: Any) -> Receipt:  # noqa: A002
        """:meth:`Thread.emit`, for a caller in another operating system thread, which it blocks.

        An agent on an asyncio loop of its own is such a caller. Raises what
        ``emit`` raises, and RuntimeClosed when Trio has ended.
        """
        try:
            return trio.from_thread.run(
                lambda: self.thread(thread_id).emit(type, payload, **options), trio_token=self._token
            )
        except trio.RunFinishedError:
            raise RuntimeClosed("expected an open runtime, Trio has ended") from None

    def explain(self, event: str | Receipt, thread_id: str | None = None) -> Fate:
        """Where an event is and why, by its receipt or its id; ``str()`` of the answer is a sentence.

        An id that was given names one event in each thread. Where several have
        one and no ``thread_id`` says which is meant, the answer is about none
        of them, and names the threads.
        """
        self._affinity.check()
        receipt = self._find(event, thread_id) if isinstance(event, str) else event
        if isinstance(receipt, Fate):
            return receipt
        return self.tree.fate_of(receipt, self.environment.clock() if self._ended_at is None else self._ended_at)

    def _find(self, event_id: str, thread_id: str | None) -> Receipt | Fate:
        if thread_id is None:
            threads = self.tree.emitter.threads_of(event_id)
            if len(threads) > 1:
                return ambiguous(event_id, threads)
            thread_id = threads[0] if threads else None
            return (thread_id and self.tree.emitter.remembered(event_id, thread_id)) or forgotten(event_id)
        return self.tree.emitter.remembered(event_id, thread_id) or forgotten(event_id, thread_id)

    def audit(self) -> Audit:
        """The books at this moment: per user, for what nobody owns, and in total."""
        self._affinity.check()
        return self.tree.accounts.audit()

    @property
    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """The newest drops, by range, oldest first."""
        return tuple(self.tree.accounts.dead_letters)

    async def read(self, thread_id: str, *, after_seq: int = 0, limit: int | None = None) -> History:
        """A thread's events after a sequence number, oldest first, as far as they are retained; and what is gone.

        For a page that opens late on one conversation. At most ``limit``
        events, ``history_events`` without one, and about ``history_bytes``;
        ``more`` says that there are others. Of a thread without an owner there
        are none yet. Raises :class:`~actors.errors.Unencodable`, which is a
        ValueError, for an ``after_seq`` that is no whole number from 0 on or a
        ``limit`` that is none from 1 on. A checkpoint.
        """
        self._affinity.check_task("read")
        check_identifier("thread_id", thread_id)
        check_whole("after_seq", after_seq, 0)
        if limit is not None:
            check_whole("limit", limit, 1)
        await trio.lowlevel.checkpoint()
        most = self.limits.history_events if limit is None else limit
        found = self.tree.store.history(thread_id, after_seq, most, self.limits.history_bytes)
        return History(thread_id, tuple(map(decode, found.events)), found.gone, found.head_seq, found.more)

    async def cancel(self, run_id: str, *, reason: str = "application") -> Cancellation:
        """Cancel a run and its children; whose code has stopped within ``cancel_seconds``, and whose has not.

        From now on the run's last event is ``agent_cancelled``, whatever its
        code does. What has not stopped by then is reported in ``failures``,
        and closed without its code: what that emits later raises RunEnded, its
        thread's next turn begins, and of ``limits.runs`` it holds one until it
        ends. One that ended before has stopped; one that nobody knows, a
        moment later, is in neither list. Raises
        :class:`~actors.errors.Unencodable` for a reason that is no word. A
        checkpoint; cancelled, the run may or may not have been asked to end.
        Called from inside of the run, it ends there with the run.
        """
        self._affinity.check_task("cancel")
        return await self.tree.runs.cancel(run_id, reason) or Cancellation((), ())

    # --- owners ---------------------------------------------------------------

    async def bind(self, thread_id: str, user_id: str) -> None:
        """Make a user the owner of a thread that has none, and place what it held in the user's log.

        Binding it to its owner again changes nothing. Raises
        :class:`~actors.errors.NotTheOwner` when it is another user's,
        :class:`~actors.errors.Quarantined` when the thread is out of service
        (its text says when it is not known whether the owner was changed: bind
        again after the release), :class:`~actors.errors.RuntimeClosed`. A
        checkpoint; cancelled, it may or may not have happened.
        """
        check_identifier("user_id", user_id)
        await self._change_owner(thread_id, "bind", user_id)

    async def rebind(self, thread_id: str, user_id: str) -> None:
        """Make a user the owner of a thread, whoever owned it. What was accepted before stays with the former owner.

        Raises as :meth:`bind` does, but for NotTheOwner.
        """
        check_identifier("user_id", user_id)
        await self._change_owner(thread_id, "rebind", user_id)

    async def unbind(self, thread_id: str) -> None:
        """Leave a thread without an owner: its events are held from now on. Raises as :meth:`rebind` does."""
        await self._change_owner(thread_id, "unbind", None)

    def owner(self, thread_id: str) -> str | None:
        """Who owns a thread, or ``None``."""
        return self.tree.store.owner(thread_id)

    def devices(self, user_id: str) -> int:
        """How many connections a user has."""
        return self.tree.registry.devices(user_id)

    def release(self, path: str) -> None:
        """Put a quarantined actor (``users/alice``, as in its failures) back into service.

        Raises ValueError when there is no such actor, or it is in service.
        """
        self._affinity.check()
        name, _, key = path.partition("/")
        supervisors: dict[str, DynamicSupervisor[Any]] = {"users": self.tree.users, "threads": self.tree.threads}
        if name not in supervisors or supervisors[name].quarantined(key) is None:
            raise ValueError(f"expected the path of a quarantined actor, got {path!r}")
        supervisors[name].release(key)
        if name == "threads":  # a change of owner may have been carried out, and nobody have heard of it
            owner = self.owner(key)
            self.tree.threads.mailbox(key).tell(Bind("unbind" if owner is None else "bind", owner, Reply()))

    async def _change_owner(
        self, thread_id: str, act: Literal["bind", "rebind", "unbind"], user_id: str | None
    ) -> None:
        self._affinity.check_task(act)
        check_identifier("thread_id", thread_id)
        if self.tree.emitter.closed:
            raise RuntimeClosed("expected an open runtime, it is closed")
        reply: Reply[Binding] = Reply()
        await self.tree.threads.mailbox(thread_id).send(Bind(act, user_id, reply))
        await reply.wait()

    # --- connections ----------------------------------------------------------

    async def serve(
        self,
        host: str | UnsetType = UNSET,
        port: int = 0,
        *,
        path: str | bytes | os.PathLike[str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        task_status: trio.TaskStatus[tuple[str, int] | str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen on a TCP port, or on a Unix socket at ``path``, until cancelled or the runtime closes.

        Without a ``host`` it is 127.0.0.1; port 0 is any that is free.
        ``await nursery.start(runtime.serve, host, port)`` returns the address
        that was bound. Of what lies at ``path`` only a socket that nobody
        listens on is taken away; while tokens are not checked the new one is
        for this account alone (mode 0600; an abstract address has no mode, and
        is as open as a loopback port). Cancelled, it says goodbye to its
        clients first, within twice ``close_seconds``.

        Raises OSError when the address cannot be bound, and ValueError for
        what is no address, for a ``host``, or a ``port`` other than 0, beside a
        ``path``, for no context of a server, and for an address that is not
        loopback while tokens are not checked.
        """
        self._affinity.check_task("serve")
        if path is not None and (host is not UNSET or port != 0):
            beside = f"port {port!r}" if host is UNSET else f"host {host!r}"
            raise ValueError(f"path: expected a path, or a host and a port, got {path!r} and the {beside}")
        await self.tree.server.serve("127.0.0.1" if host is UNSET else host, port, path, ssl_context, task_status)

    async def handle(self, stream: trio.abc.Stream | Endpoint) -> None:
        """Serve one connection that the host has accepted, from its request to its end."""
        self._affinity.check_task("handle")
        await self.tree.server.handle(stream)

    def revoke(self, user_id: str) -> int:
        """End every connection of a user whose credentials are worth nothing any more; 4504, which does not come back.

        To be called once ``authenticate`` refuses the credentials: whoever it
        is being asked about meanwhile is refused as well. The user's sessions
        are forgotten; runs go on, and events wait in the log. Returns how many
        connections there were. Raises :class:`~actors.errors.Unencodable` for
        what can be no user.
        """
        self._affinity.check()
        check_identifier("user_id", user_id)
        count = self.tree.server.revoke(user_id)
        presence = self.tree.registry.known(user_id)
        if presence is not None:
            for device in tuple(presence.devices):
                presence.leave(device)
            presence.sessions.clear()
        return count

    async def drain(self, deadline_seconds: float, *, runs: RunsPolicy = "finish") -> DrainReport:
        """Go away in good order, within so many seconds: nothing new is taken, what can be delivered is.

        New sockets and messages are refused, devices are told to come back
        later (``going_away``); runs finish, or are cancelled (``runs``);
        events are refused; what was accepted is stored, written and confirmed;
        connections are closed with 1012, sockets that take nothing aborted.
        Who has not said hello yet is sent away at once; who has only to answer
        the Close gets ``close_seconds``, also beyond the deadline. Afterwards
        the runtime is closed. Returns what could not be delivered. A
        checkpoint; cancelled, it stops where it is. Called again meanwhile, it
        does the same, and whichever has the shorter deadline decides.

        Raises TypeError for a deadline that is no number, ValueError for one
        that is negative or a policy that there is not, and RuntimeError when
        it is called from inside of what it ends and waits for: a run,
        ``authenticate`` or ``authorize``, or a tool's thread with
        ``trio.from_thread.run``. Then nothing has happened. A run that is to
        end its runtime starts this in a nursery of the host.
        """
        self._affinity.check_task("drain")
        check_seconds("deadline_seconds", deadline_seconds)
        check_word("runs", runs, RunsPolicy)
        return await self.tree.drain.run(deadline_seconds, runs)

    async def _close_store(self) -> None:
        await self.tree.close_store()
        self._affinity.over = True
        self._ended_at = self.environment.clock()


@asynccontextmanager
async def open_runtime(
    *,
    authenticate: Authenticate = trust,
    authorize: Authorize = deny,
    on_message: OnMessage | None = None,
    concurrency: Concurrency = "queue",
    on_disconnect: OnDisconnect = "detach",
    on_undelivered: OnUndelivered | None = None,
    store: Store | None = None,
    limits: Limits | None = None,
    origins: str | Iterable[str] | None = None,
    pages: Mapping[str, Page] | None = None,
    services: Mapping[str, Service] | None = None,
    environment: Environment | None = None,
) -> AsyncIterator[Runtime]:
    """Run a delivery runtime around the body of ``async with``.

    ``authenticate`` says who a client is; without it a token is taken for the
    user's name, and only loopback may be served. ``authorize`` says whether a
    user may have a thread that nobody owns by naming it; without it, never.
    ``origins`` lists the web origins that may connect (a string is one of
    them, ``"*"`` is all), ``None`` allows pages of the same host and port.

    ``on_message`` answers what users send, a run for each message. While a run
    is active in the thread, ``concurrency`` says what a new message does: it
    waits (``"queue"``), is refused (``"reject"``), ends the other
    (``"cancel_previous"``), or is answered at the same time (``"parallel"``).
    A user who goes away ends nothing (``on_disconnect="detach"``), or after
    ``disconnect_grace_seconds`` his runs (``"cancel_after"``).
    ``on_undelivered`` is called with the fate of every event, tokens excepted,
    that no device has confirmed within ``undelivered_seconds``.
    ``pages`` are shown by their paths, beside ``/ws`` and ``/healthz``;
    ``services`` serve upgrades to WebSockets at theirs, and authenticate
    clients themselves.

    Raises ValueError and TypeError, before anything is started, for an option
    that cannot be meant: an origin that no page has, a word that is none of
    its row, a function that is not a coroutine's.

    The body's own exception comes out bare, not in a group; so does Ctrl-C,
    wherever it strikes. When a part of the runtime fails beyond mending, the
    body is cancelled and :class:`~actors.errors.RestartsExhausted` comes out. On the way out,
    whatever is cancelled, runs are cancelled and have ``shutdown_seconds`` to
    end, and clients are told, for at most twice ``close_seconds``. A host that
    serves in the body and is cancelled there says goodbye to its clients
    first; one that wants them to see their runs end calls :meth:`Runtime.drain`.

    Raises :class:`~actors.errors.ForeignLoop` where Trio does not run. An
    asyncio program runs it with :func:`trio.run` in a thread of its own, and
    emits with :meth:`Runtime.emit_from_thread`. The runtime is to be called
    from the thread that opened it: any other call raises
    :class:`~actors.errors.ForeignThread`, and takes nothing.
    """
    check_trio("open_runtime")
    limits = Limits() if limits is None else limits
    environment = Environment() if environment is None else environment
    check_instance("limits", limits, Limits)
    check_instance("environment", environment, Environment)
    options = Options(
        access=Access(authenticate, allowed(origins)),
        authorize=authorize,
        agents=Agents(on_message=on_message, concurrency=concurrency, on_disconnect=on_disconnect),
        on_undelivered=on_undelivered,
        store=store,
        pages={} if pages is None else pages,
        services={} if services is None else services,
    )
    failures = Failures(limits.failures, environment.wall_clock)
    context = Context(limits=limits, environment=environment, failures=failures)
    runtime = Runtime(context, options)
    ended: list[BaseException] = []
    try:
        async with open_interruptible_nursery() as nursery:
            supervisor = runtime.tree.supervisor()
            await nursery.start(_keeping(ended, lambda status: supervisor.run(task_status=status), nursery))
            try:
                yield runtime
            except BaseException as error:  # raised below, outside of the nursery and so bare
                if cancels(error):
                    raise
                ended.append(error)
            finally:
                with trio.CancelScope(shield=True):
                    await runtime.tree.drain.close()
                nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await runtime._close_store()
    if ended:
        with ungrouped_interrupt():
            raise ended[0]


def _keeping(
    ended: list[BaseException], run: Callable[[trio.TaskStatus[None]], Awaitable[None]], nursery: trio.Nursery
) -> Callable[..., Awaitable[None]]:
    """Keep what the tree ends with, and cancel the body for it; a nursery would wrap it in a group."""

    async def keeping(task_status: trio.TaskStatus[None]) -> None:
        try:
            await run(task_status)
        except BaseException as error:  # raised by open_runtime
            if cancels(error):
                raise
            ended.append(error)
            nursery.cancel_scope.cancel()

    return keeping
