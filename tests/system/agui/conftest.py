"""A project of npm's with this package in it, and Node in that project."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.npm import agui_project
from tests.system.client_js.node import Node, open_node

DRIVER = Path(__file__).with_name("driver.mjs")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has the client of AG-UI, and this package."""
    return agui_project(tmp_path_factory.mktemp("agui"))


@pytest.fixture
async def node(project: Path) -> AsyncIterator[Node]:
    """A Node process with the agents. The client that they are for, as it is published, raises and warns of nothing."""
    async with open_node(DRIVER, project) as opened:
        yield opened
        assert await opened.run("return it.warnings") == []
