"""Every test here reports what its misfortune did, and a run ends with the table of all of them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.system.chaos.report import ROWS, Report, Row, table


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    """Adds a row to the table; see :class:`~tests.system.chaos.report.Report`."""
    rows = request.config.stash.setdefault(ROWS, [])
    test = request.node.nodeid + (" --at-length" if request.config.getoption("--at-length") else "")

    def tell(
        what: str,
        *,
        lost_unreported: int,
        recovery_seconds: Sequence[float] = (),
        others_hurt: int = 0,
        note: str = "",
    ) -> None:
        rows.append(Row(what, lost_unreported, tuple(recovery_seconds), others_hurt, note, test))
        assert lost_unreported == 0, f"{what}: {lost_unreported} lost, and nobody was told"
        assert others_hurt == 0, f"{what}: {others_hurt} hurt who had nothing to do with it"

    return tell


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what there is to tell."""
    rows = config.stash.get(ROWS, [])
    if rows:
        terminalreporter.section("chaos")
        for line in table(rows):
            terminalreporter.line(line)
