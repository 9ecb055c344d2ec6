"""The runtime: the tree of actors, and the calls that applications make.

    Runtime ─┬ flusher                       one write per connection and tick
             ├ users ──── UserActor ─ ─ ─ Connection
             ├ threads ── ThreadActor
             └ pulse                         age and silence, once a second

Started from the top, stopped in reverse, around a store that is closed last.
Connections run in the task of whoever accepted them, a listener's or the
host's; their user knows them, and ends them.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal

import trio

from actors.connection import Connection, House
from actors.delivery.accounts import Accounts, Audit, DeadLetter
from actors.delivery.heartbeat import Heartbeat
from actors.delivery.recent import Recent
from actors.delivery.restarts import Backoff, Intensity
from actors.delivery.trail import Trail
from actors.dynamic_supervisor import DynamicSupervisor
from actors.environment import Environment
from actors.errors import ActorsError, PeerError, Quarantined, RuntimeClosed
from actors.events import Payload, check_identifier, encode, fingerprint
from actors.explain import fate_of, forgotten
from actors.failures import Failure, Failures
from actors.flusher import Flusher
from actors.limits import Limits
from actors.mailbox import Lane, Mailbox, Reply
from actors.presence import RING, Attach, Detach, Device, Presence, UserMessage
from actors.receipts import QUEUED, Fate, Queued, Receipt
from actors.server import Authenticate, Server, trust
from actors.stages import Cause
from actors.stores.memory import MemoryStore
from actors.stores.store import Binding, Store
from actors.supervisor import Child, Strategy, Supervisor
from actors.thread import Bind, Emission, Post, ThreadActor, ThreadMessage
from actors.user import UserActor
from actors.wire.endpoint import Endpoint

logger = logging.getLogger("actors")

_WRITE_OUT_SECONDS = 0.005
"""Between two rounds of writing while the runtime closes."""

_BACKOFF = Backoff(first_seconds=0.05, factor=2.0, longest_seconds=1.0)


class Thread:
    """A conversation's handle: cheap, and made anew whenever one is needed."""

    __slots__ = ("_runtime", "thread_id")

    def __init__(self, thread_id: str, runtime: Runtime) -> None:
        check_identifier("thread_id", thread_id)
        self.thread_id = thread_id
        self._runtime = runtime

    async def emit(
        self,
        type: str,  # noqa: A002 - the word of the protocol
        payload: Payload,
        *,
        run_id: str | None = None,
        event_id: str | None = None,
        user_id: str | None = None,
    ) -> Receipt:
        """Emit an event; waits for room, and for nothing else. A checkpoint.

        ``event_id`` makes it idempotent: the same id with the same content
        again gives the first receipt. ``user_id`` binds the thread to that
        user if it has no owner yet. Raises
        :class:`~actors.errors.Unencodable`,
        :class:`~actors.errors.IdempotencyConflict`,
        :class:`~actors.errors.NotTheOwner`,
        :class:`~actors.errors.Quarantined` or
        :class:`~actors.errors.RuntimeClosed`. Whatever it raises, ``Cancelled``
        included: that event will not be delivered.
        """
        runtime = self._runtime
        emission = runtime._compose(self.thread_id, type, payload, run_id, event_id, user_id)
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            receipt = self._hand_over(emission)
        except trio.WouldBlock:
            runtime.accounts.accepted += 1
            try:
                await runtime.threads.mailbox(self.thread_id).send(emission)
            except BaseException:
                runtime.accounts.accepted -= 1
                raise
            return runtime._conclude(emission)
        await trio.lowlevel.cancel_shielded_checkpoint()
        return receipt

    def emit_nowait(
        self,
        type: str,  # noqa: A002 - the word of the protocol
        payload: Payload,
        *,
        run_id: str | None = None,
        event_id: str | None = None,
        user_id: str | None = None,
    ) -> Receipt:
        """As :meth:`emit`, without waiting: raises :class:`trio.WouldBlock` when there is no room."""
        return self._hand_over(self._runtime._compose(self.thread_id, type, payload, run_id, event_id, user_id))

    def _hand_over(self, emission: Emission) -> Receipt:
        runtime = self._runtime
        runtime.accounts.accepted += 1
        try:
            runtime.threads.mailbox(self.thread_id).tell(emission)
        except BaseException:
            runtime.accounts.accepted -= 1
            raise
        return runtime._conclude(emission)


