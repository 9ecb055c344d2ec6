"""The record that most parts of one runtime are given: its bounds, its clocks and chance, its observers."""

from __future__ import annotations

import attrs

from actors.environment import Environment
from actors.kernel.failures import Failures
from actors.kernel.log_lines import LogLines
from actors.limits import Limits
from actors.observability.instrument import Instruments


def lines_of(limits: Limits, environment: Environment) -> LogLines:
    """Make the log lines of one runtime."""
    return LogLines(limits.warnings, limits.warning_seconds, clock=environment.clock)


@attrs.frozen(kw_only=True)
class Context:
    """The bounds, clocks, failures and instruments of one runtime; the contexts of actors add their neighbours."""

    limits: Limits
    environment: Environment
    failures: Failures
    instruments: Instruments
    lines: LogLines = attrs.Factory(lambda context: lines_of(context.limits, context.environment), takes_self=True)
    """The log, for the person who runs this."""
