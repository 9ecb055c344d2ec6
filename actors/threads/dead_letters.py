"""The kind of actor that a thread is: builds one, and accounts for messages and holds that one could not finish."""

from __future__ import annotations

from actors.errors import ActorsError, Quarantined, RuntimeClosed
from actors.kernel.failures import Failure
from actors.kernel.mailbox import Ended
from actors.stages import Cause
from actors.threads.actor import ThreadActor, ThreadContext
from actors.threads.messages import Bind, Emission, ThreadMessage

_CAUSES = {Ended.CRASHED: Cause.CRASHED, Ended.QUARANTINED: Cause.QUARANTINED, Ended.CLOSED: Cause.SHUTDOWN}


class ThreadKind:
    """Builds thread actors, and accounts for the messages and holds that they leave."""

    def __init__(self, context: ThreadContext) -> None:
        self._context = context

    def build(self, thread_id: str) -> ThreadActor:
        """Build the actor of a thread. It needs no state, because the store has it all."""
        return ThreadActor(thread_id, self._context)

    def dead_letter(self, message: ThreadMessage, ended: Ended) -> bool:
        """Answer the message's sender and note its end in the books; true, for redelivery, when a crash left its
        outcome unknown because the store may have done its work."""
        if message.settled:
            return False
        if ended is Ended.CRASHED and (message.bind_sent or (isinstance(message, Emission) and message.append_sent)):
            return True
        if isinstance(message, Bind):
            _refuse(message, ended)
        else:
            self._lose(message, ended)
        return False

    def quarantined(self, thread_id: str, _: Failure) -> None:
        """Drop what the thread held; ring the owner, because an append whose reply was lost may have placed events."""
        context = self._context
        context.store.release(thread_id)
        context.note_shed()
        context.accounts.forget_shed(thread_id)
        owner = context.store.owner(thread_id)
        if owner is not None:
            context.ring(owner, thread_id)

    def _lose(self, emission: Emission, ended: Ended) -> None:
        """Drop an event, or leave it in doubt where the store may have taken it and still has it.

        A quarantine ends the thread's hold, and the end of the process ends all
        events of a store that does not outlive it.
        """
        context = self._context
        owned = context.store.owner(emission.thread_id) is not None
        if emission.append_sent and (context.store.outlives_process if ended is Ended.CLOSED else owned):
            context.accounts.doubt(emission.receipt)
        else:
            context.accounts.lose(emission.receipt, _CAUSES[ended], context.clock())
        if emission.arrival is not None:
            emission.arrival.refused()


def _refuse(bind: Bind, ended: Ended) -> None:
    refusals = {Ended.CLOSED: RuntimeClosed, Ended.QUARANTINED: Quarantined}
    text = "it is not known whether the owner was changed" if bind.bind_sent else "the owner was not changed"
    bind.reply.refuse(refusals.get(ended, ActorsError)(f"{text} ({_CAUSES[ended]})"))
