"""A Sphinx extension: docstrings as the reference shows them.

The constructor of what applications are handed, and never make, is left out; a block that a docstring indents is
code.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

HANDED = {
    "actors": {"Following", "Message", "Receipt", "Run", "Runtime", "Thread", "Tool"},
    "actors.agui": {"Endpoint"},
    "actors.aio": {"Bridge", "Following", "Receipt", "Run", "Runtime", "Session", "Thread"},
    "actors.client": {"Session"},
    "actors.http": {"Api"},
    "actors.testing": {"Chance", "Device", "FaultProxy", "Mismatched", "World"},
}
"""Classes by the package that has them, of which the package makes the objects."""


def _signature(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str, None] | None:
    package, _, own = name.rpartition(".")
    return ("", None) if what in {"class", "exception"} and own in HANDED.get(package, ()) else None


def _code(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Mark the blocks that a docstring indents as code."""
    told, before = [], ""
    for line in lines:
        if line.startswith("    ") and not before.startswith("    ") and not told[-1]:
            told += ["::", ""]
        told.append(line)
        before = line or before
    lines[:] = told


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to what autodoc finds."""
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-process-docstring", _code)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
