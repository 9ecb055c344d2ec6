"""Applications run from code by Hypercorn or anycorn, which are told to stop when the drain is over.

Their command lines have no hook for that: the parent gets the signal, and its
workers look at an event.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
from collections.abc import Iterable
from functools import partial
from types import ModuleType
from typing import Any, Literal

import trio

from actors.asgi.realtime import Realtime
from actors.asgi.signals import wait_for_signal

Loop = Literal["trio", "asyncio"]

SERVERS = ("anycorn", "hypercorn")
"""In the order of preference: anycorn passes on the close codes of clients, and is of the two the one with releases."""


def load(target: str) -> tuple[Any, list[Realtime]]:
    """Import ``module:application``; returns it, and the runtimes that its module has.

    Raises ValueError for what names none, and what the module raises.
    """
    name, _, attribute = target.partition(":")
    if not name or not attribute:
        raise ValueError(f"expected module:application, got {target!r}")
    module = importlib.import_module(name)
    found: Any = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise ValueError(f"expected an application, module {name} has no {attribute}")
    return found, realtimes(module, found)


def realtimes(module: ModuleType, application: object) -> list[Realtime]:
    """Return the runtimes that a module names; raises ValueError where there are none, because none would drain."""
    found = {id(one): one for one in (*vars(module).values(), application) if isinstance(one, Realtime)}
    if not found:
        raise ValueError(f"expected a Realtime among the names of module {module.__name__}, there is none")
    return list(found.values())


def find_server(name: str | None) -> str:
    """Return the server to use; raises ValueError where it is not installed."""
    for server in SERVERS if name is None else (name,):
        if importlib.util.find_spec(server) is not None:
            return server
    wanted = " or ".join(SERVERS if name is None else (name,))
    raise ValueError(f"expected {wanted} to be installed, found none of them")


def serve(application: Any, runtimes: Iterable[Realtime], *, server: str, bind: str, loop: Loop) -> None:
    """Serve an application until SIGTERM or SIGINT, drain its runtimes, and return when it has ended."""
    package = importlib.import_module(server)
    config = importlib.import_module(f"{server}.config").Config()
    config.bind = [bind]
    run = package.serve if server == "anycorn" else importlib.import_module(f"{server}.{loop}").serve

    async def stop() -> None:
        await wait_for_signal()
        for realtime in runtimes:
            await realtime.drain()

    begin = partial(run, application, config, shutdown_trigger=stop)
    if loop == "trio":
        trio.run(begin)
    else:
        asyncio.run(begin())
