"""The options of a runtime, checked before anything starts, because the first user would find out late."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from actors.checks import check_coroutine, check_word, described
from actors.observability.undelivered import OnUndelivered
from actors.runs.supervisor import Agents, OnDisconnect
from actors.runs.turns import Concurrency
from actors.server.authentication import trust
from actors.server.handshake import Service
from actors.server.messages import Authorize
from actors.server.server import Access
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
        if self.access.sources.request and self.access.authenticate is trust:
            raise ValueError("from_request: expected authenticate beside it, because a request alone has no token")
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
