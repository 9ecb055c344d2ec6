"""Log lines: sentences for the person who runs this, each by a row of a table, and few enough of each to be read.

A row has a name, a level, and a text with places for its fields. A record of the
``actors`` log has all of them: the text for people, and the fields as attributes
(``extra=`` of :mod:`logging`), for programs. Of a flood, the first lines of a
period are said, and at its end how many were left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable

import attrs

from actors.kernel.bounded import Ration
from actors.kernel.failures import cut_words, log, printable, printable_lines

_WHOLE = frozenset({"error", "traceback"})
"""Fields that were cut where they were made."""

_PLACE = re.compile(r"%\((\w+)\)")

LEFT_OUT = "%(count)d more %(what)s in the last %(seconds).0f s, left out here"
"""The text of the line that says how many others were left out; its record has the row's name and level."""


@attrs.frozen(kw_only=True, eq=False)
class LogLine:
    """A row of the table: one thing that can be said."""

    name: str
    """The record's attribute ``notice``, by which programs know the row."""
    level: int
    text: str
    """The sentence, with ``%(field)s`` in the place of each field."""
    more: str
    """Several of what it is about, for the line that counts those left out: ``failures``."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of its fields, in the order in which the text has them."""
        return tuple(dict.fromkeys(_PLACE.findall(self.text)))


class LogLines:
    """The lines of one runtime: of each row at most ``most`` in a period, and one for each key."""

    __slots__ = ("_clock", "_most", "_period_seconds", "_rations")

    def __init__(self, most: int, period_seconds: float, *, clock: Callable[[], float]) -> None:
        self._most = most
        self._period_seconds = period_seconds
        self._clock = clock
        self._rations: dict[LogLine, Ration] = {}

    def __repr__(self) -> str:
        return f"<LogLines {' '.join(line.name for line in self._rations) or 'none'}>"

    def say(self, line: LogLine, key: Hashable, /, **fields: object) -> bool:
        """Log a line, unless there were too many of its row, or one with this key, in the last period.

        True if it was logged; else it is counted, for :meth:`look`. Texts may
        quote what some user has sent: they are escaped, and cut.
        """
        ration = self._ration(line)
        if not ration.take(key, self._clock()):
            return False
        log_line(line, **fields)
        return True

    def grants(self, line: LogLine, key: Hashable) -> bool:
        """True if :meth:`say` would log a line now, for what can be said later as well."""
        return self._ration(line).grants(key, self._clock())

    def look(self) -> None:
        """Say how many lines were left out in a period that is over."""
        now = self._clock()
        for line, ration in self._rations.items():
            count, seconds = ration.left_out(now)
            if count:
                said = {"count": count, "what": line.more, "seconds": round(seconds, 3)}
                log(line.level, LEFT_OUT, said, extra={"notice": line.name, **said})

    def _ration(self, line: LogLine) -> Ration:
        ration = self._rations.get(line)
        if ration is None:
            ration = self._rations[line] = Ration(self._most, self._period_seconds)
        return ration


def log_line(line: LogLine, /, **fields: object) -> None:
    """Log a line that is bounded by what it tells of, from any thread."""
    said = {name: _shown(name, value) for name, value in fields.items()}
    log(line.level, line.text, said, extra={"notice": line.name, **said})


def _shown(name: str, value: object) -> object:
    if not isinstance(value, str):
        return value
    if name in _WHOLE:
        return printable_lines(value)
    return printable(cut_words(value))
