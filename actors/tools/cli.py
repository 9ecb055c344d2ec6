"""The command line: ``actors serve``, ``demo`` and ``journal``, and the clients of :mod:`actors.tools.watch`."""

from __future__ import annotations

import argparse
import gc
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from actors.tools import control
from actors.tools.arguments import (
    Parser,
    Version,
    address,
    host,
    identifier,
    origin,
    port,
    seconds,
    store,
    web_address,
)
from actors.tools.control_place import AUTO, NONE, control_place
from actors.tools.log_format import LEVELS, show_log
from actors.tools.terminal import run_command
from actors.tools.watch import add_commands, run

if TYPE_CHECKING:
    from actors.tools.demo import DemoOptions
    from actors.tools.serve import ServeOptions

# What one command alone needs is imported where that begins, because an operator in trouble asks many times.

_PORT = 8765
_LINGER_SECONDS = 2.0
_DRAIN_SECONDS = 10.0

_END = """\
examples:
  actors demo               a page to try it on, and an assistant that answers
  actors serve --help       what a command takes, and its exit statuses
  actors why alice          why a user of the server that runs lacks an event
"""

_SERVE = """\
Deliver agent events to the devices of their users, over WebSockets at /ws.
Without --stdin it serves until SIGTERM or Ctrl-C; with it the first such signal
ends the input, and a second one ends the lingering.

With --stdin each line of standard input is an event, a JSON object:
  type       a string
  payload    an object, {} if left out; it is delivered byte for byte
  thread_id, run_id, event_id, user_id
             strings, at the top level or else in the payload. Only thread_id
             is required. user_id binds the thread to that user. An event_id
             makes the line idempotent: repeated, it is not delivered again.
Other fields are ignored. A bad line is reported on standard error with its
number, counted, and stops nothing. While a user has devices, reading waits
for them, so that a long input is not shed.
"""

_SERVE_END = """\
receipts:
  {"line":7,"event_id":"e1","thread_id":"t1","seq":3,"offset":9,
   "stage":"STORED","timestamp":1756905054.03}
  One line on standard output for each stage that an event goes through, in
  order: BUFFERED (its thread has no owner yet), STORED (in its owner's log),
  WRITTEN (handed to a socket), ACKED (a device acked it), UNCONFIRMED (written,
  and left the log without an ack), DROPPED (with a "cause"). ACCEPTED is
  reported only while an event waits for the store. seq and offset are null
  until they are known; timestamp is when the stage was seen, in seconds since
  1970.

exit status:
  0  every event was at least written to a device (bad lines beside good ones do
     not count); without --stdin: ended by a signal
  1  some event was not, or every line was bad, or the runtime failed
  2  it could not start, or a standard stream could not be read or written;
     a reader of the receipts that closes its end is no failure
"""

_DEMO = """\
Serve an assistant, and a page to talk to it with: type a message, and watch its
run arrive, each event with its stage.

With --once a device in the same process asks one question over a real socket:
it shows each event of the answer as it arrives with seq, offset and stage, then
the explanation of each, then the audit. The exit status is 0 only if all
arrived in order and were acked; 1 otherwise, after a line for each problem; 2
if it could not start or the output cannot be written; 130 after Ctrl-C.
"""


_JOURNAL = """\
Show the file of a journal: its lives, users, threads, runs and dead letters.
It may be in use meanwhile. Nothing is written, but with --vacuum.

exit status:
  0  it was shown, and with --check every row is as it was written
  1  with --check something is damaged, with --explain no such event is there
  2  it is no journal, or cannot be read, or with --vacuum is in use
"""


_COLLECTOR_THRESHOLDS = (50_000, 20, 100)
"""Python's own are sized for scripts: with 1,000 connections a full collection takes 70 ms, every second or so."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command, as the last thing in this process; returns the exit status."""
    return run_command(lambda: _main(argv), "actors")


