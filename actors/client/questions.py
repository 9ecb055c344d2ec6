"""The questions that are open, each shown once."""

from __future__ import annotations

from actors.client.items import Ask, AskClosed
from actors.protocol import server_messages


class Questions:
    """What is open comes again on every connection; what does not was closed in between.

    The server says the open ones right after ``caught_up``, and takes our ping
    after that: so when the pong is there, they all have come.
    """

    def __init__(self) -> None:
        self._open: set[str] = set()
        self._doubtful: set[str] = set()
        """Open when this connection began, or caught up, and not heard of since."""

    def begin(self) -> None:
        """A connection begins."""
        self._doubtful = set(self._open)

    def ask(self, told: server_messages.Ask[server_messages.Question]) -> Ask | None:
        """A question has come; ``None`` when it is known."""
        event = told.event
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
            timeout_s=told.timeout_s,
        )

    def close(self, told: server_messages.AskClosed) -> AskClosed | None:
        """A question is closed; ``None`` when it was not known."""
        if told.ask not in self._open:
            return None
        self._open.discard(told.ask)
        self._doubtful.discard(told.ask)
        return AskClosed(told.ask, told.reason)

    def caught_up(self) -> bool:
        """The log has been sent, and what is open follows; true if there is something that may not be among it."""
        self._doubtful = set(self._open)
        return bool(self._doubtful)

    def pong(self) -> list[AskClosed]:
        """What was open and is not any more."""
        gone, self._doubtful = sorted(self._doubtful), set()
        self._open.difference_update(gone)
        return [AskClosed(name, "gone") for name in gone]
