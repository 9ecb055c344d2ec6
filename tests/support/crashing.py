"""Parts of the runtime that fail once, to make the actor that has them in hand crash."""

from __future__ import annotations

from typing import Any

from actors.users.presence import Acked


class FaultyLedger:
    """Fails once, as a bug in the books would; the actor that has it in hand crashes."""

    user_id = "alice"

    def __init__(self) -> None:
        self._failed = False

    def ack(self, first: int, last: int) -> int:
        if not self._failed:
            self._failed = True
            raise ZeroDivisionError("a bug in the books")
        return 0


def crash() -> Acked:
    """A message that a user's actor crashes on."""
    ledger: Any = FaultyLedger()
    return Acked(ledger, [(1, 1)])
