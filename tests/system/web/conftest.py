"""A browser for every test of the page; where there is none, these tests are skipped and say what is missing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.system.web.browser import Browser, Programs, find_programs, open_browser
from tests.system.web.demo import demo
from tests.tools.command import Running


@pytest.fixture(scope="session")
def programs() -> Programs:
    """Chromium and its driver."""
    return find_programs()


@pytest.fixture
async def browser(programs: Programs, tmp_path: Path) -> AsyncIterator[Browser]:
    """A window of 1200 by 800."""
    async with open_browser(programs, tmp_path / "profile") as opened:
        await opened.resize(1200, 800)
        await opened.prefer(color_scheme="light", reduced_motion="reduce")
        yield opened


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    """The demonstration's server."""
    async with demo() as command:
        yield command
