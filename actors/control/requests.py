"""The requests of the control socket: a line of JSON each, read into one of these, and the query that answers it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from actors.control import queries
from actors.control.page import MOST_USERS
from actors.runtime import Runtime

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
"""An id, or a user's name."""


class _Request(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, tag_field="op"):
    """One request, by its ``op``; a field that is unknown is a mistake."""


class Status(_Request, frozen=True, tag="status"):
    """The runtime in numbers, and its state in a sentence."""


class Explain(_Request, frozen=True, tag="explain"):
    """The place of an event, and why it is there."""

    event_id: Name
    thread_id: Name | None = None


class Why(_Request, frozen=True, tag="why"):
    """The reason why events of a user, a thread's owner or a device's user are not acked; one of the three is named."""

    user_id: Name | None = None
    thread_id: Name | None = None
    device: Name | None = None

    def __post_init__(self) -> None:
        """Raise ValueError unless one name is given."""
        if [self.user_id, self.thread_id, self.device].count(None) != 2:
            raise ValueError("expected one of user_id, thread_id and device")


class Audit(_Request, frozen=True, tag="audit"):
    """The books in total."""


class Connections(_Request, frozen=True, tag="connections"):
    """A page of the connections."""

    after: Name | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=queries.MOST_CONNECTIONS)] = 50
    user_id: Name | None = None
    behind: bool = False


class Failures(_Request, frozen=True, tag="failures"):
    """The newest failures."""


class DeadLetters(_Request, frozen=True, tag="dead_letters"):
    """The newest drops."""


class Tree(_Request, frozen=True, tag="tree"):
    """A page of the users, with devices, threads and runs."""

    after: Name | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_USERS)] = 50
    prefix: Annotated[str, msgspec.Meta(max_length=256)] = ""


class Release(_Request, frozen=True, tag="release"):
    """Put a quarantined actor back into service: the one request that changes something."""

    path: Annotated[str, msgspec.Meta(min_length=1, max_length=1_024)]


class Trace(_Request, frozen=True, tag="trace"):
    """A line for each thing that happens to a user, as it happens, until the client closes."""

    user_id: Name


Query = Status | Explain | Why | Audit | Connections | Failures | DeadLetters | Tree | Release
"""The requests that have one answer."""

Request = Query | Trace

_decoder: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)


def read(line: bytes) -> Request:
    """Read a request. Raises ValueError, which says what was expected."""
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"expected a request as a line of JSON, {error}") from None


def carry_out(runtime: Runtime, request: Query) -> msgspec.Struct:
    """Return the answer to a request. Raises ValueError for an actor that cannot be released."""
    return _ACTS[type(request)](runtime, request)


def _why(runtime: Runtime, request: Why) -> msgspec.Struct:
    if request.thread_id is not None:
        return queries.why_thread(runtime, request.thread_id)
    if request.device is not None:
        return queries.why_device(runtime, request.device)
    assert request.user_id is not None, "one of the three is named"
    return queries.why(runtime, request.user_id)


_ACTS: dict[type[Any], Callable[[Runtime, Any], msgspec.Struct]] = {
    Status: lambda runtime, _: queries.status(runtime),
    Explain: lambda runtime, asked: queries.explain(runtime, asked.event_id, asked.thread_id),
    Why: _why,
    Audit: lambda runtime, _: queries.audit(runtime),
    Connections: lambda runtime, asked: queries.connections(
        runtime, asked.after, asked.limit, user_id=asked.user_id, behind=asked.behind
    ),
    Failures: lambda runtime, _: queries.failures(runtime),
    DeadLetters: lambda runtime, _: queries.dead_letters(runtime),
    Tree: lambda runtime, asked: queries.tree(runtime, asked.after, asked.limit, asked.prefix),
    Release: lambda runtime, asked: queries.release(runtime, asked.path),
}
