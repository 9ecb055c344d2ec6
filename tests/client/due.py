"""What an application is to be given of what its client has heard: sections 3, 4 and 8 of the protocol page."""

from __future__ import annotations

from typing import Any

import attrs

from tests.peers.raw import Message

Given = tuple[Any, ...]
"""An item: its kind, and what it says."""

EVENT_FIELDS = ("offset", "seq", "seq0", "type", "payload", "thread_id", "run_id", "event_id")
_LAST_WORDS = frozenset({"agent_completed", "agent_failed", "agent_cancelled"})


def event(message: Message) -> Given:
    """An event as an item."""
    return ("event", *(message.get(field) for field in EVENT_FIELDS))


@attrs.define
class Due:
    """What is due to an application, from the first message on."""

    items: list[Given] = attrs.field(factory=list)
    last: int | None = None
    """The last offset; ``None`` where there is none."""
    defect: bool = False
    """What came did not follow, and the client has to begin anew."""
    run_ended: bool = False
    """The last word of a run was among what came."""
    _shown: set[str] = attrs.field(factory=set)
    _here: set[str] = attrs.field(factory=set)
    """Questions that came on this connection."""

    def begin(self) -> None:
        """A connection begins."""
        self._here.clear()

    def hear(self, message: Message) -> None:
        """A message has come."""
        match message:
            case {"op": "welcome", "resume": "fresh", "epoch": epoch, "start": start}:
                self._begin_anew(epoch, start)
            case {"op": "reset", "epoch": epoch, "low": low}:
                self.last = low - 1
                self.items.append(("reset", epoch, low))
            case {"op": "gap", "from": first, "to": last, "cause": cause}:
                self._range(first, last, [("gap", first, last, cause)])
            case {"op": "batch", "from": first, "to": last, "events": events}:
                self._events(first, last, events)
            case {"op": "caught_up", "offset": offset}:
                self.items.append(("caught_up", offset))
            case {"op": "ask", "event": {"event_id": id_, "payload": payload}}:
                self._ask(id_, payload)
            case {"op": "ask_closed", "ask": id_, "reason": reason} if id_ in self._shown:
                self._close(id_, reason)
            case {"type": _, "offset": offset}:
                self._events(offset, offset, [message])

    def pong(self) -> None:
        """What was shown and has not come again by now is gone."""
        for id_ in self._shown - self._here:
            self._close(id_, "gone")

    def _begin_anew(self, epoch: str, start: int) -> None:
        self.last = start - 1
        if self.defect:
            self.items.append(("reset", epoch, start))
            self.defect = False

    def _events(self, first: int, last: int, events: list[Message]) -> None:
        if self._range(first, last, [event(one) for one in events]):
            self.run_ended |= any(one["type"] in _LAST_WORDS for one in events)

    def _range(self, first: int, last: int, items: list[Given]) -> bool:
        """Whether a range is new, and follows."""
        assert self.last is not None, "a welcome before events"
        if self.defect or last <= self.last:
            return False
        if first != self.last + 1:
            self.defect = True
            return False
        self.last = last
        self.items += items
        return True

    def _ask(self, id_: str, payload: dict[str, Any]) -> None:
        self._here.add(id_)
        if id_ not in self._shown:
            self._shown.add(id_)
            self.items.append(("ask", id_, payload))

    def _close(self, id_: str, reason: str) -> None:
        self._shown.discard(id_)
        self.items.append(("ask_closed", id_, reason))
