"""The documents, as their tests read them: examples, links and prose."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("actors", "benchmarks", "tests", ".docs", ".github")


def documents() -> list[Path]:
    """Every page of the project."""
    return [ROOT / "README.md", *(path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.md")))]


def examples(page: str) -> list[str]:
    """The Python examples of a page, by its path from the root, as they are printed."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def prose(page: Path) -> Iterator[str]:
    """The lines of a page that are neither code nor rows of a table."""
    within_code = False
    for line in page.read_text().splitlines():
        if line.startswith("```"):
            within_code = not within_code
        elif not within_code and not line.startswith(("    ", "|")):
            yield line
