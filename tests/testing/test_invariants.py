"""The invariants, by number."""

from __future__ import annotations

import pytest

from actors.testing.command import main
from actors.testing.invariants import listed


def test_every_invariant_can_be_looked_up(capfd: pytest.CaptureFixture[str]) -> None:
    """``--help`` lists all that a verdict can name."""
    with pytest.raises(SystemExit):
        main(["--help"])
    assert listed() in capfd.readouterr().out
