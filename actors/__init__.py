"""Actor-model event delivery on Trio: agent events into threads, out to every device, each accounted for.

    async with actors.open_runtime(authenticate=who_is_it) as runtime:
        await runtime.bind("t1", "alice")
        receipt = await runtime.thread("t1").emit("agent_started", {"agent_name": "assistant"})
        await receipt.reached(actors.Stage.ACKED)

The folders are the actors, because a failure's path is where its code is:
``threads/t1`` in the log is ``threads/`` here. ``README.md`` beside this
module has the map, the tree, and one event's way through it.
"""

from actors.connections.following import Following
from actors.delivery.balance import Audit, Balance
from actors.delivery.dead_letters import DeadLetter
from actors.environment import Environment
from actors.errors import (
    ActorsError,
    Busy,
    Dropped,
    ForeignLoop,
    ForeignThread,
    IdempotencyConflict,
    NotTheOwner,
    Quarantined,
    RestartsExhausted,
    RunEnded,
    RuntimeClosed,
    StoreError,
    StoreUnavailable,
    Unanswered,
    Unconfirmed,
    Unencodable,
)
from actors.events.delivered import Event, History, Position
from actors.events.event import Lifecycle
from actors.events.items import Sent
from actors.kernel.failures import Failure
from actors.limits import Limits
from actors.observability.connection_state import ConnectionState
from actors.observability.instrument import Instrument, OwnerChange
from actors.observability.statistics import Statistics
from actors.receipts import Fate, Receipt
from actors.runs.asks import Answer
from actors.runs.endings import Cancellation
from actors.runs.run import Message, Run, Tool
from actors.runtime import Runtime, Thread, open_runtime
from actors.server.authentication import Credentials
from actors.server.drain import DrainReport, Undelivered
from actors.server.messages import claim_new
from actors.stages import Cause, Promise, Stage
from actors.stores.memory import MemoryStore
from actors.stores.sqlite.store import SQLiteStore

__all__ = [
    "ActorsError",
    "Answer",
    "Audit",
    "Balance",
    "Busy",
    "Cancellation",
    "Cause",
    "ConnectionState",
    "Credentials",
    "DeadLetter",
    "DrainReport",
    "Dropped",
    "Environment",
    "Event",
    "Failure",
    "Fate",
    "Following",
    "ForeignLoop",
    "ForeignThread",
    "History",
    "IdempotencyConflict",
    "Instrument",
    "Lifecycle",
    "Limits",
    "MemoryStore",
    "Message",
    "NotTheOwner",
    "OwnerChange",
    "Position",
    "Promise",
    "Quarantined",
    "Receipt",
    "RestartsExhausted",
    "Run",
    "RunEnded",
    "Runtime",
    "RuntimeClosed",
    "SQLiteStore",
    "Sent",
    "Stage",
    "Statistics",
    "StoreError",
    "StoreUnavailable",
    "Thread",
    "Tool",
    "Unanswered",
    "Unconfirmed",
    "Undelivered",
    "Unencodable",
    "claim_new",
    "open_runtime",
]
