"""The requests of AG-UI clients: ``RunAgentInput``, and what of it a thread is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from actors.agui.messages import AguiMessage
from actors.agui.problems import Refused

try:
    from ag_ui.core import RunAgentInput

    _validate: Callable[[bytes], object] | None = RunAgentInput.model_validate_json
except ImportError:  # the extra [ag-ui] is for whoever wants every field of a request checked
    _validate = None

_SAID_CHARACTERS = 300
"""Length to which the reasons of a refusal are cut: the first of them say what is wrong."""


class Answer(msgspec.Struct, rename="camel", frozen=True):
    """An answer to an interrupt."""

    interrupt_id: str
    status: str
    payload: Any = None

    @property
    def content(self) -> dict[str, Any]:
        """The answer for the run that asked, which is always an object."""
        if self.status != "resolved":
            return {"cancelled": True}
        return self.payload if isinstance(self.payload, dict) else {"answer": self.payload}


class Asked(msgspec.Struct, rename="camel", frozen=True):
    """The request for a run, or to go on with one that has asked."""

    thread_id: str
    run_id: str
    messages: list[AguiMessage]
    resume: list[Answer] | None = None
    state: Any = None
    tools: Any = None
    context: Any = None
    forwarded_props: Any = None

    @property
    def message(self) -> AguiMessage | None:
        """The newest message of the user."""
        return next((one for one in reversed(self.messages) if one["role"] == "user"), None)

    @property
    def ends_with_the_user(self) -> bool:
        """True if the newest message is the user's."""
        return bool(self.messages) and self.messages[-1]["role"] == "user"

    def payload_of(self, message: AguiMessage) -> dict[str, Any]:
        """Return what a thread is sent for a message: its text, its id, and what else the client gave, if anything."""
        content = message.get("content", "")
        is_text = isinstance(content, str)
        parts = [] if is_text else [one.get("text") for one in content if isinstance(one, dict)]
        text = content if is_text else "".join(one for one in parts if isinstance(one, str))
        given = {
            "context": self.context,
            "tools": self.tools,
            "state": self.state,
            "forwardedProps": self.forwarded_props,
        }
        more = {} if is_text else {"content": content}
        return {"text": text, "id": message["id"], **more, **{name: value for name, value in given.items() if value}}


_decode = msgspec.json.Decoder(Asked).decode


def parse(body: bytes) -> Asked:
    """Read a request. Raises Refused for one that is not AG-UI's."""
    try:
        if _validate is not None:
            _validate(body)
        asked = _decode(body)
    except (ValueError, RecursionError) as error:  # pydantic's and msgspec's are ValueErrors
        raise Refused("bad_request", f"expected a RunAgentInput: {str(error)[:_SAID_CHARACTERS]}") from None
    for message in asked.messages:
        if not isinstance(message.get("id"), str) or not isinstance(message.get("role"), str):
            raise Refused("bad_request", "expected messages with an id and a role")
        if not isinstance(message.get("content", ""), str | list):
            raise Refused("bad_request", f"expected a text or parts as the content of {message['id'][:80]}")
    return asked
