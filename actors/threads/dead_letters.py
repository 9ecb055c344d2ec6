"""The kind of actor that a thread is: builds one, and accounts for messages that one could not finish."""

from __future__ import annotations

from actors.errors import ActorsError, Quarantined, RuntimeClosed
from actors.kernel.failures import Barrier, Failure
from actors.kernel.mailbox import Ended
from actors.stages import Cause
from actors.stores.store import Answer, Binding, Placement
from actors.threads.actor import ThreadActor
from actors.threads.answers import doubt, note_owner, note_placement, note_refusal, note_reply
from actors.threads.context import ThreadContext
from actors.threads.messages import Claim, Emission, OwnerRequest, StoreAnswer, ThreadMessage
from actors.threads.route import Route

_CAUSES = {Ended.CRASHED: Cause.CRASHED, Ended.QUARANTINED: Cause.QUARANTINED, Ended.CLOSED: Cause.SHUTDOWN}


class ThreadKind:
    """Builds thread actors, and accounts for the messages that they leave."""

    def __init__(self, context: ThreadContext) -> None:
        self._context = context

    def build(self, thread_id: str) -> ThreadActor:
        """Build the actor of a thread. It needs no state, because the store has it all."""
        return ThreadActor(thread_id, self._context)

    def dead_letter(self, message: ThreadMessage, ended: Ended) -> bool:
        """Answer the message's sender and note its end in the books; true, for redelivery, when a crash came between
        the store's answer and the books. What the store has yet to answer is left to its answer."""
        act = message.act if isinstance(message, StoreAnswer) else message
        if message.settled or (act is message and act.sent):
            return False
        if message.answer is not None:
            if ended is Ended.CRASHED:
                return True
            self._note_late(act, message.answer)
        elif isinstance(message, OwnerRequest):
            _refuse(message, ended)
        else:
            self._lose(message, ended)
        return False

    def quarantined(self, thread_id: str, _: Failure) -> None:
        """Do nothing: what the thread holds is the store's, and waits there for an owner, or for its time to be up."""

    async def settled(self) -> None:
        """Wait until the store has answered all that these actors have submitted; a checkpoint."""
        await self._context.store.settled()

    def _note_late(self, act: Emission | OwnerRequest | Claim, answer: Answer) -> None:
        """Note an answer without an actor. It must not raise, because this may be the store's own step."""
        context = self._context
        with Barrier(lambda _: self._give_up(act)):
            if isinstance(act, Emission):
                self._note_event(act, answer)
                return
            context.end_bind(act)
            if isinstance(answer, Binding):
                note_owner(answer, context)
            note_reply(act, answer)

    def _note_event(self, emission: Emission, answer: Answer) -> None:
        if emission.unanswered:
            self._context.end_event(emission)
        if isinstance(answer, Placement):
            note_placement(emission, answer, self._context, Route())
        else:
            note_refusal(emission, answer, self._context)

    def _give_up(self, act: Emission | OwnerRequest | Claim) -> None:
        """Leave an event in doubt that could not be noted; a change of owner is noted when it is asked for again."""
        if isinstance(act, Emission):
            doubt(act, self._context)
        else:
            text = "the owner was changed, but the runtime failed to note it: bind it again after a release"
            note_reply(act, Quarantined(text))

    def _lose(self, emission: Emission, ended: Ended) -> None:
        if emission.edge == "opens" and emission.run_id is not None:
            self._context.unopened.put(emission.run_id, emission.thread_id)
        self._context.accounts.lose(emission.receipt, _CAUSES[ended], self._context.wall_clock())
        if emission.arrival is not None:
            emission.arrival.refused()


def _refuse(request: OwnerRequest, ended: Ended) -> None:
    refusals = {Ended.CLOSED: RuntimeClosed, Ended.QUARANTINED: Quarantined}
    request.reply.refuse(refusals.get(ended, ActorsError)(f"the owner was not changed ({_CAUSES[ended]})"))
