"""A fixture for pytest: ``from actors.testing.fixtures import simulated``, in a test's module or a ``conftest.py``.

    def test_my_agent(simulated):
        simulated(scenario, range(100), on_message=my_agent)

``scenario`` is a coroutine function that is given the world; see
:func:`~actors.testing.run_seeds`. Works with and without pytest-trio.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from actors.testing.scenarios import run_seeds

Simulated = Callable[..., None]


@pytest.fixture
def simulated() -> Simulated:
    """Run a scenario under many seeds."""
    return run_seeds
