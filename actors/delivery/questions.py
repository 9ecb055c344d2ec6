"""The open questions, each announced to the application once."""

from __future__ import annotations

from actors.events.items import Ask, AskClosed
from actors.protocol import server_messages


class Questions:
    """The set of open questions.

    The server sends the open ones again on every connection, right after
    ``caught_up``, and answers our ping after them. So a question that has not
    been sent again when the pong arrives was closed in between.
    """

    def __init__(self) -> None:
        self._open: set[str] = set()
        self._doubtful: set[str] = set()
        """Questions open when this connection began, or caught up, and not sent again since."""

    def begin(self) -> None:
        """Begin a connection."""
        self._doubtful = set(self._open)

    def ask(self, message: server_messages.Ask[server_messages.Question]) -> Ask | None:
        """Return the item for a question; ``None`` when it is known."""
        event = message.event
        self._doubtful.discard(event.event_id)
        if event.event_id in self._open:
            return None
        self._open.add(event.event_id)
        return Ask(
            id=event.event_id,
            type=event.type,
            payload=event.payload,
            thread_id=event.thread_id,
            run_id=event.run_id,
            timestamp=event.timestamp,
            timeout_s=message.timeout_s,
        )

    def close(self, message: server_messages.AskClosed) -> AskClosed | None:
        """Return the item for a closed question; ``None`` when it was not known."""
        if message.ask not in self._open:
            return None
        self._open.discard(message.ask)
        self._doubtful.discard(message.ask)
        return AskClosed(message.ask, message.reason)

    def caught_up(self) -> bool:
        """Expect the open questions, which follow the log; true if a known one may be missing from them."""
        self._doubtful = set(self._open)
        return bool(self._doubtful)

    def pong(self) -> list[AskClosed]:
        """Close the questions that the server did not send again; returns their items."""
        gone, self._doubtful = sorted(self._doubtful), set()
        self._open.difference_update(gone)
        return [AskClosed(name, "gone") for name in gone]
