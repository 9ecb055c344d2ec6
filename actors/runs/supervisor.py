"""The supervisor of runs.

Runs that a message started are tasks of this nursery; runs that the application
opened with ``Thread.run`` are in its own tasks, and registered here. The
supervisor ends both: on a client's cancel, a newer message, the disconnect of a
user, or the end of the runtime.

    messages ─ admission ─┬─ run, in a task of this nursery ─┐
                          └─ waits for its turn              ├─ registry (active runs) ─ endings (cancelled runs)
    Thread.run ──────────── run, in the application's task ──┘
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any, Literal

import attrs
import msgspec
import trio

from actors.checks import awaitable
from actors.context import Context
from actors.events.delivered import Position
from actors.events.traceparent import check_traceparent
from actors.kernel.failures import Barrier, unwrap
from actors.limits import Limits
from actors.runs.admission import Admission, MessageArrival
from actors.runs.asks import Asks
from actors.runs.deltas import DeltaCoalescer
from actors.runs.disconnects import Disconnects
from actors.runs.endings import Endings
from actors.runs.lead import AHEAD_SECONDS, Lead, Leads, check_ahead
from actors.runs.registry import RunRegistry
from actors.runs.roster import Roster
from actors.runs.run import Message, Run
from actors.runs.turns import Concurrency
from actors.stores.store import DueRun
from actors.threads.emitter import Emitter
from actors.users.presence import Subscriber

OnMessage = Callable[[Run, Message], Awaitable[Any]]
"""The application's function that answers a user's message; its result is the run's, unless it is None."""

OnDisconnect = Literal["detach", "cancel_after"]
"""The effect on a run when its user's last device disconnects: it goes on, or ends after a grace."""


@attrs.frozen(kw_only=True)
class Agents:
    """The application's function for messages, and the policies for its runs."""

    on_message: OnMessage | None = None
    concurrency: Concurrency = "queue"
    on_disconnect: OnDisconnect = "detach"
    ahead: int | None = None
    """The most events of a user that no device has acked, before emitters wait; ``None``: they do not wait."""
    ahead_seconds: float = AHEAD_SECONDS
    """The time for which they wait at most."""


