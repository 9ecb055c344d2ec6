"""The whole runtime under sixty seeds, with everything going wrong: nothing contradicts an invariant."""

from __future__ import annotations

import pytest

from actors.testing.performance import perform
from actors.testing.plan import KINDS, plan_of


@pytest.mark.parametrize("seed", range(60))
def test_seed(seed: int) -> None:
    """``python -m actors.testing --seed N`` repeats a failure, as short as it fails."""
    outcome = perform(plan_of(seed))
    assert not outcome.failed, f"python -m actors.testing --seed {seed}  # {outcome.mismatches[0]}"


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_action(kind: str) -> None:
    """Every kind of action happens, and is survived, with nothing around it but events."""
    outcome = perform(plan_of(7, ("emit", "send", kind)))
    assert any(f": {kind} " in line for line in outcome.trace)
    assert not outcome.failed, f"python -m actors.testing --seed 7 --only emit,send,{kind}  # {outcome.mismatches[0]}"
