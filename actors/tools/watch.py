"""``actors watch``, ``send`` and ``cancel``: a client for debugging."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Any, TypeAlias

import attrs
import msgspec
import trio

from actors.client import (
    Active,
    Ask,
    AskClosed,
    CaughtUp,
    Event,
    Gap,
    Inactive,
    Origin,
    Reset,
    Session,
    State,
    connect,
)
from actors.errors import ActorsError
from actors.events.event import explain_json
from actors.kernel.failures import printable
from actors.tools.arguments import Parser, Wrong, count, identifier, patience, text, token
from actors.tools.signals import open_signals
from actors.tools.terminal import CannotStart, StreamFailed, complain, descriptor, encoded, output, write

TOKEN_VARIABLE = "ACTORS_TOKEN"  # noqa: S105 - its name
"""The environment variable that holds the token, where no ``--token`` does."""

_BEGINS_AS_OBJECT = re.compile(r'\s*\{\s*"')

NO_ANSWER = 3
"""The exit status when the server did not answer in time."""


@attrs.frozen(kw_only=True)
class ClientOptions:
    """The options of the command line."""

    url: str
    token: str | None
    json: bool = False
    origin: Origin = "unacked"
    count: int | None = None
    timeout_seconds: float = 10.0


async def watch(options: ClientOptions) -> int:
    """Print a user's events until a signal, or until ``count`` of them were printed; returns the exit status."""
    return await _with_session(options, lambda session: _print(session, options), interrupted=0)


async def send(options: ClientOptions, payload: dict[str, Any], thread_id: str | None, type_: str) -> int:
    """Place a message, and print its ids and offset; returns the exit status."""

    async def ask(session: Session) -> int:
        await _print_line(_json(await session.send(payload, thread_id=thread_id, type=type_)))
        return 0

    return await _with_session(options, lambda session: _in_time(session, options, ask))


async def cancel(options: ClientOptions, run_id: str) -> int:
    """Cancel a run, and print the runs that stopped; returns the exit status."""

    async def ask(session: Session) -> int:
        cancellation = await session.cancel(run_id)
        await _print_line(_json(cancellation))
        return 1 if cancellation.running else 0

    return await _with_session(options, lambda session: _in_time(session, options, ask))


def payload_of(words: str) -> dict[str, Any]:
    """Read a payload: a JSON object as it is, anything else as the text of a message.

    Raises :class:`~actors.tools.arguments.Wrong` for text that begins as a JSON
    object, ``{"``, and cannot be sent as one.
    """
    found = text(words)
    try:
        return msgspec.json.decode(found, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        if not _BEGINS_AS_OBJECT.match(found):
            return {"text": found}
        raise Wrong(
            f"expected a JSON object, got one that cannot be read: {explain_json(found, error, 'payload')}"
        ) from None


async def _with_session(
    options: ClientOptions, work: Callable[[Session], Awaitable[int]], *, interrupted: int | None = None
) -> int:
    """Run ``work`` with a session, to its end or to a signal. A second signal ends the closing handshake, too.

    After a signal the status is ``interrupted``, if that is given.
    """
    output()  # checked first, because events would otherwise be acked without having been shown
    status, number = 0, 0
    working, failed_streams = trio.CancelScope(), list[StreamFailed]()

    async def listen(signals: AsyncIterator[int]) -> None:
        nonlocal number
        number = await anext(signals)
        working.cancel()
        await anext(signals)
        nursery.cancel_scope.cancel()

    def report(state: State) -> None:
        try:
            _report(state)
        except StreamFailed as error:
            failed_streams.append(error)

    with open_signals() as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen, signals)
            try:
                async with connect(options.url, token=options.token, origin=options.origin, on_state=report) as session:
                    with working:
                        status = await work(session)
            except BrokenPipeError:
                pass  # the reader of the output has closed its end
            except ActorsError:
                raise
            except ValueError as error:
                raise CannotStart(str(error)) from None
            nursery.cancel_scope.cancel()
    if failed_streams:
        raise failed_streams[0]
    if not number:
        return status
    return 128 + number if interrupted is None else interrupted


async def _print(session: Session, options: ClientOptions) -> int:
    printed = 0
    while options.count is None or printed < options.count:
        item = await anext(session)
        if isinstance(item, Event | Ask):
            await _print_line(_json(item) if options.json else _line(item))
            printed += isinstance(item, Event)
        else:
            complain(_remark(item))
    # Asking for the next item acks the last one; cancelled, it takes none.
    with trio.CancelScope() as scope:
        scope.cancel()
        await anext(session)
    return 0


async def _in_time(session: Session, options: ClientOptions, ask: Callable[[Session], Awaitable[int]]) -> int:
    with trio.move_on_after(options.timeout_seconds):
        return await ask(session)
    why = f": {session.state.text}" if session.state.text else ""
    complain(f"actors: expected an answer within {options.timeout_seconds:g} s{why}")
    return NO_ANSWER


# --- the output ---------------------------------------------------------------------


def _line(item: Event | Ask) -> str:
    """Format an item for people, with nothing in it that a terminal would obey."""
    payload = msgspec.json.encode(item.payload).decode()
    when = _time_of_day(item.timestamp)
    if isinstance(item, Ask):
        return printable(f"{when}  {item.thread_id}  question {item.id}  {item.type}  {payload}")
    seq = item.seq if item.seq0 is None else f"{item.seq0}-{item.seq}"
    return printable(f"{when}  {item.thread_id}  seq {seq}  offset {item.offset}  {item.type}  {payload}")


