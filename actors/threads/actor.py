"""The thread actor: submits events to the store, notes its answers, and rings the owner.

Once the store has placed an event, no message carries it: the thread rings the
owner, and the owner's connections read the log. If messages carried events,
two placements of one commit could arrive in either order.

An act that the store has is the store's: it will be answered, whatever becomes
of this actor. A store that answers later, after a commit, answers with a message
to the actor, because a crash in noting it must be the actor's, not the store's.
"""

from __future__ import annotations

import trio

from actors.errors import StoreUnavailable
from actors.stores.store import Act, Answer, Binding, Placement, StaleGeneration
from actors.threads.answers import ThreadContext, note, note_owner, note_reply, refuse
from actors.threads.messages import Claim, Emission, OwnerRequest, StoreAnswer, ThreadMessage

_Submitted = Emission | OwnerRequest | Claim
_WithGeneration = Placement | StaleGeneration
# Made once, because a union made in each call of isinstance takes longer than the call.


class ThreadActor:
    """One thread: its events in order, held while it has no owner."""

    __slots__ = ("_context", "_generation", "_noted", "_unsent", "thread_id")

    def __init__(self, thread_id: str, context: ThreadContext) -> None:
        self.thread_id = thread_id
        self._context = context
        self._generation: str | None = None
        self._noted: str | None = None
        """The generation whose change of owner is in the books."""
        self._unsent: list[Emission | OwnerRequest] | None = None

    def __repr__(self) -> str:
        state = "idle" if not self._unsent else f"unsent={len(self._unsent)}"
        return f"<ThreadActor {self.thread_id} generation={self._generation} {state}>"

    def handle(self, message: ThreadMessage) -> bool | None:
        """Take one message; true when it has to wait for room in the store."""
        if isinstance(message, StoreAnswer):
            self._note(message.act, message.answer)
        elif message.answer is not None:  # a crash came before it was noted
            self._note(message, message.answer)
        elif not message.sent and not message.settled:
            try:
                self._submit(message)
            except trio.WouldBlock:
                self._unsent = self._unsent or []
                self._unsent.append(message)
                return True
        return None

    async def settle(self) -> None:
        """Wait for room in the store for every message that found none, one after the other."""
        messages, self._unsent = self._unsent or [], None
        for message in messages:
            while not message.sent and not message.settled:
                await self._context.store.room()
                try:
                    self._submit(message)
                except trio.WouldBlock:
                    continue

    # --- to the store -----------------------------------------------------------

    def _submit(self, message: Emission | OwnerRequest) -> None:
        """Submit one act; raises WouldBlock, and may be called again, where the store has no room."""
        try:
            if isinstance(message, OwnerRequest):
                self._submit_bind(message)
            else:
                self._submit_event(message)
        except StoreUnavailable as refusal:
            if isinstance(message, OwnerRequest):
                note_reply(message, refusal)
            else:
                refuse(message, refusal, self._context)

    def _submit_event(self, emission: Emission) -> None:
        store, user_id = self._context.store, emission.user_id
        if user_id is not None and emission.claims and store.known_owner(self.thread_id) != user_id:
            self._submit_bind(Claim(self.thread_id, user_id, take=False))
        if emission.run_id is not None and self._context.unopened.pop(emission.run_id) is not None:
            _open_with(emission)
        emission.generation = self._generation
        store.submit(emission, self._answered)
        emission.sent = True

    def _submit_bind(self, bind: Claim | OwnerRequest) -> None:
        self._generation = None
        self._context.binds[self.thread_id] += 1
        try:
            self._context.store.submit(bind, self._answered)
        except (trio.WouldBlock, StoreUnavailable):
            self._context.end_bind(self.thread_id)
            raise
        bind.sent = True

    # --- from the store ---------------------------------------------------------

    def _answered(self, act: Act, answer: Answer) -> None:
        """Take an answer: in the store's step, or still within :meth:`_submit` where it comes at once."""
        assert isinstance(act, _Submitted), "a thread submits no other acts"
        act.answer = answer
        if act.sent:
            self._context.answered(self.thread_id, StoreAnswer(act, answer))
        else:
            self._note(act, answer)

    def _note(self, act: Emission | OwnerRequest | Claim, answer: Answer) -> None:
        if isinstance(act, Emission):
            if not act.settled:
                note(act, answer, self._context)
            if isinstance(answer, _WithGeneration):
                self._learn(answer.generation)
            return
        if not act.settled:
            self._context.end_bind(self.thread_id)
        if isinstance(answer, Binding) and answer.generation != self._noted:
            self._noted = answer.generation
            self._learn(answer.generation)
            note_owner(answer, self._context)
        note_reply(act, answer)

    def _learn(self, generation: str) -> None:
        """Take over the generation of an answer, unless a change of owner is on its way, which may have made another
        one."""
        self._generation = None if self.thread_id in self._context.binds else generation


def _open_with(emission: Emission) -> None:
    """Open a run of which the first event was lost with the next one, which may be its last."""
    emission.edge = "whole" if emission.edge == "closes" else "opens"
