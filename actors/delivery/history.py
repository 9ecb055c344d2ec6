"""One thread's events in its owner's log, and the ranges of them that are gone.

A log is in the order of all its threads; a device that opens one conversation
late wants that conversation's own order, and the ranges that it will not get.
This is a walk over the log, because logs are bounded and devices ask rarely;
an index would cost each append.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import msgspec


@attrs.frozen(kw_only=True)
class Excerpt:
    """Events of one thread, oldest first, as JSON texts, and the ranges that are not among them."""

    events: tuple[bytes, ...]
    gone: tuple[tuple[int, int], ...]
    """Ranges of ``seq`` within the request that are not, or no longer, in the log."""
    head_seq: int
    """The thread's newest ``seq``."""
    more: bool
    """True if there are later events, beyond the limit."""


class _Head(msgspec.Struct):
    thread_id: str
    seq: int
    seq0: int | None = None


_decode = msgspec.json.Decoder(_Head).decode
_encode = msgspec.json.Encoder().encode


def excerpt(
    texts: Iterable[bytes],
    thread_id: str,
    *,
    after_seq: int,
    settled_seq: int,
    head_seq: int,
    most_events: int,
    most_bytes: int,
) -> Excerpt:
    """Take a thread's events after ``after_seq`` out of a log; the first is taken whatever its size.

    Up to ``settled_seq`` an event that is not in the log will not come into
    it; those between that and ``head_seq`` are on their way.
    """
    events: list[bytes] = []
    gone: list[tuple[int, int]] = []
    mark, next_seq = b'"thread_id":' + _encode(thread_id), after_seq + 1
    for text in texts:
        if mark not in text:
            continue
        head = _decode(text)
        if head.thread_id != thread_id or head.seq < next_seq:
            continue
        most_bytes -= len(text)
        if len(events) == most_events or (events and most_bytes < 0):
            return Excerpt(events=tuple(events), gone=tuple(gone), head_seq=head_seq, more=True)
        first = head.seq0 or head.seq
        if first > next_seq:
            gone.append((next_seq, first - 1))
        events.append(text)
        next_seq = head.seq + 1
    if next_seq <= settled_seq:
        gone.append((next_seq, settled_seq))
    return Excerpt(events=tuple(events), gone=tuple(gone), head_seq=head_seq, more=False)
