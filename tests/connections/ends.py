"""What a peer is sent of the log, and how its connection ends."""

from __future__ import annotations

from actors.protocol.codes import CLOSINGS
from tests.support.raw import Message, Peer


async def events(peer: Peer, count: int) -> list[Message]:
    return [await peer.next_event() for _ in range(count)]


async def ends(peer: Peer, name: str, *, said: bool = True) -> str:
    """The connection ends for a reason of the table, which is said in an error before it; returns what was said."""
    row = CLOSINGS[name]
    ending = await peer.farewell()
    assert ending is not None
    assert ending[0] == row.code
    complaints = [message["error"] for message in peer.messages() if message.get("op") == "error"]
    assert len(complaints) == (1 if said else 0)
    for complaint in complaints:
        assert complaint["code"] == row.code
        assert complaint["name"] == name
        assert complaint["temporary"] == row.temporary
        assert complaint["message"].encode().startswith(ending[1].encode())
    return ending[1]
