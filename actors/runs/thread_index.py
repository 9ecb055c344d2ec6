"""An index of things by their thread and its owner; the cost of a look-up does not grow with other owners' things."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class ThreadIndex(Generic[T]):
    """Things that are each in a thread, and with it belong to its owner.

    Invariant: a thread is filed under one owner, or none, while something is
    in it. The index looks the owner up when the first thing is added; from
    then on :meth:`move` changes it.
    """

    __slots__ = ("_count", "_owner_of", "_owners", "_threads", "_users")

    def __init__(self, owner_of: Callable[[str], str | None]) -> None:
        self._owner_of = owner_of
        self._threads: dict[str, dict[T, int]] = {}
        """The things in each thread, with their place in the order of all."""
        self._owners: dict[str, str | None] = {}
        self._users: dict[str, dict[str, None]] = {}
        """The threads of an owner that something is in."""
        self._count = 0

    def __len__(self) -> int:
        """The number of threads that something is in."""
        return len(self._threads)

    def add(self, thread_id: str, thing: T) -> None:
        """Add a thing to a thread."""
        if thread_id not in self._threads:
            self._threads[thread_id] = {}
            self._file(thread_id, self._owner_of(thread_id))
        self._count += 1
        self._threads[thread_id][thing] = self._count

    def remove(self, thread_id: str, thing: T) -> None:
        """Remove a thing from a thread; no effect if it is not there."""
        things = self._threads.get(thread_id, {})
        things.pop(thing, None)
        if not things and self._threads.pop(thread_id, None) is not None:
            self._take_out(thread_id)

    def owner(self, thread_id: str) -> str | None:
        """Return the owner of a thread that something is in."""
        return self._owners.get(thread_id)

    def belongs(self, thread_id: str, thing: T, user_id: str) -> bool:
        """Return true if a thing is in the thread, and the thread is this owner's."""
        return self._owners.get(thread_id) == user_id and thing in self._threads[thread_id]

    def in_thread(self, thread_id: str) -> tuple[T, ...]:
        """Return the things in a thread, oldest first."""
        return tuple(self._threads.get(thread_id, ()))

    def of(self, user_id: str) -> list[T]:
        """Return the things in the threads of an owner, oldest first."""
        things = [entry for thread_id in self._users.get(user_id, ()) for entry in self._threads[thread_id].items()]
        return [thing for thing, _ in sorted(things, key=lambda entry: entry[1])]

    def move(self, thread_id: str, user_id: str | None) -> None:
        """File a thread under another owner, or none."""
        if thread_id in self._threads:
            self._take_out(thread_id)
            self._file(thread_id, user_id)

    def _file(self, thread_id: str, user_id: str | None) -> None:
        self._owners[thread_id] = user_id
        if user_id is not None:
            self._users.setdefault(user_id, {})[thread_id] = None

    def _take_out(self, thread_id: str) -> None:
        user_id = self._owners.pop(thread_id)
        if user_id is not None:
            del self._users[user_id][thread_id]
            if not self._users[user_id]:
                del self._users[user_id]
