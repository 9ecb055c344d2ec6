"""``python -m actors.testing``: many seeds, or one with its trace."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from actors.testing.performance import Outcome, perform
from actors.testing.plan import KINDS, plan_of
from actors.testing.progress import Progress
from actors.testing.shrinking import shrink

_SHRINK_SECONDS = 20.0
_SHOWN_COLUMNS = 200


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 when nothing contradicted an invariant."""
    options = _parser().parse_args(arguments)
    only = tuple(options.only.split(",")) if options.only else ()
    if options.seed is not None:
        return _one(options.seed, only, trace=options.trace, width=options.width)
    return _many(range(options.first, options.first + options.seeds), only)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m actors.testing",
        description="Run the whole runtime under seeds, with everything going wrong, and check its invariants.",
    )
    parser.add_argument("--seeds", type=int, default=1_000, metavar="N", help="how many seeds to run (1000)")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first of them (0)")
    parser.add_argument("--seed", type=int, metavar="SEED", help="run one seed, and make its plan as short as it fails")
    parser.add_argument("--trace", action="store_true", help="with --seed: show what happened, as it was planned first")
    parser.add_argument("--width", type=int, default=_SHOWN_COLUMNS, metavar="N", help="columns of a trace (200)")
    parser.add_argument("--only", metavar="KINDS", help=f"allow these actions only, of: {', '.join(KINDS)}")
    return parser


def _many(seeds: range, only: tuple[str, ...]) -> int:
    """Run one seed after the other; each that fails is one line that repeats it."""
    asked = f" --only {','.join(only)}" if only else ""
    progress, failed = Progress(sys.stderr, len(seeds)), 0
    for seed in seeds:
        outcome = perform(plan_of(seed, only))
        if outcome.failed:
            failed += 1
            progress.say(f"python -m actors.testing --seed {seed}{asked}  # {outcome.mismatches[0]}"[:_SHOWN_COLUMNS])
        progress.step(failed)
    progress.say(progress.summary(failed))
    return 1 if failed else 0


def _one(seed: int, only: tuple[str, ...], *, trace: bool, width: int) -> int:
    outcome = perform(plan_of(seed, only))
    if outcome.failed and not trace:
        outcome = _shorter(outcome)
    _print(str(outcome.plan))
    if trace or outcome.failed:
        _print("\n".join(line[:width] for line in outcome.trace))
    for mismatch in outcome.mismatches:
        _print(str(mismatch))
    _print(f"seed {seed}: {'failed' if outcome.failed else 'nothing contradicts an invariant'}")
    return 1 if outcome.failed else 0


def _shorter(outcome: Outcome) -> Outcome:
    """The plan of a failure without the actions that it does not need."""
    wanted = {mismatch.invariant for mismatch in outcome.mismatches}
    progress = Progress(sys.stderr, 0)
    least = shrink(
        outcome.plan,
        lambda plan: any(one.invariant in wanted for one in perform(plan).mismatches),
        lambda: progress.seconds < _SHRINK_SECONDS,
    )
    return perform(least)


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
