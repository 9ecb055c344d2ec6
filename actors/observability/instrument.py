"""The one seam for observers: an instrument takes each fact about a runtime, in the step in which it becomes one.

The simulation's oracle listens through one, and the watch over undelivered
events is one; metrics, traces and an inspector would be. Each hook of :class:`Instruments` is ``None``
while no instrument has it, so a fact that nothing listens for costs its place
in the code one comparison. The idea is that of :class:`trio.abc.Instrument`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import attrs

from actors.checks import check_instance
from actors.delivery.dead_letters import DeadLetter
from actors.kernel.failures import Barrier, Failure, Failures
from actors.receipts import Receipt

OwnerAct = Literal["bind", "rebind", "unbind"]
"""The ways to change a thread's owner, as the methods of a runtime are called."""


@attrs.frozen(eq=False, kw_only=True)
class OwnerChange:
    """One call that changes a thread's owner; its two facts have the same one."""

    thread_id: str
    act: OwnerAct
    user_id: str | None
    """The owner from then on; ``None`` for no owner."""


class Instrument:
    """An observer of a runtime; override the facts of interest, and add it: ``runtime.instruments.add(…)``.

    A method is called inside the runtime's own step. It must not block, and
    must not call the runtime, whose step is not over, nor watch a receipt
    before it is accepted. One that raises is
    reported in ``runtime.failures``, and its instrument called no more.
    """

    # --- events; those of an idle thread are placed before they are accepted ---

    def offered(self, receipt: Receipt, body: bytes, user_id: str | None) -> None:
        """A call offers an event: JSON without the closing brace, and without its numbers. ``accepted`` or ``refused``
        follows, with the same receipt."""

    def accepted(self, receipt: Receipt, body: bytes, given: bool) -> None:
        """The call returns: this receipt, or the first one of the id. ``given`` if the emitter chose the id, and may
        emit it again."""

    def refused(self, receipt: Receipt, error: BaseException) -> None:
        """The call raises; the event will not be delivered. ``Cancelled`` is such an error."""

    def held(self, receipt: Receipt) -> None:
        """The store holds an event, because its thread has no owner."""

    def placed(self, receipt: Receipt, user_id: str, epoch: str, offset: int) -> None:
        """The store placed an event in its owner's log; held ones that a bind places are counted in ``bound``."""

    def deduplicated(self, receipt: Receipt, first: Receipt) -> None:
        """The store knew an event's id; the first receipt is its fate."""

    def written(self, user_id: str, epoch: str, first: int, last: int) -> None:
        """A device's socket took the offsets ``first`` to ``last``; another device's may have before."""

    def acked(self, user_id: str, epoch: str, first: int, last: int, fresh: int) -> None:
        """A device acked the offsets ``first`` to ``last``; ``fresh`` of them are acked for the first time."""

    def dropped(self, letter: DeadLetter) -> None:
        """Events were dropped that no socket took, with the cause."""

    # --- owners ---------------------------------------------------------------

    def owner_changing(self, change: OwnerChange) -> None:
        """A call to change a thread's owner begins."""

    def owner_changed(self, change: OwnerChange, error: BaseException | None) -> None:
        """The call returns or raises; cancelled, or where the error says so, the change may have happened."""

    def bound(self, thread_id: str, user_id: str | None, placed: int) -> None:
        """A change of owner is in the books, with so many held events and a notice of lost ones.

        Told again, with 0, when a rebuilt actor meets the same owner.
        """

    def disputed(self, thread_id: str, user_id: str) -> None:
        """A thread was named for a user, or by one of the user's devices, and is another user's; it was refused."""

    # --- actors ---------------------------------------------------------------

    def crashed(self, failure: Failure) -> None:
        """A failure was recorded: an actor's, a connection's, or one of the application's code."""

    def restarted(self, path: str) -> None:
        """A supervisor built an actor again, or started a child again."""

    def quarantined(self, path: str, failure: Failure) -> None:
        """A supervisor took an actor out of service; ``failure`` is its last."""

    # --- connections ----------------------------------------------------------

    def handshake_refused(self, status: int, reason: str, origin: str | None) -> None:
        """A request did not become a connection: it was answered with an HTTP status, or closed with none, which is 0.
        ``reason`` is one of :data:`~actors.wire.http.RefusalReason`; ``origin`` is the client's text."""

    def connection_opened(self, label: str) -> None:
        """A request for a WebSocket was let in; its upgrade is not answered, and its user may not be known, yet."""

    def resumed(self, path: str, verdict: str) -> None:
        """A device was told where it begins: ``fresh``, ``replayed``, ``renamed``, ``gap`` or ``reset``. An ended epoch
        renames or resets it again while it is connected."""

    def connection_closed(self, label: str, path: str, row: str) -> None:
        """A connection ended, for a reason of the closing table."""

    def request_answered(self, op: str, refusal: str | None) -> None:
        """A device's request was answered: carried out, or refused for a reason of the table of refusals. ``op`` is
        empty for one that is none of this protocol."""

    # --- runs -----------------------------------------------------------------

    def run_began(self, thread_id: str, run_id: str, agent_name: str, parent_id: str | None) -> None:
        """A run is about to emit ``agent_started``."""

    def run_ended(self, thread_id: str, run_id: str, outcome: str | None) -> None:
        """A run ended with this terminal event; with ``None``, one whose first event was refused. A message's run that
        was cancelled before its turn ends without ``run_began``."""

    def ask_opened(self, thread_id: str, ask_id: str, run_id: str | None) -> None:
        """A question was opened, for the devices of its thread's owner."""

    def ask_closed(self, thread_id: str, ask_id: str, end: str) -> None:
        """A question was ``answered``, has ``expired`` or was ``withdrawn``."""


