"""The things that a peer's bytes come to: messages, answers that are due, and the end."""

from __future__ import annotations

import attrs

from actors.protocol.codes import closing_of


@attrs.frozen
class Answer:
    """Frames that answer a ping."""

    frames: bytes


@attrs.frozen
class Ended:
    """The end of a peer's messages: a row of the closing table, and the reason in words."""

    name: str
    text: str
    close: bytes | None = None
    """The Close that answers the peer's; ``None`` where it sent none."""


Item = str | bytes | Answer | Ended
"""A text message, a binary message, an answer to be sent, or the end, after which nothing comes."""


def ended(code: int, close: bytes | None = None) -> Ended:
    """Return the end for a close code; 1006 for a stream that ended without a Close (RFC 6455, section 7.1.5)."""
    row = closing_of(code)
    return Ended(row.name, f"{row.text} ({code})", close)