def _main(argv: Sequence[str] | None) -> int:
    parser, commands = _parser()
    arguments = parser.parse_args(argv)
    show_log(getattr(arguments, "log_format", "text"), getattr(arguments, "log_level", "warning"))
    gc.set_threshold(*_COLLECTOR_THRESHOLDS)
    if arguments.command == "journal":
        from actors.tools.journal import JournalOptions, journal  # noqa: PLC0415 - this command's alone

        return journal(JournalOptions(path=arguments.path, action=arguments.action, explain=arguments.explain))
    if (status := control.run(arguments)) is not None:
        return status
    if arguments.command not in commands:
        return run(arguments)
    if arguments.command == "serve":
        from actors.tools.serve import serve  # noqa: PLC0415 - the same

        return trio.run(serve, _serve_options(commands["serve"], arguments))
    from actors.tools.demo import demo  # noqa: PLC0415 - the same

    return trio.run(demo, _demo_options(commands["demo"], arguments))


def _parser() -> tuple[Parser, dict[str, Parser]]:
    parser = Parser(
        prog="actors", description="Agent events into threads, out to every device, each accounted for.",
        epilog=_END, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--version", action=Version)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    serving = _command(commands, "serve", "deliver events to devices", _SERVE, _SERVE_END)
    serving.add_argument("--port", type=port, default=_PORT, help=f"port to listen on, 0 for a free one ({_PORT})")
    serving.add_argument("--tokens", type=Path, metavar="FILE", help=(
        'TOML with a line token = "user" for each user who may connect; without it only loopback may be bound,'
        " and the token is the user's name"
    ))  # fmt: skip
    serving.add_argument("--origin", type=origin, action="append", metavar="ORIGIN", help=(
        "the origin of pages that may connect, such as https://chat.example.com; once for each, and * is every one"
        " (that of the address which is asked)"
    ))  # fmt: skip
    serving.add_argument("--stdin", action="store_true", help="read events from standard input")
    serving.add_argument("--user", type=identifier("user"), metavar="NAME", help=(
        "owner of threads for which no line names a user; without it and without --tokens that is the first"
        " user who connects; with --tokens their events wait, 60 s at most, for a line with a user"
    ))  # fmt: skip
    serving.add_argument("--receipts", action="store_true", help="print receipts of the events as they advance")
    serving.add_argument("--linger", type=seconds, metavar="SECONDS", help=(
        "time for devices to take and ack events that are under way at the end of input (2)"
    ))  # fmt: skip
    serving.add_argument("--echo", action="store_true", help=(
        "echo messages at /echo, without authentication, for WebSocket conformance suites"
    ))  # fmt: skip
    _add_programs(serving)
    showing = _command(commands, "demo", "show events delivered, with a scripted assistant", _DEMO, None)
    showing.add_argument("--port", type=port, help=f"port to listen on ({_PORT}; with --once a free one)")
    showing.add_argument("--agent", choices=("scripted", "approval", "mcp", "agui"), default="scripted", help=(
        "the agent: a scripted assistant, one that asks for approval first, one that calls tools of an MCP"
        " server in the same process, which needs the extra [examples], or agui: the second on a page that is a client"
        " of AG-UI (scripted)"
    ))  # fmt: skip
    showing.add_argument("--once", action="store_true", help="ask one question, with a device of its own")
    showing.add_argument("--json", action="store_true", help="with --once: one JSON object per line")
    _add_journal(commands)
    add_commands(commands)
    control.add_commands(commands)
    return parser, {"serve": serving, "demo": showing}


def _add_programs(serving: Parser) -> None:
    more = serving.add_argument_group("programs in other languages", "needs the extra [http]")
    more.add_argument("--http", type=address, metavar="HOST:PORT", help=(
        "serve the API over HTTP there; without --keys only loopback may be bound, and every program may call"
    ))  # fmt: skip
    more.add_argument("--keys", type=Path, metavar="FILE", help=(
        'TOML with a line name = "key" for each program that may call the API, or a table [name] with key, threads,'
        " users and admin"
    ))  # fmt: skip
    more.add_argument("--message-url", type=web_address, metavar="URL", help="a program that answers users' messages")
    more.add_argument("--undelivered-url", type=web_address, metavar="URL", help=(
        "a program to be told of each event that no device acked within a minute"
    ))  # fmt: skip
    more.add_argument("--webhook-secret", type=Path, metavar="FILE", help="the secret that signs requests to both")


def _add_journal(commands: argparse._SubParsersAction[Parser]) -> None:
    showing = commands.add_parser(
        "journal", help="show the file of a journal", description=_JOURNAL,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    showing.add_argument("path", type=Path, metavar="PATH", help="the file")
    one = showing.add_mutually_exclusive_group()
    for action, text in (
        ("check", "check the structure of the file, and the checksum of every row"),
        ("export", "print every retained event, a JSON object a line, in order"),
        ("vacuum", "give room that it does not need back to the disk; it must not be in use"),
    ):
        one.add_argument(f"--{action}", action="store_const", dest="action", const=action, help=text)
    one.add_argument("--explain", type=identifier("event_id"), metavar="EVENT_ID", help="say what became of an event")


def _command(commands: argparse._SubParsersAction[Parser], name: str, help_: str, text: str, end: str | None) -> Parser:
    command = commands.add_parser(
        name, help=help_, description=text, epilog=end, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("--host", type=host, default="127.0.0.1", help="address to listen on (127.0.0.1)")
    command.add_argument("--drain", type=seconds, metavar="SECONDS", help=(
        "time, after a signal, for runs to finish and for devices to take and ack their events (10); a second"
        " signal ends the server at once"
    ))  # fmt: skip
    command.add_argument("--control", type=control_place, default=AUTO, metavar="PATH", help=(
        "the control socket, over which `actors status`, `why` and their like ask; none: there is none (one that they"
        " find)"
    ))  # fmt: skip
    command.add_argument("--log-format", choices=("text", "json"), default="text", help=(
        "the log on standard error: lines for people, or JSON, an object a line (text)"
    ))  # fmt: skip
    command.add_argument("--log-level", choices=LEVELS, default="warning", help=(
        "the least that is logged; info adds what needs no act (warning)"
    ))  # fmt: skip
    command.add_argument("--store", type=store, metavar="STORE", help=(
        "where events are kept: memory, which ends with the process, or sqlite:PATH, a file with which the next"
        " process goes on; one process at a time (memory)"
    ))  # fmt: skip
    return command


def _serve_options(parser: Parser, arguments: argparse.Namespace) -> ServeOptions:
    if not arguments.stdin and (arguments.receipts or arguments.user is not None or arguments.linger is not None):
        parser.error("--receipts, --user and --linger speak of events on standard input: expected --stdin with them")
    if arguments.stdin and arguments.drain is not None:
        parser.error("with --stdin a signal is the end of the input: expected --linger in the place of --drain")
    if arguments.keys is not None and arguments.http is None:
        parser.error("--keys says which programs may call: expected --http with it")
    has_webhooks = arguments.message_url is not None or arguments.undelivered_url is not None
    if has_webhooks != (arguments.webhook_secret is not None):
        parser.error("--webhook-secret signs what --message-url and --undelivered-url get: expected both or none")
    from actors.tools.programs import ProgramOptions  # noqa: PLC0415 - the same
    from actors.tools.serve import ServeOptions  # noqa: PLC0415 - the same

    return ServeOptions(
        host=arguments.host,
        port=arguments.port,
        store=arguments.store,
        control=arguments.control,
        tokens=arguments.tokens,
        origins=arguments.origin,
        stdin=arguments.stdin,
        receipts=arguments.receipts,
        linger_seconds=_LINGER_SECONDS if arguments.linger is None else arguments.linger,
        user_id=arguments.user,
        drain_seconds=_DRAIN_SECONDS if arguments.drain is None else arguments.drain,
        echo=arguments.echo,
        programs=ProgramOptions(
            http=arguments.http,
            keys=arguments.keys,
            message_url=arguments.message_url,
            undelivered_url=arguments.undelivered_url,
            secret=arguments.webhook_secret,
        ),
    )


def _demo_options(parser: Parser, arguments: argparse.Namespace) -> DemoOptions:
    if arguments.json and not arguments.once:
        parser.error("--json tells what --once saw: expected --once with it")
    if arguments.once and arguments.drain is not None:
        parser.error("--once ends with its question: expected no --drain with it")
    from actors.tools.demo import DemoOptions  # noqa: PLC0415 - the same

    return DemoOptions(
        host=arguments.host,
        port=arguments.port if arguments.port is not None else 0 if arguments.once else _PORT,
        store=arguments.store,
        control=NONE if arguments.once and arguments.control == AUTO else arguments.control,
        once=arguments.once,
        json=arguments.json,
        agent=arguments.agent,
        drain_seconds=_DRAIN_SECONDS if arguments.drain is None else arguments.drain,
    )
