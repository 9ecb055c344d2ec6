"""The build that is running: all of the hot modules are compiled, or none."""

from __future__ import annotations

import importlib

from actors.tools.build import build
from tests.test_architecture import COMPILED


def test_all_of_it_or_none() -> None:
    """Each module that can be compiled is an extension in a compiled build, and source text in a pure one."""
    names = [name.removesuffix(".py").replace("/", ".") for name in COMPILED]
    sources = {str(importlib.import_module(name).__file__).endswith(".py") for name in names}
    assert sources == {build() == "pure Python"}
