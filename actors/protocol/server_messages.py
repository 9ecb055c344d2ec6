"""The messages of a server, one struct each: servers encode them, clients decode them.

Clients are lenient, because they may be older than their server: unknown ops
and fields are ignored, and a field that a client can do without has a default.
A server writes every field, except where the page says that one may be absent.

What carries events is generic: written it holds :class:`msgspec.Raw`, because
the log keeps events encoded, and read it holds the structs below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec

from actors.errors import PeerError
from actors.events.delivered import Event
from actors.protocol.codes import REFUSALS, Reason

Resume = Literal["fresh", "replayed", "renamed", "gap", "reset"]
"""The ways in which a connection begins, as the welcome says it."""

AskEnd = Literal["answered", "expired", "withdrawn"]
"""The ways in which a question is closed."""

RunLoss = Literal["withdrawn", "gone"]
"""The reasons that keep a run's end from a user: its thread has another owner, or its last event is lost."""

E = TypeVar("E")
"""An event, encoded or decoded."""


class Message(msgspec.Struct, frozen=True, tag_field="op"):
    """A message of the protocol's own, in which the op comes first."""


# --- a connection ---------------------------------------------------------------


class ServerLimits(msgspec.Struct, frozen=True):
    """The limits that a server asks its clients to keep to."""

    message_bytes: int = 65_536
    messages_per_s: Annotated[float, msgspec.Meta(gt=0)] = 50.0
    ack_events: int = 128
    ack_s: float = 1.0
    requests: Annotated[int, msgspec.Meta(ge=1)] = 16


class Welcome(Message, frozen=True, tag="welcome"):
    """The answer to a hello: where the log stands, and where this connection begins in it."""

    session: str
    epoch: str
    head: int
    low: int
    start: int
    resume: str
    """One of :data:`Resume`."""
    ping_s: Annotated[float, msgspec.Meta(gt=0, le=3_600)] = 15.0
    limits: ServerLimits = ServerLimits()


class Ping(Message, frozen=True, tag="ping"):
    """The question whether the client is there; the log has come to ``head``."""

    head: int = 0


class Pong(Message, frozen=True, tag="pong"):
    """The answer to a client's ping."""


class GoingAway(Message, frozen=True, tag="going_away"):
    """The server will close this connection soon; the client may come back after so long."""

    retry_ms: float = 0.0


class Problem(msgspec.Struct, frozen=True):
    """A row of the tables of codes, with a text of the occasion."""

    code: int = 0
    name: str = ""
    temporary: bool = False
    message: str = ""


class Error(Message, frozen=True, tag="error"):
    """A problem of this connection, said before the Close that follows from it."""

    error: Problem


# --- the log --------------------------------------------------------------------


class Batch(Message, Generic[E], frozen=True, tag="batch"):
    """Events that stand for a range of offsets.

    Written by :mod:`actors.delivery.batches` without this struct, because its
    events are already joined bytes there.
    """

    first: int = msgspec.field(name="from")
    last: int = msgspec.field(name="to")
    events: list[E] = []


class Gap(Message, frozen=True, tag="gap"):
    """Offsets that left the log before they were sent."""

    first: int = msgspec.field(name="from")
    last: int = msgspec.field(name="to")
    cause: str = ""


class Reset(Message, frozen=True, tag="reset"):
    """The log is another one; it begins at ``low``."""

    epoch: str
    low: int


class Renamed(Message, frozen=True, tag="epoch"):
    """The log goes on in another epoch, and all up to ``offset`` is as it was; only for a client that said so in its
    hello."""

    epoch: str
    offset: int


class CaughtUp(Message, frozen=True, tag="caught_up"):
    """Everything that was there when the connection began has been sent."""

    offset: int


# --- active runs and open questions, outside of the log -------------------------


class Beginning(msgspec.Struct, frozen=True):
    """The first event of a run, without numbers; of a run that waits for its turn, also without an id."""

    run_id: str | None = None
    thread_id: str = ""
    payload: dict[str, Any] = {}
    event_id: str | None = None
    timestamp: float | None = None


class Active(Message, Generic[E], frozen=True, tag="active", omit_defaults=True):
    """A run that is active, or waits for its turn."""

    event: E
    waiting: bool = False


class Inactive(Message, frozen=True, tag="inactive"):
    """A run is over for this user, who will not hear how it ends."""

    run_id: str
    reason: str = ""
    """One of :data:`RunLoss`."""


