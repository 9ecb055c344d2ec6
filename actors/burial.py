"""What becomes of messages that nobody will handle, and of what an actor had when it is taken out of service.

A supervisor calls these when a crash costs a message, when a quarantine or the
end closes a mailbox, and when a budget is spent. Whoever waits for an answer
gets one, and the books get a cause.
"""

from __future__ import annotations

from actors.delivery.accounts import Accounts
from actors.emission import Bind, Emission, ThreadMessage
from actors.environment import Environment
from actors.errors import ActorsError, PeerError, Quarantined, RuntimeClosed
from actors.failures import Failure
from actors.presence import Acked, Attach, Detach, UserMessage
from actors.stages import Cause
from actors.stores.store import Store
from actors.switchboard import Switchboard
from actors.thread import Post


class Burial:
    """Buries what threads' and users' actors leave."""

    def __init__(
        self, store: Store, accounts: Accounts, switchboard: Switchboard, post: Post, environment: Environment
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._switchboard = switchboard
        self._post = post
        self._clock = environment.clock

    # --- threads ----------------------------------------------------------------

    def thread_message(self, message: ThreadMessage, cause: Cause) -> bool:
        """Nobody handles a thread's message; true when somebody must, because its work may be done."""
        if message.settled:
            return False
        if cause is Cause.CRASHED and (message.asked or (isinstance(message, Emission) and message.given)):
            return True
        if isinstance(message, Bind):
            self._refuse(message, cause)
        else:
            self._lose(message, cause)
        return False

    def _refuse(self, bind: Bind, cause: Cause) -> None:
        refusals = {Cause.SHUTDOWN: RuntimeClosed, Cause.QUARANTINED: Quarantined}
        text = "it is not known whether the owner was changed" if bind.asked else "the owner was not changed"
        bind.reply.refuse(refusals.get(cause, ActorsError)(f"{text} ({cause})"))

    def _lose(self, emission: Emission, cause: Cause) -> None:
        """What the store may have taken is not lost, but in doubt.

        What it holds is gone with a quarantine, and all it has is gone with
        the process, unless it outlives that.
        """
        owned = self._store.owner(emission.thread_id) is not None
        if emission.given and (self._store.outlives_process if cause is Cause.SHUTDOWN else owned):
            self._accounts.doubt(emission.receipt)
        else:
            self._accounts.lose(emission.receipt, cause, self._clock())
        if emission.arrival is not None:
            emission.arrival.refused()

    def quarantine_thread(self, thread_id: str, _: Failure) -> None:
        """A thread is out of service: what it held is gone. What was placed without an answer is its owner's to see."""
        self._store.release(thread_id)
        self._post.note_shed()
        self._accounts.forget_shed(thread_id)
        owner = self._store.owner(thread_id)
        if owner is not None:
            self._post.ring(owner, thread_id)

    # --- users ------------------------------------------------------------------

    def user_message(self, message: UserMessage, cause: Cause) -> None:
        """Nobody handles a user's message."""
        if isinstance(message, Attach):
            names = {Cause.SHUTDOWN: "shutting_down", Cause.QUARANTINED: "quarantined"}
            message.reply.refuse(PeerError(names.get(cause, "failed"), f"no place in the log ({cause})"))
        elif isinstance(message, Acked):
            message.enter()  # the device will not say it again
        elif isinstance(message, Detach):
            presence = self._switchboard.known(message.device.user_id)
            if presence is not None:
                presence.departures.append(message.departure)
                presence.leave(message.device)

    def quarantine_user(self, user_id: str, _: Failure) -> None:
        """A user is out of service: the sockets are closed and the log is settled, what was not acked will not be."""
        presence = self._switchboard.presence(user_id)
        for device in tuple(presence.devices):
            device.end("quarantined", "")
            presence.leave(device)
        bounds, now = self._store.bounds(user_id), self._clock()
        # Also where the books know nothing of this epoch yet: what was placed
        # in it may be answered for later.
        self._accounts.account(user_id, bounds.epoch, bounds.low, now)
        self._accounts.trim(user_id, bounds.head + 1, Cause.QUARANTINED, now)
        bounds = self._store.renew(user_id)
        self._accounts.account(user_id, bounds.epoch, bounds.low, now)
