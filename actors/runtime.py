"""The runtime: the tree of actors, and the calls that applications make.

    Runtime ─┬ flusher                       one write per connection and tick
             ├ users ──── UserActor ─ ─ ─ Connection
             ├ threads ── ThreadActor
             ├ joiner                        one event for the tokens of a window
             ├ runs ───── Run                the application's coroutines
             ├ pulse                         age and silence, once a second
             └ escalation                    what nobody confirms

Started from the top, stopped in reverse, around a store that is closed last.
Connections run in the task of whoever accepted them, a listener's or the
host's; their user knows them, and ends them.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeVar

import trio

from actors.bounded import RecentMap
from actors.connections.actor import Connection, House
from actors.connections.flusher import Flusher
from actors.connections.heartbeat import Heartbeat
from actors.delivery.accounts import Accounts, Audit, DeadLetter
from actors.environment import Environment, check_seconds
from actors.errors import RuntimeClosed
from actors.events.event import History, Payload, check_identifier, decode
from actors.handle import Thread
from actors.kernel.affinity import IN_A_RUNTIME, Affinity, check_trio
from actors.kernel.dynamic_supervisor import Budget, DynamicSupervisor, Kind
from actors.kernel.failures import Failures, cancels, open_interruptible_nursery, ungrouped_interrupt
from actors.kernel.mailbox import Dispatcher
from actors.kernel.restarts import Backoff, Intensity
from actors.kernel.signals import Reply
from actors.kernel.supervisor import Child, Strategy, Supervisor
from actors.limits import Limits
from actors.observability.explain import ambiguous, fate_of, forgotten
from actors.observability.undelivered import Escalation, OnUndelivered
from actors.options import check_coroutine, check_instance, check_pages, check_store, check_word
from actors.receipts import Fate, Receipt
from actors.runs.asks import Asks
from actors.runs.supervisor import Cancellation, OnDisconnect, OnMessage, Runs
from actors.runs.turns import Concurrency
from actors.server.drain import Drain, DrainReport, RunsPolicy
from actors.server.origins import Origin, allowed
from actors.server.requests import Authorize, Requests, deny
from actors.server.server import Authenticate, Server, trust
from actors.stages import Cause
from actors.stores.memory import MemoryStore
from actors.stores.store import Binding, Store
from actors.threads.actor import ThreadContext
from actors.threads.dead_letters import ThreadKind
from actors.threads.emitter import Emitter
from actors.threads.messages import Bind, ThreadMessage
from actors.users.actor import UserContext
from actors.users.dead_letters import UserKind
from actors.users.presence import Subscriber, UserMessage
from actors.users.registry import Switchboard
from actors.wire.endpoint import Endpoint
from actors.wire.http import Page

M = TypeVar("M")

_BACKOFF = Backoff(first_seconds=0.05, factor=2.0, longest_seconds=1.0)


class Runtime:
    """One delivery runtime; :func:`open_runtime` makes and runs it."""

    def __init__(
        self,
        *,
        authenticate: Authenticate,
        authorize: Authorize,
        on_message: OnMessage | None,
        concurrency: Concurrency,
        on_disconnect: OnDisconnect,
        on_undelivered: OnUndelivered | None,
        store: Store | None,
        limits: Limits,
        origins: frozenset[Origin | str] | None,
        pages: Mapping[str, Page],
        environment: Environment,
    ) -> None:
        self.limits = limits
        self.environment = environment
        self.failures = Failures(limits.failures)
        """Every failure, once, newest last."""
        self.store = MemoryStore(limits, environment) if store is None else store
        # What the books are told happens now, on whichever clock.
        self.accounts = Accounts(limits.dead_letters, self.store.bounds, lambda _: environment.wall_clock())
        self.flusher = Flusher(self._device_failed, limits.flush_ms)
        self._token = trio.lowlevel.current_trio_token()
        self._affinity = Affinity(IN_A_RUNTIME)
        self._ended_at: float | None = None
        """When it was over; Trio's clock may be gone by the time that somebody asks what became of an event."""
        self._heartbeat: Heartbeat[Connection] = Heartbeat(limits.ping_seconds, limits.pong_seconds)
        self._switchboard = Switchboard(limits, environment)
        # Twice what a store remembers of given ids: what it knows as a
        # repetition is known here, too.
        given: RecentMap[tuple[str, str], Receipt] = RecentMap(2 * limits.idempotency_ids)
        self._asks = Asks(self.owner, self._switchboard.devices_of, limits, environment)
        threads = ThreadContext(
            self.store, self.accounts, environment, self._switchboard.ring, given, self._change_of_owner
        )
        users = UserContext(
            store=self.store, accounts=self.accounts, mark=self.flusher.mark, limits=limits, environment=environment
        )
        dispatcher = Dispatcher(limits.mailbox_messages, limits.nesting)
        self.users: DynamicSupervisor[UserMessage] = self._supervise(
            "users", UserKind(users, self._switchboard.presence), dispatcher
        )
        self._switchboard.connect(self.users)
        self._threads = threads
        self.threads: DynamicSupervisor[ThreadMessage] = self._supervise("threads", ThreadKind(threads), dispatcher)
        self._emitter = Emitter(self.threads, self.accounts, limits, environment, self._affinity)
        self._escalation = None
        if on_undelivered is not None:
            self._escalation = Escalation(on_undelivered, self.explain, limits, environment, self.failures)
            self._emitter.watch = self._escalation.watch
        self.runs = Runs(
            self._emitter,
            self._asks,
            on_message,
            concurrency,
            on_disconnect,
            self._switchboard.devices_of,
            self.owner,
            limits,
            environment,
            self.failures,
        )
        self._requests = Requests(
            self._emitter, self.runs, self._asks, self.store, authorize, limits, environment, self.failures
        )
        self.server = Server(
            self._house(), authenticate, origins, pages, limits, environment, self.failures, self.devices
        )
        self._drain = self._way_out()

    # --- events ---------------------------------------------------------------

    def thread(self, thread_id: str) -> Thread:
        """The handle of a conversation; the conversation need not exist yet.

        Raises :class:`~actors.errors.Unencodable` for what cannot be an id.
        """
        return Thread(thread_id, self._emitter, self.runs, self._asks)

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
        position = receipt.position
        user_id = None if position is None else position.user_id
        presence = self._switchboard.known(user_id)
        quarantine = None if user_id is None else self.users.quarantined(user_id)
        now = self.environment.clock() if self._ended_at is None else self._ended_at
        return fate_of(receipt, self.accounts, presence, quarantine, now)

    def _find(self, event_id: str, thread_id: str | None) -> Receipt | Fate:
        if thread_id is None:
            threads = self._emitter.threads_of(event_id)
            if len(threads) > 1:
                return ambiguous(event_id, threads)
            thread_id = threads[0] if threads else None
            return (thread_id and self._emitter.remembered(event_id, thread_id)) or forgotten(event_id)
        return self._emitter.remembered(event_id, thread_id) or forgotten(event_id, thread_id)

    def audit(self) -> Audit:
        """The books at this moment: per user, for what nobody owns, and in total."""
        self._affinity.check()
        return self.accounts.audit()

    @property
    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """The newest drops, by range, oldest first."""
        return tuple(self.accounts.dead_letters)

    async def read(self, thread_id: str, *, after_seq: int = 0, limit: int | None = None) -> History:
        """A thread's events after a sequence number, oldest first, as far as they are retained; and what is gone.

        For a page that opens late on one conversation. At most ``limit``
        events, ``history_events`` without one, and about ``history_bytes``;
        ``more`` says that there are others. Of a thread without an owner there
        are none yet. Raises ValueError for a negative ``after_seq`` or a
        ``limit`` below 1. A checkpoint.
        """
        self._affinity.check_task("read")
        check_identifier("thread_id", thread_id)
        if after_seq < 0 or (limit is not None and limit < 1):
            raise ValueError(f"expected after_seq of at least 0 and limit of at least 1, got {after_seq} and {limit}")
        await trio.lowlevel.checkpoint()
        most = self.limits.history_events if limit is None else limit
        found = self.store.history(thread_id, after_seq, most, self.limits.history_bytes)
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
        return await self.runs.cancel(run_id, reason) or Cancellation((), ())

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
        return self.store.owner(thread_id)

    def devices(self, user_id: str) -> int:
        """How many connections a user has."""
        return self._switchboard.devices(user_id)

    def release(self, path: str) -> None:
        """Put a quarantined actor (``users/alice``, as in its failures) back into service.

        Raises ValueError when there is no such actor, or it is in service.
        """
        self._affinity.check()
        name, _, key = path.partition("/")
        supervisors: dict[str, DynamicSupervisor[Any]] = {"users": self.users, "threads": self.threads}
        if name not in supervisors or supervisors[name].quarantined(key) is None:
            raise ValueError(f"expected the path of a quarantined actor, got {path!r}")
        supervisors[name].release(key)
        if name == "threads":  # a change of owner may have been carried out, and nobody have heard of it
            owner = self.owner(key)
            self.threads.mailbox(key).tell(Bind("unbind" if owner is None else "bind", owner, Reply()))

    async def _change_owner(
        self, thread_id: str, act: Literal["bind", "rebind", "unbind"], user_id: str | None
    ) -> None:
        self._affinity.check_task(act)
        check_identifier("thread_id", thread_id)
        if self._emitter.closed:
            raise RuntimeClosed("expected an open runtime, it is closed")
        reply: Reply[Binding] = Reply()
        await self.threads.mailbox(thread_id).send(Bind(act, user_id, reply))
        await reply.wait()

    # --- connections ----------------------------------------------------------

    async def serve(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        path: str | bytes | os.PathLike[str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        task_status: trio.TaskStatus[tuple[str, int] | str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen on a TCP port, or on a Unix socket at ``path``, until cancelled or the runtime closes.

        ``await nursery.start(runtime.serve, host, port)`` returns the address
        that was bound. Of what lies at ``path`` only a socket that nobody
        listens on is taken away. Cancelled, it says goodbye to its clients
        first, within twice ``close_seconds``. Raises OSError when the address
        cannot be bound, ValueError for what is no address, or no context of a
        server, and when it is not loopback and nobody checks tokens.
        """
        self._affinity.check_task("serve")
        await self.server.serve(host, port, path, ssl_context, task_status)

    async def handle(self, stream: trio.abc.Stream | Endpoint) -> None:
        """Serve one connection that the host has accepted, from its request to its end."""
        self._affinity.check_task("handle")
        await self.server.handle(stream)

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
        count = self.server.revoke(user_id)
        presence = self._switchboard.known(user_id)
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
        return await self._drain.run(deadline_seconds, runs)

    # --- what the actors ask of each other ----------------------------------------

    def _device_failed(self, device: Subscriber, error: BaseException) -> None:
        device.fail(error)

    def _house(self) -> House:
        return House(
            limits=self.limits,
            environment=self.environment,
            failures=self.failures,
            user=self._switchboard.address,
            mark=self.flusher.mark,
            hear=self._hear,
            forget=self._heartbeat.forget,
            pending=lambda user_id: [*self.runs.roster.pending(user_id), *self._asks.pending(user_id)],
            answer=self._requests.answer,
        )

    def _way_out(self) -> Drain:
        return Drain(
            self.server,
            self._requests,
            self.runs,
            self._emitter,
            self.threads,
            self.flusher,
            self.accounts,
            self.limits,
            self.environment,
        )

    def _change_of_owner(self, thread_id: str, user_id: str | None) -> None:
        self.runs.roster.change_owner(thread_id, user_id)
        self._asks.change_owner(thread_id, user_id)

    def _hear(self, connection: Connection) -> None:
        self._heartbeat.hear(connection, self.environment.clock())

    # --- supervision ----------------------------------------------------------

    def _supervise(self, name: str, kind: Kind[M], dispatcher: Dispatcher) -> DynamicSupervisor[M]:
        limits = self.limits
        return DynamicSupervisor(
            name,
            kind,
            dispatcher=dispatcher,
            budget=Budget(
                intensity=Intensity(limits.restarts, limits.restart_period_seconds),
                backoff=_BACKOFF,
                shutdown_seconds=limits.shutdown_seconds,
                remembered=limits.failures,
            ),
            environment=self.environment,
            failures=self.failures,
        )

    # --- life -----------------------------------------------------------------

    def _tree(self) -> Supervisor:
        """The static children, in the order they start. None of them depends on another one's task."""
        seconds = self.limits.shutdown_seconds
        escalation = self._escalation
        last = [] if escalation is None else [Child(name="escalation", start=escalation.run, shutdown_seconds=seconds)]
        return Supervisor(
            "runtime",
            [
                Child(name="flusher", start=self.flusher.run, shutdown_seconds=seconds),
                Child(name="users", start=self.users.run, stop=self.users.stop, shutdown_seconds=seconds * 2),
                Child(name="threads", start=self.threads.run, stop=self.threads.stop, shutdown_seconds=seconds * 2),
                Child(name="joiner", start=self.runs.joiner.run, shutdown_seconds=seconds),
                Child(name="runs", start=self.runs.run, stop=self.runs.stop, shutdown_seconds=seconds),
                Child(name="pulse", start=self._pulse, shutdown_seconds=seconds),
                *last,
            ],
            strategy=Strategy.ONE_FOR_ONE,
            intensity=Intensity(self.limits.restarts, self.limits.restart_period_seconds),
            backoff=_BACKOFF,
            environment=self.environment,
            failures=self.failures,
        )

    async def _pulse(self, task_status: trio.TaskStatus[None]) -> None:
        """Once a period: let go of what is too old, ask who is silent, end who does not answer."""
        task_status.started()
        retire_at = self.environment.clock() + self.limits.retire_seconds
        while True:
            await trio.sleep(self.limits.sweep_seconds)
            while self._expire():
                await trio.lowlevel.checkpoint()
            self.runs.sweep(self.environment.clock())
            if self.environment.clock() >= retire_at:
                self.threads.retire()
                self._switchboard.retire(self._forget)
                retire_at += self.limits.retire_seconds
            asked, dead = self._heartbeat.silent(self.environment.clock())
            for connection in asked:
                connection.ping()
            for connection in dead:
                if connection.reading:
                    self._heartbeat.wait(connection, self.environment.clock())
                else:
                    connection.end("silent", f"it did not answer a ping within {self.limits.pong_seconds:g} s")

    def _expire(self) -> bool:
        """Let go of what is too old; whether there is more of it."""
        now = self.environment.clock()
        expiry = self.store.expire(now)
        for user_id, low in expiry.lows:
            self.accounts.trim(user_id, low, Cause.RETENTION, now)
            self._switchboard.presence(user_id)  # who never came is forgotten like one who left now
        self._threads.note_shed()
        return expiry.more

    def _forget(self, user_id: str) -> bool:
        """Let go of the log of a user who has gone, and of the account, if nothing is left in them.

        The user keeps the threads, and the store where the log ended. True if it was done.
        """
        if not self.accounts.is_settled(user_id) or not self.store.forget(user_id):
            return False
        self.accounts.forget(user_id)
        return True

    async def _close(self) -> None:
        await self._drain.close()

    async def _settle(self) -> None:
        """Close the store; with one that does not outlive the process, that is the end of what it had."""
        await self.store.aclose()
        if not self.store.outlives_process:
            self.accounts.close(Cause.SHUTDOWN, self.environment.clock())
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
    ``pages`` are shown by their paths, beside ``/ws`` and ``/healthz``.

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
    _check(authenticate, authorize, on_message, on_undelivered)
    check_word("concurrency", concurrency, Concurrency)
    check_word("on_disconnect", on_disconnect, OnDisconnect)
    pages = {} if pages is None else pages
    limits = Limits() if limits is None else limits
    environment = Environment() if environment is None else environment
    check_pages(pages)
    check_instance("limits", limits, Limits)
    check_instance("environment", environment, Environment)
    if store is not None:
        check_store(store)
    runtime = Runtime(
        authenticate=authenticate,
        authorize=authorize,
        on_message=on_message,
        concurrency=concurrency,
        on_disconnect=on_disconnect,
        on_undelivered=on_undelivered,
        store=store,
        limits=limits,
        origins=allowed(origins),
        pages=pages,
        environment=environment,
    )
    ended: list[BaseException] = []
    try:
        async with open_interruptible_nursery() as nursery:
            await nursery.start(_keeping(ended, lambda status: runtime._tree().run(task_status=status), nursery))
            try:
                yield runtime
            except BaseException as error:  # raised below, outside of the nursery and so bare
                if cancels(error):
                    raise
                ended.append(error)
            finally:
                with trio.CancelScope(shield=True):
                    await runtime._close()
                nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await runtime._settle()
    if ended:
        with ungrouped_interrupt():
            raise ended[0]


def _check(
    authenticate: Authenticate, authorize: Authorize, on_message: OnMessage | None, on_undelivered: OnUndelivered | None
) -> None:
    check_coroutine("authenticate", authenticate, "credentials")
    check_coroutine("authorize", authorize, "user_id", "thread_id")
    if on_message is not None:
        check_coroutine("on_message", on_message, "run", "message")
    if on_undelivered is not None:
        check_coroutine("on_undelivered", on_undelivered, "fate")


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
