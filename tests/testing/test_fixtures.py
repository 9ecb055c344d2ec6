"""The fixture that runs a scenario under many seeds."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from actors.testing import World
from actors.testing.fixtures import Simulated, simulated

__all__ = ["simulated"]


def test_every_seed_has_a_world_of_its_own(simulated: Simulated) -> None:
    """The scenario is run once with each seed."""
    worlds = list[str]()

    async def scenario(world: World) -> None:
        world.device("alice")
        worlds.append(world.chance.name)

    simulated(scenario, range(3))
    assert len(set(worlds)) == len(worlds) == 3


def test_a_bug_names_its_seed(simulated: Simulated) -> None:
    """An error of the scenario comes out as it is, with its seed."""

    async def unlucky(world: World) -> None:
        assert "3" not in world.chance.name

    with pytest.raises(AssertionError) as caught:
        simulated(unlucky, range(10))
    assert caught.value.__notes__ == ["in the simulation of seed 3"]


@pytest.mark.parametrize("seeds", [range(0), [], iter(())])
def test_no_seed_is_no_check(simulated: Simulated, seeds: Iterable[int]) -> None:
    """Without a seed nothing was checked, and nothing may look as if it had been."""

    async def scenario(world: World) -> None:
        raise AssertionError("there is no seed to run it with")

    with pytest.raises(ValueError, match="seeds: expected at least one seed, got"):
        simulated(scenario, seeds)
