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

from actors.agui.course import LAST, METADATA, Course, Question, stamp
from actors.agui.messages import AguiEvent, AguiMessage
from actors.agui.rows import CourseRun, ended
from actors.events.delivered import Event
from actors.events.event import Lifecycle

PROTOCOL_VERSION = "1.0"

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
        self.run_id: str | None = None
        """The only run that is said, if there is one."""
        self.seq = 0
        """The number of the last event that was fed."""
        self.is_over = False
        """True once the run of ``run_id`` has been said to its end, or to a question."""
        self._alias: str | None = None
        self._is_silent = True
        """Nothing is said: what is fed is history."""
        self._own: list[AguiMessage] = []
        """The client's own messages, which the log does not have."""
        self._begin()

    def _begin(self) -> None:
        self._course = Course()
        self._roots: dict[str, CourseRun] = {}
        """The runs at the top that are active, or have ended and were not said, in the order of their beginnings."""
        self._stale = True
        """The client may have missed something, so that the next run begins with a snapshot."""
        self._ended: dict[str, CourseRun] = {}
        """The runs at the top that have ended."""
        self._last: CourseRun | None = None
        """The last of them that was said, or would have been."""
        self._said: CourseRun | None = None
        self._told: dict[str, CourseRun] = {}
        """The subagents that the client knows as active."""
        self._asked = ""
        """The run that is interrupted by its questions; of a question without a run, its own id."""

    def __repr__(self) -> str:
        return f"<Mapper of {self.thread_id} at {self.seq}, saying {self.saying or 'nothing'}>"

    @property
    def saying(self) -> str | None:
        """The id of the run that is being said."""
        return None if self._said is None else self._said.run_id

    @property
    def newest(self) -> str | None:
        """The id of the run that is being said, or was said last."""
        run = self._said or self._last
        return None if run is None else run.run_id

    def top_of(self, run_id: str) -> str | None:
        """Return the id of the run at the top that a run is or was below, if it is known."""
        return self._course.top_of(run_id)

    def knows(self, message_id: str) -> bool:
        """Return true if the log, as far as it was fed, has a message."""
        return self._course.knows(message_id)

    # --- what comes in --------------------------------------------------------

    def feed(self, event: Event) -> list[AguiEvent]:
        """Take an event of the thread, and return what it is; one that was fed before is nothing."""
        if event.seq <= self.seq:
            return []
        self.seq = event.seq
        return self._told_unless_silent(self._follow(event))

    def ask(self, question: Question) -> list[AguiEvent]:
        """Take a question: it interrupts the run that is being said, if it is a question of that run."""
        self._course.questions[question.id] = question
        root = self._course.root_of(question)
        said: list[AguiEvent] = []
        if root is not None and root.run_id == self._asked:
            said += self._begin_saying(root)
        if root is not None and root is self._said:
            said += self._interrupt(root)
        return self._told_unless_silent([*said, *self._turn()])

    def ask_closed(self, ask_id: str) -> list[AguiEvent]:
        """Take the end of a question: the run that it interrupted is said again, from a prelude on."""
        question = self._course.questions.pop(ask_id, None)
        if question is None:
            return []
        root = self._course.root_of(question)
        is_alone = self._asked == ask_id
        if is_alone or (root is not None and root.run_id == self._asked):
            self._asked = ""
        said = [self._start_of(ask_id), self._finish_of(ask_id)] if is_alone else []
        return self._told_unless_silent([*said, *self._turn()])

    def lose(self, run_id: str, reason: str) -> list[AguiEvent]:
        """Take it that a run is over, and that its last event will not come."""
        run = self._course.runs.get(run_id)
        if run is None:
            return []
        kind = "RUN_ERROR" if run.parent is None else "SUBAGENT_ERROR"
        told = f"the end of this run is not known: {reason}"
        return self._told_unless_silent(
            self._conclude(run, {"type": kind, "message": told, "code": reason, **run.owner})
        )

    def gap(self, first: int, last: int) -> list[AguiEvent]:
        """Take it that numbers of the thread are gone."""
        told = {"type": "CUSTOM", "name": "gap", "value": {"from": first, "to": last}}
        return [] if self._said is None or self._is_silent else [told]

    def reset(self) -> list[AguiEvent]:
        """Forget the thread, because its log begins anew; what is said next begins with a snapshot of what it has."""
        end = {"type": "RUN_ERROR", "message": "the log of this run is lost", "code": "reset"}
        said = self._said
        self._begin()
        self.seq = 0
        self.is_over = self.is_over or (self.run_id is not None and said is not None)
        return [] if said is None or self._is_silent else [end]

    def recall(self, known: Iterable[AguiMessage]) -> None:
        """Take the client's copies of messages, before any history that may have lost its beginning."""
        self._course.recall(known)

    def mute(self) -> None:
        """Be silent again, until the next prelude."""
        self._is_silent, self.run_id, self.is_over = True, None, False

    def prelude(
        self,
        known: Iterable[AguiMessage] = (),
        *,
        alias: str | None = None,
        of: str | None = None,
        is_whole: bool = True,
    ) -> list[AguiEvent]:
        """Begin to say something: return what brings any client to where the thread is.

        ``known`` are the messages that the client has. Of those that the log
        does not have, instructions stay, and the rest only if the history that
        was fed is not whole. ``alias`` is the client's own name for the run
        that is said first. With ``of`` it is this run at the top that is said,
        now or once it begins, and no other. The questions that are open come
        after it, whatever was known of them.
        """
        seen = list(known)
        self._is_silent, self._alias, self.is_over = False, alias, False
        self._stale = bool(seen) or not is_whole or bool(self._course)
        self._own = [one for one in seen if not self.knows(one["id"]) and (not is_whole or one["role"] in _KEPT)]
        self.run_id = of
        self._course.questions.clear()
        root = self._course.runs.get(of, self._ended.get(of)) if of is not None else None
        if of is None:
            root = self._said or self._next() or self._last
        self._said, self._asked = None, ""
        if root is not None:
            return [*self._begin_saying(root), *(self._finish(root) if root.end is not None else [])]
        if of is not None or not self._course:
            return []
        self._stale = False
        return [self._start_of(self.thread_id), self._snapshot(), self._finish_of(self.thread_id)]

    def _told_unless_silent(self, said: list[AguiEvent]) -> list[AguiEvent]:
        return [] if self._is_silent else said

    # --- the course of the thread -------------------------------------------------

    def _follow(self, event: Event) -> list[AguiEvent]:
        course = self._course
        if event.type == "user_message":
            course.hear(event)
            return []
        if event.type == Lifecycle.AGENT_STARTED and event.run_id is not None:
            return self._start(event)
        run = course.run_of(event)
        if run is None:  # of no run, so that a client can hear of it in the course of a run only
            told = {"type": "CUSTOM", "name": event.type, "value": event.payload, **stamp(event)}
            return [] if self._said is None else [told]
        if run.parent is None:
            self._roots.setdefault(run.run_id, run)
        if event.type in LAST:
            return self._conclude(run, ended(run, event, thread_id=self.thread_id) | stamp(event))
        return self._pass_on(run, course.say(run, event))

    def _start(self, event: Event) -> list[AguiEvent]:
        run = self._course.start(event)
        if run is None:
            return []
        if run.parent is None:
            self._roots[run.run_id] = run
            return self._turn()
        talk = [*run.parent.close_text(), *self._tell_of(run)]
        return self._pass_on(run, self._course.keep(run, event, talk))

    def _pass_on(self, run: CourseRun, talk: list[AguiEvent]) -> list[AguiEvent]:
        """Say something if it is this run's turn; if not, it is in the prelude once that comes."""
        if run.root is self._said:
            return talk
        run.root.is_new = False
        return self._turn()

    def _conclude(self, run: CourseRun, end: AguiEvent) -> list[AguiEvent]:
        """End a run, and those below it that have not ended."""
        talk: list[AguiEvent] = []
        for one in self._course.leave(run):
            is_told = self._told.pop(one.run_id, None) is not None
            talk += one.close_text()
            talk += [{"type": "SUBAGENT_FINISHED", **one.owner}] if is_told and one is not run else []
        if run.parent is not None:
            return self._pass_on(run, [*talk, end])
        run.end = end
        self._ended[run.run_id] = run
        if run is self._said:
            return [*talk, *self._finish(run), *self._turn()]
        if self._asked == run.run_id:
            self._asked = ""
        if self.run_id is not None:
            self._roots.pop(run.run_id, None)  # it is not said here: its messages are in the next snapshot
        return self._turn()

    # --- whose turn it is ---------------------------------------------------------

    def _turn(self) -> list[AguiEvent]:
        """Say the next run, if none is being said: one that waits for an answer only after the others."""
        said: list[AguiEvent] = []
        while self._said is None and not self.is_over:
            root = self._next()
            if root is None:
                break
            said += self._begin_saying(root)
            if root.end is not None:
                said += self._finish(root)
            elif self._course.questions_of(root):
                said += self._interrupt(root)
        return said + self._ask_alone()

    def _next(self) -> CourseRun | None:
        mine = [one for one in self._roots.values() if self.run_id in {None, one.run_id}]
        free = [one for one in mine if one.end is not None or not self._course.questions_of(one)]
        asking = [] if self._asked else [one for one in mine if one not in free]
        return next(iter([*free, *asking]), None)

    def _begin_saying(self, root: CourseRun) -> list[AguiEvent]:
        """Say the beginning of a run, or a prelude of it where the client may have missed something."""
        self._said, self._asked, self._told = root, "", {}
        misses_nothing = root.is_new and not self._stale
        root.was_said, root.is_new, self._stale = True, False, False
        if misses_nothing:
            return [self._start_of(self._name_of(root), root.given) | root.first]
        family = self._course.family(root)
        said = [self._start_of(self._name_of(root)), self._snapshot()]
        for one in family:
            said += [] if one is root else self._tell_of(one)
        texts = [one for one in family if one.text_id is not None]
        start = {"type": "TEXT_MESSAGE_START", "role": "assistant"}
        return said + [{**start, "messageId": one.text_id, **one.owner} for one in texts]

    def _finish(self, root: CourseRun) -> list[AguiEvent]:
        """Say the end of a run."""
        assert root.end is not None, "a run that is finished has ended"
        self._said, self._last = None, root
        self._roots.pop(root.run_id, None)
        self.is_over = self.run_id is not None
        end = root.end | ({"runId": self._name_of(root)} if "runId" in root.end else {})
        self._alias = None
        return [end]

    def _interrupt(self, root: CourseRun) -> list[AguiEvent]:
        """Say that a run waits for answers. It goes on meanwhile, and so do the texts that are only paused here."""
        asked = self._course.questions_of(root)
        told, self._told = self._told, {}
        self._said, self._asked = None, root.run_id
        self.is_over = self.run_id is not None
        texts = [one for one in self._course.family(root) if one.text_id is not None]
        said: list[AguiEvent] = [{"type": "TEXT_MESSAGE_END", "messageId": one.text_id, **one.owner} for one in texts]
        said += [_suspended(one, asked) for one in reversed(told.values())]
        end = self._finish_of(self._name_of(root)) | {"outcome": _interrupts(asked, self._course.runs)}
        self._alias = None
        return [*said, end]

    def _ask_alone(self) -> list[AguiEvent]:
        """Say the oldest question of no run, where nothing else is said: as a run that has no more than that."""
        alone = [one for one in self._course.questions.values() if one.run_id is None]
        if self._said or self._asked or self.run_id is not None or not alone:
            return []
        question = alone[0]
        self._asked = question.id
        said = [self._start_of(question.id), *([self._snapshot()] if self._stale else [])]
        self._stale = False
        return [*said, self._finish_of(question.id) | {"outcome": _interrupts([question], {})}]

    # --- the pieces -----------------------------------------------------------------

    def _name_of(self, root: CourseRun) -> str:
        """Return the name of a run in this stream: the client's, if it has one for it."""
        return root.run_id if self._alias is None else self._alias

    def _start_of(self, run_id: str, given: list[AguiMessage] | None = None) -> AguiEvent:
        about = {"threadId": self.thread_id, "runId": run_id}
        start = {"type": "RUN_STARTED", **about, "protocolVersion": PROTOCOL_VERSION}
        rest: AguiEvent = {"tools": [], "context": [], "state": {}, "forwardedProps": {}}
        return start | ({"input": {**about, "messages": given, **rest}} if given else {})

    def _finish_of(self, run_id: str) -> AguiEvent:
        return {"type": "RUN_FINISHED", "threadId": self.thread_id, "runId": run_id, "outcome": {"type": "success"}}

    def _snapshot(self) -> AguiEvent:
        """Say all messages, but for those of runs that will be said after this one.

        Messages that wait for a run are behind the rest, because the next run
        begins with them; not while a run is active, whose messages come first.
        """
        later = {one.run_id for one in self._roots.values() if self.run_id is None and not one.was_said}
        idle = [] if self._course.runs else self._course.waiting
        return {"type": "MESSAGES_SNAPSHOT", "messages": [*self._own, *self._course.messages.snapshot(later), *idle]}

    def _tell_of(self, run: CourseRun) -> list[AguiEvent]:
        """Say that a subagent is there."""
        assert run.parent is not None, "a run at the top is no subagent"
        above = run.parent.run_id
        inside = {"parentSubagentRunId": above} if above in self._told else {}
        if run.root is self._said:
            self._told[run.run_id] = run
        return [{"type": "SUBAGENT_STARTED", "subagentRunId": run.run_id, "name": run.name, **inside}]


