"""Sockets that a forked child must not keep: those that this process listens on, has accepted, or has dialled.

A socket lives as long as any process has it. A forked child, as of
``multiprocessing``, has a copy of every descriptor: it would hold the port
after its parent has ended, and keep a connection open that the parent has
closed. So a child closes its copies before anything else runs in it. It does
not close Trio's own descriptors, its epoll and its wake-up ones, because they
belong to Trio; a child must not go on in the parent's event loop.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Owned(Protocol):
    """A socket, the standard library's or Trio's."""

    def detach(self) -> int:
        """Give up the descriptor, without closing it; -1 if there is none any more."""
        ...


_ours: weakref.WeakSet[Owned] = weakref.WeakSet()


def close_in_children(sock: Owned) -> None:
    """Have every child that is forked from now on close its copy of a socket, for as long as the socket is in use."""
    _ours.add(sock)


def _close_all() -> None:
    # Not sock.close(), because Trio's would remove the descriptor from the
    # epoll that this child shares with its parent.
    for sock in tuple(_ours):
        descriptor = sock.detach()
        if descriptor >= 0:
            os.close(descriptor)
    _ours.clear()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_close_all)
