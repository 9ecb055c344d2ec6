"""Courses of a thread as a runtime emits them, drawn by chance: runs beside and below each other, in every state."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from actors.events.delivered import Event

Act = Callable[["RandomCourse"], None]


class RandomCourse:
    """A thread that is made up event by event."""

    def __init__(self, random: Random, *, most_roots: int = 3) -> None:
        self.events: list[Event] = []
        self._random = random
        self._most_roots = most_roots
        self._parents: dict[str, str | None] = {}
        """The active runs, and the run that each is below."""
        self._calls: dict[str, list[str]] = {}
        self._count = 0

    def grow(self, acts: int) -> list[Event]:
        """Make up so many events, and end what is active; the last run begins with what the user said meanwhile."""
        kinds = (self._user, self._start, self._child, self._delta, self._delta, self._delta, self._think)
        for _ in range(acts):
            self._random.choice((*kinds, self._call, self._result, self._own, self._foreign, self._end))()
        while self._parents:
            self._end()
        self._begin(None)
        self._end()
        return self.events

    def _emit(self, type_: str, payload: dict[str, Any], run_id: str | None = None) -> None:
        seq = len(self.events) + 1
        self.events.append(
            Event(
                type=type_,
                payload=payload,
                thread_id="t1",
                run_id=run_id,
                event_id=f"e{seq}",
                timestamp=1.5 + seq,
                seq=seq,
                offset=seq + 10,
            )
        )

    def _name(self) -> str:
        self._count += 1
        return f"n{self._count}"

    def _any(self) -> str | None:
        return self._random.choice(sorted(self._parents)) if self._parents else None

    def _user(self) -> None:
        self._emit("user_message", {"text": self._name(), "id": self._random.choice((self._name(), "twice"))})

    def _start(self) -> None:
        if sum(above is None for above in self._parents.values()) < self._most_roots:
            self._begin(None)

    def _child(self) -> None:
        above = self._any()
        if above is not None:
            self._begin(above)

    def _begin(self, above: str | None) -> None:
        name = self._name()
        self._parents[name] = above
        self._emit("agent_started", {"agent_name": "a"} | ({} if above is None else {"parent_run_id": above}), name)

    def _say(self, type_: str, payload: dict[str, Any]) -> None:
        run_id = self._any()
        if run_id is not None:
            self._emit(type_, payload, run_id)

    def _delta(self) -> None:
        self._say("agent_delta", {"text": f"{self._name()} "})

    def _think(self) -> None:
        self._say("agent_thinking", {"text": self._name()})

    def _own(self) -> None:
        self._say("progress", {"n": self._count})

    def _foreign(self) -> None:
        self._emit("note", {"n": self._count})

    def _call(self) -> None:
        run_id = self._any()
        if run_id is not None:
            call = self._name()
            self._calls.setdefault(run_id, []).append(call)
            self._emit("tool_executing", {"tool_name": "t", "tool_call_id": call, "arguments": {"a": 1}}, run_id)

    def _result(self) -> None:
        run_id = self._any()
        if run_id is not None and self._calls.get(run_id):
            call = self._calls[run_id].pop()
            told = self._random.choice(({"ok": True, "result": [1]}, {"ok": False, "error": {"type": "E"}}))
            self._emit("tool_completed", {"tool_name": "t", "tool_call_id": call, **told}, run_id)

    def _end(self) -> None:
        run_id = self._any()
        if run_id is not None:
            for below in [name for name, above in self._parents.items() if above == run_id]:
                self._close(below)
            self._close(run_id)

    def _close(self, run_id: str) -> None:
        for below in [name for name, above in self._parents.items() if above == run_id]:
            self._close(below)
        if run_id in self._parents:
            del self._parents[run_id]
            ends: tuple[tuple[str, dict[str, Any]], ...] = (
                ("agent_completed", {"result": {"n": 1}}),
                ("agent_completed", {}),
                ("agent_failed", {"error": {"type": "E", "message": "m"}}),
                ("agent_cancelled", {"reason": "user"}),
            )
            self._emit(*self._random.choice(ends), run_id)


_TYPES = (
    "user_message", "agent_started", "agent_delta", "agent_thinking", "tool_executing", "tool_completed",
    "agent_completed", "agent_failed", "agent_cancelled", "dropped", "own",
)  # fmt: skip
_NAMES = ("text", "id", "content", "tool_name", "tool_call_id", "arguments", "ok", "result", "error", "reason", "type")
_RUNS = ("r1", "r2", "r3", None)


def junk(random: Random, count: int) -> list[Event]:
    """Make up events of every type whose payloads are anything that JSON can be, as an application may emit them."""
    events: list[Event] = []
    for seq in range(1, count + 1):
        payload = {
            random.choice((*_NAMES, "agent_name", "parent_run_id", "message")): _value(random, 3) for _ in range(4)
        }
        run_id, event_id = random.choice(_RUNS), random.choice((f"e{seq}", None))
        about: dict[str, Any] = {
            "type": random.choice(_TYPES),
            "payload": payload,
            "run_id": run_id,
            "event_id": event_id,
        }
        events.append(Event(**about, thread_id="t1", timestamp=seq + 0.5, seq=seq, offset=seq))
    return events


def _value(random: Random, depth: int) -> Any:
    simple = (None, True, False, 0, -7, "", "x", "r1", "r2", "text", "image", "url", "\U0001f600", "r1.3", "call_1")
    if depth == 0 or random.random() < 0.6:
        return random.choice(simple)
    if random.random() < 0.5:
        return [_value(random, depth - 1) for _ in range(random.randrange(3))]
    names = ("type", "text", "source", "value", "mimeType", "message", "id")
    return {name: _value(random, depth - 1) for name in random.sample(names, 3)}


def joined(events: list[Event]) -> list[Event]:
    """Join tokens of a run that follow each other, as a device that is behind is given them."""
    found: list[Event] = []
    for event in events:
        before = found[-1] if found else None
        if before is not None and {before.type, event.type} == {"agent_delta"} and before.run_id == event.run_id:
            first = before.seq if before.seq0 is None else before.seq0
            text = before.payload["text"] + event.payload["text"]
            values = {name: getattr(event, name) for name in event.__struct_fields__}
            found[-1] = Event(**{**values, "seq0": first, "payload": {"text": text}})
        else:
            found.append(event)
    return found
