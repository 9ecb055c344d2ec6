"""The kind of actor that a user is: builds one, and accounts for messages and devices that one could not finish."""

from __future__ import annotations

from collections.abc import Callable

import trio

from actors.errors import PeerError
from actors.kernel.failures import Failure
from actors.kernel.mailbox import Ended
from actors.protocol.codes import CLOSINGS
from actors.stages import Cause
from actors.users.actor import UserActor, note_acks
from actors.users.context import UserContext
from actors.users.presence import Acked, Attach, Departure, Detach, Presence, UserMessage

_CAUSES = {Ended.CRASHED: Cause.CRASHED, Ended.QUARANTINED: Cause.QUARANTINED, Ended.CLOSED: Cause.SHUTDOWN}

_REFUSALS = {Ended.CLOSED: "shutting_down", Ended.QUARANTINED: "quarantined", Ended.CRASHED: "failed"}


class UserKind:
    """Builds user actors, and accounts for the messages and devices that they leave."""

    def __init__(self, context: UserContext, presence_of: Callable[[str], Presence]) -> None:
        self._context = context
        self._presence_of = presence_of

    def build(self, user_id: str) -> UserActor:
        """Build the actor of a user. The devices look at the log first, because the last actor may have lost the news
        that it is in another epoch."""
        presence = self._presence_of(user_id)
        presence.rewound = False
        self._context.mark(presence)
        return UserActor(user_id, presence, context=self._context)

    def dead_letter(self, message: UserMessage, ended: Ended) -> None:
        """Refuse an attach; carry out acks and a detach, because no device sends them again."""
        if isinstance(message, Attach):
            message.reply.refuse(PeerError(_REFUSALS[ended], f"no place in the log ({_CAUSES[ended]})"))
        elif isinstance(message, Acked):
            note_acks(message, self._context.instruments)
            self._presence_of(message.ledger.user_id).unconfirmed = True
        elif isinstance(message, Detach) and message.device.user_id is not None:
            presence = self._presence_of(message.device.user_id)
            presence.remember(message.departure)
            presence.leave(message.device)

    async def settled(self) -> None:
        """Wait for nothing, because these actors hand nothing on; a checkpoint."""
        await trio.lowlevel.checkpoint()

    def quarantined(self, user_id: str, _: Failure) -> None:
        """Close the user's sockets. The log outlives the actor, so that devices resume in it after a release."""
        presence, at = self._presence_of(user_id), self._context.environment.wall_clock()
        for device in tuple(presence.devices):
            device.end("quarantined", "")
            # Here, because the actor that a departure is told to is out of service.
            subscription = device.subscription
            presence.remember(
                Departure(
                    label=device.label,
                    name="quarantined",
                    text=CLOSINGS["quarantined"].text,
                    at=at,
                    epoch="" if subscription is None else subscription.ledger.epoch,
                    cursor=None if subscription is None else subscription.cursor,
                )
            )
            presence.leave(device)
