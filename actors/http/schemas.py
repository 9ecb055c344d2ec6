"""The bodies, the parameters and the answers of the API, one struct each: what is read, written and documented."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

import msgspec

from actors.events.delivered import Event
from actors.events.event import DROPPED_NOTICE
from actors.runs.asks import LONGEST_SECONDS
from actors.server.messages import NOT_FOR_USERS

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
"""An id, a user's name or a type."""

SeqText = Annotated[str, msgspec.Meta(pattern="^[0-9]{1,15}$")]
"""The number of an event, as a header has it."""

EventType = Annotated[Id, msgspec.Meta(extra_json_schema={"not": {"const": DROPPED_NOTICE}})]
"""Any type but that of the runtime's own notice."""

MessageType = Annotated[Id, msgspec.Meta(extra_json_schema={"not": {"enum": sorted(NOT_FOR_USERS)}})]
"""Any type that is not an agent's."""

Text = Annotated[str, msgspec.Meta(max_length=2_000)]

JsonObject = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "object"})]
"""A JSON object, of which every byte is kept."""

empty_object: partial[msgspec.Raw] = partial(msgspec.Raw, b"{}")


PatienceSeconds = Annotated[float, msgspec.Meta(ge=0, le=60, description="time to wait, in seconds")]

Wait = Literal["buffered", "stored", "written", "acked"]
"""The stages that can be waited for; ``buffered`` is the least that a store can say."""

StageName = Literal["accepted", "buffered", "stored", "written", "acked", "unconfirmed", "dropped"]


class StrictStruct(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A record that is read: an unknown field is a mistake, such as an id that is misspelt and protects nothing."""


class Nothing(StrictStruct):
    """No parameters, or an empty object."""


# --- parameters ------------------------------------------------------------------


class Waiting(StrictStruct):
    """The stage that an event must have reached before the answer is given, and the time to wait for that."""

    wait: Wait = "buffered"
    timeout_s: PatienceSeconds = 10.0


class Lookup(StrictStruct):
    """The same, and the thread that is meant, where an id that was given names events in several."""

    wait: Wait = "buffered"
    timeout_s: PatienceSeconds = 10.0
    thread_id: Id | msgspec.UnsetType = msgspec.UNSET


class Feeding(StrictStruct):
    """A choice of the lines that the answer to a stream has."""

    receipts: Annotated[
        Literal["each", "all", "errors"],
        msgspec.Meta(
            description="each: a line for each line; all: one more for each stage that an event reaches later;"
            " errors: a line for each that was refused, and one with the counts at the end"
        ),
    ] = "each"
    timeout_s: Annotated[
        float, msgspec.Meta(ge=0, le=3_600, description="with all: time after the last line for events to advance")
    ] = 10.0
    ahead: (
        Annotated[
            int,
            msgspec.Meta(ge=1, le=1_000_000, description="events of a thread that may be ahead of its owner's devices"),
        ]
        | msgspec.UnsetType
    ) = msgspec.UNSET


class Reading(StrictStruct):
    """A part of a thread's history."""

    after_seq: Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)] | msgspec.UnsetType = msgspec.UNSET
    limit: Annotated[int, msgspec.Meta(ge=1, le=10_000)] | msgspec.UnsetType = msgspec.UNSET


class Rebinding(StrictStruct):
    """A choice: with ``force`` another owner loses the thread."""

    force: bool = False


class Paging(StrictStruct):
    """A page of the users: those after a name, and of those whose names begin so."""

    after: Id | msgspec.UnsetType = msgspec.UNSET
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50
    prefix: Annotated[str, msgspec.Meta(max_length=256)] = ""


class Listing(StrictStruct):
    """A page of the connections: those after one of this label, of one user, or those that are behind."""

    after: Id | msgspec.UnsetType = msgspec.UNSET
    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 1_000
    user_id: Id | msgspec.UnsetType = msgspec.UNSET
    behind: bool = False


class Watching(StrictStruct):
    """For how long to wait for the end of a run."""

    timeout_s: PatienceSeconds = 0.0


# --- bodies ------------------------------------------------------------------------


class NewEvent(StrictStruct):
    """An event to be emitted."""

    type: EventType
    payload: JsonObject = msgspec.field(default_factory=empty_object)
    run_id: Id | None = None
    event_id: Id | None = None
    user_id: Id | None = None


class Line(msgspec.Struct, kw_only=True):
    """A line of a stream. The ids may be in the payload as well; other fields are ignored."""

    type: Id
    payload: JsonObject = msgspec.field(default_factory=empty_object)
    thread_id: Id | None = None
    run_id: Id | None = None
    event_id: Id | None = None
    user_id: Id | None = None
    traceparent: str | None = None


class NewMessage(StrictStruct):
    """A user's message, said by a program for the user."""

    user_id: Id
    payload: JsonObject
    id: Id
    """The message's own id: said again, it is placed once."""
    run_id: Id | None = None
    type: MessageType = "user_message"


class NewOwner(StrictStruct):
    """The user whose thread it shall be."""

    user_id: Id


