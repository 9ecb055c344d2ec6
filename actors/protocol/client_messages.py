"""The messages of a client, one struct each: clients encode them, servers decode them.

Servers are strict, because what a client says is acted upon: a field of another
type, or beyond its bounds, is a bad message. Unknown fields and ops are
ignored all the same, so that an older server and a newer client get along.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from actors.errors import PeerError
from actors.events.numbers import EXPECTED, OUT_OF_RANGE, find_inexact
from actors.events.surrogates import half_in_json, lone_escapes
from actors.events.traceparent import PATTERN as TRACEPARENT

SUBPROTOCOL = "actors.v1"
TICKET_PREFIX = "actors.ticket."
"""The beginning of a subprotocol offer that carries a credential, and is never the one selected."""

TEXT_CHARACTERS = 4_096
"""The longest string of an op, credentials included."""

Text = Annotated[str, msgspec.Meta(max_length=TEXT_CHARACTERS)]
"""A string of an op."""

Offset = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""An offset or sequence number, within what a JavaScript number holds exactly."""

RequestId = Text | Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
"""A client's name for its request, which the reply repeats."""

Origin = Literal["unacked", "low", "head"]
"""The beginning of a client without a cursor: at the first event that no device of the user has acked, at the first
that is there, or after the last."""

T = TypeVar("T")


def written(default: T) -> T:
    """Give a field a default that clients write all the same, because the page does not say what it is."""
    field: T = msgspec.field(default_factory=lambda: default)
    return field


class Message(msgspec.Struct, frozen=True, tag_field="op", omit_defaults=True):
    """A message of the protocol's own, in which the op comes first."""


# --- a connection ---------------------------------------------------------------


class ResumePoint(msgspec.Struct, frozen=True):
    """The cursor that a device kept: the epoch, and the last offset it has taken."""

    epoch: Text
    offset: Offset


class Hello(Message, frozen=True, tag="hello"):
    """The first message: the user's credentials, the session, and the place in the log to go on from."""

    v: int
    token: Text | None = None
    session: Text | None = None
    resume: ResumePoint | None = None
    origin: Origin = msgspec.field(default="unacked", name="from")
    renames: bool = False
    """True for a client that knows :class:`~actors.protocol.server_messages.Renamed`."""


class Ack(Message, frozen=True, tag="ack"):
    """Acks everything that was sent on this session up to an offset."""

    offset: Offset


class Ping(Message, frozen=True, tag="ping"):
    """The question whether the server is there, and has taken everything that was said before."""


class Pong(Message, frozen=True, tag="pong"):
    """The answer to a server's ping."""


# --- requests -------------------------------------------------------------------


class Send(Message, frozen=True, tag="send"):
    """The request to place an event in a thread; without a thread, in a new one."""

    id: RequestId
    payload: dict[str, Any]
    thread_id: Text | None = None
    type: Text = written("user_message")
    traceparent: Annotated[str, msgspec.Meta(pattern=TRACEPARENT)] | None = None
    """The span of the client's that the message belongs to."""


class CancelRun(Message, frozen=True, tag="cancel"):
    """The request to end a run."""

    id: RequestId
    run_id: Text


class ReadThread(Message, frozen=True, tag="read"):
    """The request for the events of one thread, from a sequence number on."""

    id: RequestId
    thread_id: Text
    after_seq: Offset = written(0)
    limit: Annotated[int, msgspec.Meta(ge=1, le=2**31)] | None = None


class AnswerAsk(Message, frozen=True, tag="answer"):
    """The answer of a user to a question; a request, because another device may have been first."""

    id: RequestId
    ask: Text
    payload: dict[str, Any]


Request = Send | CancelRun | ReadThread | AnswerAsk
"""A message that a reply answers."""


# --- read, and never written ----------------------------------------------------


class Malformed(msgspec.Struct, frozen=True):
    """A request that the server can answer, and not carry out, with the reason."""

    id: RequestId
    text: str
    op: str


class Unknown(msgspec.Struct, frozen=True):
    """An op that this server does not have; one with an ``id`` waits for an answer."""

    op: str
    id: RequestId | None


