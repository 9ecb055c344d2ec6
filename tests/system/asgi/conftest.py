"""The places where devices connect, one after the other: each server is started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.asgi.servers import Place, Server, places_of, running

SERVERS = ["hypercorn on Trio", "anycorn on Trio", "uvicorn", "granian"]
"""Each kind of server, on the loop that it is used with."""

MOUNTS = [(name, "mount") for name in SERVERS]
PLACES = [*MOUNTS, ("uvicorn", "own port")]


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that runs while the tests of a module use it."""
    with running(request.param, tmp_path_factory.mktemp("server")) as started:
        yield started


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test of a ``place`` over all of them, and one of a ``mount`` over those with a host around them."""
    for kind, places in {"place": PLACES, "mount": MOUNTS}.items():
        if kind in metafunc.fixturenames:
            names = [f"{where} of {name}" for name, where in places]
            metafunc.parametrize(("server", "where"), places, indirect=["server"], ids=names, scope="module")


@pytest.fixture
def place(server: Server, where: str) -> Place:
    """A place where devices connect."""
    return places_of(server)[where]


@pytest.fixture
def mount(server: Server, where: str) -> Place:
    """A place where devices connect below a path of a host, which has endpoints of its own."""
    return places_of(server)[where]
