"""Operations: the table of the API. What is served, what is checked, and what the document says are its rows."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

import attrs
import msgspec
from starlette.routing import compile_path

from actors.http.problems import Problem
from actors.http.schemas import Nothing


@attrs.frozen(kw_only=True)
class Operation:
    """One row: a request, what carries it out, and what it is answered."""

    method: str
    path: str
    act: Callable[[Any], Awaitable[Any]]
    """A coroutine function from a call to an ASGI response."""
    summary: str
    query: type[msgspec.Struct] = Nothing
    body: type[msgspec.Struct] | None = None
    answers: Mapping[int, type[msgspec.Struct]] = attrs.field(factory=dict)
    refusals: tuple[str, ...] = ()
    """The rows of the tables, beside those that any request may get."""
    headers: Mapping[str, tuple[Any, str]] = attrs.field(factory=dict)
    """Headers of the request that it heeds: their types, and what for."""
    admin: bool = False
    """True for the operators' part, which needs a key that may do so."""
    open: bool = False
    """True for what answers without a key."""
    lines: bool = False
    """True where the body and the answer are streams of lines, which the operation reads and writes itself."""
    stream: bool = False
    """True where it also answers with a stream of server-sent events."""

    @property
    def name(self) -> str:
        """Its name in generated clients."""
        return self.act.__name__


class Table:
    """The operations, by path and method."""

    def __init__(self, *operations: Operation) -> None:
        self.operations = operations
        self._paths: dict[str, tuple[re.Pattern[str], dict[str, Operation]]] = {}
        for one in operations:
            pattern, _, _ = compile_path(one.path)
            self._paths.setdefault(one.path, (pattern, {}))[1][one.method] = one

    def find(self, method: str, raw_path: bytes) -> tuple[Operation, dict[str, str]]:
        """Return the operation for a request, and the ids in its path.

        The path is matched as it came, and its parts decoded afterwards,
        because an id may have a slash in it. Raises Problem for a path or a
        method that is not there, the latter with ``Allow``.
        """
        path = raw_path.decode("latin-1")
        for pattern, methods in self._paths.values():
            if (match := pattern.match(path)) is None:
                continue
            operation = methods.get("GET" if method == "HEAD" else method)
            if operation is None:
                raise WrongMethod(methods)
            return operation, {name: _decoded(name, text) for name, text in match.groupdict().items()}
        raise Problem("unknown_op", f"there is nothing at {path[:200]}")


class WrongMethod(Problem):
    """A path that answers other methods."""

    def __init__(self, methods: dict[str, Operation]) -> None:
        self.allow: str = ", ".join(sorted({*methods, *(["HEAD"] if "GET" in methods else [])}))
        super().__init__("unknown_op", f"expected {self.allow} at this path", status=405)


def _decoded(name: str, text: str) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise Problem("bad_request", f"{name}: expected UTF-8 in the path") from None
