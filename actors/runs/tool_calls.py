"""The calls of tools in one run: each id names one call, and each call that is started is completed, once."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import attrs
import trio

from actors.errors import ActorsError, IdempotencyConflict, Unencodable
from actors.events.event import Lifecycle, check_identifier
from actors.observability.instrument import Instruments
from actors.observability.tracer import NO_SPAN, Span
from actors.runs.output import Output

CANCELLED = trio.Cancelled.__name__
"""The type of the error of a tool that was cancelled."""


@attrs.frozen
class _Call:
    """A call that is open."""

    name: str
    span: Span


class ToolCalls:
    """The calls of a run, by id; their events go out with the run's others."""

    def __init__(self, output: Output, instruments: Instruments, *, thread_id: str, run_id: str) -> None:
        self._output = output
        self._instruments = instruments
        self._thread_id = thread_id
        self._run_id = run_id
        self._ids: set[str] = set()
        self._open: dict[str, _Call] = {}
        """The open calls, in the order in which they were started."""
        self._number = 0

    def __repr__(self) -> str:
        return f"<ToolCalls {len(self._ids)}, {len(self._open)} open>"

    async def start(self, name: str, arguments: Mapping[str, Any], call_id: str | None, span: Span) -> str:
        """Emit ``tool_executing``, and return the id of the call, whose span is in the run's; a checkpoint.

        Waits and raises as :meth:`Output.emit` does; raises
        :class:`~actors.errors.Unencodable` for what is no id, and
        :class:`~actors.errors.IdempotencyConflict` for one that was used.
        """
        found = self._take(call_id)
        try:
            await self._emit(found, name, arguments, span)
        except BaseException:
            self._ids.discard(found)
            raise
        return found

    def complete(self, call_id: str, outcome: Mapping[str, Any]) -> None:
        """Emit ``tool_completed`` for an open call, without waiting.

        Raises :class:`~actors.errors.Unencodable` for the id of no open call,
        and for an outcome that JSON cannot carry, after which it is open still.
        """
        check_identifier("call_id", call_id)
        if call_id not in self._open:
            state = "of one that is completed" if call_id in self._ids else "of none"
            raise Unencodable("call_id", "the id of a call that is open", came=f"{call_id!r}, {state}")
        call = self._open[call_id]
        about = {"tool_name": call.name, "tool_call_id": call_id}
        self._output.emit_reserved(Lifecycle.TOOL_COMPLETED, {**about, **outcome})
        del self._open[call_id]
        self._note_end(call_id, call, outcome.get("error"))

    def span_of(self, call_id: str) -> Span:
        """Return the span of an open call."""
        call = self._open.get(call_id)
        return NO_SPAN if call is None else call.span

    def close(self, error: Mapping[str, str]) -> None:
        """Complete what is open with an error, because the run ends, and nothing else will."""
        for call_id in tuple(self._open):
            with suppress(ActorsError):  # a store that is in trouble takes the end of the run all the same
                self.complete(call_id, {"ok": False, "error": error})
        for call in self._open.values():
            call.span.end("refused")
        self._open.clear()

    async def _emit(self, call_id: str, name: str, arguments: Mapping[str, Any], span: Span) -> None:
        call = {"tool_name": name, "tool_call_id": call_id, "arguments": arguments}
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            # In one step with the note that the call is open, because the run may end in the next.
            self._output.emit_nowait(Lifecycle.TOOL_EXECUTING, call)
            self._note_begin(call_id, name, span)
        except trio.WouldBlock:
            await self._output.emit(Lifecycle.TOOL_EXECUTING, call)
            self._note_begin(call_id, name, span)
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()

    def _note_begin(self, call_id: str, name: str, span: Span) -> None:
        self._open[call_id] = _Call(name, span.begin_tool(name, call_id))
        if self._instruments.tool_began is not None:
            self._instruments.tool_began(self._thread_id, self._run_id, call_id, name)

    def _note_end(self, call_id: str, call: _Call, error: Mapping[str, str] | None) -> None:
        if error is None:
            call.span.end("completed")
        elif error["type"] == CANCELLED:
            call.span.end("cancelled")
        else:
            call.span.fail(error["type"], error["message"])
            call.span.end("failed")
        if self._instruments.tool_ended is not None:
            error_type = None if error is None else error["type"]
            self._instruments.tool_ended(self._thread_id, self._run_id, call_id, call.name, error_type)

    def _take(self, call_id: str | None) -> str:
        found = self._next() if call_id is None else call_id
        check_identifier("call_id", found)
        if found in self._ids:
            raise IdempotencyConflict(f"call_id: expected an id that is new in the run, got {found!r} again")
        self._ids.add(found)
        return found

    def _next(self) -> str:
        self._number += 1
        while f"call_{self._number}" in self._ids:
            self._number += 1
        return f"call_{self._number}"
