"""What every part of one runtime works with: its bounds, its clocks and chance, and the observer of failures."""

from __future__ import annotations

import attrs

from actors.environment import Environment
from actors.kernel.failures import Failures
from actors.limits import Limits


@attrs.frozen(kw_only=True)
class Context:
    """The record that each part of one runtime is given; that of an actor has the neighbours as well."""

    limits: Limits
    environment: Environment
    failures: Failures
