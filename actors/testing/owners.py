"""The possible owners of a thread at each moment: from what callers were told, and no more.

A change of owner happens at some moment between a call's begin and its end; a
call that was cut short may or may not have happened, at any time. So an event
has a set of possible owners, and delivery to any other user is a leak.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs


@attrs.define(kw_only=True)
class OwnerChange:
    """One call that may change a thread's owner."""

    user_id: str | None
    begun: int
    ended: float = math.inf
    happened: bool | None = None
    """``None`` while, or when, the caller does not know."""
    only_if_free: bool = False
    """It does nothing to a thread that has an owner."""
    pending: Callable[[], bool] | None = None
    """True while the call may yet be carried out, for one that has returned before that was known."""
    owns: Callable[[], bool] | None = None
    """True if the user is the owner, by the runtime's own word, once it cannot."""


@attrs.define
class Owners:
    """The calls about one thread, in the order in which they began."""

    acts: list[OwnerChange] = attrs.field(factory=list)

    def begin(self, user_id: str | None, now: int, *, only_if_free: bool = False) -> OwnerChange:
        """Note that a call begins."""
        self.look(now)
        act = OwnerChange(user_id=user_id, begun=now, only_if_free=only_if_free)
        self.acts.append(act)
        return act

    def end(self, act: OwnerChange, now: int, *, happened: bool | None) -> None:
        """Note that a call has ended; without an answer it may still be carried out."""
        act.happened = happened
        act.ended = math.inf if happened is None else now

    def look(self, now: int) -> None:
        """See which calls have been carried out since it was last looked."""
        for act in self.acts:
            if act.pending is not None and not act.pending():
                act.pending, act.ended = None, now
                act.happened = act.happened or (True if act.owns is not None and act.owns() else None)

    def at(self, begun: float, ended: float) -> set[str | None]:
        """Return the users that may have owned the thread at some moment between two; ``None`` is no owner."""
        possible = [act for act in self.acts if act.happened is not False and act.begun <= ended]
        certain = [act for act in possible if act.happened and act.ended < begun]
        since = max((act.begun for act in certain), default=-1)
        found: set[str | None] = {act.user_id for act in possible if act.ended >= since}
        return found if certain else found | {None}

    def after(self, begun: float, ended: float) -> set[str | None]:
        """Return the users that may have an event in their logs that was accepted between two moments: an owner, or,
        for a held event, a later one."""
        found = self.at(begun, ended)
        if None not in found:
            return found
        later = sorted((act for act in self.acts if act.begun > ended), key=lambda act: act.begun)
        settled = math.inf
        for act in later:
            if act.begun > settled or act.happened is False:
                continue
            found.add(act.user_id)
            if act.happened and act.user_id is not None:
                settled = min(settled, act.ended)
        return found

    @property
    def changes(self) -> int:
        """The number of calls that may have changed something."""
        return sum(act.happened is not False for act in self.acts)
