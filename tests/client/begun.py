"""A conversation that has begun."""

from __future__ import annotations

import json

from actors.client.conversation import Conversation
from actors.client.inbox import Inbox

REPLAYED = {"op": "welcome", "session": "s", "epoch": "e", "head": 0, "low": 1, "start": 1, "resume": "replayed"}
"""The welcome of another connection of its session."""


def begun() -> Conversation:
    """A conversation that was welcomed, with room for ten items."""
    client = Conversation("t", Inbox(None, 10, most_bytes=100_000), origin="low")
    client.hello()
    welcome = {"op": "welcome", "session": "s", "epoch": "e", "head": 0, "low": 1, "start": 1, "resume": "fresh"}
    client.take(json.dumps(welcome))
    return client
