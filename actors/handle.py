"""What an application holds of a conversation: to emit into it, to run an agent in it, to ask its owner."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from actors.errors import Unencodable
from actors.events.event import Payload, check_identifier
from actors.receipts import Receipt
from actors.runs.asks import Answer, Asks
from actors.runs.run import RESERVED, Run
from actors.runs.supervisor import Runs
from actors.threads.emitter import Emitter


class Thread:
    """A conversation's handle: cheap, and made anew whenever one is needed."""

    __slots__ = ("_asks", "_emitter", "_runs", "thread_id")

    def __init__(self, thread_id: str, emitter: Emitter, runs: Runs, asks: Asks) -> None:
        check_identifier("thread_id", thread_id)
        self.thread_id = thread_id
        self._emitter = emitter
        self._runs = runs
        self._asks = asks

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
        self._check_type(type, run_id)
        emitter = self._emitter
        return await emitter.emit(emitter.compose(self.thread_id, type, payload, run_id, event_id, user_id))

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
        self._check_type(type, run_id)
        emitter = self._emitter
        return emitter.emit_nowait(emitter.compose(self.thread_id, type, payload, run_id, event_id, user_id))

    async def ask(
        self,
        type: str,  # noqa: A002 - the word of the protocol
        payload: Payload,
        *,
        timeout: float,  # noqa: ASYNC109 - what devices are told, and not only when to give up
        run_id: str | None = None,
    ) -> Answer:
        """Ask the owner something: an approval, a choice; returns the first answer that one of the devices gives.

        The question is shown on every device that is there or comes, for
        ``timeout`` seconds; with ``math.inf``, until it is answered. Raises
        :class:`~actors.errors.Unanswered`, with the reason, when there is no
        answer by then, :class:`~actors.errors.Unencodable`, and ValueError or TypeError for
        a ``timeout`` that is negative, no number, or longer than the 24 days
        that a browser's timer can wait. Cancelled, the question is withdrawn
        from all devices. A checkpoint.
        """
        self._emitter.affinity.check_task("ask")
        return await self._asks.ask(self.thread_id, type, payload, timeout, run_id)

    @asynccontextmanager
    async def run(self, agent_name: str, *, run_id: str | None = None) -> AsyncIterator[Run]:
        """A run of an agent in the block: ``agent_started`` before it, and exactly one terminal event after it.

        Returned from, it is ``agent_completed``, with ``run.result`` if that
        was set; left by an exception, ``agent_failed``, and the exception
        comes out; cancelled, ``agent_cancelled``. A cancellation by a client,
        or by :meth:`Runtime.cancel`, ends with the block, and is what the run
        has come to, whatever the block does then; its result is kept, its
        exception comes out. A block that goes on for ``cancel_seconds`` after
        that is reported in ``failures``, and its run closed: the block itself
        is the host's, and goes on, but what it emits in the run raises
        :class:`~actors.errors.RunEnded`. Raises what :meth:`emit` raises, and
        IdempotencyConflict when a run with this ``run_id`` is active, or one
        that was closed without its code has that still going on.
        """
        async with self._runs.new(self.thread_id, agent_name, run_id).open() as run:
            yield run

    def _check_type(self, type_: str, run_id: str | None) -> None:
        """What begins and ends a run here is emitted by the run, and by nobody else."""
        if not isinstance(run_id, str) or not isinstance(type_, str):  # the encoder says what is wrong with the others
            return
        if run_id in self._runs.active and type_ in RESERVED:
            raise Unencodable("type", f"any type but {type_}, which run {run_id} emits itself", repr(type_))
