"""The protocol's own messages, ``actors.v1``: what a client may say, and what the server says.

A message with ``type`` is an event; a message with ``op`` belongs to the
protocol. Unknown fields and ops are ignored, so that an older server and a
newer client get along.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal

import msgspec

from actors.errors import PeerError
from actors.events.numbers import EXPECTED, OUT_OF_RANGE, find_inexact
from actors.events.surrogates import half_in_json, lone_escapes
from actors.protocol.codes import REFUSALS

SUBPROTOCOL = "actors.v1"
TICKET_PREFIX = "actors.ticket."
"""A subprotocol offer that begins with this carries a credential; it is never the one selected."""

Offset = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""An offset as a client may send it: what a JavaScript number holds exactly."""

TEXT_CHARACTERS = 4_096
"""The longest string of an op, credentials included."""

Text = Annotated[str, msgspec.Meta(max_length=TEXT_CHARACTERS)]

Origin = Literal["unacked", "low", "head"]
"""Where a client without a cursor begins: at the first event that no device of the user has acked, at the first that is
there, or after the last."""

Resume = Literal["fresh", "replayed", "gap", "reset"]
"""How a connection begins, as the welcome says it."""


class ResumePoint(msgspec.Struct, frozen=True):
    """The cursor a device kept: the epoch, and the last offset it saw."""

    epoch: Text
    offset: Offset


class Hello(msgspec.Struct, frozen=True):
    """The first message of a client: who it is, and where it was."""

    v: int
    token: Text | None = None
    session: Text | None = None
    resume: ResumePoint | None = None
    origin: Origin = msgspec.field(default="unacked", name="from")


class Ack(msgspec.Struct, frozen=True):
    """Everything sent to this session up to an offset has arrived."""

    offset: Offset


RequestId = Text | Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
"""What a client calls its request; comes back in the reply."""


class Send(msgspec.Struct, frozen=True):
    """A user says something in a thread; without a thread, in a new one."""

    id: RequestId
    payload: dict[str, Any]
    thread_id: Text | None = None
    type: Text = "user_message"


class CancelRun(msgspec.Struct, frozen=True):
    """A user wants a run to end."""

    id: RequestId
    run_id: Text


class ReadThread(msgspec.Struct, frozen=True):
    """A device wants the events of one thread, from a sequence number on."""

    id: RequestId
    thread_id: Text
    after_seq: Offset = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=2**31)] | None = None


class AnswerAsk(msgspec.Struct, frozen=True):
    """A user answers a question."""

    id: RequestId
    ask: Text
    payload: dict[str, Any]


AskEnd = Literal["answered", "expired", "withdrawn"]
"""How a question was closed."""

RunLoss = Literal["withdrawn", "gone"]
"""Why a user will not hear of a run's end: its thread has another owner, or its last event is lost."""


class Malformed(msgspec.Struct, frozen=True):
    """A request that can be answered, but not carried out: what was wrong with it."""

    id: RequestId
    text: str


class Ping(msgspec.Struct, frozen=True):
    """A client asks whether the server is there."""


class Pong(msgspec.Struct, frozen=True):
    """A client answers."""


class Unknown(msgspec.Struct, frozen=True):
    """An op that this server does not have; one with an ``id`` waits for an answer."""

    op: str
    id: RequestId | None


Request = Send | CancelRun | ReadThread | AnswerAsk
"""What is answered by a reply."""

ClientMessage = Hello | Ack | Ping | Pong | Request | Malformed | Unknown


class _Op(msgspec.Struct, frozen=True):
    op: str
    id: RequestId | None = None


class _Payload(msgspec.Struct, frozen=True):
    payload: msgspec.Raw = msgspec.Raw(b"{}")


_decode_payload = msgspec.json.Decoder(_Payload).decode
_decode_op = msgspec.json.Decoder(_Op).decode
_DECODERS: dict[str, msgspec.json.Decoder[ClientMessage]] = {
    "hello": msgspec.json.Decoder(Hello),
    "ack": msgspec.json.Decoder(Ack),
    "ping": msgspec.json.Decoder(Ping),
    "pong": msgspec.json.Decoder(Pong),
}
_REQUESTS: dict[str, msgspec.json.Decoder[Request]] = {
    "send": msgspec.json.Decoder(Send),
    "cancel": msgspec.json.Decoder(CancelRun),
    "read": msgspec.json.Decoder(ReadThread),
    "answer": msgspec.json.Decoder(AnswerAsk),
}
_WITH_PAYLOAD = frozenset({"send", "answer"})
"""The ops that carry what goes on to devices or to an agent."""
_encode = msgspec.json.Encoder().encode


