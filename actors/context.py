"""The record that all parts of one runtime share: its bounds, its clocks and chance, and the observer of failures."""

from __future__ import annotations

import attrs

from actors.environment import Environment
from actors.kernel.failures import Failures
from actors.limits import Limits


@attrs.frozen(kw_only=True)
class Context:
    """The bounds, clocks and failures of one runtime; the contexts of actors add their neighbours."""

    limits: Limits
    environment: Environment
    failures: Failures
