"""The desk of a test: a store that is open, with short names for what tests do often, and clocks that a test sets."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal

import attrs
import msgspec
import trio
from wsproto.frame_protocol import FrameProtocol

from actors.delivery.bounds import Bounds, Chunk
from actors.delivery.lineage import shared
from actors.delivery.log import NotAtHand
from actors.environment import Environment
from actors.errors import NotTheOwner
from actors.events.delivered import Event
from actors.events.event import encode, fingerprint
from actors.limits import Limits
from actors.stages import Cause
from actors.stores.store import Act, Answer, Append, Bind, Binding, Edge, Placement, Shed, Store, View

PLENTY = 1 << 40
DEFAULTS = Limits()
LARGE = Limits(event_bytes=8 << 20, unbound_bytes=8 << 20)

Fault = Literal["refused", "unwritten", "unanswered"]
"""Faults of a commit: refused, and known not to be written; failed before the write; failed after it. Of the last two
a store cannot know which."""


class Place:
    """A place where the stores of one test keep their events, one store after the other. The test of a store says
    here how its places are."""

    faults: Collection[Fault] = ()
    """The faults that :meth:`fail` can have a commit meet."""
    loses: bool = False
    """True if :meth:`crash` can lose commits."""

    def store(self) -> Store:
        """Make a store here, which is not open yet."""
        raise NotImplementedError

    def crash(self, lost: int = 0) -> None:
        """End the life that is open as the loss of its process, or of power, does.

        The test goes on with the store for a while, and closes it in order; of that nothing must be left. With
        ``lost``, so many of the last commits are lost, too.
        """
        raise NotImplementedError

    def fail(self, fault: Fault, nth: int) -> None:
        """Have the ``nth`` commit from now on, counted from 1, meet a fault."""
        raise NotImplementedError


class Hands:
    """The clocks of a test, which the test sets: ``now`` is the time that has passed, and the wall clock is off by
    ``skew``."""

    def __init__(self) -> None:
        self.now = 0.0
        self.skew = 0.0
        self.lives = 0

    def environment(self) -> Environment:
        """Make the environment of one life, of which the monotonic clock begins anywhere."""
        self.lives += 1
        booted = 77_777.0 * self.lives
        return Environment(clock=lambda: booted + self.now, wall_clock=lambda: 1_000_000_000.0 + self.now + self.skew)


@attrs.define(eq=False)
class Taken:
    """An act that the store took, and its answers, of which there must be one."""

    act: Act
    number: int
    answers: list[Answer] = attrs.field(factory=list)
    on_answer: Callable[[Answer], None] = lambda answer: None

    def result(self) -> Placement | Binding:
        """Return the answer, or raise the refusal."""
        (answer,) = self.answers
        if isinstance(answer, Exception):
            raise answer
        return answer


def events_of(chunk: Chunk) -> list[Event]:
    """Read a chunk as a WebSocket client does."""
    engine = FrameProtocol(client=True, extensions=[])
    engine.receive_bytes(chunk.frames)
    return [msgspec.json.decode(str(frame.payload), type=Event) for frame in engine.received_frames()]


def last_shed(shed: Iterable[Shed]) -> dict[tuple[str, Cause], int]:
    """Up to which ``seq`` each thread's hold was shed for a cause, however many records say so."""
    latest: dict[tuple[str, Cause], int] = {}
    for one in shed:
        latest[one.thread_id, one.cause] = max(one.last_seq, latest.get((one.thread_id, one.cause), 0))
    return latest


def shares(bounds: Bounds, epoch: str) -> int | None:
    """Up to which offset the present log shares an epoch; ``None`` for one that it does not know."""
    return bounds.head if epoch == bounds.epoch else shared(bounds.lineage, epoch)


