"""The agent that asks: what it does follows from the answer."""

from __future__ import annotations

import pytest

from actors.examples.approval import approval
from tests.support.served import served


@pytest.mark.parametrize(("choice", "acts", "says"), [("yes", True, "It is done."), ("no", False, "Then I leave it")])
async def test_it_asks_first(choice: str, acts: bool, says: str) -> None:
    """Nothing is done before the user has approved of it, and nothing when the user does not."""
    async with served(on_message=approval) as server, server.peer() as peer:
        await peer.attach("alice")
        await peer.say({"op": "send", "id": 1, "payload": {"text": "deploy"}})
        question = await peer.next_op("ask")
        assert question["event"]["payload"]["choices"] == ["yes", "no"]
        assert "tool_executing" not in [message.get("type") for message in peer.messages()]
        answer = {"op": "answer", "id": 2, "ask": question["event"]["event_id"], "payload": {"choice": choice}}
        await peer.say(answer)
        while (event := await peer.next_event())["type"] != "agent_completed":
            pass
        assert event["payload"]["result"].startswith(says)
        assert ("tool_executing" in [message.get("type") for message in peer.messages()]) is acts
