"""The transcripts in ``transcripts``, read: scenarios, their steps, and which ranges may follow each other."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from tests.support.raw import Message

VECTORS = Path(__file__).parent / "transcripts"

PATIENCE_SECONDS = 1.0
"""What a server or client gets for what it has to say, unless a step gives it more."""

FIELDS: dict[str, tuple[set[str], set[str]]] = {
    "open": (set(), {"offers", "cookie", "status"}),
    "emit": (set(), set()),
    "bind": (set(), set()),
    "rebind": (set(), set()),
    "ask": (set(), set()),
    "withdraw": (set(), set()),
    "fork": (set(), set()),
    "drain": (set(), set()),
    "wait_s": (set(), set()),
    "says": (set(), {"message", "text", "binary", "bytes", "times", "within_s"}),
    "wants": ({"message"}, set()),
    "hears": (set(), {"message", "in_any_order", "within_s"}),
    "hears_nothing": ({"for_s"}, set()),
    "closed": ({"code"}, {"within_s"}),
    "lost": (set(), {"because", "within_s"}),
    "leaves": (set(), {"code"}),
    "drops": (set(), set()),
    "stays_away": ({"for_s"}, set()),
    "is_cut_off": (set(), set()),
    "is_back": (set(), set()),
    "is_busy": (set(), set()),
    "is_free": (set(), set()),
}
"""The vocabulary: what a step of each kind must say beside its kind, and what it may."""

SERVER_ONLY = frozenset({"status", "text", "binary", "bytes", "times"})
"""Fields of steps that no client takes of its own accord."""

CLIENT_ONLY = frozenset({"wants", "is_busy", "is_free"})
"""Kinds of steps of which a server hears nothing."""


@attrs.frozen
class Scenario:
    """One transcript."""

    file: str
    name: str
    about: str
    steps: list[dict[str, Any]]
    limits: dict[str, Any]
    agent: bool
    server_only: bool
    client_only: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.name}"

    def messages(self, verb: str) -> Iterator[Message]:
        """The messages that a device says, or hears."""
        for step in self.steps:
            if verb in step.values():
                yield from [step["message"]] if "message" in step else step.get("in_any_order", [])


def read() -> list[Scenario]:
    """All scenarios of all files."""
    scenarios = []
    for path in sorted(VECTORS.glob("*.json")):
        said = json.loads(path.read_text())
        assert set(said) <= {"about", "limits", "scenarios"}, path.name
        for one in said["scenarios"]:
            limits = said.get("limits", {}) | one.pop("limits", {})
            fields = dict.fromkeys(("agent", "server_only", "client_only"), False) | one
            scenarios.append(Scenario(path.stem, limits=limits, **fields))
    return scenarios


ALL = read()
"""Every scenario of every file."""
SCENARIOS = [scenario for scenario in ALL if not scenario.client_only]
"""Those that a server plays."""


def split(step: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """The device of a step, ``""`` where there is none, its kind, and the rest of it."""
    key, value = next(iter(step.items()))
    rest = dict(itertools.islice(step.items(), 1, None))
    return (key, value, rest) if len(key) == 1 else ("", key, {"": value} | rest)


@attrs.define
class Ranges:
    """Section 3 of the page: what comes next is exactly one of these."""

    last: int | None = None
    """The last offset, where it is known."""

    def take(self, message: Message) -> str | None:
        """Go on to the end of a message; what is wrong with it, if anything is."""
        op = message.get("op")
        if op == "welcome":
            self.last = message["start"] - 1 if message["resume"] in {"fresh", "replayed", "renamed"} else None
        elif op == "reset":
            self.last = message["low"] - 1
        elif op in {"batch", "gap"}:
            return self._go_on(message["from"], message["to"])
        elif op is None and "offset" in message:
            return self._go_on(message["offset"], message["offset"])
        return None

    def _go_on(self, first: int, last: int) -> str | None:
        before, self.last = self.last, last
        return None if before in {None, first - 1} else f"after offset {before} came {first}"
