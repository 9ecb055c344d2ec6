"""The messages of a thread, built from AG-UI events as every client of the protocol builds them."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import Any

AguiEvent = dict[str, Any]
"""An event of AG-UI, as JSON has it."""

AguiMessage = dict[str, Any]
"""A message of AG-UI, as JSON has it."""


class Messages:
    """The messages so far, run by run in the order in which the runs began.

    A client is told of one run at a time, and appends what it is told. So the
    messages of a run that goes on beside another one stand behind the other's,
    and every client comes to the same order.
    """

    def __init__(self) -> None:
        self._sections: dict[str, list[AguiMessage]] = {}
        self._by_id: dict[str, AguiMessage] = {}
        self._texts: dict[str, list[str]] = {}
        """The pieces of the texts, by message, because a text of many tokens is joined only when it is asked for."""

    def __repr__(self) -> str:
        return f"<Messages {len(self._by_id)} of {len(self._sections)} runs>"

    def __contains__(self, message_id: object) -> bool:
        return message_id in self._by_id

    def __bool__(self) -> bool:
        return bool(self._by_id)

    def begin(self, run_id: str, messages: Iterable[AguiMessage]) -> None:
        """Begin a run with the messages that it is given; one that is known stays where it is."""
        self._sections.setdefault(run_id, [])
        for message in messages:
            if message["id"] not in self._by_id:
                self._put(run_id, message)

    def adopt(self, run_id: str, message: AguiMessage) -> None:
        """Take a text as far as the client has it, to be continued."""
        self._put(run_id, dict(message))
        self._texts[message["id"]] = [message["content"]]

    def fold(self, run_id: str, events: Iterable[AguiEvent]) -> None:
        """Take events of a run; those that build no message change nothing."""
        for event in events:
            row = _ROWS.get(event["type"])
            if row is not None:
                row(self, run_id, event)

    def snapshot(self, without: Container[str] = ()) -> list[AguiMessage]:
        """Return the messages, as MESSAGES_SNAPSHOT has them, without those of some runs."""
        sections = [section for run_id, section in self._sections.items() if run_id not in without]
        return [self._whole(message) for section in sections for message in section]

    def _whole(self, message: AguiMessage) -> AguiMessage:
        text = self._texts.get(message["id"])
        return dict(message) if text is None else {**message, "content": "".join(text)}

    def _put(self, run_id: str, message: AguiMessage) -> None:
        self._sections[run_id].append(message)
        self._by_id[message["id"]] = message

    def _open(self, run_id: str, event: AguiEvent, role: str) -> None:
        if event["messageId"] not in self._by_id:
            self._put(run_id, {"id": event["messageId"], "role": role, "content": "", **_owner(event)})
            self._texts[event["messageId"]] = []
        self._annotate(event)

    def _begin_text(self, run_id: str, event: AguiEvent) -> None:
        self._open(run_id, event, "assistant")

    def _begin_reasoning(self, run_id: str, event: AguiEvent) -> None:
        self._open(run_id, event, "reasoning")

    def _append(self, run_id: str, event: AguiEvent) -> None:
        if event["messageId"] in self._texts:  # a user may have given a message of theirs the id of a text
            self._texts[event["messageId"]].append(event["delta"])
            self._annotate(event)

    def _annotate(self, event: AguiEvent) -> None:
        self._by_id[event["messageId"]]["metadata"] = event["metadata"]

    def _begin_call(self, run_id: str, event: AguiEvent) -> None:
        function = {"name": event["toolCallName"], "arguments": ""}
        call = {"id": event["toolCallId"], "type": "function", "function": function, "metadata": event["metadata"]}
        if call["id"] not in self._by_id:
            self._put(run_id, {"id": call["id"], "role": "assistant", "toolCalls": [call], **_owner(event)})

    def _argue(self, run_id: str, event: AguiEvent) -> None:
        for call in self._by_id[event["toolCallId"]].get("toolCalls", ()):
            call["function"]["arguments"] = event["delta"]

    def _answer(self, run_id: str, event: AguiEvent) -> None:
        """Put a result right behind its call, and behind the results that are there."""
        result = {
            "id": event["messageId"],
            "toolCallId": event["toolCallId"],
            "role": "tool",
            "content": event["content"],
            **_owner(event),
            "metadata": event["metadata"],
        }
        section = self._sections[run_id]
        calls = [n for n, message in enumerate(section) if message["id"] == event["toolCallId"]]
        at = calls[0] + 1 if calls else len(section)
        while at < len(section) and section[at]["role"] == "tool":
            at += 1
        section.insert(at, result)
        self._by_id[result["id"]] = result


def _owner(event: AguiEvent) -> AguiEvent:
    return {"subagentRunId": event["subagentRunId"]} if "subagentRunId" in event else {}


_ROWS: dict[str, Callable[[Messages, str, AguiEvent], None]] = {
    "TEXT_MESSAGE_START": Messages._begin_text,
    "TEXT_MESSAGE_CONTENT": Messages._append,
    "REASONING_MESSAGE_START": Messages._begin_reasoning,
    "REASONING_MESSAGE_CONTENT": Messages._append,
    "TOOL_CALL_START": Messages._begin_call,
    "TOOL_CALL_ARGS": Messages._argue,
    "TOOL_CALL_RESULT": Messages._answer,
}
