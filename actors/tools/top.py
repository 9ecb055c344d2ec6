"""``actors top``: the tree of a server, live, in a terminal."""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import attrs
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from actors.control import requests
from actors.control.answers import DeviceAnswer, StatusAnswer, TreeAnswer, UserAnswer
from actors.control.client import Client
from actors.kernel.failures import printable
from actors.tools.control_text import size

if sys.platform != "win32":
    import termios
    import tty

_HEADER_LINES = 6
_THREADS_SHOWN = 3
_KEYS = "q quits, space shows the next users, b the first"


@attrs.frozen(kw_only=True)
class Frame:
    """One look at a server."""

    status: StatusAnswer
    tree: TreeAnswer


def top(client: Client, *, once: bool, seconds: float) -> int:
    """Show frames until q or Ctrl-C, or one; returns the exit status."""
    console = Console()
    if once:
        console.print(render(look(client, None, 50), None, lines=None))
        return 0
    after: str | None = None
    before: Frame | None = None
    try:
        with _keys() as pressed, Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                frame = look(client, after, max(console.height - _HEADER_LINES, 1))
                live.update(render(frame, before, lines=console.height), refresh=True)
                before = frame
                key = pressed(seconds)
                if key == "q":
                    return 0
                after = frame.tree.after if key == " " else None if key == "b" else after
    except KeyboardInterrupt:
        return 0


def look(client: Client, after: str | None, limit: int) -> Frame:
    """Ask for a frame."""
    status = client.ask(requests.Status(), StatusAnswer)
    return Frame(status=status, tree=client.ask(requests.Tree(after=after, limit=min(limit, 200)), TreeAnswer))


def render(frame: Frame, before: Frame | None, *, lines: int | None) -> Group:
    """Lay out a frame, with rates since the one before; at most so many lines."""
    status = frame.status
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column(no_wrap=True, overflow="ellipsis", width=14)
    for width in (10, 8, 7, 9):
        table.add_column(justify="right", no_wrap=True, width=width)
    table.add_row(*(Text(word, style="bold") for word in ("user", "state", "events", "unacked", "lag", "waiting")))
    rows = list(_rows(frame, before))
    room = len(rows) if lines is None else max(lines - _HEADER_LINES, 1)
    for row in islice(rows, room):
        table.add_row(*row)
    hidden = f"{len(rows) - room} more lines; " if len(rows) > room else ""
    shown = f"{len(frame.tree.users):,} of {frame.tree.total:,} users; {hidden}{_KEYS}"
    return Group(
        Text(printable(status.text), style="bold", no_wrap=True, overflow="ellipsis"),
        Text(_rates(frame, before), no_wrap=True, overflow="ellipsis"),
        Text(_state(status), no_wrap=True, overflow="ellipsis"),
        table,
        Text(shown, style="dim", no_wrap=True, overflow="ellipsis"),
    )


def _rates(frame: Frame, before: Frame | None) -> str:
    now = frame.status
    if before is None:
        return f"events {now.events.accepted:,}  acked {now.events.acked:,}  written {size(now.written_bytes)}"
    then, passed = before.status, max(frame.status.at - before.status.at, 1e-3)
    emitted = (now.events.accepted - then.events.accepted) / passed
    acked = (now.events.acked - then.events.acked) / passed
    written = (now.written_bytes - then.written_bytes) / passed
    return f"events {emitted:,.0f}/s  acked {acked:,.0f}/s  written {size(int(written))}/s"


def _state(status: StatusAnswer) -> str:
    return (
        f"connections {status.connections:,} ({status.connections_behind:,} behind)  runs {status.runs:,}"
        f"  failures {status.failures:,}  late {status.loop_lag_seconds * 1000:.0f} ms  process {status.pid}"
    )


def _rows(frame: Frame, before: Frame | None) -> Iterator[tuple[Text, ...]]:
    known = {} if before is None else {one.user_id: one for one in before.tree.users}
    passed = 1.0 if before is None else max(frame.status.at - before.status.at, 1e-3)
    for user in frame.tree.users:
        yield _user(user, known.get(user.user_id), passed)
        yield from _below(user)


def _user(user: UserAnswer, before: UserAnswer | None, passed: float) -> tuple[Text, ...]:
    rate = f"{user.head:,}" if before is None else f"{(user.head - before.head) / passed:,.0f}/s"
    state, style = f"{user.devices_total:,} device{'' if user.devices_total == 1 else 's'}", ""
    if user.quarantined is not None:
        state, style = "out of service", "bold red"
    elif not user.devices_total:
        state, style = "away", "yellow" if user.unacked else "dim"
    lag = max((one.lag_events for one in user.devices), default=0)
    name = Text(printable(user.user_id), style="bold")
    return name, Text(state, style=style), Text(rate), Text(f"{user.unacked:,}"), Text(f"{lag:,}"), Text("")


def _below(user: UserAnswer) -> Iterator[tuple[Text, ...]]:
    for device in user.devices:
        yield _device(device)
    for run in user.runs:
        yield _row(f" run {run.run_id} of {run.agent_name}", run.state)
    for thread in user.threads[:_THREADS_SHOWN]:
        yield _row(f" thread {thread.thread_id}", "" if thread.quarantined is None else "out of service")
    hidden = user.threads_total - _THREADS_SHOWN
    if hidden > 0:
        yield _row(f" and {hidden:,} more threads", "")


def _device(device: DeviceAnswer) -> tuple[Text, ...]:
    waiting = device.backlog_bytes if device.pending_bytes is None else device.pending_bytes
    style = "yellow" if device.lag_events or device.backlog_bytes else "green"
    kind = "" if device.kind == "v1" else f" ({device.kind})"
    acked = "" if device.cursor is None else f"acked {device.cursor:,}"
    return (
        Text(f" {device.label}{kind}"),
        Text(device.state, style=style),
        Text(acked),
        Text(""),
        Text(f"{device.lag_events:,}"),
        Text(size(waiting)),
    )


def _row(name: str, state: str) -> tuple[Text, ...]:
    empty = Text("")
    return Text(printable(name)), Text(state), empty, empty, empty, empty


class Pressed:
    """The keys of a terminal, of which each is waited for; without a terminal there is none."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd

    def __call__(self, seconds: float) -> str:
        """Wait for a key; return it, or nothing where none is pressed in time."""
        if self._fd is None:
            threading.Event().wait(seconds)
            return ""
        ready, _, _ = select.select([self._fd], [], [], seconds)
        return os.read(self._fd, 1).decode(errors="replace") if ready else ""


@contextmanager
def _keys() -> Iterator[Pressed]:
    """Read keys as they are pressed in the block, where standard input is a terminal."""
    stream = sys.stdin
    if stream is None or not stream.isatty() or sys.platform == "win32":
        yield Pressed(None)
        return
    fd = stream.fileno()
    before = termios.tcgetattr(fd)
    tty.setcbreak(fd)
    try:
        yield Pressed(fd)
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
