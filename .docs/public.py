"""A Sphinx extension: docstrings as the reference shows them.

The constructor of what applications are handed, and never make, is left out; a block that a docstring indents is
code; and a name by the module that defines it (``actors.runtime.Runtime.audit``) leads to where it is documented, which
is under the name that applications import (``actors.Runtime.audit``). A name that no page documents is text, if it is
there at all; else it is a warning.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

HANDED = {
    "actors": {"Following", "Message", "Receipt", "Run", "Runtime", "Thread", "Tool"},
    "actors.agui": {"Endpoint"},
    "actors.aio": {"Bridge", "Following", "Receipt", "Run", "Runtime", "Session", "Thread"},
    "actors.client": {"Session"},
    "actors.http": {"Api"},
    "actors.testing": {"Chance", "Device", "FaultProxy", "Mismatched", "World"},
}
"""Classes by the package that has them, of which the package makes the objects."""


def _imported_as() -> dict[str, str]:
    """The name by which applications import a class or a function, by the one under which it was defined."""
    found: dict[str, str] = {}
    for package in HANDED:
        module = importlib.import_module(package)
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                found.setdefault(f"{thing.__module__}.{thing.__qualname__}", f"{package}.{name}")
    return found


_IMPORTED_AS = _imported_as()


def _found(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement) -> nodes.Element | None:
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    owner, _, member = target.rpartition(".")
    name = _IMPORTED_AS.get(target) or (f"{_IMPORTED_AS[owner]}.{member}" if owner in _IMPORTED_AS else None)
    if name is None:
        return content if _is_there(target) else None
    domain = env.domains.python_domain
    return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], name, node, content)


def _is_there(target: str) -> bool:
    """True if a module of this package has something of this name, which no page documents."""
    module, _, name = target.rpartition(".")
    if not module.startswith("actors."):
        return False
    try:
        return hasattr(importlib.import_module(module), name)
    except ImportError:
        return False


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
    """Connect to what autodoc finds, and to what Sphinx does not."""
    app.connect("missing-reference", _found)
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-process-docstring", _code)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
