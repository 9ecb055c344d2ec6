"""``python -m actors.testing``: many seeds, or one with its trace."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from actors.testing.invariants import listed
from actors.testing.performance import Outcome, perform
from actors.testing.plan import KINDS, Plan, plan_of
from actors.testing.progress import NOTHING, Progress
from actors.testing.shrinking import shrink
from actors.tools.arguments import Parser, Wrong, count, number
from actors.tools.terminal import show

_SEEDS = 1_000
_SHRINK_SECONDS = 20.0
_SHOWN_COLUMNS = 200
_STATUS = """\
exit status:
  0    nothing contradicts an invariant
  1    something does; each seed that shows it is a line that repeats it
  2    the command line was wrong, or the output cannot be written
  130  ended by Ctrl-C, at the end of the seed, or by a second one at once
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 when nothing contradicted an invariant.

    The first Ctrl-C is heeded between two seeds: in the middle of one it would
    be one more misfortune, and its verdict would be about that.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    _check(parser, options)
    with _interruptible() as interrupted:
        if options.seed is not None:
            width = _SHOWN_COLUMNS if options.width is None else options.width
            status = _one(_plan(options, options.seed), interrupted, trace=options.trace, width=width)
        else:
            first, seeds = options.first or 0, options.seeds or _SEEDS
            status = _many(range(first, first + seeds), options, interrupted)
    if interrupted:
        raise KeyboardInterrupt
    return status


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m actors.testing",
        description="Run the whole runtime under seeds, with everything going wrong, and check its invariants.",
        epilog=f"invariants:\n{listed()}\n\n{_STATUS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=count, metavar="N", help=f"how many seeds to run ({_SEEDS})")
    parser.add_argument("--first", type=number, metavar="SEED", help="the first of them (0)")
    parser.add_argument("--seed", type=number, metavar="SEED", help=(
        "run one seed, and make its plan as short as it fails"
    ))  # fmt: skip
    parser.add_argument("--trace", action="store_true", help="with --seed: show what happened, as it was planned first")
    parser.add_argument("--width", type=count, metavar="N", help=f"with --seed: columns of a trace ({_SHOWN_COLUMNS})")
    parser.add_argument("--only", type=_kinds, default=(), metavar="KINDS", help=(
        f"allow these actions only, separated by commas, of: {', '.join(KINDS)}"
    ))  # fmt: skip
    parser.add_argument("--followers", action="store_true", help=(
        "have code of the server's process follow each user besides (runtime.follow)"
    ))  # fmt: skip
    return parser


def _plan(options: argparse.Namespace, seed: int) -> Plan:
    return plan_of(seed, options.only, followers=options.followers)


def _kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(text.split(","))
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise Wrong(f"expected kinds of action, of {', '.join(KINDS)}, got {unknown[0]!r}")
    return kinds


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse what would be ignored."""
    if options.seed is not None and (options.seeds is not None or options.first is not None):
        parser.error("--seed is one, --seeds and --first are many: expected one kind of them")
    if options.seed is None and (options.trace or options.width is not None):
        parser.error("--trace and --width show one seed: expected --seed with them")


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """Yield the list that Ctrl-C puts its number into, while the block lasts; a second Ctrl-C does not wait for the
    seed."""
    interrupted: list[int] = []

    def heed(number: int, _frame: object) -> None:
        if interrupted:
            os._exit(128 + number)  # in the middle of a seed nothing can be unwound: the world shields itself
        interrupted.append(number)

    if threading.current_thread() is not threading.main_thread():  # where no signal arrives
        yield interrupted
        return
    before = signal.signal(signal.SIGINT, heed)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def _many(seeds: range, options: argparse.Namespace, interrupted: list[int]) -> int:
    """Run one seed after the other; each that fails is one line that repeats it."""
    asked = (f" --only {','.join(options.only)}" if options.only else "") + " --followers" * options.followers
    progress, failed = Progress(sys.stderr, len(seeds)), 0
    contradicted: set[int] = set()
    for seed in seeds:
        outcome = perform(_plan(options, seed))
        if outcome.failed:
            failed += 1
            contradicted.update(mismatch.invariant for mismatch in outcome.mismatches)
            progress.say(f"python -m actors.testing --seed {seed}{asked}  # {outcome.mismatches[0]}"[:_SHOWN_COLUMNS])
        progress.step(failed)
        if interrupted:
            break
    progress.say(progress.summary(failed))
    if contradicted:
        progress.say(listed(contradicted))
    return 1 if failed else 0


def _one(plan: Plan, interrupted: list[int], *, trace: bool, width: int) -> int:
    outcome = perform(plan)
    if outcome.failed and not trace:
        outcome = _shorter(outcome, interrupted)
    _print(str(outcome.plan))
    if trace or outcome.failed:
        _print("\n".join(line[:width] for line in outcome.trace))
    for mismatch in outcome.mismatches:
        _print(str(mismatch))
    if outcome.failed:
        _print(listed(mismatch.invariant for mismatch in outcome.mismatches))
    _print(f"seed {plan.seed}: {'failed' if outcome.failed else NOTHING}")
    return 1 if outcome.failed else 0


def _shorter(outcome: Outcome, interrupted: list[int]) -> Outcome:
    """Return the outcome of the plan without the actions that its failure does not need."""
    wanted = {mismatch.invariant for mismatch in outcome.mismatches}
    progress = Progress(sys.stderr, 0)
    least = shrink(
        outcome.plan,
        lambda plan: any(one.invariant in wanted for one in perform(plan).mismatches),
        lambda: progress.seconds < _SHRINK_SECONDS and not interrupted,
    )
    return perform(least)


def _print(text: str) -> None:
    show(f"{text}\n", sys.stdout, "standard output")
