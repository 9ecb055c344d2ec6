"""The public face of a runtime: the calls that applications make on it and on a thread, and :func:`open_runtime`."""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import trio

from actors.checks import check_cursor, check_instance, check_word
from actors.connections.following import Following
from actors.connections.states import page
from actors.context import Context, lines_of
from actors.delivery.balance import Audit
from actors.delivery.dead_letters import DeadLetter
from actors.environment import Environment, check_seconds
from actors.errors import RuntimeClosed, Unencodable
from actors.events.delivered import History
from actors.events.event import Lifecycle, Payload, check_identifier, check_whole, decode
from actors.events.items import Sent
from actors.events.traceparent import check_traceparent
from actors.kernel.affinity import IN_A_RUNTIME, Affinity, check_no_asyncio, check_trio
from actors.kernel.dynamic_supervisor import DynamicSupervisor
from actors.kernel.failures import (
    Failure,
    Failures,
    cancels,
    is_cancellation,
    open_interruptible_nursery,
    ungrouped_interrupt,
)
from actors.kernel.log_lines import LogLines
from actors.kernel.mailbox import Mailbox
from actors.kernel.signals import Reply
from actors.limits import Limits
from actors.observability.connection_state import ConnectionState
from actors.observability.explain import ambiguous, forgotten
from actors.observability.instrument import Instruments, OwnerAct, OwnerChange
from actors.observability.lines import FAILED, RELEASED
from actors.observability.statistics import Statistics
from actors.observability.tracer import NO_SPAN, Outcome, Span, Untraced
from actors.observability.undelivered import OnUndelivered
from actors.options import Options
from actors.protocol.client_messages import Origin
from actors.receipts import Fate, Receipt
from actors.runs.asks import Answer, Asks
from actors.runs.endings import Cancellation
from actors.runs.lead import AHEAD_SECONDS, Lead, check_ahead
from actors.runs.run import RESERVED, Run, described
from actors.runs.supervisor import Agents, OnDisconnect, OnMessage, Runs
from actors.runs.turns import Concurrency
from actors.server.authentication import COOKIE, Authenticate, Sources, trust
from actors.server.drain import DrainReport, RunsPolicy
from actors.server.handshake import Service
from actors.server.listener import Place
from actors.server.messages import Authorize, Messages, deny
from actors.server.origins import allowed
from actors.server.server import Access
from actors.server.visit import Arrival
from actors.stores.store import Binding, Store
from actors.threads.emitter import Emitter
from actors.threads.messages import OwnerRequest, ThreadMessage
from actors.tree import Tree
from actors.wire.endpoint import Endpoint
from actors.wire.http import Page, RequestHead


