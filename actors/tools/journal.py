"""``actors journal``: the file of a journal, shown to people. Only ``--vacuum`` writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import attrs
import msgspec

from actors.delivery.bounds import Spans
from actors.errors import StoreError
from actors.kernel.failures import printable
from actors.stores.journal import Letter, RestoredLog
from actors.stores.sqlite.inspection import Retained, inspected, problems, vacuum
from actors.tools.terminal import CannotStart, encoded, output, write

_SHOWN = 20
"""Logs, dead letters and runs in a summary: as much as a screen shows. ``--export`` has every event."""

_DAMAGED = 1
_NOT_FOUND = 1

_BATCH_BYTES = 1 << 16


@attrs.frozen(kw_only=True)
class JournalOptions:
    """The options of the command line."""

    path: Path
    action: Literal["summary", "check", "export", "vacuum"] | None = None
    explain: str | None = None


def journal(options: JournalOptions) -> int:
    """Show a journal; returns the exit status, 1 for damage and for an event that is not there.

    Raises :class:`~actors.tools.terminal.CannotStart` for what is no journal,
    in its own words, or cannot be read.
    """
    try:
        if options.explain is not None:
            return _print(_explained(options.path, options.explain), otherwise=_NOT_FOUND)
        match options.action:
            case "check":
                return _check(options.path)
            case "export":
                return _print(_exported(options.path))
            case "vacuum":
                before, after = vacuum(options.path)
                return _print([f"{_size(before)} before, {_size(after)} after"])
            case _:
                return _print(_summary(options.path))
    except StoreError as error:
        raise CannotStart(str(error)) from None


def _check(path: Path) -> int:
    found = list(problems(path))
    _print(found or ["every row is as it was written"])
    return _DAMAGED if found else 0


def _print(lines: Iterable[str], *, otherwise: int = 0) -> int:
    """Print lines as they come; returns ``otherwise`` if there are none. A reader that has gone ends it."""
    fd, pending, status = output(), bytearray(), otherwise
    try:
        for line in lines:
            status = 0
            pending += encoded(printable(line) + "\n")
            if len(pending) >= _BATCH_BYTES:
                write(fd, bytes(pending))
                pending.clear()
        write(fd, bytes(pending))
    except BrokenPipeError:
        pass
    return status


# --- the summary ----------------------------------------------------------------


def _summary(path: Path) -> Iterator[str]:
    with inspected(path) as found:
        state, restored = found.state, found.restored
        life = state.life
        ended = "closed in order" if life.clean else "not closed in order: in use, or killed"
        held = sum(len(thread.held) for thread in restored.threads)
        loose = sum(thread.record.user_id is None for thread in restored.threads)
        opened = sum(run.open for run in restored.runs)
        letters = found.letters()
        yield f"life       {life.n}, {ended}; last batch {life.batch}, {_time(life.now)}"
        yield f"file       {_size(path.stat().st_size)}, {len(state.segments)} segments"
        yield f"users      {len(restored.logs)}"
        yield f"threads    {len(restored.threads)}, {loose} of them without an owner, with {held} events held"
        yield f"events     {sum(map(_count, restored.logs))}, {_size(sum(sum(log.sizes) for log in restored.logs))}"
        yield f"ids        {len(restored.given_ids)} that emitters chose"
        yield f"runs       {opened} open, {len(restored.runs) - opened} due"
        yield f"letters    {len(letters)}"
        yield from _shown("users by bytes", [_log(log) for log in sorted(restored.logs, key=_weight)])
        yield from _shown("runs", [f"{run.run_id}  {'open' if run.open else 'due'}  thread {run.thread_id}"
                                   for run in restored.runs])  # fmt: skip
        yield from _shown("dead letters, newest first", [_letter(letter) for letter in reversed(letters)])


def _shown(title: str, lines: list[str]) -> Iterator[str]:
    if not lines:
        return
    yield f"{title}:"
    yield from (f"  {line}" for line in lines[:_SHOWN])
    if len(lines) > _SHOWN:
        yield f"  and {len(lines) - _SHOWN} more"


def _count(log: RestoredLog) -> int:
    return len(log.times)


def _weight(log: RestoredLog) -> tuple[int, str]:
    return -sum(log.sizes), log.user_id


def _log(log: RestoredLog) -> str:
    where = f"offsets {log.low} to {log.head}" if len(log.times) else f"empty, head {log.head}"
    return f"{log.user_id}  {where}, {_size(sum(log.sizes))}  epoch {log.epoch}"


def _letter(letter: Letter) -> str:
    about = {"user": letter.user_id, "thread": letter.thread_id, "event": letter.event_id}
    names = "".join(f"  {name} {value}" for name, value in about.items() if value is not None)
    span = "" if letter.first is None else f"  {letter.first} to {letter.last}"
    return f"{_time(letter.at)}  {letter.cause.value}  {letter.count} events{names}{span}"


# --- events ---------------------------------------------------------------------


def _exported(path: Path) -> Iterator[str]:
    """Return each event as a line of JSON; one that is damaged is null."""
    with inspected(path) as found:
        for event in found.events():
            facts = {"user_id": event.user_id, "offset": event.offset, "stored": event.at}
            body = msgspec.Raw(b"null" if event.text is None else event.text)
            yield msgspec.json.encode({**facts, "event": body}).decode()


def _explained(path: Path, event_id: str) -> Iterator[str]:
    with inspected(path) as found:
        logs = {log.user_id: log for log in found.restored.logs}
        for event in found.find(event_id):
            yield _explanation(event_id, event, logs[event.user_id])
        for given in found.restored.given_ids:
            if given.event_id == event_id:
                yield f"{event_id}: an id that its emitter chose, thread {given.thread_id}, seq {given.seq}"
        for letter in found.letters():
            if letter.event_id == event_id:
                yield f"{event_id}: dropped, {_letter(letter)}"


class _Facts(msgspec.Struct):
    thread_id: str = "?"
    seq: int = 0
    type: str = "?"


def _explanation(event_id: str, event: Retained, log: RestoredLog) -> str:
    facts = msgspec.json.decode(event.text or b"{}", type=_Facts)
    if _has(log.acked, event.offset):
        fate = "acked by a device"
    else:
        fate = "written to a socket, not acked" if event.offset <= log.written else "not written yet"
    where = f"thread {facts.thread_id}, seq {facts.seq} → owner {event.user_id} → offset {event.offset}"
    return f"{event_id}: {facts.type}, {where} → stored {_time(event.at)} → {fate}"


def _has(spans: Spans, offset: int) -> bool:
    return any(first <= offset <= last for first, last in spans)


# --- numbers for people -----------------------------------------------------------


def _time(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if at else "never"
    except (ValueError, OverflowError, OSError):
        return f"{at:g}"


def _size(count: int) -> str:
    for unit, size in (("MiB", 1024**2), ("KiB", 1024)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
