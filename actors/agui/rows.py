"""The table of doors between the vocabularies: what each event of a run is in AG-UI, one function per row.

A row that does not find the fields it needs returns None: then the event is one
of the application's own, whatever its type is called.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs

from actors.agui.messages import AguiEvent, AguiMessage
from actors.events.delivered import Event
from actors.events.event import Lifecycle


@attrs.define(eq=False, kw_only=True)
class CourseRun:
    """A run in the course of a thread's events."""

    run_id: str
    name: str = ""
    parent: CourseRun | None = None
    text_id: str | None = None
    """The id of the text message that goes on, if one does."""
    known_seq: int = 0
    """The number up to which the client's own copy of that text goes, where the log has lost its beginning."""
    calls: set[str] = attrs.field(factory=set)
    """The tool calls so far."""
    end: AguiEvent | None = None
    """The last event, once there is one."""
    first: AguiEvent = attrs.field(factory=dict)
    """The time and the metadata of its first event."""
    given: list[AguiMessage] = attrs.field(factory=list)
    """The messages that it begins with."""
    is_new: bool = True
    """True until it says something: so far a client that is told of its beginning has missed nothing."""
    was_said: bool = False
    """True once the client was told of it."""

    @property
    def root(self) -> CourseRun:
        """The run at the top, which AG-UI calls a run; those below it are subagents."""
        return self if self.parent is None else self.parent.root

    @property
    def owner(self) -> AguiEvent:
        """The fields that say which subagent says something."""
        return {} if self.parent is None else {"subagentRunId": self.run_id}

    def close_text(self) -> list[AguiEvent]:
        """End the text that goes on."""
        text_id, self.text_id = self.text_id, None
        return [] if text_id is None else [{"type": "TEXT_MESSAGE_END", "messageId": text_id, **self.owner}]


Row = Callable[[CourseRun, Event], "list[AguiEvent] | None"]


def text_of(value: object) -> str:
    """Return a text as it is, and any other value as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def delta(run: CourseRun, event: Event) -> list[AguiEvent] | None:
    """Add to the text that goes on, or begin one, whose id is made from its first number: the same on every replay."""
    text = event.payload.get("text")
    if not isinstance(text, str):
        return None
    said: list[AguiEvent] = []
    if run.text_id is None:
        first = event.seq if event.seq0 is None else event.seq0
        run.text_id = f"{run.run_id}.{first}"
        said.append({"type": "TEXT_MESSAGE_START", "messageId": run.text_id, "role": "assistant", **run.owner})
    said.append({"type": "TEXT_MESSAGE_CONTENT", "messageId": run.text_id, "delta": text, **run.owner})
    return said


def thinking(run: CourseRun, event: Event) -> list[AguiEvent] | None:
    """Say a thought, whole."""
    text = event.payload.get("text")
    if not isinstance(text, str):
        return None
    about = {"messageId": event.event_id or f"{run.run_id}.{event.seq}", **run.owner}
    return [
        *run.close_text(),
        {"type": "REASONING_START", **about},
        {"type": "REASONING_MESSAGE_START", "role": "reasoning", **about},
        {"type": "REASONING_MESSAGE_CONTENT", "delta": text, **about},
        {"type": "REASONING_MESSAGE_END", **about},
        {"type": "REASONING_END", **about},
    ]


def executing(run: CourseRun, event: Event) -> list[AguiEvent] | None:
    """Call a tool, with all its arguments."""
    name = event.payload.get("tool_name")
    call_id = _call_id(run, event)
    if call_id is None or not isinstance(name, str) or call_id in run.calls:
        return None
    run.calls.add(call_id)
    about = {"toolCallId": call_id, **run.owner}
    return [
        *run.close_text(),
        {"type": "TOOL_CALL_START", "toolCallName": name, **about},
        {"type": "TOOL_CALL_ARGS", "delta": text_of(event.payload.get("arguments", {})), **about},
        {"type": "TOOL_CALL_END", **about},
    ]


def executed(run: CourseRun, event: Event) -> list[AguiEvent] | None:
    """Give the result of a tool call, or its error."""
    call_id = _call_id(run, event)
    if call_id is None:
        return None
    payload = event.payload
    content = payload.get("result") if payload.get("ok") is True else payload.get("error")
    result = {
        "type": "TOOL_CALL_RESULT",
        "messageId": event.event_id or f"{run.run_id}.{event.seq}",
        "toolCallId": call_id,
        "role": "tool",
        "content": text_of(content),
        **run.owner,
    }
    return [*run.close_text(), result]


def custom(run: CourseRun, event: Event) -> list[AguiEvent]:
    """Pass on an event of the application's own."""
    return [*run.close_text(), {"type": "CUSTOM", "name": event.type, "value": event.payload, **run.owner}]


