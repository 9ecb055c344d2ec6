"""What a runtime or a session is opened with, checked before anything starts: the first user would find out late."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, get_args, get_origin, get_type_hints

import attrs

from actors.hooks import described
from actors.observability.undelivered import OnUndelivered
from actors.runs.supervisor import Agents, OnDisconnect
from actors.runs.turns import Concurrency
from actors.server.requests import Authorize
from actors.server.server import Access, Service
from actors.stores.store import Store
from actors.wire.http import Page

RESERVED_PATHS = frozenset({"/ws", "/healthz"})
"""Paths that are the server's own."""


@attrs.frozen(kw_only=True)
class Options:
    """The application's part of one runtime: its functions, its store, its pages.

    Raises ValueError and TypeError for what cannot be meant.
    """

    access: Access
    authorize: Authorize
    agents: Agents
    on_undelivered: OnUndelivered | None
    store: Store | None
    pages: Mapping[str, Page]
    services: Mapping[str, Service]

    def __attrs_post_init__(self) -> None:
        check_coroutine("authenticate", self.access.authenticate, "credentials")
        check_coroutine("authorize", self.authorize, "user_id", "thread_id")
        if self.agents.on_message is not None:
            check_coroutine("on_message", self.agents.on_message, "run", "message")
        if self.on_undelivered is not None:
            check_coroutine("on_undelivered", self.on_undelivered, "fate")
        check_word("concurrency", self.agents.concurrency, Concurrency)
        check_word("on_disconnect", self.agents.on_disconnect, OnDisconnect)
        check_pages(self.pages)
        check_services(self.services)
        if self.store is not None:
            check_store(self.store)


def check_word(name: str, value: object, words: object) -> None:
    """Raise ValueError unless a value is one of a ``Literal``'s."""
    if not any(value == word for word in get_args(words)):
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, get_args(words)))}, got {value!r}")


def check_coroutine(name: str, function: object, *parameters: str) -> None:
    """Raise TypeError unless something can be called with so many arguments, and awaited, as far as can be known."""
    expected = f"{name}: expected a coroutine function, async def {name}({', '.join(parameters)})"
    if not callable(function):
        raise TypeError(f"{expected}, got {described(function)}")
    if isinstance(function, type) or inspect.isbuiltin(function) or _is_plain(function):
        raise TypeError(f"{expected}, got {described(function)}, which cannot be awaited")
    _check_parameters(expected, function, parameters)


def check_function(name: str, function: object, *parameters: str) -> None:
    """Raise TypeError unless something can be called with so many arguments, and nothing has to be awaited for it."""
    expected = f"{name}: expected a function, {name}({', '.join(parameters)})"
    if not callable(function):
        raise TypeError(f"{expected}, got {described(function)}")
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004
        raise TypeError(f"{expected}, got a coroutine function, {described(function)}, which is not awaited")
    _check_parameters(expected, function, parameters)


def check_instance(name: str, value: object, kind: type) -> None:
    """Raise TypeError unless a value is of a kind."""
    if not isinstance(value, kind):
        raise TypeError(
            f"{name}: expected an instance of {kind.__module__}.{kind.__qualname__}, got {described(value)}"
        )


def check_store(store: object) -> None:
    """Raise TypeError unless something has all that a store has."""
    members = [name for name in dir(Store) if not name.startswith("_")]
    missing = [name for name in members if not hasattr(store, name)]
    if isinstance(store, type) or missing:
        lacking = f", which has no {missing[0]}" if missing else ""
        raise TypeError(f"store: expected an actors.stores.store.Store, got {described(store)}{lacking}")


def check_pages(pages: object) -> None:
    """Raise TypeError for what is no mapping of pages by path, ValueError for a path at which none would be shown."""
    if not isinstance(pages, Mapping):
        raise TypeError(f"pages: expected a mapping from paths to pages, got {described(pages)}")
    for path, page in pages.items():
        if not isinstance(path, str) or not isinstance(page, Page):
            raise TypeError(f"pages: expected a Page for each path, got {described(page)} for {path!r}")
        if not path.startswith("/") or not path.isascii() or "?" in path or "#" in path or path in RESERVED_PATHS:
            own = " and ".join(sorted(RESERVED_PATHS))
            raise ValueError(f"pages: expected paths that begin with / and are asked for, beside {own}, got {path!r}")


def check_services(services: object) -> None:
    """Raise TypeError for what is no mapping of coroutine functions by path, ValueError for the server's own paths."""
    if not isinstance(services, Mapping):
        raise TypeError(f"services: expected a mapping from paths to coroutine functions, got {described(services)}")
    for path, service in services.items():
        check_coroutine(f"services[{path!r}]", service, "endpoint", "head")
        if not isinstance(path, str) or not path.startswith("/") or path in RESERVED_PATHS:
            own = " and ".join(sorted(RESERVED_PATHS))
            raise ValueError(f"services: expected paths that begin with /, beside {own}, got {path!r}")


def _check_parameters(expected: str, function: Callable[..., Any], parameters: tuple[str, ...]) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # it does not say
        return
    try:
        signature.bind(*parameters)
    except TypeError:
        raise TypeError(f"{expected}, got one that takes {signature}") from None


def _is_plain(function: Callable[..., Any]) -> bool:
    """True for ``def`` without ``async`` that does not say that it returns something to await.

    Lambdas cannot say it, and objects that are called may do as they like.
    """
    bare: Any = function
    while isinstance(bare, partial) or (_is_function(bare) and hasattr(bare, "__wrapped__")):
        bare = bare.func if isinstance(bare, partial) else bare.__wrapped__
    if not _is_function(bare) or inspect.iscoroutinefunction(bare) or bare.__name__ == "<lambda>":
        return False
    try:
        returned = get_type_hints(bare).get("return")
    except (NameError, TypeError):
        return False
    kind = get_origin(returned) or returned
    return not (isinstance(kind, type) and issubclass(kind, Awaitable))


def _is_function(value: object) -> bool:
    return inspect.isfunction(value) or inspect.ismethod(value)
