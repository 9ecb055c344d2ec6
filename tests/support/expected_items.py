"""The items that an application gets for what its client has heard: sections 3, 4 and 8 of the protocol page."""

from __future__ import annotations

from typing import Any

import attrs

from tests.support.raw import Message

DeliveredItem = tuple[Any, ...]
"""An item: its kind, and what it says."""

EVENT_FIELDS = ("offset", "seq", "seq0", "type", "payload", "thread_id", "run_id", "event_id")
_LAST_WORDS = frozenset({"agent_completed", "agent_failed", "agent_cancelled"})


def event(message: Message) -> DeliveredItem:
    """An event as an item."""
    return ("event", *(message.get(field) for field in EVENT_FIELDS))


@attrs.define
class ExpectedItems:
    """The items due to an application, from the first message on."""

    items: list[DeliveredItem] = attrs.field(factory=list)
    last: int | None = None
    """The last offset; ``None`` where there is none."""
    defect: bool = False
    """True if a message did not follow, so that the client has to begin anew."""
    held: int | None = None
    """The last offset before the item that the application does not come back from, if there is one."""
    run_ended: bool = False
    """The last word of a run was among what came."""
    _shown: set[str] = attrs.field(factory=set)
    _active: dict[str, bool] = attrs.field(factory=dict)
    """The runs that the application knows to be active, and whether they wait for their turn."""
    _resumed: tuple[str, int] = "", 0
    """The cursor of this connection's hello."""
    _position: int = 0
    """The last offset that came on this connection, from its cursor on."""
    _renamed_to: str | None = None
    """Another name, until it is said up to where all is as it was."""
    _here: set[str] = attrs.field(factory=set)
    """Questions and runs that came after the last ``caught_up``."""

    def begin(self) -> None:
        """A connection begins."""
        self._here.clear()

    def resume(self, cursor: Message | None) -> None:
        """The client has said hello, with a cursor or without."""
        self._renamed_to = None
        self._resumed = ("", 0) if cursor is None else (cursor["epoch"], cursor["offset"])

    def hear(self, message: Message) -> None:
        """A message has come."""
        match message:
            case {"op": "welcome", "resume": "fresh", "epoch": epoch, "start": start}:
                self._begin_anew(epoch, start)
            case {"op": "welcome", "resume": resume, "epoch": epoch, "start": start} if resume != "reset":
                self._go_on(resume, epoch, start)
            case {"op": "epoch", "epoch": epoch, "offset": offset}:
                self._rename(epoch, offset)
            case {"op": "reset", "epoch": epoch, "low": low}:
                self.last = self._position = low - 1
                self._renamed_to = None
                self.items.append(("reset", epoch, low))
                self._active.clear()
            case {"op": "gap", "from": first, "to": last, "cause": cause}:
                self._range(first, last, [("gap", first, last, cause)])
            case {"op": "batch", "from": first, "to": last, "events": events}:
                self._events(first, last, events)
            case {"op": "caught_up", "offset": offset}:
                self.items.append(("caught_up", offset))
                self._here.clear()
            case {"op": "active", "event": {"run_id": run_id, "payload": payload}}:
                self._activate(run_id, payload, waiting=message.get("waiting", False))
            case {"op": "inactive", "run_id": run_id, "reason": reason} if run_id in self._active:
                self._deactivate(run_id, reason)
            case {"op": "ask", "event": {"event_id": id_, "payload": payload}}:
                self._ask(id_, payload)
            case {"op": "ask_closed", "ask": id_, "reason": reason} if id_ in self._shown:
                self._close(id_, reason)
            case {"type": _, "offset": offset}:
                self._events(offset, offset, [message])

    def pong(self) -> None:
        """Drop what the application was shown and what has not come again by now."""
        for id_ in self._shown - self._here:
            self._close(id_, "gone")
        for run_id in self._active.keys() - self._here:
            self._deactivate(run_id, "gone")

    def _go_on(self, resume: str, epoch: str, start: int) -> None:
        """A log goes on after the cursor, and under another name exactly if it is said to."""
        before, self._position = self._resumed
        self._renamed_to = epoch if epoch != before else None
        self.defect |= resume != "gap" and (start != self._position + 1 or (resume == "renamed") != (epoch != before))

    def _rename(self, epoch: str, offset: int) -> None:
        """What is lost and was not given is due no more; an application that was given it has to begin anew."""
        assert self.last is not None, "a welcome before another name"
        given = self.last if self.held is None else min(self.held + 1, self.last)
        self.defect |= offset < max(self._position, given) or self._renamed_to not in {None, epoch}
        begun = max((number for number, item in enumerate(self.items) if item[0] == "reset"), default=-1)
        kept = max(offset, given)
        self.items[begun + 1 :] = [one for one in self.items[begun + 1 :] if one[0] != "event" or one[1] <= kept]
        self.last, self._renamed_to = min(self.last, kept), None

    def _begin_anew(self, epoch: str, start: int) -> None:
        self.last = self._position = start - 1
        if self.defect:
            self.items.append(("reset", epoch, start))
            self._active.clear()
            self.defect = False

    def _events(self, first: int, last: int, events: list[Message]) -> None:
        if self._range(first, last, [event(one) for one in events]):
            self.run_ended |= any(one["type"] in _LAST_WORDS for one in events)
            for one in events:
                if one["type"] == "agent_started":
                    self._active[one["run_id"]] = False
                    self._here.add(one["run_id"])
                elif one["type"] in _LAST_WORDS:
                    self._active.pop(one["run_id"], None)

    def _range(self, first: int, last: int, items: list[DeliveredItem]) -> bool:
        """True if a range is new, and follows."""
        assert self.last is not None, "a welcome before events"
        self.defect |= self._renamed_to is not None
        self._position = max(self._position, last)
        if self.defect or last <= self.last:
            return False
        if first != self.last + 1:
            self.defect = True
            return False
        self.last = last
        self.items += items
        return True

    def _activate(self, run_id: str, payload: dict[str, Any], *, waiting: bool) -> None:
        self._here.add(run_id)
        if self._active.get(run_id, True) and (run_id not in self._active or not waiting):
            self._active[run_id] = waiting
            self.items.append(("active", run_id, payload, waiting))

    def _deactivate(self, run_id: str, reason: str) -> None:
        del self._active[run_id]
        self.items.append(("inactive", run_id, reason))

    def _ask(self, id_: str, payload: dict[str, Any]) -> None:
        self._here.add(id_)
        if id_ not in self._shown:
            self._shown.add(id_)
            self.items.append(("ask", id_, payload))

    def _close(self, id_: str, reason: str) -> None:
        self._shown.discard(id_)
        self.items.append(("ask_closed", id_, reason))
