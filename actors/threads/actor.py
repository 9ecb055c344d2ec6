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
from actors.stores.store import Answer, Binding, Placement, StaleGeneration
from actors.threads.answers import note_owner, note_placement, note_refusal, note_reply, refuse
from actors.threads.context import ThreadContext
from actors.threads.messages import Claim, Emission, OwnerRequest, StoreAnswer, ThreadMessage
from actors.threads.route import Route


class ThreadActor:
    """One thread: its events in order, held while it has no owner."""

    __slots__ = ("_context", "_noted", "_route", "_unsent", "thread_id")

    def __init__(self, thread_id: str, context: ThreadContext) -> None:
        self.thread_id: str = thread_id
        self._context = context
        self._route = Route()
        self._noted: str | None = None
        """The generation whose change of owner is in the books."""
        self._unsent: list[Emission | OwnerRequest] | None = None

    def __repr__(self) -> str:
        state = "idle" if not self._unsent else f"unsent={len(self._unsent)}"
        return f"<ThreadActor {self.thread_id} generation={self._route.generation} {state}>"

    def handle(self, message: ThreadMessage) -> bool | None:
        """Take one message; true when it has to wait for room in the store."""
        if isinstance(message, StoreAnswer):
            self._note(message.act, message.answer)
        elif message.sent:
            return None  # an answer to it is a message, behind the answers to those before it
        elif message.answer is not None:  # it was answered at once, and a crash came before it was noted
            self._note(message, message.answer)
        else:
            return self._submit_in_turn(message)
        return None

    async def settle(self) -> None:
        """Wait for room in the store for every message that found none, one after the other."""
        messages, self._unsent = self._unsent or [], None
        for message in messages:
            while not message.sent:
                await self._context.store.room()
                try:
                    self._submit(message)
                except trio.WouldBlock:
                    continue

    # --- to the store -----------------------------------------------------------

    def _submit_in_turn(self, message: Emission | OwnerRequest) -> bool:
        """Submit one act, but for one behind another that found no room; true if it has to wait.

        There may be room by now, but the order is the emitters'.
        """
        if self._unsent is None:
            try:
                self._submit(message)
            except trio.WouldBlock:
                self._unsent = []
            else:
                return False
        self._unsent.append(message)
        return True

    def _submit(self, message: Emission | OwnerRequest) -> None:
        """Submit one act; raises WouldBlock, and may be called again, where the store has no room."""
        try:
            if not isinstance(message, Emission):
                self._submit_bind(message)
                return
            if message.user_id is not None or message.run_id is not None:
                self._prepare(message)
            message.generation, message.route = self._route.generation, self._route.store
            self._context.store.submit(message, self._answered)
        except StoreUnavailable as refusal:
            message.sent = True
            if isinstance(message, Emission):
                refuse(message, refusal, self._context)
            else:
                note_reply(message, refusal)
            return
        message.sent = True
        if message.answer is None:
            self._context.begin_event(message)

    def _prepare(self, emission: Emission) -> None:
        """Have the thread bound to the user that an event claims it for, and open a run of which the first event was
        lost."""
        store, user_id = self._context.store, emission.user_id
        if user_id is not None and emission.claims and store.known_owner(self.thread_id) != user_id:
            self._submit_bind(Claim(self.thread_id, user_id, take=False, only_new=emission.only_new))
        if emission.run_id is not None and self._context.unopened.pop(emission.run_id) is not None:
            _open_with(emission)

    def _submit_bind(self, bind: Claim | OwnerRequest) -> None:
        self._route.generation = None
        self._context.begin_bind(bind)
        try:
            self._context.store.submit(bind, self._answered)
        except (trio.WouldBlock, StoreUnavailable):
            self._context.end_bind(bind)
            raise
        bind.sent = True

    # --- from the store ---------------------------------------------------------

    def _answered(self, act: Emission | OwnerRequest | Claim, answer: Answer) -> None:
        """Take an answer: in the store's step, or still within :meth:`_submit` where it comes at once."""
        act.answer = answer
        if act.sent:
            self._context.answered(self.thread_id, StoreAnswer(act, answer))
        elif isinstance(answer, Placement) and isinstance(act, Emission):
            note_placement(act, answer, self._context, self._route)
        else:
            self._note(act, answer)

    def _note(self, act: Emission | OwnerRequest | Claim, answer: Answer) -> None:
        if not isinstance(act, Emission):
            self._note_bind(act, answer)
            return
        if act.unanswered:
            self._context.end_event(act)
        if isinstance(answer, Placement):
            note_placement(act, answer, self._context, self._route)
            return
        if not act.settled:
            note_refusal(act, answer, self._context)
        if isinstance(answer, StaleGeneration):
            self._learn(answer.generation)

    def _note_bind(self, bind: OwnerRequest | Claim, answer: Answer) -> None:
        if isinstance(answer, Binding) and answer.generation != self._noted:
            note_owner(answer, self._context)
            self._noted = answer.generation
        self._context.end_bind(bind)  # only now, because it is noted again if that crashes, and until then it is open
        if isinstance(answer, Binding):
            self._learn(answer.generation)
        note_reply(bind, answer)

    def _learn(self, generation: str) -> None:
        """Take over the generation of an answer, unless a change of owner is on its way, which may have made another
        one."""
        self._route.generation = None if self.thread_id in self._context.binds else generation


def _open_with(emission: Emission) -> None:
    """Open a run of which the first event was lost with the next one, which may be its last."""
    emission.edge = "whole" if emission.edge == "closes" else "opens"
