"""The page of the simulation and the fault proxy is true: its examples run as printed."""

from __future__ import annotations

import sys
from typing import Any

import trio

from tests.support.pages import examples
from tests.support.served import served

PAGE = "actors/testing/README.md"


async def test_the_simulation_example_runs_as_printed() -> None:
    """The simulation example, copied from the page, passes."""
    done = await trio.run_process([sys.executable, "-c", examples(PAGE)[0]], capture_stderr=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


async def test_the_proxy_example_runs_as_printed() -> None:
    """The fault proxy's example, copied from the page, gets its event over a line that is slow and was reset."""
    names: dict[str, Any] = {}
    exec(examples(PAGE)[1], names)  # noqa: S102 - it is this project's own page
    async with served() as server:
        assert isinstance(server.address, tuple)
        await server.emit(1)
        event = await names["first_event_over_a_bad_line"](*server.address)
    assert event.offset == 1
