"""The table of actions: performed under every seed, and complete."""

from __future__ import annotations

from actors.testing.actions import ACTIONS
from actors.testing.plan import KINDS
from actors.testing.troubles import TROUBLES


def test_kinds() -> None:
    """Every kind of action is a trouble of a device, or has a function that does it."""
    assert set(KINDS) == set(TROUBLES) | set(ACTIONS)
    assert not set(TROUBLES) & set(ACTIONS)
