"""The record that most parts of one runtime are given: its bounds, its clocks and chance, its observers."""

from __future__ import annotations

import attrs

from actors.environment import Environment
from actors.kernel.failures import Failures
from actors.limits import Limits
from actors.observability.instrument import Instruments


@attrs.frozen(kw_only=True)
class Context:
    """The bounds, clocks, failures and instruments of one runtime; the contexts of actors add their neighbours."""

    limits: Limits
    environment: Environment
    failures: Failures
    instruments: Instruments
