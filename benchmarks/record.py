"""The figures as files: JSON for programs, and a plot for a page."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from benchmarks.build import machine
from benchmarks.figures import Table
from benchmarks.peers.roster import versions
from benchmarks.plot import drawn

FIGURES, PLOT = "figures.json", "figures.svg"


def keep(folder: Path, tables: list[Table], command: str) -> None:
    """Write the tables, each with the machine and the moment; other claims' figures that are there stay.

    Raises OSError where the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FIGURES
    figures: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    measured = {
        "machine": machine(),
        "servers": versions(),
        "command": command,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    for claim in {table.claim for table in tables}:
        figures[claim] = measured | {"tables": [table.plain() for table in tables if table.claim == claim]}
    path.write_text(json.dumps(figures, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    (folder / PLOT).write_text(drawn(figures))
