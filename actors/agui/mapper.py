"""The events of one thread as AG-UI 1.0 events.

AG-UI tells of one run at a time, from RUN_STARTED to RUN_FINISHED, and a client
refuses what comes in any other order. A thread has runs beside each other, runs
below runs, and questions that a run waits for. So a mapper follows all of the
thread, and *says* one run: the others are kept as messages, and have their turn
when that one is over, from a prelude on.

A prelude is how every client, with half of an answer or with nothing, comes to
the same text: RUN_STARTED, a MESSAGES_SNAPSHOT of all so far, and a START for
each thing that goes on. It begins a stream in the middle of a run, and a run
that went on while another one was being said, or after a question.

A mapper decides, and does not wait: what it says depends on what it was fed.
Whatever is in the log it may be fed again.
"""

from __future__ import annotations

from collections.abc import Iterable

from actors.agui.course import LAST, Question, stamp
from actors.agui.messages import AguiEvent, AguiMessage
from actors.agui.rows import ended
from actors.agui.turns import Turns
from actors.events.delivered import Event
from actors.events.event import Lifecycle

_KEPT = frozenset({"system", "developer"})
"""Roles of messages that only the client knows, and that a snapshot must have because it would take them away."""


class Mapper:
    """One stream of AG-UI events of a thread.

    It is silent until :meth:`prelude`: what it is fed before is history, and
    the client may have seen any part of that. It says one run after the other,
    or, as the answer to a request, one and no other.
    """

    def __init__(self, thread_id: str) -> None:
        self.thread_id = thread_id
        self.seq: int = 0
        """The number of the last event that was fed."""
        self._is_silent = True
        """Nothing is said: what is fed is history."""
        self._turns = Turns(thread_id)

    def __repr__(self) -> str:
        return f"<Mapper of {self.thread_id} at {self.seq}, saying {self.saying or 'nothing'}>"

    @property
    def is_over(self) -> bool:
        """True once the only run that is to be said has been said to its end, or to a question."""
        return self._turns.is_over

    @property
    def saying(self) -> str | None:
        """The id of the run that is being said."""
        return None if self._turns.said is None else self._turns.said.run_id

    @property
    def newest(self) -> str | None:
        """The id of the run that is being said, or was said last."""
        return self._turns.newest

    def top_of(self, run_id: str) -> str | None:
        """Return the id of the run at the top that a run is or was below, if it is known."""
        return self._turns.course.top_of(run_id)

    def knows(self, message_id: str) -> bool:
        """Return true if the log, as far as it was fed, has a message."""
        return self._turns.course.knows(message_id)

    # --- what comes in --------------------------------------------------------

    def feed(self, event: Event) -> list[AguiEvent]:
        """Take an event of the thread, and return what it is; one that was fed before is nothing."""
        if event.seq <= self.seq:
            return []
        self.seq = event.seq
        return self._told_unless_silent(self._follow(event))

    def ask(self, question: Question) -> list[AguiEvent]:
        """Take a question: it interrupts the run that is being said, if it is a question of that run."""
        return self._told_unless_silent(self._turns.ask(question))

    def ask_closed(self, ask_id: str) -> list[AguiEvent]:
        """Take the end of a question: the run that it interrupted is said again, from a prelude on."""
        return self._told_unless_silent(self._turns.close_question(ask_id))

    def lose(self, run_id: str, reason: str) -> list[AguiEvent]:
        """Take it that a run is over, and that its last event will not come."""
        run = self._turns.course.runs.get(run_id)
        if run is None:
            return []
        kind = "RUN_ERROR" if run.parent is None else "SUBAGENT_ERROR"
        told = f"the end of this run is not known: {reason}"
        return self._told_unless_silent(
            self._turns.conclude(run, {"type": kind, "message": told, "code": reason, **run.owner})
        )

    def gap(self, first: int, last: int) -> list[AguiEvent]:
        """Take it that numbers of the thread are gone."""
        told = {"type": "CUSTOM", "name": "gap", "value": {"from": first, "to": last}}
        return [] if self._turns.said is None or self._is_silent else [told]

    def reset(self) -> list[AguiEvent]:
        """Forget the thread, because its log begins anew; what is said next begins with a snapshot of what it has."""
        said = self._turns.withdraw_all()
        self._turns = self._turns.renewed()
        self.seq = 0
        return self._told_unless_silent(said)

    def recall(self, known: Iterable[AguiMessage]) -> None:
        """Take the client's copies of messages, before any history that may have lost its beginning."""
        self._turns.course.recall(known)

    def mute(self) -> None:
        """Be silent again, until the next prelude."""
        self._is_silent, self._turns.only, self._turns.is_over = True, None, False

    def prelude(
        self,
        known: Iterable[AguiMessage] = (),
        *,
        alias: str | None = None,
        of: str | None = None,
        is_whole: bool = True,
        is_answer: bool = False,
    ) -> list[AguiEvent]:
        """Begin to say something: return what brings any client to where the thread is.

        ``known`` are the messages that the client has. Of those that the log
        does not have, instructions stay, and the rest only if the history that
        was fed is not whole. ``alias`` is the client's own name for the run
        that is said first. With ``of`` it is this run at the top that is said,
        now or once it begins, and no other. The questions that are open come
        after it, whatever was known of them. ``is_answer`` tells that the
        client has been told of some.
        """
        seen, turns = list(known), self._turns
        self._is_silent, turns.alias, turns.is_asked = False, alias, is_answer
        turns.is_stale = bool(seen) or not is_whole or bool(turns.course)
        turns.own = [one for one in seen if not self.knows(one["id"]) and (not is_whole or one["role"] in _KEPT)]
        return turns.begin(of)

    def _told_unless_silent(self, said: list[AguiEvent]) -> list[AguiEvent]:
        return [] if self._is_silent else said

    # --- the course of the thread -------------------------------------------------

    def _follow(self, event: Event) -> list[AguiEvent]:
        course = self._turns.course
        if event.type == "user_message":
            course.hear(event)
            return []
        if event.type == Lifecycle.AGENT_STARTED and event.run_id is not None:
            return self._start(event)
        run = course.run_of(event)
        if run is None:  # of no run, so that a client can hear of it in the course of a run only
            told = {"type": "CUSTOM", "name": event.type, "value": event.payload, **stamp(event)}
            return [] if self._turns.said is None else [told]
        if run.parent is None:
            self._turns.add(run)
        if event.type in LAST:
            return self._turns.conclude(run, ended(run, event, thread_id=self.thread_id) | stamp(event))
        return self._turns.pass_on(run, course.say(run, event))

    def _start(self, event: Event) -> list[AguiEvent]:
        run = self._turns.course.start(event)
        if run is None:
            return []
        if run.parent is None:
            self._turns.add(run)
            return self._turns.turn()
        talk = [*run.parent.close_text(), *self._turns.tell_of(run)]
        return self._turns.pass_on(run, self._turns.course.keep(run, event, talk))
