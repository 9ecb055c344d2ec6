"""The runs that are active, as far as the application was told, each told once.

Two times count. When something *arrives* it is kept for the application, and
may be dropped again before it is seen: a log may begin anew. When an item is
*handed out* it is decided whether it is news: what the application knows is
what it was handed, and nothing else.
"""

from __future__ import annotations

from actors.client.items import Active, Inactive, Item, Reset
from actors.events.delivered import Event
from actors.events.event import Lifecycle
from actors.protocol import server_messages

_LAST_WORDS = frozenset({Lifecycle.AGENT_COMPLETED, Lifecycle.AGENT_FAILED, Lifecycle.AGENT_CANCELLED})


class Activity:
    """Which runs are active.

    The server says the active ones right after ``caught_up``, and takes our
    ping after that: so when the pong is there, they all have come, or begun
    since.
    """

    def __init__(self) -> None:
        self._known: dict[str, bool] = {}
        """What the application was handed: whether each run waits for its turn."""
        self._arrived: set[str] = set()
        """Runs whose beginning has arrived, and whose end was not handed out."""
        self._here: set[str] = set()
        """Runs that were told or have begun since the last ``caught_up``."""

    # --- what arrives -------------------------------------------------------------

    def event(self, event: Event) -> None:
        """An event has come; it may be the first one of a run."""
        if event.type == Lifecycle.AGENT_STARTED and event.run_id is not None:
            self._arrive(event.run_id)

    def told(self, told: server_messages.Active[server_messages.Beginning]) -> Active | None:
        """A run is told to be active; ``None`` when it is told without its name."""
        event = told.event
        if event.run_id is None:
            return None
        self._arrive(event.run_id)
        return Active(
            run_id=event.run_id,
            thread_id=event.thread_id,
            payload=event.payload,
            event_id=event.event_id,
            timestamp=event.timestamp,
            waiting=told.waiting,
        )

    def ended(self, told: server_messages.Inactive) -> Inactive:
        """A run is told not to be active for this user any more."""
        return Inactive(told.run_id, told.reason)

    def caught_up(self) -> bool:
        """The log has been sent, and what is active follows; true if there is a run that may not be among it."""
        self._here.clear()
        return bool(self._arrived)

    def pong(self) -> list[Inactive]:
        """What was active and is not any more."""
        return [Inactive(run_id, "gone") for run_id in sorted(self._arrived - self._here)]

    def _arrive(self, run_id: str) -> None:
        self._arrived.add(run_id)
        self._here.add(run_id)

    # --- what is handed out -------------------------------------------------------

    def is_news(self, item: Item) -> bool:
        """True if an item is to be handed out, which it then is."""
        match item:
            case Active(run_id=run_id, waiting=waiting):
                before = self._known.get(run_id)
                self._known[run_id] = waiting
                return before is None or before > waiting
            case Inactive(run_id=run_id):
                return self._forget(run_id)
            case Event(type=Lifecycle.AGENT_STARTED, run_id=str(run_id)):
                self._known[run_id] = False
            case Event(type=type_, run_id=str(run_id)) if type_ in _LAST_WORDS:
                self._forget(run_id)
            case Reset():
                self._known.clear()
        return True

    def _forget(self, run_id: str) -> bool:
        """A run is over; true if the application knew of it."""
        self._arrived.discard(run_id)
        return self._known.pop(run_id, None) is not None
