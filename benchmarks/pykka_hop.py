"""A hop to an actor of Pykka, where that is installed: a thread that takes its messages out of a queue."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any, Protocol

import trio


class Handles(Protocol):
    """The actor that handles the messages."""

    handled: int

    def handle(self, message: str) -> None:
        """Handle a message."""


def pykka_missing() -> str | None:
    """Return the reason for which Pykka cannot be measured; ``None`` if it can."""
    return None if find_spec("pykka") else "pykka is not installed; the extra [bench] has it"


async def pykka_thread(actor: Handles, count: int, _: trio.Nursery) -> None:
    """Ask an actor that is a thread, and wait for its answer, which is how its sender knows that it has handled."""
    pykka: Any = importlib.import_module("pykka")

    class Threaded(pykka.ThreadingActor):  # type: ignore[misc]  # imported only now
        def on_receive(self, message: str) -> None:
            actor.handle(message)

    reference = Threaded.start()
    try:
        for _number in range(count):
            reference.ask("message")
    finally:
        reference.stop()