class Question(msgspec.Struct, frozen=True):
    """The event of an ask."""

    event_id: str
    type: str = ""
    payload: dict[str, Any] = {}
    thread_id: str = ""
    run_id: str | None = None
    timestamp: float = 0.0


class Ask(Message, Generic[E], frozen=True, tag="ask", omit_defaults=True):
    """A question, open for ``timeout_s`` from when it is sent; ``None``, until it is answered or withdrawn."""

    event: E
    timeout_s: float | None = None


class AskClosed(Message, frozen=True, tag="ask_closed"):
    """A question is closed."""

    ask: str
    reason: str = ""
    """One of :data:`AskEnd`."""


# --- replies --------------------------------------------------------------------


class Reply(Message, frozen=True, tag="reply", omit_defaults=True):
    """The answer to a request: a problem, or, in one of the structs below, the outcome."""

    id: str | int
    ok: bool = False
    error: Problem | None = None


class SendReply(Reply, frozen=True, kw_only=True):
    """The place of a message, for ever, and the run that will answer it."""

    run_id: str | None
    thread_id: str
    event_id: str
    seq: int
    epoch: str
    offset: int


class CancelReply(Reply, frozen=True, kw_only=True):
    """The runs that have stopped, and those whose code had not after the server's patience."""

    run_id: str
    stopped: tuple[str, ...]
    running: tuple[str, ...]


class ReadReply(Reply, Generic[E], frozen=True, kw_only=True):
    """A part of a thread's history."""

    thread_id: str
    events: tuple[E, ...]
    gone: tuple[tuple[int, int], ...]
    head_seq: int
    more: bool


class AnswerReply(Reply, frozen=True, kw_only=True):
    """The question that was answered."""

    ask: str


ServerMessage = (
    Event
    | Welcome
    | Batch[Event]
    | Gap
    | Reset
    | Renamed
    | CaughtUp
    | Ping
    | Pong
    | GoingAway
    | Error
    | Reply
    | Ask[Question]
    | AskClosed
    | Active[Beginning]
    | Inactive
)
"""A message as a client decodes it; a reply's own fields are decoded by the request's caller, who knows the kind."""


class _Head(msgspec.Struct, frozen=True):
    op: str | None = None
    type: str | None = None


encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode
"""Encode a message as JSON."""

_decode_head = msgspec.json.Decoder(_Head).decode
_decode_event = msgspec.json.Decoder(Event).decode
_DECODERS: dict[str, msgspec.json.Decoder[ServerMessage]] = {
    "welcome": msgspec.json.Decoder(Welcome),
    "batch": msgspec.json.Decoder(Batch[Event]),
    "gap": msgspec.json.Decoder(Gap),
    "reset": msgspec.json.Decoder(Reset),
    "epoch": msgspec.json.Decoder(Renamed),
    "caught_up": msgspec.json.Decoder(CaughtUp),
    "ping": msgspec.json.Decoder(Ping),
    "pong": msgspec.json.Decoder(Pong),
    "going_away": msgspec.json.Decoder(GoingAway),
    "error": msgspec.json.Decoder(Error),
    "reply": msgspec.json.Decoder(Reply),
    "ask": msgspec.json.Decoder(Ask[Question]),
    "ask_closed": msgspec.json.Decoder(AskClosed),
    "active": msgspec.json.Decoder(Active[Beginning]),
    "inactive": msgspec.json.Decoder(Inactive),
}


def problem(row: Reason, text: str = "") -> Problem:
    """Return a row of the tables as a problem, with its own text unless there is another."""
    return Problem(row.code, row.name, row.temporary, text or row.text)


def refusal(id_: str | int, name: str, text: str = "") -> bytes:
    """Encode the reply to a request that is not carried out, by the name of its row in the table of refusals."""
    return encode(Reply(id_, error=problem(REFUSALS[name], text)))


def decode(text: str) -> ServerMessage | None:
    """Read a server's message; ``None`` for an op that this client does not know.

    Raises :class:`~actors.errors.PeerError` (``bad_message``) for what is no
    message of the protocol.
    """
    try:
        head = _decode_head(text)
        if head.op is None:
            return _decode_event(text)
        decoder = _DECODERS.get(head.op)
        return None if decoder is None else decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        told = f"expected a message of the protocol, got {text[:80]!r} ({error})"
        raise PeerError("bad_message", told) from None