HOOKS = tuple(name for name, value in vars(Instrument).items() if not name.startswith("_") and callable(value))
"""The names of all facts."""


class Instruments:
    """The instruments of one runtime: for each fact a function that passes it on, or ``None``."""

    __slots__ = ("_failures", "_members", *HOOKS)

    offered: Callable[[Receipt, bytes, str | None], None] | None
    accepted: Callable[[Receipt, bytes, bool], None] | None
    refused: Callable[[Receipt, BaseException], None] | None
    held: Callable[[Receipt], None] | None
    placed: Callable[[Receipt, str, str, int], None] | None
    deduplicated: Callable[[Receipt, Receipt], None] | None
    written: Callable[[str, str, int, int], None] | None
    acked: Callable[[str, str, int, int, int], None] | None
    dropped: Callable[[DeadLetter], None] | None
    owner_changing: Callable[[OwnerChange], None] | None
    owner_changed: Callable[[OwnerChange, BaseException | None], None] | None
    bound: Callable[[str, str | None, int], None] | None
    disputed: Callable[[str, str], None] | None
    crashed: Callable[[Failure], None] | None
    restarted: Callable[[str], None] | None
    quarantined: Callable[[str, Failure], None] | None
    handshake_refused: Callable[[int, str, str | None], None] | None
    connection_opened: Callable[[str], None] | None
    resumed: Callable[[str, str], None] | None
    connection_closed: Callable[[str, str, str], None] | None
    request_answered: Callable[[str, str | None], None] | None
    run_began: Callable[[str, str, str, str | None], None] | None
    run_ended: Callable[[str, str, str | None], None] | None
    ask_opened: Callable[[str, str, str | None], None] | None
    ask_closed: Callable[[str, str, str], None] | None

    def __init__(self, failures: Failures) -> None:
        self._failures = failures
        self._members: tuple[Instrument, ...] = ()
        self._arrange()
        failures.observers = self

    def __repr__(self) -> str:
        return f"<Instruments {' '.join(type(one).__name__ for one in self._members) or 'none'}>"

    def __contains__(self, instrument: Instrument) -> bool:
        return instrument in self._members

    def add(self, instrument: Instrument) -> None:
        """Pass every fact from now on to an instrument, after those that are here. Idempotent."""
        check_instance("instrument", instrument, Instrument)
        if instrument not in self._members:
            self._members = (*self._members, instrument)
            self._arrange()

    def remove(self, instrument: Instrument) -> None:
        """Pass no fact to an instrument any more. Idempotent."""
        self._members = tuple(one for one in self._members if one is not instrument)
        self._arrange()

    def _arrange(self) -> None:
        for hook in HOOKS:
            members = [one for one in self._members if getattr(type(one), hook) is not getattr(Instrument, hook)]
            setattr(self, hook, self._passing(hook, members) if members else None)

    def _passing(self, hook: str, members: list[Instrument]) -> Callable[..., None]:
        """Return the function that passes a fact on."""
        takers = [(Barrier(partial(self._expel, one, hook)), getattr(one, hook)) for one in members]

        def pass_on(*facts: object) -> None:
            for barrier, take in takers:
                with barrier:
                    take(*facts)

        return pass_on

    def _expel(self, instrument: Instrument, hook: str, error: BaseException) -> None:
        """Remove an instrument that raised, and only then report it, because the report is a fact, too."""
        self.remove(instrument)
        self._failures.report(f"instruments/{type(instrument).__name__}", hook, error)
