"""The build of the package that is running: compiled where it is hot, or pure Python."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from typing import Literal

from actors.delivery import ledger

Build = Literal["compiled", "pure Python"]


def build() -> Build:
    """Return which build this is, from one of the modules that are compiled together or not at all."""
    return "compiled" if str(ledger.__file__).endswith(tuple(EXTENSION_SUFFIXES)) else "pure Python"
