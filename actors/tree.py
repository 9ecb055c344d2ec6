"""The tree: the parts of a runtime, in the order in which they start, each with the parts that it knows.

    runtime ─┬ store                         numbers events, and keeps them
             ├ flusher                       one write per connection and tick
             ├ readiness                     which of all sockets can be read
             ├ users ──── UserActor ─ ─ ─ Connection
             ├ threads ── ThreadActor
             ├ deltas                        one event for the tokens of a window
             ├ runs ───── Run                the application's coroutines
             ├ pulse                         age and silence, once a second
             ├ lookout                       where the event loop stands still
             └ undelivered                   events that no device acks in time

Started from the top, stopped in reverse.
An idle connection is a record without a task: what has to wait, its arrival and
its goodbye among it, runs in the nursery of the listener or host that accepted
it. The user's actor knows its connections, and ends them.
"""

from __future__ import annotations

from itertools import islice
from typing import TypeVar

import trio

from actors.connections.actor import Connection
from actors.connections.context import ConnectionContext
from actors.connections.flusher import Flusher
from actors.connections.following import Followers
from actors.connections.heartbeat import Heartbeat
from actors.context import Context
from actors.delivery.accounts import Accounts
from actors.delivery.announcements import Item
from actors.delivery.dead_letters import DeadLetter
from actors.delivery.ledger import acked_spans
from actors.errors import ActorsError
from actors.kernel.affinity import Affinity
from actors.kernel.bounded import RecentMap
from actors.kernel.dynamic_supervisor import DynamicSupervisor, Kind
from actors.kernel.mailbox import Dispatcher, Ended, Mailbox
from actors.kernel.restarts import Backoff, Budget, Intensity
from actors.kernel.supervisor import Child, Strategy, Supervisor
from actors.observability.explain import Surroundings, fate_of
from actors.observability.latency import Latency
from actors.observability.lookout import Lookout
from actors.observability.losses import Losses
from actors.observability.notices import Notices
from actors.observability.owners import OwnerHistory
from actors.observability.refused_pages import RefusedPages
from actors.observability.restored import unacked
from actors.observability.statistics import Counts, Statistics
from actors.observability.undelivered import OnUndelivered, UndeliveredWatch
from actors.options import Options
from actors.receipts import Fate, Receipt
from actors.runs.asks import Asks
from actors.runs.supervisor import Runs
from actors.server.drain import Drain
from actors.server.handshake import Routes
from actors.server.messages import Messages
from actors.server.pulse import Pulse
from actors.server.requests import Requests
from actors.server.server import Server
from actors.stages import Cause, Promise
from actors.stores.memory import MemoryStore
from actors.stores.store import Store
from actors.threads.context import ThreadContext
from actors.threads.dead_letters import ThreadKind
from actors.threads.emitter import Emitter
from actors.threads.messages import StoreAnswer, ThreadMessage
from actors.users.context import UserContext
from actors.users.dead_letters import UserKind
from actors.users.presence import Subscriber, UserMessage
from actors.users.registry import Registry
from actors.wire.readiness import Readiness
from actors.wire.traffic import Traffic

M = TypeVar("M")

_BACKOFF = Backoff(first_seconds=0.05, factor=2.0, longest_seconds=1.0)


