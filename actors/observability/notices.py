"""Notices: the log lines that follow from facts about a runtime, each said when it happens, or at the next look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from actors.context import Context
from actors.delivery.dead_letters import DeadLetter
from actors.kernel.failures import Failure
from actors.observability.explain import CAUSES
from actors.observability.instrument import Instrument
from actors.observability.lines import (
    CONNECTIONS_FULL,
    DEVICE_ENDED,
    DEVICE_LOST,
    DROPPED,
    ORIGIN_REFUSED,
    QUARANTINED,
    REQUEST_REFUSED,
)
from actors.protocol.codes import CLOSINGS
from actors.stages import Cause

_LOST = frozenset({"silent", "stalled", "choked"})
"""Rows of the closing table of devices that were given up. One that ``vanished`` is a tab that was closed."""

_ENDED = frozenset(
    {
        "bad_ack", "bad_frame", "bad_message", "bad_text", "binary", "flooding", "no_hello", "too_big",
        "too_many_devices",
    }
)  # fmt: skip
"""Rows for what a client must not do. What ends a device for our own failure is logged as that."""

_FULL = frozenset({"too_many", "too_many_devices"})
"""Reasons for which a request finds no room."""

_CREDENTIALS = frozenset({"unauthenticated", "unavailable"})
"""Reasons of which more is known, and said, where the credentials are checked."""

_SAID_ELSEWHERE = frozenset({Cause.RETENTION, Cause.SHUTDOWN})
"""Causes of drops that are told by user, or that are the end of a runtime."""


class Notices(Instrument):
    """Says what the facts of one runtime mean to the person who runs it."""

    def __init__(self, context: Context) -> None:
        self._lines = context.lines
        self._dropped: Counter[Cause] = Counter()
        """Drops by cause, up to what was said."""

    def __repr__(self) -> str:
        return f"<Notices {self._lines!r}>"

    def quarantined(self, path: str, failure: Failure) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        self._lines.say(QUARANTINED, path, path=path, error=failure.error)

    def handshake_refused(self, status: int, reason: str, origin: str | None) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        if reason == "origin":
            self._lines.say(ORIGIN_REFUSED, origin, status=status, origin=origin)
        elif reason in _FULL:
            self._lines.say(CONNECTIONS_FULL, reason, status=status, reason=reason)
        elif reason not in _CREDENTIALS:
            shown = "none" if origin is None else origin
            self._lines.say(REQUEST_REFUSED, (reason, origin), status=status, reason=reason, origin=shown)

    def connection_closed(self, label: str, path: str, row: str) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        if row in _LOST:
            self._lines.say(DEVICE_LOST, (_user_of(path), row), path=path, reason=row, why=CLOSINGS[row].text)
        elif row in _ENDED:
            self._lines.say(DEVICE_ENDED, (_user_of(path), row), path=path, reason=row, why=CLOSINGS[row].text)

    def look(self, dropped: Mapping[Cause, int], letters: Sequence[DeadLetter]) -> None:
        """Say what was dropped since it was said last, by cause, given all drops and the newest of them."""
        for cause, count in dropped.items():
            news = count - self._dropped[cause]
            if news and cause not in _SAID_ELSEWHERE and self._lines.grants(DROPPED, cause):
                self._dropped[cause] = count
                newest = next((letter for letter in reversed(letters) if letter.cause is cause), None)
                self._lines.say(
                    DROPPED, cause, count=news, cause=str(cause), why=CAUSES[cause], newest=_place_of(newest)
                )


def _user_of(path: str) -> str:
    """Return the user's part of a connection's path, because a device that comes again has another label."""
    return path.rpartition("/connections/")[0]


def _place_of(letter: DeadLetter | None) -> str:
    if letter is None:
        return "not known any more"
    words = [f"event {letter.event_id}"] if letter.event_id is not None else []
    words += [f"thread {letter.thread_id}"] if letter.thread_id is not None else []
    words += [f"user {letter.user_id}"] if letter.user_id is not None else []
    if letter.first is not None:
        words.append(f"number {letter.first}" if letter.first == letter.last else f"{letter.first} to {letter.last}")
    return ", ".join(words) or "without a place"
