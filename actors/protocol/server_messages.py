"""What a server says, read: the other half of :mod:`actors.protocol.client_messages`.

Unknown fields and ops are ignored.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from actors.events.delivered import Event


class Garbled(Exception):  # noqa: N818 - what the message is
    """Not a message of the protocol."""


class Asked(msgspec.Struct, frozen=True):
    """What the server asks of its clients."""

    message_bytes: int = 65_536
    messages_per_s: Annotated[float, msgspec.Meta(gt=0)] = 50.0
    ack_events: int = 128
    ack_s: float = 1.0
    requests: Annotated[int, msgspec.Meta(ge=1)] = 16


class Welcome(msgspec.Struct, frozen=True):
    """The answer to a hello."""

    session: str
    epoch: str
    head: int
    low: int
    start: int
    resume: str
    ping_s: Annotated[float, msgspec.Meta(gt=0, le=3_600)] = 15.0
    limits: Asked = Asked()


class Batch(msgspec.Struct, frozen=True):
    """Events that stand for a range of offsets."""

    first: int = msgspec.field(name="from")
    last: int = msgspec.field(name="to")
    events: list[Event] = []


class GapTold(msgspec.Struct, frozen=True):
    """Offsets that are gone."""

    first: int = msgspec.field(name="from")
    last: int = msgspec.field(name="to")
    cause: str = ""


class ResetTold(msgspec.Struct, frozen=True):
    """The log is another one."""

    epoch: str
    low: int


class CaughtUpTold(msgspec.Struct, frozen=True):
    """What was there has been sent."""

    offset: int


class Ping(msgspec.Struct, frozen=True):
    """Are you there?"""


class Pong(msgspec.Struct, frozen=True):
    """Here."""


class GoingAway(msgspec.Struct, frozen=True):
    """The connection will be closed; come back after so long."""

    retry_ms: float = 0.0


class Problem(msgspec.Struct, frozen=True):
    """What was wrong."""

    code: int = 0
    name: str = ""
    temporary: bool = False
    message: str = ""


class ErrorTold(msgspec.Struct, frozen=True):
    """What was wrong, before the Close that follows from it."""

    error: Problem


class Reply(msgspec.Struct, frozen=True):
    """The answer to a request: its fields, or what was wrong with it."""

    id: str | int
    error: Problem | None = None
    text: str = ""
    """The whole message."""


class Question(msgspec.Struct, frozen=True):
    """The event of an ask."""

    event_id: str
    type: str = ""
    payload: dict[str, Any] = {}
    thread_id: str = ""
    run_id: str | None = None
    timestamp: float = 0.0


class AskTold(msgspec.Struct, frozen=True):
    """A question."""

    event: Question
    timeout_s: float | None = None


class Beginning(msgspec.Struct, frozen=True):
    """The first event of a run, without numbers; of one that waits for its turn, also without an id."""

    run_id: str | None = None
    thread_id: str = ""
    payload: dict[str, Any] = {}
    event_id: str | None = None
    timestamp: float | None = None


class ActiveTold(msgspec.Struct, frozen=True):
    """A run is active."""

    event: Beginning
    waiting: bool = False


class InactiveTold(msgspec.Struct, frozen=True):
    """A run is not this user's any more."""

    run_id: str
    reason: str = ""


class AskClosedTold(msgspec.Struct, frozen=True):
    """A question is closed."""

    ask: str
    reason: str = ""


Heard = (
    Event
    | Welcome
    | Batch
    | GapTold
    | ResetTold
    | CaughtUpTold
    | Ping
    | Pong
    | GoingAway
    | ErrorTold
    | Reply
    | AskTold
    | AskClosedTold
    | ActiveTold
    | InactiveTold
)


class _Head(msgspec.Struct, frozen=True):
    op: str | None = None
    type: str | None = None


_decode_head = msgspec.json.Decoder(_Head).decode
_decode_event = msgspec.json.Decoder(Event).decode
_DECODERS: dict[str, msgspec.json.Decoder[Heard]] = {
    "welcome": msgspec.json.Decoder(Welcome),
    "batch": msgspec.json.Decoder(Batch),
    "gap": msgspec.json.Decoder(GapTold),
    "reset": msgspec.json.Decoder(ResetTold),
    "caught_up": msgspec.json.Decoder(CaughtUpTold),
    "ping": msgspec.json.Decoder(Ping),
    "pong": msgspec.json.Decoder(Pong),
    "going_away": msgspec.json.Decoder(GoingAway),
    "error": msgspec.json.Decoder(ErrorTold),
    "reply": msgspec.json.Decoder(Reply),
    "ask": msgspec.json.Decoder(AskTold),
    "ask_closed": msgspec.json.Decoder(AskClosedTold),
    "active": msgspec.json.Decoder(ActiveTold),
    "inactive": msgspec.json.Decoder(InactiveTold),
}


def hear(text: str) -> Heard | None:
    """Read a message; ``None`` for an op that this client does not know. Raises :class:`Garbled`."""
    try:
        head = _decode_head(text)
        if head.op is None:
            return _decode_event(text)
        decoder = _DECODERS.get(head.op)
        heard = None if decoder is None else decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Garbled(f"expected a message of the protocol, got {text[:80]!r} ({error})") from None
    return msgspec.structs.replace(heard, text=text) if isinstance(heard, Reply) else heard
