"""A client of AG-UI in Python: what @ag-ui/client checks of a stream, and the messages that it builds from it.

It is written from the behaviour of version 1.0.0, and tests/system/agui holds both to the same streams.
"""

from __future__ import annotations

import copy
from typing import Any

from ag_ui.core import Event
from pydantic import TypeAdapter

AguiEvent = dict[str, Any]

_ADAPTER: TypeAdapter[Any] = TypeAdapter(Event)


class Rejected(Exception):
    """The client would have raised this."""


class AguiClient:
    """One agent of a client: its messages, and the rules of the run that it is told of."""

    def __init__(self, messages: list[AguiEvent] | None = None) -> None:
        self.messages: list[AguiEvent] = copy.deepcopy(messages or [])
        self.pending: list[AguiEvent] = []
        self.ends: list[AguiEvent] = []
        """The last events of the runs."""
        self.customs: list[AguiEvent] = []
        self._is_running = False
        self._texts: set[str] = set()
        self._reasoning: set[str] = set()
        self._spans: set[str] = set()
        self._calls: set[str] = set()
        self._subagents: set[str] = set()
        self._past: set[str] = set()
        self._owners: dict[tuple[str, str], str | None] = {}

    def take(self, events: list[AguiEvent]) -> AguiClient:
        """Take events, as they come from a stream."""
        for event in events:
            _ADAPTER.validate_python(event)
            self._check(event)
            getattr(self, f"_{event['type'].lower()}", lambda event: None)(copy.deepcopy(event))
        return self

    def _check(self, event: AguiEvent) -> None:
        if (event["type"] == "RUN_STARTED") is self._is_running:
            raise Rejected(f"{event['type']} while {'a' if self._is_running else 'no'} run is active")

    def _own(self, kind: str, name: str, event: AguiEvent) -> None:
        tag = event.get("subagentRunId")
        if tag is not None and self._owners.setdefault((kind, name), tag) != tag:
            raise Rejected(f"{event['type']} of {tag} for {name}")
        self._owners.setdefault((kind, name), None)

    def _add(self, opened: set[str], name: str) -> None:
        if name in opened:
            raise Rejected(f"{name} is open")
        opened.add(name)

    def _drop(self, opened: set[str], name: str) -> None:
        if name not in opened:
            raise Rejected(f"{name} is not open")
        opened.discard(name)

    def _find(self, name: str) -> AguiEvent | None:
        return next((one for one in self.messages if one["id"] == name), None)

    def _call(self, name: str) -> AguiEvent:
        return next(call for one in self.messages for call in one.get("toolCalls", ()) if call["id"] == name)

    def _annotate(self, target: AguiEvent | None, event: AguiEvent) -> None:
        if target is not None and "metadata" in event:
            target["metadata"] = {**target.get("metadata", {}), **event["metadata"]}

    # --- runs -------------------------------------------------------------------

    def _run_started(self, event: AguiEvent) -> None:
        self._is_running = True
        self._past = set()
        self._owners = {}
        for message in event.get("input", {}).get("messages", ()):
            if self._find(message["id"]) is None:
                self.messages.append(message)

    def _run_finished(self, event: AguiEvent) -> None:
        left = [*self._texts, *self._reasoning, *self._spans, *self._calls, *self._subagents]
        if left:
            raise Rejected(f"RUN_FINISHED with {left}")
        self._is_running = False
        outcome = event.get("outcome", {"type": "success"})
        self.pending = outcome["interrupts"] if outcome["type"] == "interrupt" else []
        self.ends.append(event)

    def _run_error(self, event: AguiEvent) -> None:
        for opened in (self._texts, self._reasoning, self._spans, self._calls, self._subagents):
            opened.clear()
        self._is_running = False
        self.ends.append(event)

    def _messages_snapshot(self, event: AguiEvent) -> None:
        new = {one["id"]: one for one in event["messages"]}
        if len(new) != len(event["messages"]):
            raise Rejected("an id twice in a snapshot")
        has_reasoning = any(one["role"] == "reasoning" for one in new.values())
        kept = [one for one in self.messages if one["id"] in new or (one["role"] == "reasoning" and not has_reasoning)]
        self.messages = [new.get(one["id"], one) for one in kept]
        known = {one["id"] for one in self.messages}
        self.messages += [one for one in event["messages"] if one["id"] not in known]
        for one in event["messages"]:
            kind = "reasoning" if one["role"] == "reasoning" else "message"
            self._owners[kind, one["id"]] = one.get("subagentRunId")
            for call in one.get("toolCalls", ()):
                self._owners["call", call["id"]] = one.get("subagentRunId")

    def _subagent_started(self, event: AguiEvent) -> None:
        name, above = event["subagentRunId"], event.get("parentSubagentRunId")
        if name in self._past or (above is not None and above not in self._subagents | self._past):
            raise Rejected(f"SUBAGENT_STARTED {name} below {above}")
        self._add(self._subagents, name)

    def _subagent_finished(self, event: AguiEvent) -> None:
        self._drop(self._subagents, event["subagentRunId"])
        self._past.add(event["subagentRunId"])

    _subagent_error = _subagent_finished

    # --- what a run says --------------------------------------------------------

    def _text_message_start(self, event: AguiEvent) -> None:
        self._add(self._texts, event["messageId"])
        self._own("message", event["messageId"], event)
        self._begin(event, "assistant")

    def _begin(self, event: AguiEvent, role: str) -> None:
        message = self._find(event["messageId"])
        if message is None:
            message = {"id": event["messageId"], "role": role, "content": ""}
            if "subagentRunId" in event:
                message["subagentRunId"] = event["subagentRunId"]
            self.messages.append(message)
        self._annotate(message, event)

    def _text_message_content(self, event: AguiEvent) -> None:
        if event["messageId"] not in self._texts:
            raise Rejected(f"no active text message {event['messageId']}")
        self._own("message", event["messageId"], event)
        self._append(event)

    def _append(self, event: AguiEvent) -> None:
        message = self._find(event["messageId"])
        if message is not None:
            message["content"] += event["delta"]
        self._annotate(message, event)

    def _text_message_end(self, event: AguiEvent) -> None:
        self._drop(self._texts, event["messageId"])
        self._own("message", event["messageId"], event)
        self._annotate(self._find(event["messageId"]), event)

    def _reasoning_start(self, event: AguiEvent) -> None:
        self._add(self._spans, event["messageId"])

    def _reasoning_message_start(self, event: AguiEvent) -> None:
        self._add(self._reasoning, event["messageId"])
        self._own("reasoning", event["messageId"], event)
        self._begin(event, "reasoning")

    def _reasoning_message_content(self, event: AguiEvent) -> None:
        assert event["messageId"] in self._reasoning
        self._append(event)

    def _reasoning_message_end(self, event: AguiEvent) -> None:
        self._drop(self._reasoning, event["messageId"])

    def _reasoning_end(self, event: AguiEvent) -> None:
        self._drop(self._spans, event["messageId"])

    def _tool_call_start(self, event: AguiEvent) -> None:
        name = event["toolCallId"]
        self._add(self._calls, name)
        self._own("call", name, event)
        if any(call["id"] == name for one in self.messages for call in one.get("toolCalls", ())):
            return
        call = {"id": name, "type": "function", "function": {"name": event["toolCallName"], "arguments": ""}}
        self._annotate(call, event)
        message = {"id": name, "role": "assistant", "toolCalls": [call]}
        if "subagentRunId" in event:
            message["subagentRunId"] = event["subagentRunId"]
        self.messages.append(message)

    def _tool_call_args(self, event: AguiEvent) -> None:
        call = self._call(event["toolCallId"])
        call["function"]["arguments"] += event["delta"]
        self._annotate(call, event)

    def _tool_call_end(self, event: AguiEvent) -> None:
        self._drop(self._calls, event["toolCallId"])
        self._annotate(self._call(event["toolCallId"]), event)

    def _tool_call_result(self, event: AguiEvent) -> None:
        result = {"id": event["messageId"], "toolCallId": event["toolCallId"], "role": "tool"}
        result["content"] = event["content"]
        if "subagentRunId" in event:
            result["subagentRunId"] = event["subagentRunId"]
        self._annotate(result, event)
        owners = [
            n
            for n, one in enumerate(self.messages)
            if any(call["id"] == event["toolCallId"] for call in one.get("toolCalls", ()))
        ]
        at = owners[0] + 1 if owners else len(self.messages)
        while at < len(self.messages) and self.messages[at]["role"] == "tool":
            at += 1
        self.messages.insert(at, result)

    def _custom(self, event: AguiEvent) -> None:
        self.customs.append(event)