class Runtime:
    """One delivery runtime; :func:`open_runtime` makes and runs it."""

    def __init__(
        self,
        *,
        authenticate: Authenticate,
        store: Store | None,
        limits: Limits,
        origins: Collection[str] | None,
        environment: Environment,
    ) -> None:
        self.limits = limits
        self.environment = environment
        self.failures = Failures(limits.failures)
        """Every failure, once, newest last."""
        self.accounts = Accounts(limits.dead_letters)
        self.store = store or MemoryStore(limits, environment)
        self.flusher = Flusher(self._device_failed)
        self._token = trio.lowlevel.current_trio_token()
        self._wall_clock = environment.wall_clock
        self._closed = False
        self._event_prefix = environment.new_id("e") + "_"
        self._event_number = 0
        self._trail = Trail(limits.explained_events)
        # Twice what a store remembers of given ids: what it knows as a
        # repetition is known here, too.
        given: Recent[tuple[str, str], Receipt] = Recent(2 * limits.idempotency_ids)
        self._given_ids: Recent[str, Receipt] = Recent(limits.explained_events)
        self._presences: dict[str, Presence] = {}
        self._warned: Recent[str, float] = Recent(limits.explained_events)
        self._heartbeat: Heartbeat[Connection] = Heartbeat(limits.ping_seconds, limits.pong_seconds)
        self._post = Post(self.store, self.accounts, environment, self._ring, given)
        lane = Lane(limits.mailbox_messages, limits.nesting)
        self.users: DynamicSupervisor[UserMessage] = self._supervise(
            "users", self._build_user, lane, self._user_buried, self._user_quarantined
        )
        self.threads: DynamicSupervisor[ThreadMessage] = self._supervise(
            "threads", self._build_thread, lane, self._thread_buried, self._thread_quarantined
        )
        self.server = Server(self._house(), authenticate, origins, limits, environment, self.failures, self._devices_of)

    # --- events ---------------------------------------------------------------

    def thread(self, thread_id: str) -> Thread:
        """The handle of a conversation; the conversation need not exist yet.

        Raises :class:`~actors.errors.Unencodable` for what cannot be an id.
        """
        return Thread(thread_id, self)

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

    def explain(self, event: str | Receipt) -> Fate:
        """Where an event is and why, by its id or its receipt; ``str()`` of the answer is a sentence."""
        receipt = self._remembered(event) if isinstance(event, str) else event
        if receipt is None:
            assert isinstance(event, str), "only an id can be unknown"
            return forgotten(event)
        position = receipt.position
        user_id = None if position is None else position.user_id
        presence = None if user_id is None else self._presences.get(user_id)
        quarantine = None if user_id is None else self.users.quarantined(user_id)
        return fate_of(receipt, self.accounts, presence, quarantine, self.environment.clock())

    def audit(self) -> Audit:
        """The books at this moment: per user, for what nobody owns, and in total."""
        return self.accounts.audit()

    @property
    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """The newest drops, by range, oldest first."""
        return tuple(self.accounts.dead_letters)

    # --- owners ---------------------------------------------------------------

    async def bind(self, thread_id: str, user_id: str) -> None:
        """Make a user the owner of a thread that has none, and place what it held in the user's log.

        Binding it to its owner again changes nothing. Raises
        :class:`~actors.errors.NotTheOwner` when it is another user's. A
        checkpoint; cancelled, it may or may not have happened.
        """
        check_identifier("user_id", user_id)
        await self._change_owner(thread_id, "bind", user_id)

    async def rebind(self, thread_id: str, user_id: str) -> None:
        """Make a user the owner of a thread, whoever owned it. What was accepted before stays with the former owner."""
        check_identifier("user_id", user_id)
        await self._change_owner(thread_id, "rebind", user_id)

    async def unbind(self, thread_id: str) -> None:
        """Leave a thread without an owner: its events are held from now on."""
        await self._change_owner(thread_id, "unbind", None)

    def owner(self, thread_id: str) -> str | None:
        """Who owns a thread, or ``None``."""
        return self.store.owner(thread_id)

    def devices(self, user_id: str) -> int:
        """How many connections a user has."""
        return self._devices_of(user_id)

    def release(self, path: str) -> None:
        """Put a quarantined actor (``users/alice``, as in its failures) back into service.

        Raises ValueError when there is no such actor, or it is in service.
        """
        name, _, key = path.partition("/")
        supervisors: dict[str, DynamicSupervisor[Any]] = {"users": self.users, "threads": self.threads}
        if name not in supervisors or supervisors[name].quarantined(key) is None:
            raise ValueError(f"expected the path of a quarantined actor, got {path!r}")
        supervisors[name].release(key)

    async def _change_owner(
        self, thread_id: str, act: Literal["bind", "rebind", "unbind"], user_id: str | None
    ) -> None:
        check_identifier("thread_id", thread_id)
        self._check_open()
        reply: Reply[Binding] = Reply()
        await self.threads.mailbox(thread_id).send(Bind(act, user_id, reply))
        await reply.wait()

    # --- connections ----------------------------------------------------------

    async def serve(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        path: str | os.PathLike[str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        task_status: trio.TaskStatus[tuple[str, int] | str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen on a TCP port, or on a Unix socket at ``path``, until cancelled or the runtime closes.

        ``await nursery.start(runtime.serve, host, port)`` returns the address
        that was bound. Cancelled, it says goodbye to its clients first, within
        twice ``close_seconds``. Raises OSError when the address cannot be
        bound, ValueError when it is not loopback and nobody checks tokens.
        """
        await self.server.serve(host, port, path, ssl_context, task_status)

    async def handle(self, stream: trio.abc.Stream | Endpoint) -> None:
        """Serve one connection that the host has accepted, from its request to its end."""
        await self.server.handle(stream)

    # --- the emitters' half -----------------------------------------------------

    def _compose(
        self,
        thread_id: str,
        type_: str,
        payload: Payload,
        run_id: str | None,
        event_id: str | None,
        user_id: str | None,
    ) -> Emission:
        """Encode an event, or raise; nothing is accepted yet."""
        if self._closed:
            raise RuntimeClosed("expected an open runtime, it is closed")
        at = self._wall_clock()
        if event_id is None:
            self._event_number = number = self._event_number + 1
            event_id = f"{self._event_prefix}{number:x}"
            body = encode(type_, payload, thread_id, run_id, event_id, at, self.limits)
            mark = None
        else:
            check_identifier("event_id", event_id)
            number = 0
            body = encode(type_, payload, thread_id, run_id, event_id, at, self.limits)
            mark = fingerprint(body)
        if user_id is not None:
            check_identifier("user_id", user_id)
        receipt = Receipt(event_id, thread_id, at, QUEUED)
        return Emission(thread_id, event_id, body, None, mark, receipt=receipt, number=number, user_id=user_id)

    def _conclude(self, emission: Emission) -> Receipt:
        """The emitter's call returns: with the receipt, or with the store's refusal."""
        receipt = emission.receipt
        if receipt.seq is None:
            if emission.refusal is not None:
                self.accounts.accepted -= 1
                raise emission.refusal
            if not receipt.stage.final:
                receipt.move(Queued(), 0)
        elif emission.first is not None:
            return emission.first
        emission.returned = True
        if emission.number:
            self._trail.put(emission.number, receipt)
        else:
            known = self._given_ids.get(receipt.event_id)
            if known is None or known.cause is not None:
                self._given_ids.put(receipt.event_id, receipt)
        return receipt

    def _remembered(self, event_id: str) -> Receipt | None:
        """The receipt of an event, by the number in an id that was made here, or by an id that was given."""
        with suppress(ValueError):
            number = int(event_id.removeprefix(self._event_prefix), 16)
            if event_id == f"{self._event_prefix}{number:x}":
                return self._trail.get(number, event_id)
        return self._given_ids.get(event_id)

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeClosed("expected an open runtime, it is closed")

    # --- what the actors ask of each other ----------------------------------------

    def _ring(self, user_id: str | None, thread_id: str) -> None:
        """A thread's owner has something new; nobody may be there to receive it."""
        presence = None if user_id is None else self._presences.get(user_id)
        if presence is None or not presence.devices:
            self._warn(thread_id, user_id)
        elif not presence.rung:
            presence.rung = True
            try:
                presence.address.tell(RING)
            except trio.WouldBlock:
                return  # the actor looks at the bell after each message, and it has a queue of them
            except ActorsError:
                presence.rung = False  # nobody answers this door any more

    def _warn(self, thread_id: str, user_id: str | None) -> None:
        """Say once per thread and period that its events reach nobody."""
        now = self.environment.clock()
        last = self._warned.get(thread_id)
        if last is not None and now < last + self.limits.warning_seconds:
            return
        self._warned.put(thread_id, now)
        if user_id is None:
            logger.warning("thread %s has no owner: its events are held until it is bound to a user", thread_id)
        else:
            text = "thread %s: its owner %s has no device connected; events wait in the log"
            logger.warning(text, thread_id, user_id)

    def _presence(self, user_id: str) -> Presence:
        presence = self._presences.get(user_id)
        if presence is None:
            presence = self._presences[user_id] = Presence(self.limits.departures)
        return presence

    def _user_address(self, user_id: str) -> Mailbox[UserMessage]:
        mailbox = self.users.mailbox(user_id)
        self._presence(user_id).address = mailbox
        return mailbox

    def _devices_of(self, user_id: str) -> int:
        presence = self._presences.get(user_id)
        return 0 if presence is None else len(presence.devices)

    def _device_failed(self, device: Device, error: Exception) -> None:
        device.fail(error)

    def _house(self) -> House:
        return House(
            store=self.store,
            limits=self.limits,
            environment=self.environment,
            failures=self.failures,
            user=self._user_address,
            mark=self.flusher.mark,
            hear=self._hear,
            forget=self._heartbeat.forget,
        )

    def _hear(self, connection: Connection) -> None:
        self._heartbeat.hear(connection, self.environment.clock())

    # --- supervision ----------------------------------------------------------

    def _supervise(
        self,
        name: str,
        build: Callable[[str], Any],
        lane: Lane,
        on_buried: Callable[[Any, Cause], None],
        on_quarantined: Callable[[str, Failure], None],
    ) -> DynamicSupervisor[Any]:
        limits = self.limits
        return DynamicSupervisor(
            name,
            build,
            lane=lane,
            intensity=Intensity(limits.restarts, limits.restart_period_seconds),
            backoff=_BACKOFF,
            shutdown_seconds=limits.shutdown_seconds,
            remembered=limits.failures,
            environment=self.environment,
            failures=self.failures,
            on_buried=on_buried,
            on_quarantined=on_quarantined,
        )

    def _build_user(self, user_id: str) -> UserActor:
        """A new actor looks at the log first: whatever rang for the last one may not have been heard."""
        presence = self._presence(user_id)
        presence.rung = False
        self.flusher.mark(presence)
        return UserActor(user_id, presence, self.store, self.accounts, self.flusher.mark, self.limits, self.environment)

    def _build_thread(self, thread_id: str) -> ThreadActor:
        return ThreadActor(thread_id, self._post)

    def _thread_buried(self, message: ThreadMessage, cause: Cause) -> None:
        if isinstance(message, Bind):
            refusals = {Cause.SHUTDOWN: RuntimeClosed, Cause.QUARANTINED: Quarantined}
            message.reply.refuse(refusals.get(cause, ActorsError)(f"the owner was not changed ({cause})"))
        elif message.receipt.seq is None:
            self.accounts.lose(message.receipt, cause, self.environment.clock())

    def _user_buried(self, message: UserMessage, cause: Cause) -> None:
        if isinstance(message, Attach):
            names = {Cause.SHUTDOWN: "shutting_down", Cause.QUARANTINED: "quarantined"}
            message.reply.refuse(PeerError(names.get(cause, "failed"), f"no place in the log ({cause})"))
        elif isinstance(message, Detach):
            self._presence(message.device.user_id or "").leave(message.device)

    def _thread_quarantined(self, thread_id: str, _: Failure) -> None:
        hold = self.accounts.holds.get(thread_id)
        self.store.release(thread_id)
        if hold is not None:
            self.accounts.shed(thread_id, hold.high, Cause.QUARANTINED, self.environment.clock())

    def _user_quarantined(self, user_id: str, failure: Failure) -> None:
        """Close the user's sockets, and settle its log: what was not acked will not be."""
        presence = self._presence(user_id)
        for device in tuple(presence.devices):
            device.end("quarantined", "")
            presence.leave(device)
        head = self.store.bounds(user_id).head
        self.accounts.trim(user_id, head + 1, Cause.QUARANTINED, self.environment.clock())
        bounds = self.store.renew(user_id)
        self.accounts.account(user_id, bounds.epoch, bounds.low)

    # --- life -----------------------------------------------------------------

    def _tree(self) -> Supervisor:
        """The static children, in the order they start. None of them depends on another one's task."""
        seconds = self.limits.shutdown_seconds
        return Supervisor(
            "runtime",
            [
                Child(name="flusher", start=self.flusher.run, shutdown_seconds=seconds),
                Child(name="users", start=self.users.run, stop=self.users.stop, shutdown_seconds=seconds * 2),
                Child(name="threads", start=self.threads.run, stop=self.threads.stop, shutdown_seconds=seconds * 2),
                Child(name="pulse", start=self._pulse, shutdown_seconds=seconds),
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
            self._expire()
            if self.environment.clock() >= retire_at:
                self.threads.retire()
                retire_at += self.limits.retire_seconds
            asked, dead = self._heartbeat.silent(self.environment.clock())
            for connection in asked:
                connection.ping()
            for connection in dead:
                connection.end("silent", f"it did not answer a ping within {self.limits.pong_seconds:g} s")

    def _expire(self) -> None:
        now = self.environment.clock()
        expiry = self.store.expire(now)
        for shed in expiry.shed:
            self.accounts.shed(shed.thread_id, shed.last_seq, shed.cause, now)
        for user_id, low in expiry.lows:
            self.accounts.trim(user_id, low, Cause.RETENTION, now)

    async def _close(self) -> None:
        """Refuse events, write what is placed, and say goodbye to every connection."""
        self._closed = True
        with trio.move_on_after(self.limits.close_seconds):
            await self._write_out()
        self.server.close()
        with trio.move_on_after(self.limits.close_seconds):
            await self.server.gone()

    async def _write_out(self) -> None:
        """Flush until every device has taken what is in its user's log."""
        while not self.flusher.idle or any(connection.writing for connection in self.server.connections.values()):
            self.flusher.flush()
            await trio.sleep(_WRITE_OUT_SECONDS)

    async def _settle(self) -> None:
        """Close the store; with one that does not outlive the process, that is the end of what it had."""
        await self.store.aclose()
        if not self.store.outlives_process:
            self.accounts.close(Cause.SHUTDOWN, self.environment.clock())


@asynccontextmanager
async def open_runtime(
    *,
    authenticate: Authenticate = trust,
    store: Store | None = None,
    limits: Limits | None = None,
    origins: Collection[str] | None = None,
    environment: Environment | None = None,
) -> AsyncIterator[Runtime]:
    """Run a delivery runtime around the body of ``async with``.

    ``authenticate`` says who a client is; without it a token is taken for the
    user's name, and only loopback may be served. ``origins`` lists the web
    origins that may connect, ``None`` allows pages of the same host and port.

    The body's own exception comes out bare, not in a group. When a part of the
    runtime fails beyond mending, the body is cancelled and
    :class:`~actors.errors.RestartsExhausted` comes out. On the way out clients
    are told, for at most twice ``close_seconds``, whatever is cancelled.
    """
    runtime = Runtime(
        authenticate=authenticate,
        store=store,
        limits=limits or Limits(),
        origins=origins,
        environment=environment or Environment(),
    )
    ended: list[BaseException] = []
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(_keeping(ended, lambda status: runtime._tree().run(task_status=status), nursery))
            try:
                yield runtime
            except Exception as error:  # noqa: BLE001 - raised below, outside of the nursery and so bare
                ended.append(error)
            finally:
                with trio.CancelScope(shield=True):
                    await runtime._close()
                nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await runtime._settle()
    if ended:
        raise ended[0]


def _keeping(
    ended: list[BaseException], run: Callable[[trio.TaskStatus[None]], Awaitable[None]], nursery: trio.Nursery
) -> Callable[..., Awaitable[None]]:
    """Keep what the tree ends with, and cancel the body for it; a nursery would wrap it in a group."""

    async def keeping(task_status: trio.TaskStatus[None]) -> None:
        try:
            await run(task_status)
        except Exception as error:  # noqa: BLE001 - raised by open_runtime
            ended.append(error)
            nursery.cancel_scope.cancel()

    return keeping
