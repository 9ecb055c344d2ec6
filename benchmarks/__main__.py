"""``python -m benchmarks <name> [--quick]``: measure one claim of the README on this machine."""

from __future__ import annotations

import importlib
import sys

from actors.tools.arguments import Parser
from actors.tools.terminal import run_command
from benchmarks import beside, durable, spread


def main() -> None:
    """Run the benchmark that the command line names."""
    parser = Parser(prog="python -m benchmarks", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True, metavar="name")
    quick = Parser(add_help=False)
    quick.add_argument("--quick", action="store_true", help="a look, within a minute, instead of a measurement")
    spread.options_into(names.add_parser("spread", parents=[quick], help="delivery over many connections"))
    beside.options_into(names.add_parser("beside", parents=[quick], help="what bad devices cost the others"))
    durable.options_into(names.add_parser("durable", parents=[quick], help="what it costs to have events on the disk"))
    names.add_parser("mailbox", parents=[quick], help="the cost of one hop between two actors")
    options = parser.parse_args()
    if options.name == "spread":
        spread.main(options)
    elif options.name == "beside":
        beside.main(options)
    elif options.name == "durable":
        durable.main(options)
    else:
        # Only now, so that the other benchmarks do not depend on its imports.
        importlib.import_module(f"benchmarks.{options.name}").main(options.quick)


if __name__ == "__main__":
    sys.exit(run_command(main, "benchmarks"))