def decode(text: str) -> ClientMessage:
    """Read a client's message.

    Raises :class:`~actors.errors.PeerError` (``bad_message``) that says what was
    expected and what came. A request whose id can be read is answered instead:
    it is :class:`Malformed`, and costs its connection nothing.
    """
    told = "a message: expected a JSON object with an op"
    head = None
    try:
        head = _decode_op(text)
        told = f"{head.op}: expected a JSON object with the fields of this op"
        decoder = _DECODERS.get(head.op) or _REQUESTS.get(head.op)
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
    return Malformed(head.id, said)


def _inexact(op: str, text: str) -> str | None:
    """What is wrong with the numbers of a payload; ids are of this protocol, and bounded by it."""
    if op not in _WITH_PAYLOAD or find_inexact(text.encode(), "") is None:
        return None
    with suppress(msgspec.MsgspecError, RecursionError):
        inexact = find_inexact(bytes(_decode_payload(text).payload), "payload")
        return None if inexact is None else f"{op}: {inexact[0]}: expected {EXPECTED}, got {inexact[1]}"
    return None


def _halved(op: str, text: str) -> str | None:
    """Where half of a surrogate pair is, which the decoder calls the end of an escape; ids and credentials included."""
    found = half_in_json(text, "") if lone_escapes(text.encode(errors="replace")) else None
    return (
        None if found is None else f"{op}: {found[0].lstrip('.')}: expected text that UTF-8 can encode, got {found[1]}"
    )


def _read_leniently(text: str) -> _Op | None:
    """Op and id of what is JSON to a less strict reader: one that takes NaN, and half of a surrogate pair.

    A browser sends the latter when a text was cut inside of an emoji; that is
    a bad message, and no reason to send the device away for ever.
    """
    try:
        head = msgspec.convert(json.loads(text), _Op)
        _encode(head)
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return None
    return head


# --- what the server says -----------------------------------------------------


def welcome(
    session: str,
    *,
    epoch: str,
    low: int,
    head: int,
    start: int,
    resume: Resume,
    ping_seconds: float,
    limits: Mapping[str, float],
) -> bytes:
    """The answer to a hello: where the log stands, where this connection begins in it, and what is asked of it."""
    return _encode(
        {
            "op": "welcome",
            "session": session,
            "epoch": epoch,
            "head": head,
            "low": low,
            "start": start,
            "resume": resume,
            "ping_s": ping_seconds,
            "limits": limits,
        }
    )


def caught_up(offset: int) -> bytes:
    """Everything that was there when the connection began has been sent."""
    return _encode({"op": "caught_up", "offset": offset})


def gap(first: int, last: int, cause: Literal["retention"]) -> bytes:
    """These offsets are gone."""
    return _encode({"op": "gap", "from": first, "to": last, "cause": cause})


def reset(epoch: str, low: int) -> bytes:
    """The log is another one; it begins at ``low``."""
    return _encode({"op": "reset", "epoch": epoch, "low": low})


def ping(head: int) -> bytes:
    """Are you there? The log has come to ``head``."""
    return _encode({"op": "ping", "head": head})


PONG = _encode({"op": "pong"})


def going_away(retry_ms: int) -> bytes:
    """The server will close this connection soon; come back after so long."""
    return _encode({"op": "going_away", "retry_ms": retry_ms})


def active(event: bytes, *, waiting: bool = False) -> bytes:
    """A run that is active: its first event, without numbers; of one that waits for its turn, what that will say."""
    return _encode({"op": "active", "event": msgspec.Raw(event)} | ({"waiting": True} if waiting else {}))


def inactive(run_id: str, reason: RunLoss) -> bytes:
    """A run is over for this user, who will not hear how it ends."""
    return _encode({"op": "inactive", "run_id": run_id, "reason": reason})


def ask(event: bytes, timeout_seconds: float) -> bytes:
    """A question, which is open for so long; ``math.inf``, until it is answered or withdrawn."""
    timeout = {} if timeout_seconds == math.inf else {"timeout_s": round(timeout_seconds, 3)}
    return _encode({"op": "ask", "event": msgspec.Raw(event)} | timeout)


def ask_closed(ask_id: str, end: AskEnd) -> bytes:
    """A question is not open any more."""
    return _encode({"op": "ask_closed", "ask": ask_id, "reason": end})


def reply(id_: RequestId, **fields: object) -> bytes:
    """The answer to an op that was carried out."""
    return _encode({"op": "reply", "id": id_, "ok": True, **fields})


def error(code: int, name: str, temporary: bool, text: str) -> bytes:
    """What was wrong, said before the Close that follows from it."""
    return _encode({"op": "error", "error": _error(code, name, temporary, text)})


def refusal(id_: RequestId, name: str, text: str = "") -> bytes:
    """The answer to an op that was not carried out, for a reason of the table of refusals."""
    row = REFUSALS[name]
    return _encode({"op": "reply", "id": id_, "error": _error(row.code, row.name, row.temporary, text or row.text)})


def _error(code: int, name: str, temporary: bool, text: str) -> dict[str, object]:
    return {"code": code, "name": name, "temporary": temporary, "message": text}
