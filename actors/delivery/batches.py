"""Batches: a contiguous range of a log as one message, in which tokens are joined.

A device that lags behind, or comes back, does not need each piece of a text as
it came. In a batch the ``agent_delta`` events of a run that follow each other in
the log are one event: the last of them, with the texts of all, and ``seq0`` for
the first. No other event is joined, and none is left out; so the range is the
whole truth for acks and resumes, and so is each event in it. Joined over an event
of another thread, a text would not be: a device that was cut off after that event
would go on behind it, and never have the pieces before.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from actors.delivery.frames import texts_of
from actors.events.event import Lifecycle

_DELTA = b'{"type":"' + Lifecycle.AGENT_DELTA.encode() + b'",'


class _Text(msgspec.Struct, forbid_unknown_fields=True):
    text: str


class _Delta(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """An ``agent_delta`` of nothing but text, with the fields in the order in which events are encoded."""

    type: str
    payload: _Text
    thread_id: str
    run_id: str | None = None
    event_id: str | None = None
    timestamp: float | None = None
    seq: int = 0
    offset: int = 0
    seq0: int | None = None


_decode = msgspec.json.Decoder(_Delta).decode
_encode = msgspec.json.Encoder().encode


def batch(first: int, last: int, frames: bytes) -> bytes | None:
    """Compose one batch of offsets ``first`` to ``last``, given as frames; ``None`` where none can be joined."""
    if frames.count(_DELTA) < 2:
        return None
    texts = list(texts_of(frames))
    events = join(texts)
    return None if len(events) == len(texts) else _batch(first, last, events)


def bundle(first: int, last: int, frames: bytes) -> bytes | None:
    """Compose one batch of offsets ``first`` to ``last``, given as frames, tokens joined; ``None`` of a single event.

    For a device whose messages are paid for by their number and not by their bytes.
    """
    texts = list(texts_of(frames))
    return None if len(texts) < 2 else _batch(first, last, join(texts))


def join(texts: Iterable[bytes]) -> list[bytes]:
    """Join the deltas of a run that follow each other, in events of a log in order."""
    events: list[bytes] = []
    parts: list[_Delta] = []
    for text in texts:
        delta = _delta_of(text)
        follows = delta is not None and parts and _follows(delta, parts[-1])
        if delta is not None and follows:
            parts.append(delta)
            continue
        _close(events, parts)
        parts = [] if delta is None else [delta]
        events.append(text)
    _close(events, parts)
    return events


def _batch(first: int, last: int, events: list[bytes]) -> bytes:
    return b'{"op":"batch","from":%d,"to":%d,"events":[%b]}' % (first, last, b",".join(events))


def _follows(delta: _Delta, before: _Delta) -> bool:
    return (delta.thread_id, delta.run_id, delta.seq) == (before.thread_id, before.run_id, before.seq + 1)


def _close(events: list[bytes], parts: list[_Delta]) -> None:
    """Put the joined event in the place of its first part, which is the last of the events."""
    if len(parts) > 1:
        events[-1] = _joined(parts)


def _delta_of(text: bytes) -> _Delta | None:
    if not text.startswith(_DELTA):
        return None
    try:
        return _decode(text)
    except msgspec.ValidationError:
        return None  # the application's own, with more in it than text


def _joined(parts: list[_Delta]) -> bytes:
    last = parts[-1]
    last.payload.text = "".join(part.payload.text for part in parts)
    last.seq0 = parts[0].seq
    return _encode(last)
