"""``python -m actors.testing``."""

import sys

from actors.testing.command import main
from actors.tools.terminal import run_command

if __name__ == "__main__":
    sys.exit(run_command(main, "actors.testing"))
