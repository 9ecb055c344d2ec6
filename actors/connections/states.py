"""The states of connections, for operators: a page of them, in the order in which they came, and no more work."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain, dropwhile, islice
from typing import TypeVar

from actors.connections.actor import Connection
from actors.connections.actor import state_of as state_of_connection
from actors.connections.follower import Follower
from actors.connections.follower import state_of as state_of_follower
from actors.observability.connection_state import ConnectionState

D = TypeVar("D", Connection, Follower)

_LABEL = re.compile(r"([cf])([1-9][0-9]{0,15})")


def page(
    connections: Iterable[Connection], followers: Iterable[Follower], after: str | None, limit: int | None
) -> tuple[ConnectionState, ...]:
    """Return the states of so many devices after the one of a label, which may have gone: first those with sockets,
    then followers.

    Both come in the order of their labels. Raises ValueError for what is no label.
    """
    kind, number = ("c", 0) if after is None else _parts(after)
    states: Iterator[ConnectionState] = map(state_of_follower, _after(followers, number if kind == "f" else 0))
    if kind == "c":
        states = chain(map(state_of_connection, _after(connections, number)), states)
    return tuple(islice(states, limit))


def _parts(label: str) -> tuple[str, int]:
    found = _LABEL.fullmatch(label)
    if found is None:
        raise ValueError(f"after: expected the label of a connection, such as c12 or f3, got {label!r}")
    return found[1], int(found[2])


def _after(devices: Iterable[D], number: int) -> Iterator[D]:
    """Pass over the devices up to a number; they stand in the order of their numbers."""
    return dropwhile(lambda device: int(device.label[1:]) <= number, devices) if number else iter(devices)