def ended(run: CourseRun, event: Event, *, thread_id: str) -> AguiEvent:
    """Say how a run ended."""
    if event.type == Lifecycle.AGENT_FAILED:
        error = event.payload.get("error")
        told = error if isinstance(error, dict) else {"message": "" if error is None else error}
        return {
            "type": "RUN_ERROR" if run.parent is None else "SUBAGENT_ERROR",
            "message": text_of(told.get("message", "")),
            "code": text_of(told.get("type", "failed")),
            **run.owner,
        }
    value = event.payload.get("result")
    result = {} if value is None else {"result": value}  # null is deprecated: a client warns of it
    is_cancelled = event.type == Lifecycle.AGENT_CANCELLED
    if run.parent is not None and is_cancelled:
        reason = text_of(event.payload.get("reason", ""))
        return {"type": "SUBAGENT_ERROR", "message": reason, "code": "cancelled", **run.owner}
    if run.parent is not None:
        return {"type": "SUBAGENT_FINISHED", **run.owner, **result}
    end = {"type": "RUN_FINISHED", "threadId": thread_id, "runId": run.run_id}
    if is_cancelled:
        return {**end, "outcome": {"type": "cancelled"}}
    return {**end, "outcome": {"type": "success"}, **result}


def user_message(event: Event) -> AguiMessage:
    """Return what a user said, under the id that the user's client gave it."""
    given = event.payload.get("id")
    message_id = given if isinstance(given, str) and given else event.event_id or f"m.{event.seq}"
    return {"id": message_id, "role": "user", "content": _content(event.payload)}


def _content(payload: dict[str, Any]) -> str | list[dict[str, Any]]:
    parts = payload.get("content")
    if isinstance(parts, list) and parts and all(map(_is_part, parts)):
        return parts
    text = payload.get("text", parts)
    return text if isinstance(text, str) else text_of(payload)


_MEDIA = {"image", "audio", "video", "document"}
_SOURCES = {"data": {"value", "mimeType"}, "url": {"value"}, "file": {"value"}}
"""The kinds of sources of a part, and the texts that each must have."""


def _is_part(part: object) -> bool:
    """True for a part of a message that every client takes; one that is not would fail all of the user's clients."""
    if not isinstance(part, dict) or not isinstance(part.get("id", ""), str):
        return False
    if part.get("type") == "text":
        return set(part) <= {"type", "text", "id", "metadata"} and isinstance(part.get("text"), str)
    kind, source = part.get("type"), part.get("source")
    if not isinstance(kind, str) or kind not in _MEDIA or not set(part) <= {"type", "source", "id", "metadata"}:
        return False
    if not isinstance(source, dict) or not set(source) <= {"type", "value", "mimeType", "provider"}:
        return False
    needs = _SOURCES.get(source["type"]) if isinstance(source.get("type"), str) else None
    return needs is not None and needs <= set(source) and all(isinstance(one, str) for one in source.values())


def _call_id(run: CourseRun, event: Event) -> str | None:
    """Return the id of a tool call, which AG-UI wants unique in a thread, where ours is unique in its run."""
    call_id = event.payload.get("tool_call_id")
    return f"{run.run_id}:{call_id}" if isinstance(call_id, str) else None


ROWS: dict[str, Row] = {
    Lifecycle.AGENT_DELTA: delta,
    Lifecycle.AGENT_THINKING: thinking,
    Lifecycle.TOOL_EXECUTING: executing,
    Lifecycle.TOOL_COMPLETED: executed,
}