def _suspended(run: CourseRun, asked: list[Question]) -> AguiEvent:
    ids = [one.id for one in asked if one.run_id == run.run_id]
    return {
        "type": "SUBAGENT_FINISHED",
        "subagentRunId": run.run_id,
        "outcome": {"type": "suspended", **({"interruptIds": ids} if ids else {})},
    }


def _interrupts(asked: list[Question], runs: dict[str, CourseRun]) -> AguiEvent:
    return {"type": "interrupt", "interrupts": [_interrupt_of(one, runs.get(one.run_id or "")) for one in asked]}


def _interrupt_of(question: Question, run: CourseRun | None) -> AguiEvent:
    texts = [question.payload.get(name) for name in ("question", "message", "text")]
    message = next((text for text in texts if isinstance(text, str)), None)
    schema = question.payload.get("response_schema")
    about = {"type": question.type, "payload": question.payload}
    return {
        "id": question.id,
        "reason": question.type,
        **({} if message is None else {"message": message}),
        **({"responseSchema": schema} if isinstance(schema, dict) else {}),
        **({} if question.expires_at is None else {"expiresAt": question.expires_at}),
        **({} if run is None else run.owner),
        "metadata": {METADATA: about if question.run_id is None else {**about, "run_id": question.run_id}},
    }
