"""``python -m actors.testing``."""

import sys

from actors.testing.command import main

sys.exit(main())
