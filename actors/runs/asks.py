"""Asks: questions that wait for one answer, the first from any of a user's devices.

A question is not in the log: it has no offset, and no device acks it. It is
sent to every device that is connected or connects while it is open. When it is
answered, expires or is withdrawn, ``ask_closed`` is sent to all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import attrs
import msgspec
import trio

from actors.context import Context
from actors.delivery.announcements import Item
from actors.environment import check_seconds
from actors.errors import Unanswered
from actors.events.event import Payload, check_identifier, encode
from actors.kernel.bounded import RecentMap
from actors.protocol import server_messages
from actors.protocol.server_messages import AskEnd
from actors.runs.thread_index import ThreadIndex
from actors.users.presence import Subscriber

LONGEST_SECONDS = (2**31 - 1) // 1000
"""The longest deadline of a question, 24 days, because no timer of a browser can be set to more."""


@attrs.frozen(kw_only=True)
class Answer:
    """A user's answer."""

    payload: dict[str, Any]
    user_id: str
    at: float
    """Wall clock, in seconds."""


@attrs.define(eq=False, repr=False, kw_only=True)
class Ask:
    """One open question."""

    ask_id: str
    thread_id: str
    event: bytes
    """The question as an event, without numbers."""
    deadline: float
    """Monotonic clock, in seconds."""
    user_id: str | None
    """The user whose devices see it."""
    shown: int = 0
    """The number of devices that it was sent to."""
    answer: Answer | None = None
    request: str = ""
    """The id of the request that answered."""
    over: trio.Event = attrs.field(factory=trio.Event)

    def __repr__(self) -> str:
        user = "no user" if self.user_id is None else f"{self.user_id} on {self.shown} devices"
        state = "open" if self.answer is None else "answered"
        return f"<Ask {self.ask_id} in {self.thread_id}, asked of {user}: {state}>"


