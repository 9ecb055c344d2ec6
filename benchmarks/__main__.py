"""``python -m benchmarks [CLAIM] [--quick]``: measure one claim on this machine, or all of them.

The tables go to standard output, the progress to standard error, if that is a terminal. ``--out FOLDER`` writes the
figures as ``figures.json`` and their plot as ``figures.svg``; figures of other claims that the folder has stay there.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from types import ModuleType

from actors.tools.arguments import Parser
from actors.tools.terminal import run_command, say
from benchmarks.build import machine
from benchmarks.figures import Table
from benchmarks.peers.roster import versions
from benchmarks.progress import Progress
from benchmarks.record import keep

CLAIMS = {
    "spread": "CPU for an event over many connections, beside all peers",
    "calm": "CPU and latency at a calm rate, beside all peers",
    "held": "the highest rate in time, beside all peers",
    "bursts": "events that come eight at once",
    "fan-out": "one user's events to a hundred devices",
    "emit": "an emit by itself, beside an earlier commit's where one is named",
    "aio": "an emit and a token from asyncio",
    "answers": "an ack or a pong by itself, beside an earlier commit's where one is named",
    "idle": "what a connection takes to open, and in memory",
    "memory": "what a thread and a retained event take in memory",
    "fleet": "what many connections take that only answer pings",
    "storm": "many devices that come back at once",
    "growth": "CPU for an event from few threads and connections to many",
    "collector": "a full collection beside many retained events",
    "beside": "what bad devices cost the others",
    "durable": "what it costs to have events on the disk",
    "mailbox": "the cost of one hop between two actors",
    "restarts": "the cost of a crash and a restart",
}
"""Each claim's name and subject, in the order of a run of all."""


def module_of(claim: str) -> ModuleType:
    """Import a claim's module."""
    return importlib.import_module(f"benchmarks.claims.{claim.replace('-', '_')}")


def every(default: str | None = None) -> Parser:
    """Make a parser of the options that a run of one claim and of all have."""
    found = Parser(add_help=False, argument_default=default)
    found.add_argument("--quick", action="store_true", help="a look, within 20 seconds a claim, and no measurement")
    found.add_argument("--out", type=Path, metavar="FOLDER", help="where figures.json and figures.svg are written")
    return found


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    found = Parser(prog="python -m benchmarks", description=__doc__, parents=[every()])
    claims = found.add_subparsers(dest="claim", metavar="CLAIM")
    # Behind a claim's name the options have no defaults, which would undo what stands before it.
    behind = every(argparse.SUPPRESS)
    for name, subject in CLAIMS.items():
        module_of(name).options_into(claims.add_parser(name, parents=[behind], help=subject))
    return found


def main() -> int:
    """Measure, print and write; returns 1 if a run was broken."""
    told = sys.argv[1:]
    options = parser().parse_args(told)
    chosen = [options.claim] if options.claim else list(CLAIMS)
    if options.claim is None:
        flags = [flag for flag in told if flag == "--quick"]
        each = {name: parser().parse_args([name, *flags]) for name in chosen}
    else:
        each = {options.claim: options}
    for facts in (machine(), versions()):
        say("; ".join(f"{name}: {fact}" for name, fact in facts.items()) + "\n")
    broken = False
    for name in chosen:
        tables = measured(name, each[name])
        broken = broken or any(table.broken for table in tables)
        if options.out is not None:
            keep(options.out, tables, " ".join(["python -m benchmarks", *told]))
    return int(broken)


def measured(claim: str, options: argparse.Namespace) -> list[Table]:
    """Measure one claim, and print its tables."""
    progress = Progress(claim)
    tables: list[Table] = module_of(claim).measure(options, progress)
    progress.end()
    for table in tables:
        say(table.text())
    return tables


if __name__ == "__main__":
    sys.exit(run_command(main, "benchmarks"))
