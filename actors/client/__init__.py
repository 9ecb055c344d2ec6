"""A client of ``actors.v1`` on Trio: every event once and in order, whatever the network does.

    async with connect("wss://chat.example/ws", token=token) as session:
        await session.send({"text": "What is the weather in Oslo?"})
        async for item in session:
            match item:
                case Event(type="agent_delta", payload={"text": text}):
                    print(text, end="")
                case Reset():
                    forget_what_is_shown()

The parts, from the ground up; no module but ``options`` and ``session`` knows Trio, clocks or I/O:

    items, errors, backoff, address      the vocabulary; that of the protocol is in ``protocol``
    inbox                                contiguity and acks; open questions and active runs are in ``delivery``
    pending                              requests without a reply
    conversation                         what to do with each message, and what to send
    options                              the checked arguments of ``connect``, and the token
    session                              the tasks that wait, and the public API
"""

from actors.client.errors import RequestRefused, SessionEnded, SessionLost
from actors.client.items import Cancellation, State
from actors.client.options import Token
from actors.client.session import Session, connect
from actors.events.delivered import Event, History
from actors.events.items import (
    Active,
    Ask,
    AskClosed,
    CaughtUp,
    Cursor,
    Gap,
    Inactive,
    Item,
    Reset,
    Sent,
)
from actors.protocol.client_messages import Origin

__all__ = [
    "Active",
    "Ask",
    "AskClosed",
    "Cancellation",
    "CaughtUp",
    "Cursor",
    "Event",
    "Gap",
    "History",
    "Inactive",
    "Item",
    "Origin",
    "RequestRefused",
    "Reset",
    "Sent",
    "Session",
    "SessionEnded",
    "SessionLost",
    "State",
    "Token",
    "connect",
]
