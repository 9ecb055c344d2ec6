"""The active runs, each announced to the application once.

Two moments count. An item that *arrives* is queued for the application, and may
be dropped before the application sees it, because a reset replaces the log. So
whether an item is news is decided when it is *handed out*: the application
knows the items that it was handed, and no others.
"""

from __future__ import annotations

from actors.events.delivered import Event
from actors.events.event import Lifecycle
from actors.events.items import Active, Inactive, Item, Reset
from actors.protocol import server_messages

_LAST_WORDS = frozenset({Lifecycle.AGENT_COMPLETED, Lifecycle.AGENT_FAILED, Lifecycle.AGENT_CANCELLED})


class Activity:
    """The set of active runs, as arrived and as handed out.

    The server sends the active ones right after ``caught_up``, and answers our
    ping after them. So when the pong arrives, every run that is still active
    was sent, or has begun since.
    """

    def __init__(self) -> None:
        self._known: dict[str, bool] = {}
        """Runs that the application knows; true for one that waits for its turn."""
        self._arrived: set[str] = set()
        """Runs whose beginning has arrived, and whose end was not handed out."""
        self._current: set[str] = set()
        """Runs that the server announced, or that began, since the last ``caught_up``."""

    # --- what arrives -------------------------------------------------------------

    def event(self, event: Event) -> None:
        """Take an event, which may be the first one of a run."""
        if event.type == Lifecycle.AGENT_STARTED and event.run_id is not None:
            self._arrive(event.run_id)

    def active(self, message: server_messages.Active[server_messages.Beginning]) -> Active | None:
        """Return the item for a run that the server announces as active; ``None`` without a run id."""
        event = message.event
        if event.run_id is None:
            return None
        self._arrive(event.run_id)
        return Active(
            run_id=event.run_id,
            thread_id=event.thread_id,
            payload=event.payload,
            event_id=event.event_id,
            timestamp=event.timestamp,
            waiting=message.waiting,
        )

    def inactive(self, message: server_messages.Inactive) -> Inactive:
        """Return the item for a run that is no longer active for this user."""
        return Inactive(message.run_id, message.reason)

    def caught_up(self) -> bool:
        """Expect the active runs, which follow the log; true if a known run may be missing from them."""
        self._current.clear()
        return bool(self._arrived)

    def pong(self) -> list[Inactive]:
        """Return the runs that are active no longer, because the server did not announce them again."""
        return [Inactive(run_id, "gone") for run_id in sorted(self._arrived - self._current)]

    def _arrive(self, run_id: str) -> None:
        self._arrived.add(run_id)
        self._current.add(run_id)

    # --- what is handed out -------------------------------------------------------

    def is_news(self, item: Item) -> bool:
        """Return true if an item is news, and count it as handed out."""
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
        """Forget a run that is over; true if the application knew of it."""
        self._arrived.discard(run_id)
        return self._known.pop(run_id, None) is not None
