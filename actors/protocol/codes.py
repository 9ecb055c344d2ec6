"""Why connections end: one table.

Of the codes from 4000 on, one below 4500 says *come back*, and from 4500 on *do
not, unless something changes*; so a client decides without knowing the rows (the idea is
Centrifugo's). Codes below 4000 are RFC 6455's own. What is aborted without a
Close has its row all the same: ``explain`` and the logs name it.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class Closing:
    """One reason for a connection to end."""

    code: int
    name: str
    text: str

    @property
    def temporary(self) -> bool:
        """Whether the same client may come back as it is."""
        return self.code < 4500 and self.code not in _FINAL_STANDARD_CODES


_FINAL_STANDARD_CODES = frozenset({1002, 1003, 1007, 1008, 1009})

_GOODBYES = frozenset({1001, 1005})
"""A page that is left, and a Close that gives no code: what a browser's ``close()`` sends."""

TABLE: dict[str, Closing] = {
    row.name: row
    for row in (
        Closing(1000, "left", "the device said goodbye"),
        Closing(1002, "bad_frame", "the frames were not WebSocket frames"),
        Closing(1003, "binary", "a text message was expected, a binary one came"),
        Closing(1006, "vanished", "the device's connection broke"),
        Closing(1007, "bad_text", "the text was not UTF-8"),
        Closing(1009, "too_big", "the message was larger than the limit"),
        Closing(1012, "shutting_down", "the server is going away"),
        Closing(4001, "stalled", "its socket took nothing for the write deadline"),
        Closing(4002, "silent", "it did not answer a ping in time"),
        Closing(4003, "flooding", "it sent faster than the rate limit"),
        Closing(4004, "too_many_devices", "the user has as many connections as are allowed"),
        Closing(4005, "failed", "the server failed in handling this connection"),
        Closing(4006, "no_hello", "no hello came in time"),
        Closing(4007, "unavailable", "who it is could not be checked"),
        Closing(4008, "quarantined", "this user was taken out of service after repeated failures"),
        Closing(4009, "choked", "answers to its pings piled up behind its unread socket"),
        Closing(4500, "superseded", "another connection of the same session took over"),
        Closing(4501, "unauthenticated", "the credentials were refused"),
        Closing(4502, "bad_message", "the message was not one of the protocol's"),
        Closing(4503, "bad_ack", "an acknowledgement was ahead of what was sent"),
        Closing(4504, "revoked", "the user's credentials were revoked"),
    )
}

BY_CODE = {row.code: row for row in TABLE.values()}


def closing_of(code: int) -> Closing:
    """The row for a code that came from a peer; a code without one is a goodbye if it is the peer's to choose."""
    row = BY_CODE.get(code)
    if row is not None:
        return row
    return TABLE["left"] if code in _GOODBYES or code >= 3000 else TABLE["vanished"]
