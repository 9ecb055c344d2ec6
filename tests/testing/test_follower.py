"""Followers in the simulation: held to what connections are held to, so that a broken one is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from actors.connections.current import Current
from actors.connections.follower import Follower
from actors.events.items import Cursor
from actors.testing.performance import perform
from actors.testing.plan import plan_of


@pytest.mark.parametrize("seed", range(8))
def test_nothing_contradicts(seed: int) -> None:
    """Whatever goes wrong around them, followers are handed what devices are, and count for no more than they took."""
    outcome = perform(plan_of(seed, followers=True))
    assert outcome.mismatches == []
    assert any("follows after" in line for line in outcome.trace)


def acks_at_once(take: Callable[[Follower], Any]) -> Callable[[Follower], Any]:
    """Acks what it hands out, before the consumer has come back."""

    def take_and_ack(self: Follower) -> Any:
        item = take(self)
        if item is not None and self.subscription is not None:
            self._in_hand = Cursor(self.subscription.ledger.epoch, self.subscription.cursor.position)
            if (acked := self.come_back()) is not None:
                self._presence.address.tell(acked)
        return item

    return take_and_ack


def tells_nothing(put: Callable[..., bool]) -> Callable[..., bool]:
    """Forgets what is told beside the log."""
    return lambda self, told, head: True


def tells_no_reset(reset: Callable[..., None]) -> Callable[..., None]:
    """Goes on in another epoch without a word."""

    def reset_silently(self: Follower, *arguments: Any) -> None:
        reset(self, *arguments)
        self._first.clear()

    return reset_silently


@pytest.mark.parametrize(
    ("part", "method", "broken"),
    [(Follower, "take", acks_at_once), (Current, "put", tells_nothing), (Follower, "reset", tells_no_reset)],
)
def test_a_broken_one_is_found(
    monkeypatch: pytest.MonkeyPatch, part: type, method: str, broken: Callable[[Any], Any]
) -> None:
    """A follower with a fault contradicts an invariant under one of a few seeds."""
    monkeypatch.setattr(part, method, broken(getattr(part, method)))
    assert any(perform(plan_of(seed, followers=True)).mismatches for seed in range(1, 30))