class Thread:
    """The handle of a conversation, to emit into it, to run an agent in it, to ask its owner.

    Cheap, because it holds no state of the conversation: make one whenever one is needed. One that is kept emits a
    little faster, because it knows the way.
    """

    __slots__ = ("_asks", "_emitter", "_lead", "_mailbox", "_messages", "_runs", "thread_id")

    def __init__(
        self,
        thread_id: str,
        emitter: Emitter,
        *,
        runs: Runs,
        asks: Asks,
        messages: Messages,
        lead: Lead | None = None,
    ) -> None:
        check_identifier("thread_id", thread_id)
        self.thread_id: str = thread_id
        self._emitter = emitter
        self._runs = runs
        self._asks = asks
        self._messages = messages
        self._lead = lead
        self._mailbox: Mailbox[ThreadMessage] | None = None

    def __repr__(self) -> str:
        return f"<Thread {self.thread_id}>"

    async def emit(
        self,
        type: str,  # noqa: A002 - the word of the protocol
        payload: Payload,
        *,
        run_id: str | None = None,
        event_id: str | None = None,
        user_id: str | None = None,
        traceparent: str | None = None,
    ) -> Receipt:
        """Emit an event; waits for room, and with ``ahead`` for devices, and for nothing else. A checkpoint.

        ``payload`` is a JSON object, or one encoded. ``event_id`` makes the
        call idempotent: the same id with the same content again gives the
        first receipt. ``user_id`` binds the thread to that user if it has no
        owner yet. Raises :class:`~actors.errors.Unencodable` for what no event
        can carry, :class:`~actors.errors.IdempotencyConflict` for an id that
        names another event of the thread, :class:`~actors.errors.NotTheOwner`,
        :class:`~actors.errors.Quarantined`,
        :class:`~actors.errors.RuntimeClosed`, and
        :class:`~actors.errors.StoreUnavailable` where the store is in trouble
        and takes nothing meanwhile. Whatever it raises, ``Cancelled``
        included, that event will not be delivered.

        Where the thread is busy, or its store has to be waited for, the call
        returns before the store's answer is known: then a repetition gets a
        receipt that follows the first one, and a conflict or another owner
        raises nothing; the receipt is DROPPED, with its cause. What the store
        has then is placed, whatever becomes of the thread's actor.

        ``traceparent``, of W3C, says to which trace the event belongs, and goes
        with it to devices; a repetition may have another one. It is left out
        of a token, and beside a ``run_id``, because the first event of a run
        stands for all. Where the runtime is traced, the span of this call is
        below it, or below the one that is current here, and goes with the
        event in its place.
        """
        if run_id is not None:
            self._check_run(type, run_id, traceparent)
        elif traceparent is not None or self._emitter.instruments.tracer is not None:
            return await self._emit_traced(type, payload, event_id, user_id, traceparent)
        emitter, lead, window = self._emitter, self._lead, None
        if lead is not None:
            emitter.affinity.check_task("emit")
            window = await lead.room(self.thread_id, user_id)
        emission = emitter.compose(self.thread_id, type, payload, run_id, event_id, user_id)
        if window is not None:
            return await window.emit(emission, emitter.emit(emission, self._find_mailbox()))
        return await emitter.emit(emission, self._find_mailbox())

    def emit_nowait(
        self,
        type: str,  # noqa: A002 - the word of the protocol
        payload: Payload,
        *,
        run_id: str | None = None,
        event_id: str | None = None,
        user_id: str | None = None,
        traceparent: str | None = None,
    ) -> Receipt:
        """Emit an event without waiting; raises what :meth:`emit` does, and :class:`trio.WouldBlock` without room, or
        where ``emit`` would wait for devices."""
        if run_id is not None:
            self._check_run(type, run_id, traceparent)
        elif traceparent is not None or self._emitter.instruments.tracer is not None:
            return self._emit_traced_nowait(type, payload, event_id, user_id, traceparent)
        emitter, lead = self._emitter, self._lead
        window = None if lead is None else lead.room_nowait(self.thread_id, user_id)
        emission = emitter.compose(self.thread_id, type, payload, run_id, event_id, user_id)
        mailbox = self._mailbox
        if mailbox is None or mailbox.successor is not None:
            mailbox = self._find_mailbox()
        receipt = emitter.emit_nowait(emission, mailbox)
        if window is not None:
            window.note(receipt, len(emission.body))
        return receipt

    async def send(
        self,
        payload: Payload,
        *,
        user_id: str,
        message_id: str | None = None,
        run_id: str | None = None,
        type: str = "user_message",  # noqa: A002 - the word of the protocol
        authorize: bool = False,
        traceparent: str | None = None,
    ) -> Sent:
        """Place a message of a user that came another way than over a device, and start the run that answers it.

        A checkpoint; returns when the message is stored. It is an event of the
        thread, which all devices of the owner are sent, and ``on_message``
        answers it in its turn, as it does a client's. A thread without an owner
        becomes ``user_id``'s; with ``authorize``, because a client named it,
        only if the function of :func:`open_runtime` agrees.

        ``message_id`` is the event's id, and makes the call idempotent: with
        the same content again, it returns the same, and starts nothing.
        ``run_id`` names the run; without it, its name follows from thread and
        message. Where clients choose these, put their user's name in front,
        because a run's id is one of the whole runtime.

        Raises what :meth:`emit` raises, also where the thread is busy:
        :class:`~actors.errors.Unencodable` (for a type of an agent's events,
        too), :class:`~actors.errors.IdempotencyConflict` (for the id of a run
        that is active, or another one than before, too),
        :class:`~actors.errors.NotTheOwner`, :class:`~actors.errors.Quarantined`,
        :class:`~actors.errors.StoreUnavailable` and
        :class:`~actors.errors.RuntimeClosed`, also while the runtime drains.
        Then :class:`~actors.errors.Busy` where so many messages wait for runs
        that it takes no other one, :class:`~actors.errors.Dropped` where the
        message was lost on its way, and what ``authorize`` raises,
        :class:`trio.TooSlowError` after ``authorize_seconds``. Cancelled, the
        message may have been placed or not: send it again with its id.

        ``traceparent`` is that of :meth:`emit`; the run's span is below it.
        """
        self._emitter.affinity.check_task("send")
        with self._span(type, message_id, traceparent) as span:
            return await self._messages.send(
                self.thread_id,
                payload,
                user_id=user_id,
                message_id=message_id,
                run_id=run_id,
                type_=type,
                authorize=authorize,
                span=span,
            )

    async def ask(
        self,
        type: str,  # noqa: A002 - the word of the protocol
        payload: Payload,
        *,
        timeout: float,  # noqa: ASYNC109 - what devices are told, and not only when to give up
        run_id: str | None = None,
    ) -> Answer:
        """Ask the owner something, an approval or a choice, and wait for the first answer of a device. A checkpoint.

        Every device that is there or comes shows the question, for ``timeout``
        seconds; with ``math.inf``, until it is answered. Raises
        :class:`~actors.errors.Unanswered`, with the reason, when there is no
        answer by then, :class:`~actors.errors.Unencodable` for a payload that
        is no JSON object, and ValueError or TypeError for a ``timeout`` that
        is negative, no number, or longer than the 24 days that a browser's
        timer can wait. Cancelled, the question is withdrawn from all devices.
        """
        self._emitter.affinity.check_task("ask")
        return await self._asks.ask(self.thread_id, type, payload, timeout, run_id)

    @asynccontextmanager
    async def run(
        self,
        agent_name: str,
        *,
        run_id: str | None = None,
        ahead: int | None = None,
        ahead_seconds: float | None = None,
        traceparent: str | None = None,
    ) -> AsyncIterator[Run]:
        """Run an agent in the block: ``agent_started`` before it, and exactly one terminal event after it.

        A block that ends is ``agent_completed``, with ``run.result`` if that
        was set; one that raises is ``agent_failed``, and the exception comes
        out; one that is cancelled is ``agent_cancelled``. A cancellation by a
        client, or by :meth:`Runtime.cancel`, stops at the block, and decides
        the terminal event whatever the block does then; its result is kept,
        its exception comes out. A block that goes on for ``cancel_seconds``
        after that is reported in ``failures``, and its run closed: the block
        itself goes on, because it is the host's, but to emit in the run raises
        :class:`~actors.errors.RunEnded`.

        With ``ahead``, the run and those below it wait as
        :meth:`Runtime.thread` says, for at most so many events of theirs;
        without, as this thread does. ``traceparent`` is that of :meth:`emit`;
        the run's first event has it, or the one of the run's own span.

        Raises what :meth:`emit` raises, and IdempotencyConflict while a run
        with this ``run_id`` is active, or was closed and its code goes on.
        """
        run = self._runs.new(self.thread_id, agent_name, run_id, traceparent=traceparent)
        run.output.lead = self._runs.lead_of(f"runs/{run.run_id}", ahead, ahead_seconds, self._lead)
        async with run.open():
            yield run

    def _find_mailbox(self) -> Mailbox[ThreadMessage]:
        mailbox = self._mailbox
        if mailbox is None or mailbox.successor is not None:
            self._mailbox = mailbox = self._emitter.mailbox(self.thread_id)
        return mailbox

    async def _emit_traced(
        self, type_: str, payload: Payload, event_id: str | None, user_id: str | None, traceparent: str | None
    ) -> Receipt:
        """Emit an event that belongs to a trace."""
        emitter, lead, window = self._emitter, self._lead, None
        with self._span(type_, event_id, traceparent) as span:
            if lead is not None:
                emitter.affinity.check_task("emit")
                window = await lead.room(self.thread_id, user_id)
            emission = emitter.compose(
                self.thread_id, type_, payload, None, event_id, user_id, traceparent=span.traceparent
            )
            emit = emitter.emit(emission, self._find_mailbox())
            receipt = await (emit if window is None else window.emit(emission, emit))
            span.emitted(receipt)
            return receipt

    def _emit_traced_nowait(
        self, type_: str, payload: Payload, event_id: str | None, user_id: str | None, traceparent: str | None
    ) -> Receipt:
        """Do the same without waiting."""
        emitter, lead = self._emitter, self._lead
        with self._span(type_, event_id, traceparent) as span:
            window = None if lead is None else lead.room_nowait(self.thread_id, user_id)
            emission = emitter.compose(
                self.thread_id, type_, payload, None, event_id, user_id, traceparent=span.traceparent
            )
            receipt = emitter.emit_nowait(emission, self._find_mailbox())
            if window is not None:
                window.note(receipt, len(emission.body))
            span.emitted(receipt)
            return receipt

    @contextmanager
    def _span(self, type_: str, event_id: str | None, traceparent: str | None) -> Iterator[Span]:
        """Have a span around the block that emits an event, where the runtime is traced; a token has none."""
        if traceparent is not None:
            check_traceparent(traceparent)
        tracer = self._emitter.instruments.tracer
        if tracer is None or type_ == Lifecycle.AGENT_DELTA:
            yield NO_SPAN if type_ == Lifecycle.AGENT_DELTA else Untraced(traceparent)
            return
        span = tracer.begin_emit(self.thread_id, type_, event_id, traceparent)
        outcome: Outcome = "failed"
        try:
            yield span
            outcome = "completed"
        except BaseException as error:
            if is_cancellation(error):
                outcome = "cancelled"
            else:
                failure = described(error)
                span.fail(failure["type"], failure["message"], error)
            raise
        finally:
            span.end(outcome)

    def _check_run(self, type_: str, run_id: str, traceparent: str | None) -> None:
        """Leave to a run of this runtime the events that begin and end it."""
        if traceparent is not None:
            check_traceparent(traceparent)
        if not isinstance(run_id, str) or not isinstance(type_, str):  # the encoder refuses the others
            return
        if run_id in self._runs.registry.active and type_ in RESERVED:
            raise Unencodable("type", f"any type but {type_}, which run {run_id} emits itself", came=repr(type_))