class Asks:
    """The open questions of one runtime."""

    def __init__(
        self,
        context: Context,
        owner_of: Callable[[str], str | None],
        *,
        devices_of: Callable[[str], Iterable[Subscriber]],
    ) -> None:
        limits = context.limits
        self._owner_of = owner_of
        self._devices_of = devices_of
        self._limits = limits
        self._environment = context.environment
        self._instruments = context.instruments
        self._threads: ThreadIndex[Ask] = ThreadIndex(owner_of)
        self._open: dict[str, Ask] = {}
        self._closed: RecentMap[str, tuple[str | None, str]] = RecentMap(limits.closed_asks)
        """The user who was asked, and the id of the request that answered, by question."""

    def __repr__(self) -> str:
        return f"<Asks {len(self._open)} open>"

    @property
    def open(self) -> int:
        """The number of open questions."""
        return len(self._open)

    async def ask(
        self, thread_id: str, type_: str, payload: Payload, timeout_seconds: float, run_id: str | None
    ) -> Answer:
        """Ask the owner of a thread, and wait for the first answer. A checkpoint.

        Raises :class:`~actors.errors.Unanswered`, with the reason, when there
        is none in time, or too many questions are open in the thread;
        :class:`~actors.errors.Unencodable` for a payload that is no JSON
        object; ValueError and TypeError for a time that is negative, beyond
        :data:`LONGEST_SECONDS` or no number. With ``math.inf`` there is no
        deadline. Cancelled, the question is withdrawn.
        """
        ask = self._begin(thread_id, type_, payload, timeout_seconds, run_id)
        end: AskEnd = "withdrawn"
        try:
            self._show(ask)
            with trio.move_on_after(timeout_seconds):
                await ask.over.wait()
            end = "expired" if ask.answer is None else "answered"
        finally:
            self._close(ask, end)
        if ask.answer is None:
            raise Unanswered(self._why(ask, timeout_seconds))
        return ask.answer

    def answer(self, ask_id: str, payload: dict[str, Any], user_id: str, request: str) -> bool | None:
        """Answer a question: True if it counts, False if it is too late, None if this user was not asked.

        The first answer counts, and so does the same request repeated.
        """
        ask = self._open.get(ask_id)
        if ask is not None and ask.user_id == user_id and ask.answer is None:
            ask.answer = Answer(payload=payload, user_id=user_id, at=self._environment.wall_clock())
            ask.request = request
            ask.over.set()
            return True
        known = self._closed.get(ask_id) if ask is None else (ask.user_id, ask.request)
        if known is None or known[0] != user_id:
            return None
        return known[1] == request

    def pending(self, user_id: str, thread_id: str | None = None) -> list[Item]:
        """Return the questions for a new device, oldest first; of all threads, or of one."""
        asks = self._threads.of(user_id)
        return [partial(self._show_one, ask, user_id) for ask in asks if thread_id in (None, ask.thread_id)]

    def in_thread(self, thread_id: str) -> tuple[Ask, ...]:
        """Return the open questions of a thread, oldest first."""
        return self._threads.in_thread(thread_id)

    def change_owner(self, thread_id: str, user_id: str | None) -> None:
        """Withdraw a thread's questions from its former owner's devices, and show them on the new owner's."""
        self._threads.move(thread_id, user_id)
        for ask in self._threads.in_thread(thread_id):
            if ask.user_id == user_id or ask.answer is not None:
                continue
            self._tell_closed(ask, "withdrawn")
            ask.user_id = user_id
            self._show(ask)

    def _begin(self, thread_id: str, type_: str, payload: Payload, timeout_seconds: float, run_id: str | None) -> Ask:
        check_identifier("thread_id", thread_id)
        check_seconds("timeout", timeout_seconds, LONGEST_SECONDS)
        if len(self._threads.in_thread(thread_id)) >= self._limits.asks_per_thread:
            raise Unanswered(f"expected at most {self._limits.asks_per_thread} open questions in thread {thread_id}")
        environment = self._environment
        ask_id = environment.new_id("a")
        event = encode(type_, payload, thread_id, run_id, ask_id, environment.wall_clock(), self._limits) + b"}"
        ask = Ask(
            ask_id=ask_id,
            thread_id=thread_id,
            event=event,
            deadline=environment.clock() + timeout_seconds,
            user_id=self._owner_of(thread_id),
        )
        self._threads.add(thread_id, ask)
        self._open[ask_id] = ask
        if self._instruments.ask_opened is not None:
            self._instruments.ask_opened(thread_id, ask_id, run_id)
        return ask

    def _close(self, ask: Ask, end: AskEnd) -> None:
        """Close a question on every device, and remember it for late answers."""
        del self._open[ask.ask_id]
        self._threads.remove(ask.thread_id, ask)
        self._closed.put(ask.ask_id, (ask.user_id, ask.request))
        self._tell_closed(ask, end)
        if self._instruments.ask_closed is not None:
            self._instruments.ask_closed(ask.thread_id, ask.ask_id, end)

    def _show(self, ask: Ask) -> None:
        """Send a question to the devices of its user; those that are catching up ask for :meth:`pending` themselves."""
        for device in () if ask.user_id is None else self._devices_of(ask.user_id):
            if device.caught_up:
                ask.shown += device.tell(self._message(ask))

    def _show_one(self, ask: Ask, user_id: str) -> bytes | None:
        """Return the message ``ask`` for one device, if the question is still open, and asked of this user."""
        if ask.user_id != user_id or ask.answer is not None or ask.ask_id not in self._open:
            return None
        ask.shown += 1
        return self._message(ask)

    def _tell_closed(self, ask: Ask, end: AskEnd) -> None:
        for device in () if ask.user_id is None else self._devices_of(ask.user_id):
            if device.caught_up:
                device.tell(server_messages.encode(server_messages.AskClosed(ask.ask_id, end)))

    def _message(self, ask: Ask) -> bytes:
        seconds = max(ask.deadline - self._environment.clock(), 0.0)
        timeout = None if seconds == math.inf else round(seconds, 3)
        return server_messages.encode(server_messages.Ask(msgspec.Raw(ask.event), timeout))

    def _why(self, ask: Ask, timeout_seconds: float) -> str:
        if ask.user_id is None:
            reason = f"thread {ask.thread_id} has no owner"
        elif not ask.shown:
            reason = f"no device of {ask.user_id} was there to see it"
        else:
            reason = f"{ask.user_id} saw it on {ask.shown} device{'' if ask.shown == 1 else 's'}"
        return f"question {ask.ask_id}: expected an answer within {timeout_seconds:g} s, got none; {reason}"
