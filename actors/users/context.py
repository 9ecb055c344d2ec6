"""The record that a user's actor is given: its neighbours."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from actors.context import Context
from actors.delivery.accounts import Accounts
from actors.users.presence import Presence


@attrs.frozen(kw_only=True)
class UserContext(Context):
    """The neighbours of a user actor: the books, and the way to the flusher."""

    accounts: Accounts
    secret: Callable[[], bytes]
    """The store's secret, with which sessions are signed."""
    mark: Callable[[Presence], None]
    """Asks the flusher to write to a user's devices in this tick."""
