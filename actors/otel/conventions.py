"""The names of OpenTelemetry's semantic conventions that spans of this package have.

Those of GenAI (0.1) and messaging (1.45) are both in development, so every name
is here and nowhere else. Names of ours begin with ``trio_actors``.
"""

from __future__ import annotations

from opentelemetry.util.types import AttributeValue

SYSTEM = "trio_actors"

MESSAGE_ID = "messaging.message.id"
ERROR_TYPE = "error.type"
OUTCOME = f"{SYSTEM}.outcome"
"""``completed``, ``failed``, ``cancelled``, or ``refused`` of what could not begin."""

Attributes = dict[str, AttributeValue]


def run(thread_id: str, run_id: str, agent_name: str) -> tuple[str, Attributes]:
    """Return name and attributes of the span of a run."""
    return f"invoke_agent {agent_name}", {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": agent_name,
        "gen_ai.conversation.id": thread_id,
        f"{SYSTEM}.run.id": run_id,
    }


def tool(thread_id: str, name: str, call_id: str) -> tuple[str, Attributes]:
    """Return those of a tool's call."""
    return f"execute_tool {name}", {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": name,
        "gen_ai.tool.call.id": call_id,
        "gen_ai.conversation.id": thread_id,
    }


def emit(thread_id: str, type_: str) -> tuple[str, Attributes]:
    """Return those of an event that the application emits. Of the destination there is the kind, because threads are as
    many as conversations."""
    return f"send {type_}", {**_messaging("send", "send", thread_id), f"{SYSTEM}.event.type": type_}


def settle(thread_id: str, type_: str, event_id: str) -> tuple[str, Attributes]:
    """Return those of the ack of such an event."""
    return f"settle {type_}", {
        **_messaging("settle", "ack", thread_id),
        f"{SYSTEM}.event.type": type_,
        MESSAGE_ID: event_id,
    }


def _messaging(operation_type: str, operation_name: str, thread_id: str) -> Attributes:
    return {
        "messaging.system": SYSTEM,
        "messaging.operation.type": operation_type,
        "messaging.operation.name": operation_name,
        "messaging.destination.name": "thread",
        "messaging.message.conversation_id": thread_id,
    }