def _time_of_day(timestamp: float) -> str:
    """Format a time as a clock shows it; as a number, where no calendar has it."""
    try:
        return datetime.fromtimestamp(timestamp).strftime("%H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{timestamp:g}"


def _remark(item: Gap | Reset | CaughtUp | Active | Inactive | AskClosed) -> str:
    match item:
        case Gap(first, last, cause):
            return f"gap: offsets {first} to {last} are gone ({cause})"
        case Reset(epoch, low, cause):
            return f"reset: the log is another one, {epoch}, from offset {low}{f' ({cause})' if cause else ''}"
        case CaughtUp(offset):
            return f"caught up at offset {offset}"
        case Active(run_id=run_id, thread_id=thread_id, waiting=waiting):
            how = "waits for its turn" if waiting else "is active"
            return f"run {run_id} {how} in thread {thread_id}; actors cancel stops it"
        case Inactive(run_id, reason):
            return f"run {run_id} is not active any more: {reason}"
        case AskClosed(name, reason):
            return f"question {name}: {reason}"


def _report(state: State) -> None:
    """Print the changes of state that matter to a person who waits."""
    if state.name == "open":
        complain("connected")
    elif state.name == "waiting":
        complain(f"{state.text}; again in {state.seconds:.1f} s")


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


async def _print_line(line: str) -> None:
    """Write a line, and wait until it is read. Raises BrokenPipeError when no reader is left."""
    fd = descriptor(sys.stdout)
    assert fd is not None, "the caller has checked the output"
    await trio.to_thread.run_sync(write, fd, encoded(f"{line}\n"), abandon_on_cancel=True)


# --- the command line -----------------------------------------------------------------

_TOKEN = f"""\
The token comes from --token, or else from the environment variable
{TOKEN_VARIABLE}, which other users of the machine cannot see; never from the URL.
"""

_WATCH = f"""\
Print a user's events as they come, one per line, and reconnects, gaps and
resets on standard error. This is a device of the user like any other: it acks
the events that it has printed.

{_TOKEN}"""

_WATCH_END = """\
exit status:
  0  ended by Ctrl-C, after --count events, or because the output was closed
  1  the server refused for good, a wrong token for example
  2  the command line was wrong, or the output cannot be written
"""

_SEND = f"""\
Place a message in a thread, or in a new one, and print the server's answer as
JSON: thread_id, event_id, run_id, epoch, seq, offset. A JSON object is the
payload; anything else is its text: hello is {{"text":"hello"}}. Text that begins
with {{" must be a JSON object.

{_TOKEN}"""

_CANCEL = f"""\
Cancel a run and those below it, and print the server's answer as JSON: run_id,
stopped, running.

{_TOKEN}"""

_ASK_END = """\
exit status:
  0    done
  1    the server refused, or a run's code had not stopped after 5 seconds
  2    the command line was wrong, or the output cannot be written
  3    no answer in time; the request may or may not have been carried out
  130  ended by Ctrl-C; the same
"""

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


def add_commands(commands: Commands) -> None:
    """Add ``watch``, ``send`` and ``cancel`` to a command line."""
    watching = _add(commands, "watch", "print a user's events as they come", _WATCH, _WATCH_END)
    watching.add_argument("--json", action="store_true", help="print the events as JSON")
    watching.add_argument("--from", dest="origin", choices=("unacked", "low", "head"), default="unacked", help=(
        "where to begin: at the first event that no device has acked, at the first that the log retains, or after"
        " the last (unacked)"
    ))  # fmt: skip
    watching.add_argument("--count", type=count, metavar="N", help="end after N events")
    sending = _add(commands, "send", "send a message as a user", _SEND, _ASK_END)
    sending.add_argument("--thread", type=identifier("thread"), metavar="ID", help=(
        "the thread of the message; left out, a new one"
    ))  # fmt: skip
    sending.add_argument(
        "--type", type=identifier("type"), default="user_message", help="type of the event (user_message)"
    )
    sending.add_argument("payload", type=payload_of, metavar="TEXT", help="text, or a JSON object")
    cancelling = _add(commands, "cancel", "cancel a run", _CANCEL, _ASK_END)
    cancelling.add_argument("run_id", type=identifier("run_id"), metavar="RUN_ID", help="the run")
    for command in (sending, cancelling):
        command.add_argument("--timeout", type=patience, default=10.0, metavar="SECONDS", help=(
            "time for the server to answer (10)"
        ))  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Run one of the commands that :func:`add_commands` added; returns the exit status."""
    options = ClientOptions(url=arguments.url, token=_token_of(arguments))
    if arguments.command == "watch":
        options = attrs.evolve(options, json=arguments.json, origin=arguments.origin, count=arguments.count)
        return trio.run(watch, options)
    options = attrs.evolve(options, timeout_seconds=arguments.timeout)
    if arguments.command == "send":
        return trio.run(send, options, arguments.payload, arguments.thread, arguments.type)
    return trio.run(cancel, options, arguments.run_id)


def _token_of(arguments: argparse.Namespace) -> str | None:
    found: str | None = arguments.token
    if found is None and (inherited := os.environ.get(TOKEN_VARIABLE)):  # an empty one counts as unset
        try:
            return text(inherited)
        except Wrong as error:
            raise CannotStart(f"{TOKEN_VARIABLE}: {error}") from None
    return found


def _add(commands: Commands, name: str, help_: str, description: str, end: str) -> Parser:
    command = commands.add_parser(
        name, help=help_, description=description, epilog=end, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("url", type=text, metavar="URL", help=(
        "of the server: ws://127.0.0.1:8765/ws, or that of its page, http://127.0.0.1:8765/"
    ))  # fmt: skip
    command.add_argument("--token", type=token, help=f"the user's token; left out, that of {TOKEN_VARIABLE}")
    return command