class Runtime:
    """One delivery runtime; :func:`open_runtime` makes and runs it."""

    def __init__(self, context: Context, options: Options) -> None:
        self.limits: Limits = context.limits
        self.environment: Environment = context.environment
        self.failures: Failures = context.failures
        """The newest failures, each once, newest last."""
        self.instruments: Instruments = context.instruments
        """The observers of this runtime; ``add`` one of your own."""
        self._token = trio.lowlevel.current_trio_token()
        self._affinity = Affinity(IN_A_RUNTIME)
        self._ended_at: float | None = None
        """The monotonic time of its end, because Trio's clock may be gone when the application asks for a fate."""
        self.tree: Tree = Tree(context, options, affinity=self._affinity)
        """The parts, for tests and for studying; an application needs none of them."""

    def __repr__(self) -> str:
        state = "open" if self._ended_at is None else "closed"
        connections, active = len(self.tree.server.connections), len(self.tree.runs.registry.active)
        return f"<Runtime {state}, {connections} connections, {active} active runs>"

    # --- events ---------------------------------------------------------------

    def thread(self, thread_id: str, *, ahead: int | None = None, ahead_seconds: float | None = None) -> Thread:
        """The handle of a conversation; the conversation need not exist yet.

        With ``ahead``, ``emit`` waits before there are more than so many events
        of the thread, emitted with ``ahead``, that no device of its owner has
        acked; so that a producer that can wait loses nothing to retention,
        however slow the devices are. ``emit_nowait`` raises ``WouldBlock``
        then, and runs wait as their methods say. Of devices that do not ack in
        time, or at all, it is waited until their sockets have taken an event.
        A call waits for at most ``ahead_seconds`` (10 without them), and while
        the owner has a device; then it emits all the same. Without ``ahead``
        the thread waits as :func:`open_runtime` says.

        Raises :class:`~actors.errors.Unencodable` for what cannot be an id,
        TypeError and ValueError for an ``ahead`` that is no number of events
        from 1 to ``retained_events``, or for ``ahead_seconds`` that are none.
        """
        tree = self.tree
        lead = tree.runs.lead
        if ahead is not None or ahead_seconds is not None:
            lead = tree.runs.lead_of(f"threads/{thread_id}", ahead, ahead_seconds, lead)
        return Thread(thread_id, tree.emitter, runs=tree.runs, asks=tree.asks, messages=tree.messages, lead=lead)

    def emit_from_thread(self, thread_id: str, type: str, payload: Payload, **options: Any) -> Receipt:  # noqa: A002
        """Call :meth:`Thread.emit` from another operating system thread, and block that until it returns.

        Raises what ``emit`` raises, RuntimeClosed when Trio has ended, and
        :class:`~actors.errors.ForeignLoop` where asyncio runs, because it would
        block that loop: :mod:`actors.aio` is for asyncio.
        """
        check_no_asyncio("emit_from_thread")
        try:
            return trio.from_thread.run(
                lambda: self.thread(thread_id).emit(type, payload, **options), trio_token=self._token
            )
        except trio.RunFinishedError:
            raise RuntimeClosed("expected an open runtime, Trio has ended") from None

    def explain(self, event: str | Receipt, thread_id: str | None = None) -> Fate:
        """Say where an event is and why, by its receipt or its id; ``str()`` of the fate is a sentence.

        An id that an application gave names one event in each thread. Without
        ``thread_id``, the fate of an id that several threads have names them,
        and is about none of the events. Beyond memory it says "forgotten".
        """
        self._affinity.check()
        receipt = _find(self.tree.emitter, event, thread_id) if isinstance(event, str) else event
        if isinstance(receipt, Fate):
            return receipt
        return self.tree.fate_of(receipt, self.environment.clock() if self._ended_at is None else self._ended_at)

    def audit(self) -> Audit:
        """Count the events in each stage at this moment: per user, for threads without an owner, and in total."""
        self._affinity.check()
        return self.tree.accounts.audit()

    def statistics(self) -> Statistics:
        """Read what this runtime has done and has, in numbers; the cost does not grow with users or events."""
        self._affinity.check()
        return self.tree.statistics()

    @property
    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """The newest drops, by range, oldest first."""
        self._affinity.check()
        return tuple(self.tree.accounts.dead_letters)

    async def read(self, thread_id: str, *, after_seq: int = 0, limit: int | None = None) -> History:
        """Read a thread's retained events after a sequence number, oldest first, and what is gone. A checkpoint.

        For a page that opens late on one conversation. At most ``limit``
        events, ``history_events`` without one, and about ``history_bytes``;
        ``more`` is true if there are others. A thread without an owner has
        none yet. Raises :class:`~actors.errors.Unencodable`, which is a
        ValueError, for an ``after_seq`` that is no whole number from 0 on or a
        ``limit`` that is none from 1 on.
        """
        self._affinity.check_task("read")
        check_identifier("thread_id", thread_id)
        check_whole("after_seq", after_seq, 0)
        if limit is not None:
            check_whole("limit", limit, 1)
        most = self.limits.history_events if limit is None else limit
        found = await self.tree.store.history(thread_id, None, after_seq, most, self.limits.history_bytes)
        return History(
            thread_id=thread_id,
            events=tuple(map(decode, found.events)),
            gone=found.gone,
            head_seq=found.head_seq,
            more=found.more,
        )

    async def cancel(self, run_id: str, *, reason: str = "application") -> Cancellation:
        """Cancel a run and its children, and wait up to ``cancel_seconds`` for their code to stop. A checkpoint.

        From now on the run's last event is ``agent_cancelled``, whatever its
        code does. A run whose code has not stopped by then is reported in
        ``failures`` and closed: to emit in it raises RunEnded, its thread's
        next turn begins, and it holds one of ``limits.runs`` until its code
        ends. A run that had ended counts as stopped; one that is unknown, also
        after ``cancel_hold_seconds``, is in neither list. Raises
        :class:`~actors.errors.Unencodable` for a reason that is no identifier.
        Cancelled, the run may or may not have been asked to end. Called from
        inside of the run, it ends there with the run.
        """
        self._affinity.check_task("cancel")
        return await self.tree.runs.endings.cancel(run_id, reason) or Cancellation((), ())

    # --- owners ---------------------------------------------------------------

    async def bind(self, thread_id: str, user_id: str) -> None:
        """Make a user the owner of a thread that has none, and place its held events in the user's log. A checkpoint.

        Binding it to its owner again changes nothing. Raises
        :class:`~actors.errors.NotTheOwner` when it is another user's,
        :class:`~actors.errors.Quarantined` when the thread is out of service
        (its text says so if the owner was changed all the same: bind again
        after the release), :class:`~actors.errors.RuntimeClosed`, and
        :class:`~actors.errors.StoreUnavailable`, after which it may or may not
        have happened. Cancelled, it may or may not have happened either.
        """
        check_identifier("user_id", user_id)
        await self._change_owner(thread_id, "bind", user_id)

    async def rebind(self, thread_id: str, user_id: str) -> None:
        """Make a user the owner of a thread in place of any other. Events accepted before stay with the former owner.

        A checkpoint, and raises, as :meth:`bind`, but for NotTheOwner.
        """
        check_identifier("user_id", user_id)
        await self._change_owner(thread_id, "rebind", user_id)

    async def unbind(self, thread_id: str) -> None:
        """Leave a thread without an owner, so that its events are held. A checkpoint, and raises, as :meth:`rebind`."""
        await self._change_owner(thread_id, "unbind", None)

    def owner(self, thread_id: str) -> str | None:
        """The user who owns a thread, or None."""
        self._affinity.check()
        return self.tree.store.known_owner(thread_id)

    def devices(self, user_id: str) -> int:
        """The number of connections that a user has."""
        self._affinity.check()
        return self.tree.registry.devices(user_id)

    def connections(self, *, after: str | None = None, limit: int | None = None) -> tuple[ConnectionState, ...]:
        """Look at the devices that are connected, in the order in which they came: sockets first, then followers.

        A page of at most ``limit`` of them, behind the one with the label
        ``after``, which may have gone meanwhile. A socket costs a system call,
        so that of thousands a page is the way to look. Raises ValueError for
        an ``after`` that is no label, and a ``limit`` that is none from 1 on.
        """
        self._affinity.check()
        if limit is not None:
            check_whole("limit", limit, 1)
        return page(self.tree.server.connections.values(), self.tree.followers, after, limit)

    def release(self, path: str) -> None:
        """Put a quarantined actor (``users/alice``, as in its failures) back into service.

        What a thread held, and what is in a user's log, has waited for that.

        Raises ValueError when there is no such actor, or it is in service.
        """
        self._affinity.check()
        name, _, key = path.partition("/")
        supervisors: dict[str, DynamicSupervisor[Any]] = {"users": self.tree.users, "threads": self.tree.threads}
        if name not in supervisors or supervisors[name].quarantined(key) is None:
            raise ValueError(f"expected the path of a quarantined actor, got {path!r}")
        supervisors[name].release(key)
        self.tree.context.lines.say(RELEASED, path, path=path)

    async def _change_owner(self, thread_id: str, act: OwnerAct, user_id: str | None) -> None:
        self._affinity.check_task(act)
        check_identifier("thread_id", thread_id)
        if self.tree.emitter.closed:
            raise RuntimeClosed("expected an open runtime, it is closed")
        reply: Reply[Binding] = Reply()
        with _owner_change(OwnerChange(thread_id=thread_id, act=act, user_id=user_id), self.instruments):
            await self.tree.threads.mailbox(thread_id).send(
                OwnerRequest(thread_id, user_id, act != "bind", act=act, reply=reply)
            )
            await reply.wait()

    # --- connections ----------------------------------------------------------

    async def serve(
        self,
        host: str | None = None,
        port: int | None = None,
        *,
        path: str | bytes | os.PathLike[str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        prefix: str = "",
        task_status: trio.TaskStatus[tuple[str, int] | str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen on a TCP port, or on a Unix socket at ``path``, until cancelled or the runtime closes.

        ``host`` None is 127.0.0.1; ``port`` None or 0 is any free one.
        ``await nursery.start(runtime.serve, host, port)`` returns the bound
        address: ``(host, port)``, or the path. At ``path`` the server replaces
        a socket that no process listens on, and nothing else. While tokens are
        not checked the new socket is for this account alone (mode 0600),
        because every account of the machine could be any user; an abstract
        address has no mode, and is as open as a loopback port. ``prefix``, as
        ``"/live"``, is for a proxy that passes on whole paths: everything is
        below it, and nothing elsewhere.

        Raises OSError when the address cannot be bound, and ValueError for
        what is no address, for a ``host``, or a ``port`` other than 0, beside a
        ``path``, for an ``ssl_context`` that is not a server's, and for an
        address that is not loopback while tokens are not checked. Cancelled,
        it says goodbye to its clients first, within twice ``close_seconds``.
        """
        self._affinity.check_task("serve")
        if path is not None and (host is not None or port not in (None, 0)):
            beside = f"port {port!r}" if host is None else f"host {host!r}"
            raise ValueError(f"path: expected a path, or a host and a port, got {path!r} and the {beside}")
        place = Place(
            host="127.0.0.1" if host is None else host,
            port=0 if port is None else port,
            path=path,
            ssl_context=ssl_context,
            prefix=prefix,
        )
        await self.tree.server.serve(place, task_status)

    async def handle(
        self, stream: trio.abc.Stream | Endpoint, *, head: RequestHead | None = None, user_id: str | None = None
    ) -> None:
        """Serve one connection that the host has accepted, from its request to its end. A checkpoint.

        ``head`` is the request, where the host has read it; nothing of it may
        be in the stream. ``user_id`` is the user that the host knows: no
        credential is looked at, but the origin of a page is. Cancelled, the
        connection is closed as it stands. Raises
        :class:`~actors.errors.Unencodable` for what can be no user, and
        :class:`~actors.errors.RuntimeClosed` once the runtime drains; a
        request that the host has read is answered meanwhile, with 503.
        """
        self._affinity.check_task("handle")
        if user_id is not None:
            check_identifier("user_id", user_id)
        await self.tree.server.handle(stream, Arrival(head=head, user_id=user_id))

    @asynccontextmanager
    async def follow(
        self,
        user_id: str,
        thread_id: str | None = None,
        *,
        after: tuple[str, int] | None = None,
        origin: Origin = "head",
    ) -> AsyncIterator[Following]:
        """Follow a user's log in the block, as a device in this process: for an event stream, a bridge, a bot, a test.

            async with runtime.follow("alice", "t1") as followed:
                async for item in followed:  # Event, Gap, Reset, CaughtUp, Active, Inactive, Ask, AskClosed
                    ...

        It is one of the user's devices: it is sent what a device is sent, and
        counts as one (:meth:`devices`, ``connections_per_user``,
        ``on_disconnect``, the reason of ``Unanswered``). An event counts as
        WRITTEN when it was handed out, as ACKED when the loop comes back for
        the next item; :attr:`Following.position` is where it begins. With a
        ``thread_id``, only what is in that thread is handed out, and only that
        is acked; a gap may have been of other threads.

        It begins after the cursor ``after``, an epoch and an offset as
        :attr:`Following.taken` has them; or, without one, where ``origin``
        says: behind the newest event, at the first that no device has acked
        (``"unacked"``), or at the oldest (``"low"``). A consumer that is slow
        costs nothing but that it may get a gap. :meth:`drain` waits for it to
        take and ack what there is, and then ends the loop; so do
        :meth:`revoke` and the end of the runtime.

        Raises :class:`~actors.errors.Unencodable` for ids that are none,
        TypeError and ValueError for another ``after`` or ``origin``,
        :class:`~actors.errors.Busy` where the user has as many devices as may
        be, :class:`~actors.errors.Quarantined`,
        :class:`~actors.errors.RuntimeClosed`, also while the runtime drains,
        :class:`~actors.errors.StoreError` where the store cannot follow the
        log, and a bare :class:`~actors.errors.ActorsError` where the user was
        revoked meanwhile, or the user's actor failed. To enter is a checkpoint; cancelled, no device is left behind.
        """
        self._affinity.check_task("follow")
        check_identifier("user_id", user_id)
        if thread_id is not None:
            check_identifier("thread_id", thread_id)
        if after is not None:
            check_cursor("after", after)
        check_word("origin", origin, Origin)
        async with self.tree.followers.open(user_id, thread_id, after=after, origin=origin) as followed:
            yield followed

    def revoke(self, user_id: str) -> int:
        """End every connection of a user whose credentials are revoked, with 4504, on which clients do not come back.

        Call it once ``authenticate`` refuses the credentials; connections that
        are being authenticated meanwhile are refused as well. The user's
        sessions are forgotten; runs go on, and events wait in the log. Returns
        the number of connections. Raises :class:`~actors.errors.Unencodable`
        for what can be no user.
        """
        self._affinity.check()
        check_identifier("user_id", user_id)
        count = self.tree.server.revoke(user_id) + self.tree.followers.revoke(user_id)
        presence = self.tree.registry.known(user_id)
        if presence is not None:
            for device in tuple(presence.devices):
                presence.leave(device)
            presence.sessions.clear()
        return count

    async def drain(self, deadline_seconds: float, *, runs: RunsPolicy = "finish") -> DrainReport:
        """Go away in good order, within so many seconds, and return what could not be delivered. A checkpoint.

        The runtime refuses new sockets and messages, and tells devices to come
        back later (``going_away``); runs finish, or are cancelled (``runs``);
        then it refuses events, and sees those that it accepted stored, written
        and acked; it closes connections with 1012, and aborts sockets that
        take nothing. A client that has not said hello is sent away at once;
        one that has only to answer the Close gets ``close_seconds``, also
        beyond the deadline. Afterwards the runtime is closed. Cancelled, the
        drain stops where it is. A second call meanwhile does the same, and the
        shorter deadline decides.

        Raises TypeError for a deadline that is no number, ValueError for one
        that is negative or for an unknown policy, and RuntimeError, without
        effect, when it is called from inside of what it ends and waits for: a
        run, ``authenticate`` or ``authorize``, or a tool's thread with
        ``trio.from_thread.run``. A run that is to end its runtime starts this
        in a nursery of the host.
        """
        self._affinity.check_task("drain")
        check_seconds("deadline_seconds", deadline_seconds)
        check_word("runs", runs, RunsPolicy)
        return await self.tree.drain.run(deadline_seconds, runs)

    def _close(self) -> None:
        self.tree.close()
        self._affinity.over = True
        self._ended_at = self.environment.clock()


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
    """Run a delivery runtime around the body of ``async with``.

    ``authenticate`` says which user a client is; without it the token is taken
    for the user's name, and only loopback may be served. A token is in the
    hello, a ticket or the cookie named ``cookie``; with ``from_request``,
    ``authenticate`` is asked about requests that present none, too, and finds
    a user in what an application knows them by. ``authorize`` says
    whether a user may claim a thread without an owner by naming it; without
    it, never. ``origins`` lists the web origins that may connect (a string is
    one of them, ``"*"`` is all); None allows pages of the same host and port.

    ``on_message`` answers each message of a user with a run. While a run is
    active in the thread, a new message waits (``concurrency="queue"``), is
    refused (``"reject"``), ends the other run (``"cancel_previous"``), or is
    answered beside it (``"parallel"``). The runs of a user without a device go
    on (``on_disconnect="detach"``), or end after ``disconnect_grace_seconds``
    (``"cancel_after"``). ``on_undelivered`` is called with the fate of each
    event, tokens excepted, that no device has acked within
    ``undelivered_seconds``. With ``ahead``, emitters wait while so many of a
    user's events are not acked by any device, for ``ahead_seconds`` at most,
    as :meth:`Runtime.thread` says; but they are counted together for each
    user, in whichever thread or run. ``pages`` and ``services`` (which authenticate
    their clients themselves) answer at their paths, beside ``/ws`` and
    ``/healthz``: HTTP requests, and upgrades to WebSockets.

    Raises ValueError and TypeError, before anything is started, for an option
    that cannot be meant, and :class:`~actors.errors.ForeignLoop` where Trio
    does not run: an asyncio program opens one with :mod:`actors.aio`. Every
    call but ``thread`` and ``emit_from_thread`` is for the thread that opened
    the runtime, and raises :class:`~actors.errors.ForeignThread` in another,
    without effect.

    The body's own exception comes out bare, not in a group; so does Ctrl-C,
    wherever it strikes. When the runtime's restarts are exhausted, the body is
    cancelled and :class:`~actors.errors.RestartsExhausted` comes out. A store
    that cannot be opened raises its :class:`~actors.errors.StoreError`. On the
    way out, cancelled or not, the runtime cancels its runs, which have
    ``shutdown_seconds`` to end, and tells its clients, within twice
    ``close_seconds``. A listener in the body's own nursery that is cancelled
    there says goodbye first; for clients to see their runs end, call
    :meth:`Runtime.drain` before.
    """
    check_trio("open_runtime", "call trio.run(main), or from asyncio use actors.aio.open_runtime")
    context = _context(limits, environment)
    if ahead is not None:
        check_ahead(ahead, ahead_seconds, context.limits)
    options = Options(
        access=Access(
            authenticate=authenticate,
            sources=Sources(cookie=cookie, request=from_request),
            origins=allowed(origins),
        ),
        authorize=authorize,
        agents=Agents(
            on_message=on_message,
            concurrency=concurrency,
            on_disconnect=on_disconnect,
            ahead=ahead,
            ahead_seconds=ahead_seconds,
        ),
        on_undelivered=on_undelivered,
        store=store,
        pages={} if pages is None else pages,
        services={} if services is None else services,
    )
    async with _running(Runtime(context, options)) as runtime:
        yield runtime


def _find(emitter: Emitter, event_id: str, thread_id: str | None) -> Receipt | Fate:
    """Find the receipt of an event, or the fate of an id that is forgotten, or that several threads have."""
    if thread_id is None:
        threads = emitter.threads_of(event_id)
        if len(threads) > 1:
            return ambiguous(event_id, threads)
        thread_id = threads[0] if threads else None
        return (thread_id and emitter.remembered(event_id, thread_id)) or forgotten(event_id)
    return emitter.remembered(event_id, thread_id) or forgotten(event_id, thread_id)


@contextmanager
def _owner_change(change: OwnerChange, instruments: Instruments) -> Iterator[None]:
    """Tell the instruments of the call in the block."""
    if instruments.owner_changing is not None:
        instruments.owner_changing(change)
    error: BaseException | None = None
    try:
        yield
    except BaseException as caught:
        error = caught
        raise
    finally:
        if instruments.owner_changed is not None:
            instruments.owner_changed(change, error)


def _context(limits: Limits | None, environment: Environment | None) -> Context:
    limits = Limits() if limits is None else limits
    environment = Environment() if environment is None else environment
    check_instance("limits", limits, Limits)
    check_instance("environment", environment, Environment)
    lines = lines_of(limits, environment)
    failures = Failures(limits.failures, environment.wall_clock, say=partial(_say_failure, lines))
    instruments = Instruments(failures)
    return Context(limits=limits, environment=environment, failures=failures, instruments=instruments, lines=lines)


def _say_failure(lines: LogLines, failure: Failure) -> None:
    """Log a failure, of many of one actor that are all the same one in a period."""
    lines.say(
        FAILED,
        (failure.path, failure.error),
        path=failure.path,
        handling=failure.handling,
        error=failure.error,
        traceback=failure.traceback,
    )


@asynccontextmanager
async def _running(runtime: Runtime) -> AsyncIterator[Runtime]:
    """Run the tree around the body, and raise what ended either of them outside of the nursery, and so bare."""
    ended: list[BaseException] = []
    has_begun = False
    try:
        async with open_interruptible_nursery() as nursery:
            supervisor = runtime.tree.supervisor()
            try:
                await nursery.start(_keeping(ended, lambda status: supervisor.run(task_status=status), nursery))
                has_begun = True
                runtime.tree.restore()
                yield runtime
            except BaseException as error:
                if cancels(error):
                    raise
                ended.append(error)
            finally:
                if has_begun:  # else there is nothing to close, and no store to ask
                    with trio.CancelScope(shield=True):
                        await runtime.tree.drain.close()
                nursery.cancel_scope.cancel()
    finally:
        runtime._close()
    if ended:
        with ungrouped_interrupt():
            raise ended[0]


def _keeping(
    ended: list[BaseException], run: Callable[[trio.TaskStatus[None]], Awaitable[None]], nursery: trio.Nursery
) -> Callable[..., Awaitable[None]]:
    """Keep the exception that ends the tree, and cancel the body for it; a nursery would wrap it in a group."""

    async def keeping(task_status: trio.TaskStatus[None]) -> None:
        try:
            await run(task_status)
        except BaseException as error:
            if cancels(error):
                raise
            ended.append(error)
            nursery.cancel_scope.cancel()

    return keeping
