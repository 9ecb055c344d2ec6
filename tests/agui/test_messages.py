"""The messages of a thread, as a client builds them."""

from __future__ import annotations

from typing import Any

from actors.agui.messages import Messages

META = {"trio-actors": {"seq": 1}}


def text(messages: Messages, run_id: str, message_id: str, *deltas: str, **owner: Any) -> None:
    about = {"messageId": message_id, "metadata": META, **owner}
    messages.fold(run_id, [{"type": "TEXT_MESSAGE_START", "role": "assistant", **about}])
    messages.fold(run_id, [{"type": "TEXT_MESSAGE_CONTENT", "delta": delta, **about} for delta in deltas])


def test_texts_stand_by_the_run_that_says_them() -> None:
    """Runs that speak at once are not mixed, and one can be left out of a snapshot."""
    messages = Messages()
    messages.begin("r1", [{"id": "u1", "role": "user", "content": "a"}])
    messages.begin("r2", [{"id": "u1", "role": "user", "content": "again"}])
    text(messages, "r2", "r2.1", "two ", "parts", subagentRunId="r2.c")
    text(messages, "r1", "r1.1", "one")
    assert [(one["id"], one["content"]) for one in messages.snapshot()] == [
        ("u1", "a"),
        ("r1.1", "one"),
        ("r2.1", "two parts"),
    ]
    assert [one["id"] for one in messages.snapshot({"r1"})] == ["r2.1"]
    assert messages.snapshot()[2]["subagentRunId"] == "r2.c"
    assert "r2.1" in messages
    assert "r3.1" not in messages
    assert repr(messages) == "<Messages 3 of 2 runs>"


def test_a_snapshot_is_not_changed_later() -> None:
    """What a client was given stays as it was when the text goes on."""
    messages = Messages()
    messages.begin("r1", [])
    text(messages, "r1", "r1.1", "one")
    before = messages.snapshot()
    text(messages, "r1", "r1.1", " more")
    assert before[0]["content"] == "one"
    assert messages.snapshot()[0]["content"] == "one more"


def test_a_text_whose_id_a_user_took_builds_nothing() -> None:
    """A message of the user under the id of a text stays the user's."""
    messages = Messages()
    messages.begin("r1", [{"id": "r1.1", "role": "user", "content": "mine"}])
    messages.begin("r1", [{"id": "r1:c", "role": "user", "content": "too"}])
    text(messages, "r1", "r1.1", "one")
    call = {"toolCallId": "r1:c", "metadata": META}
    messages.fold("r1", [{"type": "TOOL_CALL_START", "toolCallName": "n", **call}])
    messages.fold("r1", [{"type": "TOOL_CALL_ARGS", "delta": "{}", **call}])
    assert [one["content"] for one in messages.snapshot()] == ["mine", "too"]
