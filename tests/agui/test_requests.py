"""Requests: with the extra, and without it, what is no RunAgentInput is refused, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from actors.agui import requests
from actors.agui.problems import Refused
from tests.agui.calling import asked


@pytest.fixture(params=["checked by ag-ui-protocol", "without it"])
def parse(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The parser, with and without the package that checks every field."""
    if request.param == "without it":
        monkeypatch.setattr(requests, "_validate", None)
    return requests.parse


def test_a_request_is_read(parse: Any) -> None:
    """Its names, its newest message of the user, and its answers."""
    resume = [{"interruptId": "a", "status": "resolved", "payload": {"x": 1}}]
    read = parse(asked("hi", resume=resume, unknown=1))
    assert (read.thread_id, read.run_id, read.message["content"]) == ("t1", "mine", "hi")
    assert read.ends_with_the_user
    assert [one.content for one in read.resume] == [{"x": 1}]
    assert parse(asked(None)).message is None


@pytest.mark.parametrize("fields", [{"messages": [{"id": 1, "role": "user"}]}, {"runId": None}, {"resume": 3}])
def test_what_is_none_is_refused(parse: Any, fields: dict[str, Any]) -> None:
    """The reason is told, in few words."""
    with pytest.raises(Refused, match="expected") as refused:
        parse(asked(**fields))
    assert len(str(refused.value)) < 400


def test_parts_without_a_text_are_no_text(parse: Any) -> None:
    """The text of a message in parts is that of its texts."""
    image = {"type": "image", "source": {"type": "url", "value": "https://x/y.png"}}
    parts = [{"type": "text", "text": "see "}, image, {"type": "text", "text": "this"}]
    read = parse(asked(messages=[{"id": "u", "role": "user", "content": parts}]))
    assert read.payload_of(read.message) == {"text": "see this", "id": "u", "content": parts}