class Desk:
    """A store that is open, with short names for what tests do often. It is awaited where it answers later."""

    def __init__(self, store: Store, hands: Hands) -> None:
        self.store = store
        self.hands = hands
        self.taken: list[Taken] = []
        self._answered: list[Taken] = []
        self._numbers = itertools.count(1)
        self._prefix = f"e{hands.lives:02}-"
        self._routes: dict[str, Any] = {}
        self._turns = itertools.count()

    def _at(self, now: float | None) -> None:
        if now is not None:
            assert now >= self.hands.now, "time does not go back; the wall clock's skew may"
            self.hands.now = now

    # --- acts -------------------------------------------------------------------

    def compose(
        self,
        thread_id: str = "t",
        event_id: str | None = None,
        *,
        text: str = "",
        type_: str = "say",
        generation: str | None = None,
        repeatable: bool = False,
        user_id: str | None = None,
        run_id: str | None = None,
        edge: Edge = "",
    ) -> Append:
        """An event to be taken; with an id of its own unless it is given one."""
        event_id = event_id or f"{self._prefix}{next(self._numbers):04}"
        body = encode(type_, {"text": text}, thread_id, run_id, event_id, 0.0, LARGE)
        print_ = fingerprint(body) if repeatable else None
        # The first route that the thread had, for every second event, so that all that a store is asked it is asked
        # along the oldest route there is as well.
        route = self._routes.get(thread_id) if next(self._turns) % 2 else None
        return Append(thread_id, event_id, body, generation, print_, user_id, run_id, edge, route)

    def submit(self, act: Act, on_answer: Callable[[Answer], None] = lambda answer: None) -> Taken:
        """Submit an act, and do not wait for its answer."""
        taken = Taken(act, len(self.taken), on_answer=on_answer)

        def answered(told: Act, answer: Answer) -> None:
            assert told is act, "an answer comes with its act"
            taken.answers.append(answer)
            if isinstance(answer, Placement) and answer.route is not None:
                self._routes.setdefault(act.thread_id, answer.route)
            self._answered.append(taken)
            taken.on_answer(answer)

        # Before the answer, which may come within; and gone again if the store took nothing.
        self.taken.append(taken)
        try:
            self.store.submit(act, answered)
        except BaseException:
            self.taken.remove(taken)
            assert not taken.answers, "what was not taken is not answered"
            raise
        return taken

    async def take(self, append: Append) -> Placement:
        """Give an event to the store, and wait for its answer."""
        placement = (await self._settle(append)).result()
        assert isinstance(placement, Placement)
        return placement

    async def _settle(self, act: Act) -> Taken:
        while True:
            try:
                taken = self.submit(act)
            except trio.WouldBlock:
                await self.store.room()
            else:
                await self.store.settled()
                return taken

    async def append(
        self,
        thread_id: str = "t",
        event_id: str | None = None,
        *,
        now: float | None = None,
        text: str = "",
        generation: str | None = None,
        repeatable: bool = False,
        user_id: str | None = None,
    ) -> Placement:
        """Give a new event to the store."""
        self._at(now)
        append = self.compose(
            thread_id, event_id, text=text, generation=generation, repeatable=repeatable, user_id=user_id
        )
        return await self.take(append)

    async def append_and_shed(
        self, thread_id: str = "t", *, now: float | None = None, text: str = ""
    ) -> dict[tuple[str, Cause], int]:
        """Give a new event to the store; what had to go."""
        await self.append(thread_id, now=now, text=text)
        return last_shed(self.store.shed())

    async def say(self, event_id: str, *, text: str = "", now: float | None = None, thread_id: str = "t") -> Placement:
        """Give an event to the store under an id that may come twice."""
        return await self.append(thread_id, event_id, now=now, text=text, repeatable=True)

    async def run_event(self, run_id: str, edge: Edge = "", thread_id: str = "t", *, type_: str = "step") -> Placement:
        """Give an event of a run to the store."""
        return await self.take(self.compose(thread_id, type_=type_, run_id=run_id, edge=edge))

    async def bind(
        self,
        user_id: str | None,
        thread_id: str = "t",
        *,
        now: float | None = None,
        take: bool = False,
        only_new: bool = False,
    ) -> Binding:
        """Change the owner of a thread."""
        self._at(now)
        binding = (await self._settle(Bind(thread_id, user_id, take, only_new))).result()
        assert isinstance(binding, Binding)
        return binding

    async def unbind(self, thread_id: str = "t", *, now: float | None = None) -> Binding:
        """Leave a thread without an owner."""
        return await self.bind(None, thread_id, now=now, take=True)

    def until_answered(self, taken: Sequence[Taken]) -> Iterator[float]:
        """Yield at every moment until these acts are answered: the time to sleep until the next one."""
        for step in range(100_000):
            yield 0.001 if step % 20 == 19 else 0.0
            if all(one.answers for one in taken):
                return
        raise AssertionError("acts are not answered")

    def check_answers(self) -> None:
        """Each act was answered once, and the acts of a thread in order."""
        wrong = [(taken.act, len(taken.answers)) for taken in self.taken if len(taken.answers) != 1]
        assert not wrong, f"acts, and the number of their answers: {wrong}"
        for thread_id in {taken.act.thread_id for taken in self.taken}:
            order = [taken.number for taken in self._answered if taken.act.thread_id == thread_id]
            assert order == sorted(order), f"thread {thread_id!r}: answers in the order {order}"

    # --- reading ----------------------------------------------------------------

    async def bounds(self, user_id: str) -> Bounds:
        """The bounds of a user's log."""
        view = await self.store.follow(user_id)
        bounds = view.bounds
        view.close()
        return bounds

    async def read(self, user_id: str, first: int, most_bytes: int = PLENTY) -> Chunk:
        """Read a user's log from an offset on."""
        view = await self.store.follow(user_id)
        chunk = await read(view, first, most_bytes)
        view.close()
        return chunk

    async def log(self, user_id: str) -> list[Event]:
        """Everything in a user's log, which is exactly what its bounds say."""
        bounds, chunk = await self.bounds(user_id), await self.read(user_id, 1)
        events = events_of(chunk)
        assert (chunk.first, chunk.last, chunk.epoch) == (bounds.low, bounds.head, bounds.epoch)
        assert [event.offset for event in events] == list(range(bounds.low, bounds.head + 1))
        return events

    async def numbers(self, user_id: str) -> list[tuple[str, int, int]]:
        """Thread, ``seq`` and offset of everything in a user's log."""
        return [(event.thread_id, event.seq, event.offset) for event in await self.log(user_id)]

    async def history(
        self, *, thread_id: str = "t", after_seq: int = 0, most_events: int = 1_000, most_bytes: int = PLENTY
    ) -> tuple[list[int], tuple[tuple[int, int], ...], bool]:
        """Of a thread's history: the numbers shown, those gone, and whether there is more."""
        found = await self.store.history(thread_id, None, after_seq, most_events, most_bytes)
        return [msgspec.json.decode(text, type=Event).seq for text in found.events], found.gone, found.more

    # --- age --------------------------------------------------------------------

    async def expire(self, now: float | None = None) -> dict[str, int]:
        """Drop what has become too old by a time; the lows of the logs that lost something."""
        self._at(now)
        lows: dict[str, int] = {}
        while (expiry := self.store.expire()).more:
            lows.update(expiry.lows)
        await self.commit()
        return lows | dict(expiry.lows)

    async def expire_and_shed(self, now: float) -> dict[tuple[str, Cause], int]:
        """Drop what has become too old by a time; what of it was held."""
        await self.expire(now)
        return last_shed(self.store.shed())

    async def commit(self) -> None:
        """Wait until what was decided so far is as safe as it gets: behind it an act is refused, and answered."""
        refused = await self._settle(Append("refused", "refused", b"{", user_id="another"))
        assert isinstance(refused.answers[0], NotTheOwner)


async def read(view: View, first: int, most_bytes: int = PLENTY) -> Chunk:
    """Read a log from an offset on, and have it brought where it is not at hand."""
    while True:
        try:
            return view.read(first, most_bytes)
        except NotAtHand:
            await view.fill(first)


OpenDesk = Callable[..., AbstractAsyncContextManager[Desk]]


@asynccontextmanager
async def life(place: Place, hands: Hands, limits: Limits) -> AsyncIterator[Desk]:
    """Open a store at a place, for the length of a block; each of its acts must be answered by the end."""
    store = place.store()
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run, limits, hands.environment())
        desk = Desk(store, hands)
        yield desk
        nursery.cancel_scope.cancel()
    desk.check_answers()


def opener(place: Place, hands: Hands) -> OpenDesk:
    """Make the function that opens a store at a place, again and again, under some limits."""

    def opened(**limits: Any) -> AbstractAsyncContextManager[Desk]:
        # A store counts bytes; how large an event may be, its emitter checks.
        return life(place, hands, Limits(event_bytes=128, **limits))

    return opened