ClientMessage = Hello | Ack | Ping | Pong | Request | Malformed | Unknown
"""A message as a server decodes it."""


def op_of(kind: type[Message] | Message) -> str:
    """Return the op of a message, or of a kind of message."""
    return str(kind.__struct_config__.tag)


class _Op(msgspec.Struct, frozen=True):
    op: str
    id: RequestId | None = None


class _Payload(msgspec.Struct, frozen=True):
    payload: msgspec.Raw = msgspec.Raw(b"{}")


_OTHER_KINDS: tuple[type[Hello | Ack | Ping | Pong], ...] = (Hello, Ack, Ping, Pong)
_REQUEST_KINDS: tuple[type[Request], ...] = (Send, CancelRun, ReadThread, AnswerAsk)
_WITH_PAYLOAD = frozenset(op_of(kind) for kind in (Send, AnswerAsk))
"""The ops that carry what goes on to devices or to an agent."""

_OTHERS: dict[str, msgspec.json.Decoder[ClientMessage]] = {
    op_of(kind): msgspec.json.Decoder(kind) for kind in _OTHER_KINDS
}
_REQUESTS: dict[str, msgspec.json.Decoder[Request]] = {
    op_of(kind): msgspec.json.Decoder(kind) for kind in _REQUEST_KINDS
}
_decode_op = msgspec.json.Decoder(_Op).decode
_decode_payload = msgspec.json.Decoder(_Payload).decode
_encode = msgspec.json.Encoder().encode


def encode(message: Message) -> str:
    """Encode a message as a JSON text."""
    return _encode(message).decode()


def decode(text: str) -> ClientMessage:
    """Read a client's message.

    Raises :class:`~actors.errors.PeerError` (``bad_message``), which says what
    was expected and what came. A request whose id can be read is returned as
    :class:`Malformed` instead, because a reply can refuse it, and its connection
    need not end.
    """
    told = "a message: expected a JSON object with an op"
    head = None
    try:
        head = _decode_op(text)
        told = f"{head.op}: expected a JSON object with the fields of this op"
        decoder = _OTHERS.get(head.op) or _REQUESTS.get(head.op)
        if decoder is None:
            return Unknown(head.op, head.id)
        message = decoder.decode(text)
        inexact = _inexact(head.op, text)
        if inexact is None:
            return message
        said = inexact
    except RecursionError:
        said = f"{told}, got one nested too deeply"
    except (msgspec.MsgspecError, UnicodeError) as error:
        said = f"{told}; {error}"
    head = head or _read_leniently(text)
    if head is not None and OUT_OF_RANGE in said:
        said = _inexact(head.op, text) or said
    else:
        said = _halved("a message" if head is None else head.op, text) or said
    if head is None or head.id is None or head.op not in _REQUESTS:
        raise PeerError("bad_message", said)
    return Malformed(head.id, said, head.op)


def _inexact(op: str, text: str) -> str | None:
    """Say what is wrong with the numbers of a payload. Ids need no look, because their types bound them."""
    if op not in _WITH_PAYLOAD or find_inexact(text.encode(), "") is None:
        return None
    with suppress(msgspec.MsgspecError, RecursionError):
        inexact = find_inexact(bytes(_decode_payload(text).payload), "payload")
        return None if inexact is None else f"{op}: {inexact[0]}: expected {EXPECTED}, got {inexact[1]}"
    return None


def _halved(op: str, text: str) -> str | None:
    """Say where half of a surrogate pair is, in ids as well, because the decoder says only that an escape ends."""
    found = half_in_json(text, "") if lone_escapes(text.encode(errors="replace")) else None
    return (
        None if found is None else f"{op}: {found[0].lstrip('.')}: expected text that UTF-8 can encode, got {found[1]}"
    )


def _read_leniently(text: str) -> _Op | None:
    """Read op and id as a reader does that takes NaN, and half of a surrogate pair.

    A browser sends half a pair when a text was cut inside of an emoji. That
    request is refused; without its id, its device would be sent away for ever.
    """
    try:
        head = msgspec.convert(json.loads(text), _Op)
        _encode(head)
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return None
    return head