class Runs:
    """Every run of one runtime; the :class:`~actors.runs.run.RunSupervisor` of each."""

    def __init__(
        self,
        context: Context,
        emitter: Emitter,
        *,
        asks: Asks,
        agents: Agents,
        devices_of: Callable[[str], Collection[Subscriber]],
        owner_of: Callable[[str], str | None],
    ) -> None:
        self.emitter = emitter
        self.asks = asks
        self.limits: Limits = context.limits
        limits = context.limits
        self.deltas: DeltaCoalescer = DeltaCoalescer(limits.delta_window_ms, context.environment.clock)
        self.roster: Roster = Roster(owner_of, devices_of)
        self.registry: RunRegistry = RunRegistry(self.roster, owner_of, limits=limits)
        self.admission: Admission = Admission(
            agents.concurrency, limits, registry=self.registry, roster=self.roster, start=self._start
        )
        self.endings: Endings = Endings(context, self.registry, admission=self.admission)
        self.leads: Leads = Leads(context, owner_of=owner_of, devices_of=devices_of)
        self.lead: Lead | None = (
            None if agents.ahead is None else self.leads.of(None, agents.ahead, agents.ahead_seconds)
        )
        self._disconnects = Disconnects(limits.disconnect_grace_seconds, owner_of=owner_of, devices_of=devices_of)
        self._environment = context.environment
        self._failures = context.failures
        self._instruments = context.instruments
        self._agents = agents
        self.agent_name: str = _name_of(agents.on_message)
        """The name of the agent that answers messages."""
        self._nursery: trio.Nursery | None = None
        self._stop_requested = trio.Event()

    def __repr__(self) -> str:
        return f"<Runs {self.registry!r} {self.admission!r}>"

    @property
    def answers(self) -> bool:
        """True if runs answer messages."""
        return self._agents.on_message is not None

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Supervise until :meth:`stop`, then until no run is left; cancelled, it cancels them."""
        async with trio.open_nursery() as self._nursery, self.endings.enforced():
            task_status.started()
            await self._stop_requested.wait()

    def stop(self) -> None:
        """Ask the supervisor to stop once its runs have ended."""
        self._stop_requested.set()
        self.endings.cancel_all("shutdown")

    def new(
        self,
        thread_id: str,
        agent_name: str,
        run_id: str | None,
        lead: Lead | None = None,
        traceparent: str | None = None,
    ) -> Run:
        """Make a run that its caller opens; without a bound of its own it has that of all runs."""
        if traceparent is not None:
            check_traceparent(traceparent)
        run = Run(
            thread_id,
            self._environment.new_id("run") if run_id is None else run_id,
            agent_name=agent_name,
            supervisor=self,
        )
        run.output.lead = lead or self.lead
        run.traceparent = traceparent
        return run

    def lead_of(self, name: str, ahead: int | None, seconds: float | None, outer: Lead | None) -> Lead | None:
        """Return the bound of a thread or run, which is the outer one without numbers of its own.

        Raises ValueError and TypeError for numbers that cannot be meant.
        """
        if ahead is None and seconds is None:
            return outer
        if ahead is None:
            raise ValueError(f"ahead_seconds: expected ahead, a number of events, beside it, got {seconds!r} alone")
        seconds = self._agents.ahead_seconds if seconds is None else seconds
        check_ahead(ahead, seconds, self.limits)
        return self.leads.of(name, ahead, seconds)

    def expect(self, run_id: str, message: Message, *, again: bool) -> MessageArrival | None:
        """Make the run that answers a message, and return the arrival that takes the store's reply.

        None if the message is refused for now. A repeated one (``again``) never
        is, because its run exists.
        """
        if not self.answers:
            return MessageArrival(self.admission, None)
        if not again and not self.admission.has_room(message.thread_id):
            return None
        run = Run(message.thread_id, run_id, agent_name=self.agent_name, supervisor=self, message=message)
        return self.admission.expect(run)

    def resume(self, due: Iterable[DueRun]) -> None:
        """Start the runs of messages that an earlier life of the store took, and that never began."""
        for one in due if self.answers else ():
            message = message_of(one.thread_id, one.user_id, one.message)
            run = Run(one.thread_id, one.run_id, agent_name=self.agent_name, supervisor=self, message=message)
            self.admission.expect(run).placed()

    def sweep(self, now: float) -> None:
        """Cancel the runs of users who were connected and have had no device for longer than the grace."""
        if self._agents.on_disconnect == "detach":
            return
        for run in self._disconnects.overdue(self.registry.active.values(), now):
            self.admission.cancel(run, "disconnected")

    # --- calls of a run, to its supervisor -----------------------------------------

    def begins(self, run: Run) -> None:
        """Let a run begin, or raise."""
        self.registry.check_may_begin(run)
        self.registry.add(run)
        if self._instruments.run_began is not None:
            parent_id = None if run.parent is None else run.parent.run_id
            self._instruments.run_began(run.thread_id, run.run_id, run.agent_name, parent_id)
        self.begin_span(run)
        if run.parent is None:
            self.admission.join(run)

    def begin_span(self, run: Run) -> None:
        """Begin the span of a run, if runs are traced; its first event carries this one then."""
        tracer, parent = self._instruments.tracer, run.parent
        if tracer is not None:
            run.span = tracer.begin_run(
                run.thread_id,
                run.run_id,
                run.agent_name,
                parent=None if parent is None else parent.span,
                traceparent=run.traceparent,
                is_answer=run.message is not None,
            )
            run.traceparent = run.span.traceparent
        elif parent is not None and run.traceparent is None:
            run.traceparent = parent.traceparent

    def ended(self, run: Run) -> None:
        """Note a run's end; the next in the thread has its turn."""
        if self.registry.end(run) and self._instruments.run_ended is not None:
            self._instruments.run_ended(run.thread_id, run.run_id, run.outcome)
        if run.parent is None:
            self.admission.end(run)

    def failed(self, run: Run, error: BaseException) -> None:
        """Report an exception of the application's code, once; Ctrl-C is not one."""
        if not isinstance(unwrap(error), KeyboardInterrupt):
            self._failures.report(f"runs/{run.run_id}", f"thread {run.thread_id}", error)

    def insist(self, runs: list[Run]) -> None:
        """Close those of these runs that do not end within ``cancel_seconds``."""
        self.endings.insist(runs)

    def last_placed(self, run: Run, last: Position | None) -> None:
        """Take a run off the roster, because its last event is in a log, or will never be."""
        self.roster.end(run, last)

    def left(self, run: Run) -> None:
        """Note that a run's code is over, however late."""
        self.registry.leave(run)

    # --- tasks ----------------------------------------------------------------------

    def _start(self, run: Run) -> None:
        assert self._nursery is not None, "runs are supervised before messages come in"
        self._nursery.start_soon(self._answer, run, name=f"runs/{run.run_id}")

    async def _answer(self, run: Run) -> None:
        """Run the application's coroutine behind a barrier, because the run has reported the exception."""
        assert self._agents.on_message is not None, "a run answers a message with the application's function"
        assert run.message is not None, "a run is launched for a message"
        try:
            with Barrier(lambda error: None if run.outcome else self.failed(run, error)):
                async with run.open():
                    await trio.lowlevel.checkpoint_if_cancelled()
                    result = await awaitable("on_message", self._agents.on_message(run, run.message))
                    run.result = run.result if result is None else result
        finally:
            self.admission.task_over(run)


class _MessageBody(msgspec.Struct):
    """A message as its event's body has it, without the place that the event got."""

    type: str
    payload: dict[str, Any]
    event_id: str
    traceparent: str | None = None


def message_of(thread_id: str, user_id: str, body: bytes) -> Message:
    """Read a message from the body of its event, which has no closing brace."""
    event = msgspec.json.decode(body + b"}", type=_MessageBody)
    return Message(
        thread_id=thread_id,
        user_id=user_id,
        event_id=event.event_id,
        type=event.type,
        payload=event.payload,
        traceparent=event.traceparent,
    )


def _name_of(on_message: object) -> str:
    """Return the name of the application's function for ``agent_started``, or of its type if it has none."""
    name = getattr(on_message, "__name__", None)
    return name if isinstance(name, str) and name else type(on_message).__name__