class NewRun(StrictStruct):
    """A run of a program elsewhere."""

    thread_id: Id
    agent_name: Id
    run_id: Id | None = None
    user_id: Id | None = None
    lease_s: Annotated[float, msgspec.Meta(ge=1, le=3_600)] = 60.0
    """The time without a request about the run after which it is taken for lost."""


class RunFailure(StrictStruct):
    """The failure of a run."""

    type: Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=r"^[A-Za-z_][A-Za-z0-9_.]*$")] = "Error"
    message: Text = ""


class RunEnd(StrictStruct):
    """The end of a run."""

    outcome: Literal["completed", "failed", "cancelled"]
    result: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    """Any JSON value."""
    error: RunFailure | None = None
    reason: Id | None = None


class Cancelling(StrictStruct):
    """The reason for which a run is to end."""

    reason: Id = "application"


class NewAsk(StrictStruct):
    """A question to a thread's owner."""

    type: Id
    payload: JsonObject
    timeout_s: Annotated[float, msgspec.Meta(ge=0, le=LONGEST_SECONDS)]
    run_id: Id | None = None


class Newest(StrictStruct):
    """The number of records that are wanted, the newest."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 1_000


class Naming(StrictStruct):
    """The thread that is meant, where an id that was given names events in several."""

    thread_id: Id | msgspec.UnsetType = msgspec.UNSET


class Releasing(StrictStruct):
    """The path of an actor that is to be put back into service."""

    path: Annotated[str, msgspec.Meta(min_length=1, max_length=1_024)]


class Draining(StrictStruct):
    """The time that going away may take, and the lot of runs meanwhile."""

    timeout_s: Annotated[float, msgspec.Meta(ge=0, le=3_600)] = 10.0
    runs: Literal["finish", "cancel"] = "finish"


# --- answers -------------------------------------------------------------------------


class ReceiptAnswer(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A receipt: the stage of an event, and its place."""

    event_id: str
    thread_id: str
    stage: StageName
    seq: int | None
    offset: int | None
    epoch: str | None
    cause: str | None = None
    steps: list[str] | None = None
    """The way of the event, in words; only where it was asked for by its id."""


class LineAnswer(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The same of a line of a stream, by its number."""

    line: int
    event_id: str
    thread_id: str
    stage: StageName
    seq: int | None
    offset: int | None
    epoch: str | None
    cause: str | None = None


class Error(msgspec.Struct, kw_only=True):
    """A row of the tables of codes, with a text of the occasion."""

    code: int
    name: str
    temporary: bool
    message: str


class Refusal(msgspec.Struct, kw_only=True):
    """The answer to a request that is not carried out."""

    error: Error


class LineRefusal(msgspec.Struct, kw_only=True):
    """The same of a line of a stream."""

    line: int
    error: Error


class LineCounts(msgspec.Struct, kw_only=True):
    """The end of a stream with ``receipts=errors``."""

    lines: int
    errors: int


class HistoryAnswer(msgspec.Struct, kw_only=True):
    """Events of a thread, and what is gone."""

    thread_id: str
    events: tuple[Event, ...]
    gone: tuple[tuple[int, int], ...]
    head_seq: int
    more: bool


class SentAnswer(msgspec.Struct, kw_only=True):
    """The place of a message, and the run that answers it."""

    thread_id: str
    event_id: str
    run_id: str | None
    seq: int
    offset: int
    epoch: str


class OwnerAnswer(msgspec.Struct, kw_only=True):
    """The owner of a thread."""

    thread_id: str
    owner: str | None


class RunAnswer(msgspec.Struct, kw_only=True):
    """A run, and whether it goes on."""

    run_id: str
    thread_id: str
    state: Literal["active", "completed", "failed", "cancelled"]
    lease_s: float


class CancelAnswer(msgspec.Struct, kw_only=True):
    """The runs that have stopped, and those whose code goes on."""

    run_id: str
    stopped: tuple[str, ...]
    running: tuple[str, ...]


class AskAnswer(msgspec.Struct, kw_only=True):
    """The answer of a user."""

    payload: dict[str, Any]
    user_id: str
    at: float


class OpenAsk(msgspec.Struct, kw_only=True):
    """A question that waits for its answer."""

    id: str
    type: str
    payload: dict[str, Any]
    thread_id: str
    timestamp: float
    run_id: str | None = None
    timeout_s: float | None = None


class OpenAsks(msgspec.Struct, kw_only=True):
    """The open questions of a thread, oldest first."""

    asks: list[OpenAsk]


class RevokeAnswer(msgspec.Struct, kw_only=True):
    """The number of connections that were ended."""

    user_id: str
    connections: int


class UndeliveredAnswer(msgspec.Struct, kw_only=True):
    """Events that no device has acked."""

    count: int
    unwritten: int
    user_id: str | None
    thread_id: str | None


class DrainAnswer(msgspec.Struct, kw_only=True):
    """The report of going away: all that was left behind."""

    undelivered: list[UndeliveredAnswer]
    cancelled: tuple[str, ...]
    abandoned: tuple[str, ...]
    goodbyes: int
    aborted: int


class Health(msgspec.Struct, kw_only=True):
    """The state of the server: ``ok``, or what it is in."""

    status: str
