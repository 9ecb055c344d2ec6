"""The kind of actor that a user is: how one is built, and what becomes of what it could not finish."""

from __future__ import annotations

from collections.abc import Callable

from actors.errors import PeerError
from actors.kernel.failures import Failure
from actors.kernel.mailbox import Ended
from actors.stages import Cause
from actors.users.actor import UserActor, UserContext, note_acks
from actors.users.presence import Acked, Attach, Detach, Presence, UserMessage

_CAUSES = {Ended.CRASHED: Cause.CRASHED, Ended.QUARANTINED: Cause.QUARANTINED, Ended.CLOSED: Cause.SHUTDOWN}

_REFUSALS = {Ended.CLOSED: "shutting_down", Ended.QUARANTINED: "quarantined", Ended.CRASHED: "failed"}


class UserKind:
    """Builds user actors, and accounts for the messages and devices that they leave."""

    def __init__(self, context: UserContext, presence_of: Callable[[str], Presence]) -> None:
        self._context = context
        self._presence_of = presence_of

    def build(self, user_id: str) -> UserActor:
        """Build the actor of a user. It looks at the log first, because the last one may not have heard a ring."""
        presence = self._presence_of(user_id)
        presence.rung = False
        self._context.mark(presence)
        return UserActor(user_id, presence, self._context)

    def dead_letter(self, message: UserMessage, ended: Ended) -> None:
        """Refuse an attachment, and carry out what a device will not say again: its acks, and that it has gone."""
        if isinstance(message, Attach):
            message.reply.refuse(PeerError(_REFUSALS[ended], f"no place in the log ({_CAUSES[ended]})"))
        elif isinstance(message, Acked):
            note_acks(message)
        elif isinstance(message, Detach) and message.device.user_id is not None:
            presence = self._presence_of(message.device.user_id)
            presence.departures.append(message.departure)
            presence.leave(message.device)

    def quarantined(self, user_id: str, _: Failure) -> None:
        """Close the user's sockets and settle the log: what was not acked will not be."""
        context, presence = self._context, self._presence_of(user_id)
        for device in tuple(presence.devices):
            device.end("quarantined", "")
            presence.leave(device)
        bounds, now = context.store.bounds(user_id), context.environment.clock()
        # Also where the books know nothing of this epoch yet, because what
        # was placed in it may be answered for later.
        context.accounts.account(user_id, bounds.epoch, bounds.low, now)
        context.accounts.trim(user_id, bounds.head + 1, Cause.QUARANTINED, now)
        bounds = context.store.renew(user_id)
        context.accounts.account(user_id, bounds.epoch, bounds.low, now)
