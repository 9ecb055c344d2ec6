"""What every test gets without asking: the books of each runtime it opened are checked when it ends."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator
from typing import Any

import hypothesis
import pytest

from actors.runtime import Runtime


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--at-length``: what takes minutes at its real size is that size."""
    parser.addoption("--at-length", action="store_true", help="tests at their full size, which takes minutes")


def pytest_configure() -> None:
    """Heed Ctrl-C: a shell that runs tests in the background has it ignored, and so would the processes they start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# Hypothesis fails an example that takes 200 ms of the real clock, which a busy machine makes of any.
hypothesis.settings.register_profile("untimed", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture
def at_length(request: pytest.FixtureRequest) -> bool:
    """True if the tests are to be as large as they are meant, however long that takes."""
    return bool(request.config.getoption("--at-length"))


@pytest.fixture(autouse=True)
def balanced_books(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every accepted event of every runtime is in exactly one column when the test is over."""
    opened: list[Runtime] = []
    initialise = Runtime.__init__

    def recording(self: Runtime, *arguments: Any) -> None:
        initialise(self, *arguments)
        opened.append(self)

    monkeypatch.setattr(Runtime, "__init__", recording)
    yield
    for runtime in opened:
        audit = runtime.audit()
        assert audit.balanced, f"the books do not balance: {audit}"
        assert runtime.tree.accounts.totals() == audit.total, "what was counted as it happened is what is in the books"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, Any, Any]:
    """Unwrap groups of one: pytest-trio puts every failure into one, which hides what failed."""
    try:
        return (yield)
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error  # noqa: B904 - the group says nothing that its one member does not
