"""A thread's route: what its events touch on their way, from the store through the books to the owner's devices.

A binding decides all of it, so it is found once for each change of owner and of
epoch, and not by name for each event. In place, among thousands of threads,
six look-ups in dictionaries that no cache holds take as long as the rest of a
placement.

Nothing has to tell a route that it is out of date, and so nothing can forget
to. Each part of it is either good for ever or is found out by the comparison
that the step makes anyway:

- The store's part leads to the thread, and not to an owner: it is good for as
  long as the store is.
- The ledger takes an event only if it has the log's present epoch, and the
  answer names this epoch. Epochs are not given twice, so that it is no other
  owner's. An event that it does not take is noted by name.
- The presence of a user that was forgotten has no devices, and is looked up by
  name. It is dropped with the ledger, because then the owner may be another one.
"""

from __future__ import annotations

from typing import Any

from actors.delivery.ledger import Ledger
from actors.users.presence import Presence


class Route:
    """The way of one thread's events; empty at first."""

    __slots__ = ("generation", "ledger", "presence", "store")

    def __init__(self) -> None:
        self.store: Any = None
        """The store's part, given back to it with each event."""
        self.generation: str | None = None
        """The thread's generation, given to the store with each event; ``None`` while it is not known."""
        self.ledger: Ledger | None = None
        """The books of the owner's log."""
        self.presence: Presence | None = None
        """The owner's devices, if there were any at the last event."""

    def __repr__(self) -> str:
        ledger = "no ledger" if self.ledger is None else repr(self.ledger)
        return f"<Route generation={self.generation} {ledger} {self.presence!r}>"
