"""The bounds of a log, and the part of it that a former epoch shares."""

from __future__ import annotations

import pytest

from actors.delivery.bounds import Bounds
from actors.delivery.lineage import Fork

LOG = Bounds("e3", low=3, head=10, lineage=(Fork("e1", 4), Fork("e2", 20)))


@pytest.mark.parametrize(("epoch", "last"), [("e3", 10), ("e2", 10), ("e1", 4), ("e0", None)])
def test_what_an_epoch_shares_with_the_log(epoch: str, last: int | None) -> None:
    """The log shares everything with its own epoch, with a former one what is before the fork and still there, and
    nothing with one that it does not continue."""
    assert LOG.shared(epoch) == last
