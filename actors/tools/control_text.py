"""The answers of the control socket as people read them: the sentence first, then a line for each thing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from actors.control.answers import (
    AuditAnswer,
    Connections,
    Count,
    DeadLetters,
    DeviceAnswer,
    ExplainAnswer,
    Failures,
    RangeAnswer,
    ReleaseAnswer,
    StatusAnswer,
    TraceLine,
    WhyAnswer,
)
from actors.kernel.failures import printable

_COLUMNS = ("device", "user", "kind", "state", "acked", "sent", "head", "lag", "waiting", "heard")
_ARROWS = {"in": "->", "out": "<-"}


def status_text(told: StatusAnswer) -> list[str]:
    """Show a runtime in numbers."""
    behind = f", {told.connections_behind:,} behind by {told.lag_events_max:,} events at most"
    lines = [
        told.text,
        *(f"- {note}" for note in told.notes),
        f"process {told.pid}, trio-actors {told.version}, {told.state}",
        f"events: accepted {told.events.accepted:,}, retained {told.events.retained:,}, acked {told.events.acked:,},"
        f" held {told.events.held:,}, unconfirmed {told.events.unconfirmed:,}, dropped {told.events.dropped:,}"
        f"{_counts(told.dropped)}",
        f"connections: {told.connections:,} of {told.users:,} users{behind if told.connections_behind else ''},"
        f" {told.backlog_bytes:,} bytes wait; {told.handshakes:,} handshakes",
        f"since the start: {told.connections_opened:,} opened, closed{_counts(told.connections_closed) or ' none'}",
        f"refused handshakes:{_listed(told.handshakes_refused)}",
        f"refused requests:{_listed([one for one in told.requests if one.detail])}",
        f"runs: {told.runs:,} of {told.runs_begun:,} begun, ended{_counts(told.runs_ended) or ' none'};"
        f" {told.asks_open:,} open questions",
        f"failures: {told.failures:,}; restarts{_counts(told.restarts) or ' none'};"
        f" actors out of service: {told.quarantined_now:,}",
        f"the loop was late by {told.loop_lag_seconds * 1000:.0f} ms at most lately",
    ]
    if told.standstill is not None:
        lines.append(f"the loop {told.standstill}")
    return lines + [f"  {one.path}: {one.error} ({_clock(one.at)})" for one in told.quarantined]


def explain_text(told: ExplainAnswer) -> list[str]:
    """Show the fate of an event."""
    return [told.text]


def why_text(told: WhyAnswer) -> list[str]:
    """Show why events are not acked."""
    lines = [told.text, *(f"- {note}" for note in told.notes)]
    lines += [_range(one) for one in told.ranges]
    lines += [f"  {one.text}" for one in told.devices]
    if told.threads_total:
        left = told.threads_total - len(told.threads)
        more = f" and {left:,} more" if left else ""
        lines.append(f"  owner of {', '.join(told.threads)}{more}")
    return lines


def audit_text(told: AuditAnswer) -> list[str]:
    """Show the books."""
    return [told.text, f"users with books: {told.users:,}"]


def connections_text(told: Connections) -> list[str]:
    """Show a page of the connections as a table."""
    lines = table(_COLUMNS, [_row(one) for one in told.connections])
    if told.after is not None:
        lines.append(f"{len(told.connections):,} of {told.total:,}; the next ones with --after {told.after}")
    return lines


def failures_text(told: Failures) -> list[str]:
    """Show the newest failures, the last with its traceback."""
    if not told.failures:
        return ["no failures"]
    lines = [f"{_clock(one.at)}  {one.path}: {one.error} (handling {one.handling})" for one in told.failures]
    more = told.total - len(told.failures)
    return [*([f"{more:,} older ones are not kept"] if more else []), *lines, *told.failures[-1].traceback.splitlines()]


def dead_letters_text(told: DeadLetters) -> list[str]:
    """Show the newest drops."""
    if not told.dead_letters:
        return ["no events were dropped"]
    lines = []
    for one in told.dead_letters:
        where = f"user {one.user_id}" if one.user_id is not None else f"thread {one.thread_id}"
        span = "" if one.first is None else f", {one.first} to {one.last}"
        named = "" if one.event_id is None else f", event {one.event_id}"
        lines.append(f"{_clock(one.at)}  {one.cause}: {one.count:,} of {where}{span}{named}")
    return lines


def release_text(told: ReleaseAnswer) -> list[str]:
    """Show what was released."""
    return [f"{told.path} is back in service"]


def trace_text(line: TraceLine) -> str:
    """Show a line of a trace."""
    at = datetime.fromtimestamp(line.at).strftime("%H:%M:%S.%f")[:-3]
    who = "" if line.device is None else f"{line.device} "
    return printable(f"{at}  {line.kind:7} {who}{_ARROWS.get(line.kind, '')}{' ' * (line.kind in _ARROWS)}{line.text}")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay out rows below their columns, as wide as they need."""
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (columns, *rows)
    ]  # fmt: skip


def size(count: int | None) -> str:
    """Format a number of bytes."""
    return "-" if count is None else f"{count:,} B" if count < 10_000 else f"{count / 1000:,.0f} kB"


def _row(one: DeviceAnswer) -> list[str]:
    numbers = [_number(number) for number in (one.cursor, one.written, one.head)]
    waiting = one.backlog_bytes if one.pending_bytes is None else one.pending_bytes
    heard = "-" if one.heard_at is None else _clock(one.heard_at)
    user = printable(one.user_id or "-")
    return [one.label, user, one.kind, one.state, *numbers, str(one.lag_events), size(waiting), heard]


def _number(number: int | None) -> str:
    return "-" if number is None else str(number)


def _range(one: RangeAnswer) -> str:
    oldest = one.oldest
    named = "" if oldest is None else f": {oldest.type} {oldest.event_id} of thread {oldest.thread_id}"
    since = "" if oldest is None else f" at {_clock(oldest.at)}"
    offsets = f"offset {one.first}" if one.first == one.last else f"offsets {one.first} to {one.last}"
    return f"  {offsets}, {one.stage}{named}{since}"


def _counts(counts: Mapping[str, int]) -> str:
    named = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items(), key=lambda one: -one[1]))
    return f" ({named})" if named else ""


def _listed(counts: Iterable[Count]) -> str:
    return ", ".join(f" {one.name} ({one.detail}) {one.count:,}" for one in counts) or " none"


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at).strftime("%H:%M:%S")
