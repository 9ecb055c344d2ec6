"""The requests of one device, carried out one after the other in tasks of its connection."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

from actors.context import Context
from actors.delivery.frames import text_frame
from actors.kernel.task_set import Starter
from actors.protocol.client_messages import CancelRun, Request, RequestId, op_of
from actors.protocol.server_messages import refusal
from actors.wire.transport import Transport


class RequestQueue:
    """The requests of one connection that are not answered yet.

    They are carried out in the order in which they came, but for a cancel,
    which overtakes those that wait. ``answer`` carries one out and returns the
    reply.
    """

    __slots__ = ("_answer", "_instruments", "_most", "_open", "_tasks", "_transport", "_waiting")

    def __init__(
        self,
        tasks: Starter,
        transport: Transport,
        *,
        answer: Callable[[Request], Awaitable[bytes]],
        context: Context,
    ) -> None:
        self._tasks = tasks
        self._transport = transport
        self._answer = answer
        self._most = context.limits.requests
        self._instruments = context.instruments
        self._waiting: deque[Request] | None = None
        """Those that wait for their turn; the first one has it. ``None`` while there are none."""
        self._open = 0

    def __repr__(self) -> str:
        return f"<RequestQueue open={self._open} of {self._most}>"

    def take(self, request: Request) -> None:
        """Have a request carried out, or refuse it if too many are open."""
        if self._open >= self._most:
            self.refuse(op_of(request), request.id, "too_many_requests")
            return
        self._open += 1
        if isinstance(request, CancelRun):
            self._tasks.start_soon(self._carry_out, request)
            return
        if self._waiting is not None:
            self._waiting.append(request)
        else:
            self._waiting = deque([request])
            self._tasks.start_soon(self._carry_out_in_turn, self._waiting)

    def refuse(self, op: str, id_: RequestId, name: str, text: str = "") -> None:
        """Refuse a request, in place of a reply; ``op`` is empty for one that is none of this protocol."""
        if self._instruments.request_answered is not None:
            self._instruments.request_answered(op, name)
        self._transport.write_control(text_frame(refusal(id_, name, text)))

    async def _carry_out_in_turn(self, waiting: deque[Request]) -> None:
        while waiting:
            await self._carry_out(waiting[0])
            waiting.popleft()
        self._waiting = None

    async def _carry_out(self, request: Request) -> None:
        """Answer, and wait until the socket has taken the reply, so that a device that does not read gets no more."""
        self._transport.write(text_frame(await self._answer(request)))
        await self._transport.emptied()
        self._open -= 1
