"""The commands that look at a server which runs: ``actors status``, ``why``, ``trace`` and their like.

They ask over its control socket, which ``actors serve`` and ``actors demo`` open.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from actors.control import answers, requests
from actors.control.client import Client, NoAnswer, NoServer, RequestRefused, find
from actors.kernel.failures import printable
from actors.tools import control_text as texts
from actors.tools.arguments import Parser, count, identifier, text
from actors.tools.terminal import CannotStart, complain, descriptor, encoded, output, say, write

NOT_FOUND = 1
"""The exit status for what is not there, and for books that do not add up."""

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"

_END = """\
examples:
{examples}

exit status:
  0  the answer is on standard output
  1  {no}
  2  no server answers: none runs, several do, or its event loop stands still
"""

_REFUSED = "the server refuses the request"

_EXAMPLES_AND_NO = {
    "status": (("status", "status --json"), "the books do not add up"),
    "explain": (("explain report-7", "explain report-7 --thread t1"), "no such event"),
    "why": (("why alice", "why --thread t1", "why --device c3"), "no such user, thread or device"),
    "audit": (("audit",), "the books do not add up"),
    "connections": (("connections --behind", "connections --user alice"), _REFUSED),
    "failures": (("failures",), _REFUSED),
    "dead-letters": (("dead-letters",), _REFUSED),
    "release": (("release users/alice", "release threads/t1"), "no actor of this path is out of service"),
    "trace": (("trace alice",), _REFUSED),
    "top": (("top", "top --once"), _REFUSED),
}
"""Examples of each command, and the meaning of its exit status 1."""

_STATUS = """\
Show a server in numbers: what is the matter in a sentence, then events,
connections, refusals, runs.
"""
_EXPLAIN = "Say where an event is, and why, step by step."
_WHY = """\
Say which events of a user are not acked by any device, and why: one sentence
first, then each range of events and each device. The user is named, or found
by a thread or a device.
"""
_AUDIT = "Show the books in total, and whether each user's add up."
_CONNECTIONS = """\
List the connections: place in the log, lag, bytes that wait, and when each was
last heard.
"""
_FAILURES = "List the newest failures, oldest first, the last one with its traceback."
_DEAD_LETTERS = "List the newest drops: cause, number, user or thread."
_RELEASE = """\
Put an actor that crashed too often back into service: users/NAME or threads/ID,
as `actors status` shows it. `actors failures` shows what to mend before.
"""
_TRACE = """\
Show what happens to a user, as it happens, until Ctrl-C: messages of its
devices (->) and to them (<-), cut to 100 characters, stages of its events,
changes of owner, runs. Where it cannot keep up it says how many lines it left
out.
"""
_TOP = """\
Show the tree of a server live: users with devices, threads and runs, and their
rates, lag and backlog. q or Ctrl-C ends it; space shows the next users, b the
first ones. Needs the extra [top].
"""


def add_commands(commands: Commands) -> None:
    """Add the commands to a command line."""
    _add(commands, "status", "show a server in numbers", _STATUS)
    explaining = _add(commands, "explain", "say where an event is, and why", _EXPLAIN)
    explaining.add_argument("event_id", type=identifier("event_id"), metavar="EVENT_ID", help="the event")
    explaining.add_argument("--thread", type=identifier("thread"), metavar="ID", help=(
        "the thread of the event, where its id names one in several"
    ))  # fmt: skip
    asking = _add(commands, "why", "say why a user's events are not acked", _WHY)
    one = asking.add_mutually_exclusive_group(required=True)
    one.add_argument("user", nargs="?", type=identifier("user"), metavar="USER", help="the user")
    one.add_argument("--thread", type=identifier("thread"), metavar="ID", help="the owner of this thread")
    one.add_argument("--device", type=identifier("device"), metavar="LABEL", help="the user of this device: c3")
    _add(commands, "audit", "show whether the books add up", _AUDIT)
    listing = _add(commands, "connections", "list the connections", _CONNECTIONS)
    listing.add_argument("--user", type=identifier("user"), metavar="NAME", help="those of one user")
    listing.add_argument("--behind", action="store_true", help="those that lack events")
    listing.add_argument("--after", type=identifier("after"), metavar="LABEL", help="those after this one")
    listing.add_argument("--limit", type=count, default=50, metavar="N", help="at most so many (50)")
    _add(commands, "failures", "list the newest failures", _FAILURES)
    _add(commands, "dead-letters", "list the newest drops", _DEAD_LETTERS)
    releasing = _add(commands, "release", "put a quarantined actor back into service", _RELEASE)
    releasing.add_argument("path", type=text, metavar="PATH", help="users/NAME or threads/ID")
    tracing = _add(commands, "trace", "show what happens to a user, live", _TRACE)
    tracing.add_argument("user", type=identifier("user"), metavar="USER", help="the user")
    _add_top(commands)


def run(arguments: argparse.Namespace) -> int | None:
    """Run one of these commands; returns the exit status, ``None`` for a command that is none of them."""
    ask = _ACTS.get(arguments.command)
    if ask is None:
        return None
    output()
    try:
        path = find() if arguments.control is None else arguments.control
        with Client(path) as client:
            return ask(client, arguments)
    except (NoServer, NoAnswer) as error:
        raise CannotStart(str(error)) from None
    except RequestRefused as error:
        complain(f"actors: {error}")
        return NOT_FOUND


# --- one question, one answer ----------------------------------------------------------


def _show(
    client: Client,
    arguments: argparse.Namespace,
    request: requests.Request,
    kind: Any,
    lines_of: Callable[[Any], list[str]],
    found: Callable[[Any], bool] = lambda told: True,
) -> int:
    """Ask, show the answer, and return the exit status."""
    came = client.ask_json(request)
    told = msgspec.convert(came, kind)
    if arguments.json:
        say(msgspec.json.encode(came).decode() + "\n")
    else:
        say("".join(f"{printable(line)}\n" for line in lines_of(told)))
    return 0 if found(told) else NOT_FOUND


def _status(client: Client, arguments: argparse.Namespace) -> int:
    return _show(
        client, arguments, requests.Status(), answers.StatusAnswer, texts.status_text,
        lambda told: told.balanced and told.books_balanced is not False,
    )  # fmt: skip


def _explain(client: Client, arguments: argparse.Namespace) -> int:
    request = requests.Explain(event_id=arguments.event_id, thread_id=arguments.thread)
    return _show(client, arguments, request, answers.ExplainAnswer, texts.explain_text, lambda told: told.known)


def _why(client: Client, arguments: argparse.Namespace) -> int:
    request = requests.Why(user_id=arguments.user, thread_id=arguments.thread, device=arguments.device)
    return _show(client, arguments, request, answers.WhyAnswer, texts.why_text, lambda told: told.known)


def _audit(client: Client, arguments: argparse.Namespace) -> int:
    return _show(
        client, arguments, requests.Audit(), answers.AuditAnswer, texts.audit_text, lambda told: told.balanced
    )  # fmt: skip


def _connections(client: Client, arguments: argparse.Namespace) -> int:
    request = requests.Connections(
        after=arguments.after, limit=arguments.limit, user_id=arguments.user, behind=arguments.behind
    )
    return _show(client, arguments, request, answers.Connections, texts.connections_text)


def _failures(client: Client, arguments: argparse.Namespace) -> int:
    return _show(client, arguments, requests.Failures(), answers.Failures, texts.failures_text)


def _dead_letters(client: Client, arguments: argparse.Namespace) -> int:
    return _show(client, arguments, requests.DeadLetters(), answers.DeadLetters, texts.dead_letters_text)


def _release(client: Client, arguments: argparse.Namespace) -> int:
    return _show(
        client, arguments, requests.Release(path=arguments.path), answers.ReleaseAnswer, texts.release_text
    )  # fmt: skip


# --- live ------------------------------------------------------------------------------


def _trace(client: Client, arguments: argparse.Namespace) -> int:
    """Print lines until Ctrl-C, or until the reader of the output has closed its end."""
    fd = descriptor(sys.stdout)
    assert fd is not None, "the output was checked"
    try:
        for line in client.trace(arguments.user):
            shown = msgspec.json.encode(line).decode() if arguments.json else texts.trace_text(line)
            write(fd, encoded(f"{shown}\n"))
    except (KeyboardInterrupt, BrokenPipeError):
        return 0
    raise NoAnswer("the server has ended")


def _top(client: Client, arguments: argparse.Namespace) -> int:
    try:
        from actors.tools.top import top  # noqa: PLC0415 - the extra may not be installed
    except ImportError as error:
        text = f"{error.name or error} is not installed; in the checkout: pip install '.[top]'"
        raise CannotStart(f"actors top needs the extra [top]: {text}") from None
    return top(client, once=arguments.once, seconds=arguments.every)


_ACTS: dict[str, Callable[[Client, argparse.Namespace], int]] = {
    "status": _status,
    "explain": _explain,
    "why": _why,
    "audit": _audit,
    "connections": _connections,
    "failures": _failures,
    "dead-letters": _dead_letters,
    "release": _release,
    "trace": _trace,
    "top": _top,
}


def _add(commands: Commands, name: str, help_: str, description: str, *, json: bool = True) -> Parser:
    examples, no = _EXAMPLES_AND_NO[name]
    end = _END.format(examples="\n".join(f"  actors {example}" for example in examples), no=no)
    command = commands.add_parser(
        name, help=help_, description=description, epilog=end, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("--control", type=Path, metavar="PATH", help=(
        "the control socket of the server; left out, that of the one server of this account that runs"
    ))  # fmt: skip
    if json:
        command.add_argument("--json", action="store_true", help="print the answer as JSON")
    return command


def _add_top(commands: Commands) -> None:
    showing = _add(commands, "top", "show the tree of a server, live", _TOP, json=False)
    showing.add_argument("--once", action="store_true", help="print one frame, and end")
    showing.add_argument("--every", type=count, default=1, metavar="SECONDS", help="time between two frames (1)")
