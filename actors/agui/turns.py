"""Turns: of all the runs of a thread, the one that a client is told of."""

from __future__ import annotations

from actors.agui.course import METADATA, Course, Question
from actors.agui.messages import AguiEvent, AguiMessage
from actors.agui.rows import CourseRun

PROTOCOL_VERSION = "1.0"


class Turns:
    """The runs at the top of a thread, of which one is said at a time, and what a client was told of it."""

    def __init__(self, thread_id: str) -> None:
        self.course: Course = Course()
        self.said: CourseRun | None = None
        """The run that is being said."""
        self.asked: str = ""
        """The run that is interrupted by its questions; of a question without a run, its own id."""
        self.only: str | None = None
        """The only run that is said, if there is one."""
        self.is_over: bool = False
        """True once that one has been said to its end, or to a question."""
        self.is_stale: bool = True
        """The client may have missed something, so that the next run begins with a snapshot."""
        self.is_asked: bool = False
        """The client was told of questions, and keeps them until a run is finished."""
        self.alias: str | None = None
        """The client's own name for the run that is said first."""
        self.own: list[AguiMessage] = []
        """The client's own messages, which the log does not have."""
        self._thread_id = thread_id
        self._roots: dict[str, CourseRun] = {}
        """The runs at the top that are active, or have ended and were not said, in the order of their beginnings."""
        self._ended: dict[str, CourseRun] = {}
        """The runs at the top that have ended."""
        self._last: CourseRun | None = None
        """The last of them that was said, or would have been."""
        self._told: dict[str, CourseRun] = {}
        """The subagents that the client knows as active."""

    def __repr__(self) -> str:
        return f"<Turns of {len(self._roots)} runs, {self.newest or 'none'} is the newest>"

    @property
    def newest(self) -> str | None:
        """The id of the run that is being said, or was said last."""
        run = self.said or self._last
        return None if run is None else run.run_id

    def begin(self, only: str | None) -> list[AguiEvent]:
        """Begin a stream, of one run or of all; questions come anew."""
        self.course.questions.clear()
        self.only, self.is_over = only, False
        if only is None:
            root = self.said or self._next() or self._last
        else:
            root = self.course.runs.get(only, self._ended.get(only))
        self.said, self.asked = None, ""
        if root is not None:
            return [*self.say(root), *(self._finish(root) if root.end is not None else [])]
        if only is not None or not self.course:
            return []
        self.is_stale = False
        return [self.start_of(self._thread_id), self._snapshot(), self.finish_of(self._thread_id)]

    def add(self, root: CourseRun) -> None:
        """Take a run that has begun."""
        self._roots.setdefault(root.run_id, root)

    def pass_on(self, run: CourseRun, talk: list[AguiEvent]) -> list[AguiEvent]:
        """Say something if it is this run's turn; if not, it is in the prelude once that comes."""
        if run.root is self.said:
            return talk
        run.root.is_new = False
        return self.turn()

    def conclude(self, run: CourseRun, end: AguiEvent) -> list[AguiEvent]:
        """End a run, and those below it that have not ended."""
        talk: list[AguiEvent] = []
        for one in self.course.leave(run):
            is_told = self._told.pop(one.run_id, None) is not None
            talk += one.close_text()
            talk += [{"type": "SUBAGENT_FINISHED", **one.owner}] if is_told and one is not run else []
        if run.parent is not None:
            return self.pass_on(run, [*talk, end])
        run.end = end
        self._ended[run.run_id] = run
        if run is self.said:
            return [*talk, *self._finish(run), *self.turn()]
        if self.asked == run.run_id:
            self.asked = ""
        if self.only is not None:
            self._roots.pop(run.run_id, None)  # it is not said here: its messages are in the next snapshot
        return self.turn()

    def ask(self, question: Question) -> list[AguiEvent]:
        """Take a question, and interrupt the run that it is of, if that is being said."""
        self.course.questions[question.id] = question
        root = self.course.root_of(question)
        said: list[AguiEvent] = []
        if root is not None and root.run_id == self.asked:
            said += self.say(root)
        if root is not None and root is self.said:
            said += self.interrupt(root)
        return [*said, *self.turn()]

    def close_question(self, ask_id: str) -> list[AguiEvent]:
        """Take the end of a question, and go on with the run that it interrupted."""
        question = self.course.questions.pop(ask_id, None)
        if question is None:
            return []
        root = self.course.root_of(question)
        is_alone = self.asked == ask_id
        self.is_asked = self.is_asked and not is_alone
        if is_alone or (root is not None and root.run_id == self.asked):
            self.asked = ""
        said = [self.start_of(ask_id), self.finish_of(ask_id)] if is_alone else []
        return [*said, *self.turn()]

    def withdraw_all(self) -> list[AguiEvent]:
        """End what is being said, or asked, because the log of it is lost."""
        if self.said is None:
            return [self.start_of(self.asked), self.cancel_of(self.asked)] if self.asked else []
        end = {"type": "RUN_ERROR", "message": "the log of this run is lost", "code": "reset"}
        return [*self.withdraw(self.name_of(self.said)), end]

    def renewed(self) -> Turns:
        """Return the turns of another log of the thread, for the same client."""
        turns = Turns(self._thread_id)
        turns.only, turns.own = self.only, self.own
        turns.is_over = self.is_over or (self.only is not None and self.said is not None)
        turns.alias, turns.is_asked = self.alias, self.is_asked and not self.asked
        return turns

    def turn(self) -> list[AguiEvent]:
        """Say the next run, if none is being said: one that waits for an answer only after the others."""
        said: list[AguiEvent] = []
        while self.said is None and not self.is_over:
            root = self._next()
            if root is None:
                break
            said += self.say(root)
            if root.end is not None:
                said += self._finish(root)
            elif self.course.questions_of(root):
                said += self.interrupt(root)
        return said + self._ask_alone()

    def _next(self) -> CourseRun | None:
        mine = [one for one in self._roots.values() if self.only in {None, one.run_id}]
        free = [one for one in mine if one.end is not None or not self.course.questions_of(one)]
        asking = [] if self.asked else [one for one in mine if one not in free]
        return next(iter([*free, *asking]), None)

    def say(self, root: CourseRun) -> list[AguiEvent]:
        """Say the beginning of a run, or a prelude of it where the client may have missed something."""
        self.said, self.asked, self._told = root, "", {}
        misses_nothing = root.is_new and not self.is_stale
        root.was_said, root.is_new, self.is_stale = True, False, False
        if misses_nothing:
            return [self.start_of(self.name_of(root), root.given) | root.first]
        family = self.course.family(root)
        said = [self.start_of(self.name_of(root)), self._snapshot()]
        for one in family:
            said += [] if one is root else self.tell_of(one)
        texts = [one for one in family if one.text_id is not None]
        start = {"type": "TEXT_MESSAGE_START", "role": "assistant"}
        return said + [{**start, "messageId": one.text_id, **one.owner} for one in texts]

    def _finish(self, root: CourseRun) -> list[AguiEvent]:
        """Say the end of a run."""
        assert root.end is not None, "a run that is finished has ended"
        self.said, self._last = None, root
        self._roots.pop(root.run_id, None)
        self.is_over = self.only is not None
        name, self.alias = self.name_of(root), None
        if root.end["type"] == "RUN_ERROR":
            return [*self.withdraw(name), root.end]
        self.is_asked = False
        return [root.end | {"runId": name}]

    def withdraw(self, run_id: str) -> list[AguiEvent]:
        """Take its questions from the client, which would keep them over an error, and let no other run begin."""
        is_asked, self.is_asked = self.is_asked, False
        return [self.cancel_of(run_id), self.start_of(run_id)] if is_asked else []

    def interrupt(self, root: CourseRun) -> list[AguiEvent]:
        """Say that a run waits for answers. It goes on meanwhile, and so do the texts that are only paused here."""
        asked = self.course.questions_of(root)
        told, self._told = self._told, {}
        self.said, self.asked, self.is_asked = None, root.run_id, True
        self.is_over = self.only is not None
        texts = [one for one in self.course.family(root) if one.text_id is not None]
        said: list[AguiEvent] = [{"type": "TEXT_MESSAGE_END", "messageId": one.text_id, **one.owner} for one in texts]
        said += [_suspended(one, asked) for one in reversed(told.values())]
        end = self.finish_of(self.name_of(root)) | {"outcome": _interrupts(asked, self.course.runs)}
        self.alias = None
        return [*said, end]

    def _ask_alone(self) -> list[AguiEvent]:
        """Say the oldest question of no run, where nothing else is said: as a run that has no more than that."""
        alone = [one for one in self.course.questions.values() if one.run_id is None]
        if self.said or self.asked or self.only is not None or not alone:
            return []
        question = alone[0]
        self.asked, self.is_asked = question.id, True
        said = [self.start_of(question.id), *([self._snapshot()] if self.is_stale else [])]
        self.is_stale = False
        return [*said, self.finish_of(question.id) | {"outcome": _interrupts([question], {})}]

    def name_of(self, root: CourseRun) -> str:
        """Return the name of a run in this stream: the client's, if it has one for it."""
        return root.run_id if self.alias is None else self.alias

    def start_of(self, run_id: str, given: list[AguiMessage] | None = None) -> AguiEvent:
        """Return the beginning of a run, with the messages that it is given."""
        about = {"threadId": self._thread_id, "runId": run_id}
        start = {"type": "RUN_STARTED", **about, "protocolVersion": PROTOCOL_VERSION}
        rest: AguiEvent = {"tools": [], "context": [], "state": {}, "forwardedProps": {}}
        return start | ({"input": {**about, "messages": given, **rest}} if given else {})

    def finish_of(self, run_id: str) -> AguiEvent:
        """Return the end of a run that has nothing to say of it."""
        return {"type": "RUN_FINISHED", "threadId": self._thread_id, "runId": run_id, "outcome": {"type": "success"}}

    def cancel_of(self, run_id: str) -> AguiEvent:
        """Return the end of a run that did not come to one."""
        return self.finish_of(run_id) | {"outcome": {"type": "cancelled"}}

    def _snapshot(self) -> AguiEvent:
        """Say all messages, but for those of runs that will be said after this one.

        Messages that wait for a run are behind the rest, because the next run
        begins with them; not while a run is active, whose messages come first.
        """
        later = {one.run_id for one in self._roots.values() if self.only is None and not one.was_said}
        idle = [] if self.course.runs or later else self.course.waiting
        return {"type": "MESSAGES_SNAPSHOT", "messages": [*self.own, *self.course.messages.snapshot(later), *idle]}

    def tell_of(self, run: CourseRun) -> list[AguiEvent]:
        """Say that a subagent is there."""
        assert run.parent is not None, "a run at the top is no subagent"
        above = run.parent.run_id
        inside = {"parentSubagentRunId": above} if above in self._told else {}
        if run.root is self.said:
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
