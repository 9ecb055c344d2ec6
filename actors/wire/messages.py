"""The protocol's own messages, ``actors.v1``: what a client may say, and what the server says.

A message with ``type`` is an event; a message with ``op`` belongs to the
protocol. Unknown fields and ops are ignored, so that an older server and a
newer client get along.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from actors.delivery.cursor import Bounds, Origin, Start
from actors.errors import PeerError

SUBPROTOCOL = "actors.v1"
TICKET_PREFIX = "actors.ticket."
"""A subprotocol offer that begins with this carries a credential; it is never the one selected."""

Offset = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""An offset as a client may send it: what a JavaScript number holds exactly."""

Text = Annotated[str, msgspec.Meta(max_length=4096)]


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


class Ping(msgspec.Struct, frozen=True):
    """A client asks whether the server is there."""


class Pong(msgspec.Struct, frozen=True):
    """A client answers."""


class Unknown(msgspec.Struct, frozen=True):
    """An op that this server does not have; one with an ``id`` waits for an answer."""

    op: str
    id: str | int | None


ClientMessage = Hello | Ack | Ping | Pong | Unknown


class _Op(msgspec.Struct, frozen=True):
    op: str
    id: Text | int | None = None


_decode_op = msgspec.json.Decoder(_Op).decode
_DECODERS: dict[str, msgspec.json.Decoder[ClientMessage]] = {
    "hello": msgspec.json.Decoder(Hello),
    "ack": msgspec.json.Decoder(Ack),
    "ping": msgspec.json.Decoder(Ping),
    "pong": msgspec.json.Decoder(Pong),
}
_encode = msgspec.json.Encoder().encode


def decode(text: str) -> ClientMessage:
    """Read a client's message.

    Raises :class:`~actors.errors.PeerError` (``bad_message``) that says what was
    expected and what came.
    """
    told = "a message: expected a JSON object with an op"
    try:
        head = _decode_op(text)
        told = f"{head.op}: expected a JSON object with the fields of this op"
        decoder = _DECODERS.get(head.op)
        return Unknown(head.op, head.id) if decoder is None else decoder.decode(text)
    except RecursionError:
        raise PeerError("bad_message", f"{told}, got one nested too deeply") from None
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise PeerError("bad_message", f"{told}; {error}") from None


# --- what the server says -----------------------------------------------------


def welcome(session: str, bounds: Bounds, start: Start, ping_seconds: float, limits: Mapping[str, float]) -> bytes:
    """The answer to a hello: where the log stands, where this connection begins in it, and what is asked of it."""
    return _encode(
        {
            "op": "welcome",
            "session": session,
            "epoch": bounds.epoch,
            "head": bounds.head,
            "low": bounds.low,
            "start": start.offset,
            "resume": start.kind,
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


def error(code: int, name: str, temporary: bool, text: str) -> bytes:
    """What was wrong, said before the Close that follows from it."""
    return _encode({"op": "error", "error": _error(code, name, temporary, text)})


def refusal(id_: str | int, code: int, name: str, temporary: bool, text: str) -> bytes:
    """The answer to an op that was not carried out."""
    return _encode({"op": "reply", "id": id_, "error": _error(code, name, temporary, text)})


def _error(code: int, name: str, temporary: bool, text: str) -> dict[str, object]:
    return {"code": code, "name": name, "temporary": temporary, "message": text}
