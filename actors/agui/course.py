"""The course of one thread: its runs, its questions, and the messages that come of both."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from actors.agui.messages import AguiEvent, AguiMessage, Messages
from actors.agui.rows import ROWS, CourseRun, custom, user_message
from actors.events.delivered import Event
from actors.events.event import Lifecycle

METADATA = "trio-actors"
"""The key of ``metadata`` under which an AG-UI event says which event of the log it comes from."""

LAST = frozenset({Lifecycle.AGENT_COMPLETED, Lifecycle.AGENT_FAILED, Lifecycle.AGENT_CANCELLED})
"""The types of the last event of a run."""

_OF_A_RUN = frozenset(ROWS) | LAST
"""Types that only a run emits, so that one without a known run is of a run whose beginning is not retained."""


@attrs.frozen(kw_only=True)
class Question:
    """A question of a run, or of none."""

    id: str
    type: str
    payload: dict[str, Any]
    run_id: str | None
    expires_at: str | None = None
    """The end of its time, in ISO 8601; ``None`` where it has none."""


class Course:
    """The state of a thread as its events have it, apart from what a client is told."""

    def __init__(self) -> None:
        self.messages: Messages = Messages()
        self.waiting: list[AguiMessage] = []
        """Messages of the user that came since the last run began."""
        self.runs: dict[str, CourseRun] = {}
        """The active runs."""
        self.questions: dict[str, Question] = {}
        """The open questions, oldest first."""
        self._over: dict[str, str] = {}
        """The runs that have ended, each with the run at the top that it was, or was below."""
        self._copies: dict[str, tuple[int, AguiMessage]] = {}
        """The client's copy of the last text of each run, and the number of the last event in it."""

    def __repr__(self) -> str:
        return f"<Course of {len(self.runs)} active runs, {self.messages!r}>"

    def __bool__(self) -> bool:
        return bool(self.messages or self.waiting)

    def recall(self, messages: Iterable[AguiMessage]) -> None:
        """Take the client's copies of messages: a text of which the log has lost the beginning is continued in them."""
        for message in messages:
            run_id, seq = _origin_of(message)
            if seq > self._copies.get(run_id, (0, {}))[0]:
                self._copies[run_id] = (seq, message)

    def knows(self, message_id: str) -> bool:
        """Return true if the log has a message."""
        return message_id in self.messages or any(one["id"] == message_id for one in self.waiting)

    def hear(self, event: Event) -> None:
        """Take a message of the user, which the next run begins with."""
        message = {**user_message(event), **metadata(event)}
        if not self.knows(message["id"]):
            self.waiting.append(message)

    def start(self, event: Event) -> CourseRun | None:
        """Begin a run; ``None`` for one that has begun."""
        if event.run_id is None or event.run_id in self.runs or event.run_id in self._over:
            return None
        name, above = event.payload.get("agent_name"), event.payload.get("parent_run_id")
        parent = self.runs.get(above) if isinstance(above, str) else None
        return self._open(event.run_id, event, parent, name=name if isinstance(name, str) else "")

    def run_of(self, event: Event) -> CourseRun | None:
        """Return the run of an event; one whose beginning is not retained begins with the first event that is."""
        if event.run_id is None or event.run_id in self._over:
            return None
        run = self.runs.get(event.run_id)
        if run is not None or event.type not in _OF_A_RUN:
            return run
        run = self._open(event.run_id, event)
        if event.type == Lifecycle.AGENT_DELTA:
            self._continue(run, event)
        return run

    def say(self, run: CourseRun, event: Event) -> list[AguiEvent]:
        """Return what a run says with an event, and keep it."""
        if event.seq <= run.known_seq and event.type == Lifecycle.AGENT_DELTA:
            return []
        talk = ROWS.get(event.type, custom)(run, event) or custom(run, event)
        return self.keep(run, event, talk)

    def keep(self, run: CourseRun, event: Event, talk: list[AguiEvent]) -> list[AguiEvent]:
        """Keep what a run says, marked with the event that it comes from."""
        mark = stamp(event)
        for one in talk:
            one.update({} if one["type"] == "TEXT_MESSAGE_END" else mark)  # what ends a text is no part of it
        self.messages.fold(run.root.run_id, talk)
        return talk

    def leave(self, run: CourseRun) -> list[CourseRun]:
        """Take a run from the active ones, and what is below it; returns them, the run itself last."""
        left = [one for child in self._children(run) for one in self.leave(child)]
        for question in [one for one in self.questions.values() if one.run_id == run.run_id]:
            del self.questions[question.id]
        del self.runs[run.run_id]
        self._over[run.run_id] = run.root.run_id
        return [*left, run]

    def family(self, root: CourseRun) -> list[CourseRun]:
        """Return the active runs from a root on down, in the order of their beginnings."""
        return [one for one in self.runs.values() if one.root is root]

    def top_of(self, run_id: str) -> str | None:
        """Return the id of the run at the top that a run is or was below, if it is known."""
        run = self.runs.get(run_id)
        return self._over.get(run_id) if run is None else run.root.run_id

    def root_of(self, question: Question) -> CourseRun | None:
        """Return the run at the top that a question is of, if it is active."""
        run = self.runs.get(question.run_id) if question.run_id is not None else None
        return None if run is None else run.root

    def questions_of(self, root: CourseRun) -> list[Question]:
        """Return the open questions of a run and those below it."""
        return [one for one in self.questions.values() if self.root_of(one) is root]

    def _continue(self, run: CourseRun, event: Event) -> None:
        """Continue the client's copy of a text, if that goes up to what is retained of it."""
        known, copy = self._copies.get(run.run_id, (0, {}))
        if copy and (event.seq if event.seq0 is None else event.seq0) <= known + 1 and copy["id"] not in self.messages:
            self.messages.adopt(run.run_id, copy)
            run.text_id, run.known_seq = copy["id"], known

    def _children(self, run: CourseRun) -> list[CourseRun]:
        return [one for one in self.runs.values() if one.parent is run]

    def _open(self, run_id: str, event: Event, parent: CourseRun | None = None, name: str = "") -> CourseRun:
        run = self.runs[run_id] = CourseRun(run_id=run_id, name=name, parent=parent, first=stamp(event))
        if parent is None:
            run.given, self.waiting = [one for one in self.waiting if one["id"] not in self.messages], []
            self.messages.begin(run_id, run.given)
        return run


def _origin_of(message: AguiMessage) -> tuple[str, int]:
    """Return the run that a text is of, and the number of the last event in it; no run and 0 for another message."""
    run_id, _, first = str(message.get("id")).rpartition(".")
    about = message.get("metadata")
    ours = about.get(METADATA) if isinstance(about, dict) else None
    seq = ours.get("seq") if isinstance(ours, dict) else None
    is_text = message.get("role") == "assistant" and isinstance(message.get("content"), str) and first.isdecimal()
    return (run_id, seq) if is_text and isinstance(seq, int) else ("", 0)


def metadata(event: Event) -> AguiEvent:
    """Return the metadata that says which event something comes from."""
    about: AguiEvent = {"seq": event.seq, "offset": event.offset}
    return {"metadata": {METADATA: about if event.event_id is None else {**about, "event_id": event.event_id}}}


def stamp(event: Event) -> AguiEvent:
    """Return what every event of AG-UI says of the event that it comes from."""
    return {"timestamp": int(event.timestamp * 1000), **metadata(event)}
