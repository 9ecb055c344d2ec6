"""Active runs and open questions, as the consumer of a log is told of them: in their places among its events.

What is told belongs behind the events that the log had when it was told, so a
consumer that is slow gets both in their order. Where too much of it waits, all
is forgotten, and what is active and open is told again at the next *round*:

    begin ─ what is active and open ─ what is so no longer, because it was not told again

A round's messages are composed when they are taken, so they tell of nothing
that is over by then, and stand behind the events that the log had when it
began. Its end stands behind those that the log had after the last of them: a
run that ended meanwhile has its last event there.

Pure: it is given the log's newest offset, and the one that was read last.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Iterable
from typing import Literal

from actors.delivery.activity import Activity
from actors.delivery.announcements import Announcements
from actors.delivery.announcements import Item as Announcement
from actors.delivery.questions import Questions
from actors.events.delivered import Event
from actors.events.event import Lifecycle
from actors.events.items import Item
from actors.protocol import server_messages

MOST_TOLD = 64
"""Messages that wait for the consumer; of more it is told what is active and open instead."""

_LAST_WORDS = frozenset({Lifecycle.AGENT_COMPLETED, Lifecycle.AGENT_FAILED, Lifecycle.AGENT_CANCELLED})

Told = (
    server_messages.Active[server_messages.Beginning]
    | server_messages.Inactive
    | server_messages.Ask[server_messages.Question]
    | server_messages.AskClosed
)
"""A message about a run or a question."""


class _Mark(enum.Enum):
    """A mark among the messages."""

    BEGINS = enum.auto()
    ENDS = enum.auto()


class Current:
    """The runs and questions of all threads, or of one, that a consumer knows or will be told of."""

    __slots__ = ("_activity", "_announcements", "_gone", "_questions", "_round", "_told", "thread_id")

    def __init__(self, thread_id: str | None) -> None:
        self.thread_id: str | None = thread_id
        """The thread that is followed; ``None`` for all."""
        self._activity = Activity()
        self._questions = Questions()
        self._announcements = Announcements()
        self._round: Literal["due", "begun", "told", "over"] = "over"
        self._told: deque[tuple[int, Told | _Mark]] = deque()
        """Messages, each behind the log's newest offset from when it came."""
        self._gone: deque[Item] = deque()

    def __repr__(self) -> str:
        return f"<Current told={len(self._told)} {self._announcements!r}{' in a round' if self.in_round else ''}>"

    @property
    def in_round(self) -> bool:
        """True if not all of a round was taken."""
        return self._round != "over"

    def follows(self, thread_id: str) -> bool:
        """Return true for a thread that is followed."""
        return self.thread_id is None or self.thread_id == thread_id

    def concerns(self, told: Told) -> bool:
        """Return true unless a message is about a run or a question of a thread that is not followed."""
        if isinstance(told, server_messages.Active | server_messages.Ask):
            return self.follows(told.event.thread_id)
        return True

    def put(self, told: Told, head: int) -> bool:
        """Keep a message behind the log's newest offset; false, and all of them forgotten, where there are too many."""
        if len(self._told) >= MOST_TOLD:
            self.forget()
            return False
        self._told.append((head, told))
        return True

    def forget(self) -> None:
        """Forget the messages and the rest of a round, because another round will follow."""
        self._told.clear()
        self._announcements = Announcements()
        self._round = "over"

    def begin(self, announcements: Iterable[Announcement], head: int) -> None:
        """Begin a round, behind the log's newest offset; the last one must be over."""
        self._round = "due"
        self._announcements.begin(announcements)
        self._told.append((head, _Mark.BEGINS))

    def take(self, position: int, head: Callable[[], int]) -> Item | None:
        """Return the next item that belongs where the log was read to; ``None`` if there is none there."""
        item = self._take_told(position)
        while item is None and self._round == "begun":
            texts = self._announcements.take(1, b"")
            item = self._item_of(read(texts[0])) if texts else None
            if self._announcements.is_over:
                self._round = "told"
                self._told.append((head(), _Mark.ENDS))
                item = item or self._take_told(position)
        return item

    def _take_told(self, position: int) -> Item | None:
        if self._gone:
            return self._gone.popleft()
        while self._told and self._told[0][0] <= position:
            told = self._told.popleft()[1]
            if told is _Mark.BEGINS:
                self._activity.caught_up()
                self._questions.caught_up()
                self._round = "begun"
                continue
            item = self._end_round() if told is _Mark.ENDS else self._item_of(told)
            if item is not None:
                return item
        return None

    def event(self, event: Event) -> None:
        """Take note of an event of the log, which may begin or end a run.

        A store that is waited for may show a run's end before its answer was
        noted, so that the run was told to be active meanwhile, behind its end.
        """
        self._activity.event(event)
        if event.type in _LAST_WORDS and self._told:
            self._told = deque(one for one in self._told if not _is_active(one[1], event.run_id))

    def is_news(self, item: Item) -> bool:
        """Return true if an item is news to the consumer, and count it as handed out."""
        return self._activity.is_news(item)

    def _end_round(self) -> Item | None:
        self._round = "over"
        self._gone.extend([*self._activity.pong(), *self._questions.pong()])
        return self._gone.popleft() if self._gone else None

    def _item_of(self, told: Told) -> Item | None:
        match told:
            case server_messages.Active():
                return self._activity.active(told)
            case server_messages.Inactive():
                return self._activity.inactive(told)
            case server_messages.Ask():
                return self._questions.ask(told)
            case server_messages.AskClosed():
                return self._questions.close(told)


def _is_active(told: Told | _Mark, run_id: str | None) -> bool:
    return isinstance(told, server_messages.Active) and told.event.run_id == run_id


def read(text: bytes) -> Told:
    """Read a message about a run or a question, as a device of the protocol is sent it."""
    match server_messages.decode(text.decode()):
        case (
            server_messages.Active()
            | server_messages.Inactive()
            | server_messages.Ask()
            | server_messages.AskClosed() as told
        ):
            return told
        case other:
            raise AssertionError(f"a device is told of runs and questions, not {other!r}")