class Tree:
    """The parts of one runtime, each made after those that it knows, but for callbacks."""

    def __init__(self, context: Context, options: Options, *, affinity: Affinity) -> None:
        limits = context.limits
        self.context = context
        self.counts: Counts = Counts(context.environment.clock)
        context.instruments.add(self.counts)
        self.notices: Notices = Notices(context)
        context.instruments.add(self.notices)
        self.lookout: Lookout = Lookout(context.environment.wall_clock)
        store = options.store
        self.store: Store = MemoryStore() if store is None else store
        self.opened_at: float = context.environment.wall_clock()
        """Wall clock, seconds since 1970."""
        self.owners: OwnerHistory = OwnerHistory(self.store.known_owner, context.environment.wall_clock)
        context.instruments.add(self.owners)
        self.refused_pages: RefusedPages = RefusedPages(context.environment.wall_clock)
        context.instruments.add(self.refused_pages)
        # The accounts are told of each change as it happens, so the present wall time is that of the change.
        self.accounts: Accounts = Accounts(
            limits.dead_letters,
            present=self.store.known_bounds,
            restored=self.store.restored,
            on_dropped=self._dropped,
            on_unconfirmed=self._left_unconfirmed,
        )
        self.flusher: Flusher = Flusher(_fail, limits.flush_ms)
        self.readiness: Readiness = Readiness()
        self.traffic: Traffic = Traffic()
        self.registry: Registry = Registry(context, self.flusher.mark)
        self.latency: Latency = Latency(context.environment.wall_clock)
        self.losses: Losses = Losses(context, devices=self.registry.devices)
        self.asks: Asks = Asks(context, self.store.known_owner, devices_of=self.registry.devices_of)
        self.dispatcher: Dispatcher = Dispatcher(limits.mailbox_messages, limits.nesting)
        self.users: DynamicSupervisor[UserMessage] = self._supervise("users", self._users())
        self.thread_context: ThreadContext = self._thread_context()
        self._thread_kind = ThreadKind(self.thread_context)
        self.threads: DynamicSupervisor[ThreadMessage] = self._supervise("threads", self._thread_kind)
        self.emitter: Emitter = Emitter(context, self.threads, accounts=self.accounts, affinity=affinity)
        self.undelivered: UndeliveredWatch | None = self._watch(options.on_undelivered)
        self.runs: Runs = Runs(
            context,
            self.emitter,
            asks=self.asks,
            agents=options.agents,
            devices_of=self.registry.devices_of,
            owner_of=self.store.known_owner,
        )
        self.messages: Messages = Messages(
            context, emitter=self.emitter, runs=self.runs, store=self.store, authorize=options.authorize
        )
        self.requests: Requests = Requests(
            context, messages=self.messages, runs=self.runs, asks=self.asks, store=self.store
        )
        self.heartbeat: Heartbeat[Connection] = Heartbeat(limits.ping_seconds, limits.pong_seconds)
        neighbours = self._connection_context()
        self.followers: Followers = Followers(neighbours, affinity)
        self.server: Server = Server(
            context,
            neighbours,
            access=options.access,
            routes=Routes(options.pages, options.services),
            devices_of=self.registry.devices,
            trouble=lambda: self.store.trouble,
        )
        self.drain: Drain = Drain(context, self)
        self.pulse: Pulse = Pulse(self)

    def supervisor(self) -> Supervisor:
        """The static children, in the order they start. None of them depends on another one's task."""
        limits, undelivered = self.context.limits, self.undelivered
        seconds = limits.shutdown_seconds
        last = (
            [] if undelivered is None else [Child(name="undelivered", start=undelivered.run, shutdown_seconds=seconds)]
        )
        return Supervisor(
            path="runtime",
            children=[
                Child(name="store", start=self._run_store, shutdown_seconds=limits.store_seconds),
                Child(name="flusher", start=self.flusher.run, shutdown_seconds=seconds),
                Child(name="readiness", start=self.readiness.run, shutdown_seconds=seconds),
                Child(name="users", start=self.users.run, stop=self.users.stop, shutdown_seconds=seconds * 2),
                Child(name="threads", start=self.threads.run, stop=self.threads.stop, shutdown_seconds=seconds * 2),
                Child(name="deltas", start=self.runs.deltas.run, shutdown_seconds=seconds),
                Child(name="runs", start=self.runs.run, stop=self.runs.stop, shutdown_seconds=seconds),
                Child(name="pulse", start=self.pulse.run, shutdown_seconds=seconds),
                Child(name="lookout", start=self.lookout.run, shutdown_seconds=seconds),
                *last,
            ],
            strategy=Strategy.ONE_FOR_ONE,
            intensity=Intensity(limits.restarts, limits.restart_period_seconds),
            backoff=_BACKOFF,
            environment=self.context.environment,
            failures=self.context.failures,
        )

    async def _run_store(self, task_status: trio.TaskStatus[None]) -> None:
        await self.store.run(self.context.limits, self.context.environment, task_status=task_status)

    def restore(self) -> None:
        """Go on with what an earlier life of the store left, once everything has started."""
        for hold in self.store.restored_holds():
            self.accounts.restore_hold(hold.thread_id, hold.first_seq, hold.last_seq, self.store.promise)
        self.runs.resume(self.store.due())

    def confirm(self, most: int | None = None) -> bool:
        """Tell the store what devices have acked, and sockets taken, since the last time, of at most so many users.

        True if there are more. A store that does not outlive the process need not know.
        """
        if self.store.promise is Promise.NOTHING:
            return False
        told = 0
        for user_id, view in islice(self.registry.unconfirmed(), most):
            told += 1
            account = self.accounts.users.get(user_id)
            if account is not None:
                ledger = account.ledger
                view.confirm(ledger.epoch, acked_spans(ledger), ledger.first_unwritten() - 1)
        return told == most

    def close(self) -> None:
        """Close the books; the events of a store that does not outlive the process end with it."""
        if self.store.promise is Promise.NOTHING:
            self.accounts.close(Cause.SHUTDOWN, self.context.environment.wall_clock())

    def statistics(self) -> Statistics:
        """Read what there is in numbers; nothing is added up."""
        counts, server, pulse = self.counts, self.server, self.pulse
        return Statistics(
            events=self.accounts.totals(),
            dropped=dict(self.accounts.dropped),
            delivery_seconds={"written": self.latency.written.read(), "acked": self.latency.acked.read()},
            connections=len(server.connections),
            handshakes=server.handshakes,
            handshakes_refused=dict(counts.refusals),
            connections_behind=pulse.survey.behind,
            lag_events_max=pulse.survey.lag_events,
            backlog_bytes=pulse.survey.backlog_bytes,
            written_bytes=self.traffic.written_bytes,
            written_frames=self.traffic.written_frames,
            connections_opened=counts.opened,
            connections_opened_plain=server.opened_plain,
            connections_closed=dict(counts.closed),
            resumes=dict(counts.resumes),
            requests=dict(counts.requests),
            runs=len(self.runs.registry.active),
            runs_begun=counts.began,
            runs_waiting=max(len(self.runs.registry.active) - len(counts.running), 0),
            runs_ended=dict(counts.ended),
            run_seconds=counts.run_seconds.read(),
            asks_open=self.asks.open,
            asks_closed=dict(counts.asks_closed),
            failures=self.context.failures.total,
            restarts=dict(counts.restarts),
            quarantines=counts.quarantines,
            quarantined={"users": len(self.users.out_of_service), "threads": len(self.threads.out_of_service)},
            loop_lag_seconds=pulse.lag_seconds,
            books_balanced=pulse.inspection.balanced,
        )

    def fate_of(self, receipt: Receipt, now: float) -> Fate:
        """Follow an event step by step, at a time of the monotonic clock."""
        position = receipt.position
        user_id, thread_id = None if position is None else position.user_id, receipt.thread_id
        around = Surroundings(
            presence=self.registry.known(user_id),
            owner_failure=None if user_id is None else self.users.quarantined(user_id),
            thread_failure=self.threads.quarantined(thread_id),
            last_failure=self.context.failures.last(self.threads.path(thread_id)),
            restarting=self.threads.restarting.get(thread_id),
            ownership=self.owners.of(thread_id),
            refusals=self.server.authentication.refusals,
            trouble=self.store.trouble,
        )
        return fate_of(receipt, self.accounts, around, now)

    # --- the neighbours of each part ----------------------------------------------

    def _users(self) -> UserKind:
        context = UserContext(
            limits=self.context.limits,
            environment=self.context.environment,
            failures=self.context.failures,
            instruments=self.context.instruments,
            lines=self.context.lines,
            accounts=self.accounts,
            secret=lambda: self.store.secret,
            mark=self.flusher.mark,
        )
        return UserKind(context, self.registry.presence)

    def _thread_context(self) -> ThreadContext:
        return ThreadContext(
            store=self.store,
            accounts=self.accounts,
            instruments=self.context.instruments,
            wall_clock=self.context.environment.wall_clock,
            ring=self.registry.ring,
            mark=self.flusher.mark,
            # Twice what a store remembers of given ids, because what it knows
            # as a repetition must be known here, too.
            receipts_by_id=RecentMap(2 * self.context.limits.idempotency_ids),
            unopened=RecentMap(self.context.limits.ended_runs),
            sample=self.latency.sample,
            owner_changed=self._owner_changed,
            answered=self._answered,
        )

    def _connection_context(self) -> ConnectionContext:
        return ConnectionContext(
            limits=self.context.limits,
            environment=self.context.environment,
            failures=self.context.failures,
            instruments=self.context.instruments,
            follow=self._follow,
            mark=self.flusher.mark,
            hear=self.heartbeat.hear,
            readiness=self.readiness,
            forget=self.heartbeat.forget,
            traffic=self.traffic,
            heard_at=self.heartbeat.heard_at,
            pinged_at=self.heartbeat.pinged_at,
            lines=self.context.lines,
            pending=self._pending,
            answer=self.requests.answer,
        )

    def _supervise(self, name: str, kind: Kind[M]) -> DynamicSupervisor[M]:
        limits = self.context.limits
        return DynamicSupervisor(
            name,
            kind,
            dispatcher=self.dispatcher,
            budget=Budget(
                intensity=Intensity(limits.restarts, limits.restart_period_seconds),
                backoff=_BACKOFF,
                shutdown_seconds=limits.shutdown_seconds,
                remembered=limits.failures,
            ),
            environment=self.context.environment,
            failures=self.context.failures,
        )

    def _watch(self, hook: OnUndelivered | None) -> UndeliveredWatch | None:
        if hook is None:
            return None
        clock, failures = self.context.environment.clock, self.context.failures
        watch = UndeliveredWatch(
            self.context,
            hook,
            explain=lambda receipt: self.fate_of(receipt, clock()),
            restored=lambda: unacked(
                self.store,
                self.accounts,
                on_failed=lambda user_id, error: failures.report("undelivered", f"the log of {user_id}", error),
            ),
        )
        self.context.instruments.add(watch)
        return watch

    def _dropped(self, letter: DeadLetter) -> None:
        self.store.keep(letter)
        if self.context.instruments.dropped is not None:
            self.context.instruments.dropped(letter)

    def _left_unconfirmed(self, user_id: str, count: int) -> None:
        self.losses.note(user_id, count)

    def _answered(self, thread_id: str, answer: StoreAnswer) -> None:
        """Pass on the store's answer to a thread's actor, or note it without one that is out of service."""
        try:
            self.threads.mailbox(thread_id).tell_reserved(answer)
        except ActorsError:
            self._thread_kind.dead_letter(answer, Ended.CLOSED)

    async def _follow(self, user_id: str) -> Mailbox[UserMessage]:
        """Follow a user's log; returns the mailbox of the user's actor, which hears of other epochs from now on."""
        await self.registry.follow(user_id, self.store)
        mailbox = self.users.mailbox(user_id)
        self.registry.presence(user_id).address = mailbox
        return mailbox

    def _pending(self, user_id: str, thread_id: str | None) -> list[Item]:
        return [*self.runs.roster.pending(user_id, thread_id), *self.asks.pending(user_id, thread_id)]

    def _owner_changed(self, thread_id: str, user_id: str | None) -> None:
        self.owners.note(thread_id, user_id)
        self.runs.roster.change_owner(thread_id, user_id)
        self.asks.change_owner(thread_id, user_id)


def _fail(device: Subscriber, error: BaseException) -> None:
    device.fail(error)
