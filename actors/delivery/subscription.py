"""A subscription: one device's reading of its user's log, from attach to the end. Sans-I/O.

    CATCHING_UP ◀──▶ LIVE ◀──▶ LAGGING
         └────────────┴─────────┴─────▶ ENDED

``CATCHING_UP`` and ``LAGGING`` also follow each other directly: after the
catch-up with a write unfinished, and after a gap.

It takes bells (:meth:`Subscription.pull`), acks and resets, and returns the
messages to send; its host, here a connection with a socket, reports the outcome
of each write. So a host with frames of its own, an ASGI mount or an event
stream, uses it as it is. The idea of one printable object for each peer's
progress is etcd-io/raft's ``Progress``.

Nothing is queued in it: a device that does not read is a cursor that stands
still, and the log goes on without it.
"""

from __future__ import annotations

import enum
from typing import Protocol

from actors.delivery.batches import batch
from actors.delivery.bounds import Bounds, Chunk, Start
from actors.delivery.cursor import Cursor, Standing
from actors.delivery.ledger import Ledger
from actors.delivery.outgoing import Outgoing
from actors.limits import Limits
from actors.observability.instrument import Instruments
from actors.protocol.server_messages import CaughtUp, Gap, Ping, Renamed, Reset, ServerLimits, Welcome, encode


class State(enum.Enum):
    """The state of a subscription, by its distance to the head of its log."""

    CATCHING_UP = "catching up"
    """It has yet to be sent the events that were there when it began, or when it was told of a gap, a reset or another
    epoch."""
    LIVE = "live"
    """It was sent everything, as single events."""
    LAGGING = "lagging"
    """Its socket has yet to take something, or the log is ahead of it; deltas that can be joined are sent joined."""
    ENDED = "ended"
    """It is sent nothing more."""


_STANDINGS: dict[Standing, str] = {
    "began later": "began after it",
    "missed": "missed it: it had left the log",
    "handed": "written, not confirmed yet",
    "acked": "acked",
}


class LogSource(Protocol):
    """The view of a user's log, as far as a subscription reads it."""

    def read(self, first: int, most_bytes: int) -> Chunk:
        """Read consecutive events, from an offset or from low on; raises NotAtHand while they have to be loaded."""
        ...


class EpochEnded(Exception):
    """The log goes on in another epoch; the host gives its bounds to :meth:`Subscription.rename`, or to
    :meth:`Subscription.reset`."""


def opening(start: Start, bounds: Bounds, session: str, limits: Limits) -> list[bytes]:
    """Return the first messages to a device: the welcome, and the new epoch, gap or reset that it begins with."""
    asked = ServerLimits(
        message_bytes=limits.inbound_bytes,
        messages_per_s=limits.inbound_messages_per_second,
        ack_events=limits.ack_events,
        ack_s=limits.ack_seconds,
        requests=limits.requests,
    )
    welcome = Welcome(
        session=session,
        epoch=bounds.epoch,
        head=bounds.head,
        low=bounds.low,
        start=start.offset,
        resume=start.kind,
        ping_s=limits.ping_seconds,
        limits=asked,
    )
    first = [encode(welcome)]
    if start.fork is not None:
        first.append(encode(Renamed(bounds.epoch, start.fork)))
    if start.gap is not None:
        first.append(encode(Gap(*start.gap, "retention")))
    elif start.kind == "reset":
        first.append(encode(Reset(bounds.epoch, bounds.low)))
    return first


class Subscription:
    """The offsets of one user's log that one device was sent, and those that it acked.

    Invariant: at most one write is unfinished, and while one is, nothing is
    pulled.
    """

    __slots__ = (
        "_behind",
        "_catching_up_to",
        "_ended",
        "_instruments",
        "_log",
        "_writing",
        "cursor",
        "ledger",
        "plain",
        "user_id",
    )

    def __init__(
        self, log: LogSource, ledger: Ledger, *, start: Start, bounds: Bounds, plain: bool, instruments: Instruments
    ) -> None:
        self.user_id = ledger.user_id
        self.plain = plain
        """True for a device without the protocol: it is sent events alone, and acks nothing."""
        self.ledger = ledger
        """The books of the epoch in which the cursor stands."""
        self.cursor = Cursor(start.offset)
        self._log = log
        self._instruments = instruments
        self._catching_up_to = None if plain else bounds.head
        self._behind = not plain
        self._writing: tuple[Ledger, int, int] | None = None
        """Offsets, of an epoch, that the socket has begun to take."""
        self._ended = False

    @property
    def state(self) -> State:
        """The state, from the ranges that are left to send."""
        if self._ended:
            return State.ENDED
        if self._catching_up_to is not None:
            return State.CATCHING_UP
        lags = self._writing is not None or (self._behind and self.cursor.position < self.ledger.head)
        return State.LAGGING if lags else State.LIVE

    @property
    def caught_up(self) -> bool:
        """True if nothing is left to catch up with; false again after a gap, a reset, another epoch, or
        :meth:`catch_up_again`."""
        return self._catching_up_to is None

    @property
    def catch_up_is_due(self) -> bool:
        """True if everything to catch up with was pulled, and :meth:`catch_up` is due."""
        return self._catching_up_to is not None and self.cursor.position >= self._catching_up_to

    @property
    def awaits_ack(self) -> bool:
        """True if this device may still ack something that no device has."""
        return not self.plain and self.cursor.has_unacked and self.ledger.retained > 0

    def has_sent(self, epoch: str, offset: int) -> bool:
        """True if the device was sent what is at an offset of an epoch, or it is gone."""
        ledger = self.ledger.of(epoch)
        return ledger is not None and (self.cursor.position >= offset or offset > ledger.end)

    # --- sending ----------------------------------------------------------------

    def pull(self, most_bytes: int) -> Outgoing | None:
        """Take the next range to send, ``None`` if there is none; its offsets count as handed out from now on.

        Raises :class:`EpochEnded`, and takes nothing, when the log goes on in
        another epoch, and NotAtHand while it has to be loaded. Not to be called while a write is unfinished.
        """
        cursor = self.cursor
        chunk = self._log.read(cursor.position + 1, most_bytes)
        if chunk.epoch != self.ledger.epoch:
            raise EpochEnded
        before = () if chunk.first == cursor.position + 1 else self._skip(chunk.first)
        outgoing = Outgoing(chunk.first, chunk.last, chunk.frames, before)
        if chunk.last >= chunk.first:
            cursor.advance(chunk.first, chunk.last)
            if self._behind:
                self._join(outgoing)
        return outgoing if outgoing.frames or outgoing.before else None

    def wrote(self, outgoing: Outgoing) -> bool:
        """Note that the socket took a range whole; true if the log has more by now."""
        if outgoing.last < outgoing.first:
            return False
        self.ledger.write(outgoing.first, outgoing.last)
        if self._instruments.written is not None:
            self._instruments.written(self.user_id, self.ledger.epoch, outgoing.first, outgoing.last)
        if outgoing.last < self.ledger.head:
            return True
        self._behind = False
        return False

    def pass_over(self, outgoing: Outgoing) -> None:
        """Note that the last range is not for this device: it was neither sent it, nor will it ack it."""
        self.cursor.pass_over(outgoing.first)

    def begin_write(self, outgoing: Outgoing) -> None:
        """Note that the socket took a part of a range; :meth:`finish_write` reports the outcome of the rest."""
        if outgoing.last < outgoing.first:
            return
        self.ledger.begin_write(outgoing.first, outgoing.last)
        self._writing = self.ledger, outgoing.first, outgoing.last
        self._behind = True

    def finish_write(self, *, written: bool) -> None:
        """Note that the socket has taken the rest of a range, or never will. Idempotent."""
        if self._writing is not None:
            ledger, first, last = self._writing
            ledger.finish_write(first, last, written=written)
            if written and self._instruments.written is not None:
                self._instruments.written(self.user_id, ledger.epoch, first, last)
            self._writing = None

    def catch_up(self) -> bytes:
        """Return the protocol message that says that the device was sent everything."""
        self._catching_up_to = None
        return encode(CaughtUp(self.cursor.position))

    def catch_up_again(self) -> None:
        """Make :meth:`catch_up` due once more, so that active runs and open questions are told anew."""
        if self._catching_up_to is None:
            self._catching_up_to = self.cursor.position

    def rename(self, bounds: Bounds, ledger: Ledger, fork: int) -> list[bytes]:
        """Go on in an epoch that shares all up to ``fork`` with the present one; returns the protocol messages that
        say so.

        A device of the protocol must not be beyond the fork; one without it
        goes back there, and is sent what stands there now. The device catches
        up again, because the end of a run may be among what is lost. Acks on
        their way are of offsets that both epochs share.
        """
        assert self.plain or self.cursor.position <= fork, f"renamed at {self.cursor.position}, beyond {fork}"
        self.ledger = ledger
        self.cursor.lose(fork)
        if self.plain:
            return []
        self._behind = True
        self._catching_up_to = bounds.head
        return [encode(Renamed(bounds.epoch, fork))]

    def reset(self, bounds: Bounds, ledger: Ledger) -> list[bytes]:
        """Go on in another epoch, from its low; returns the protocol messages that say so.

        An unfinished write still counts in the epoch in which it was begun.
        Acks count again once the ping in the messages was answered, because
        those on their way until then are of the ended epoch.
        """
        self.ledger = ledger
        self.cursor = Cursor(bounds.low)
        self._behind = True
        if self.plain:
            return []
        self._catching_up_to = bounds.head
        return [encode(Reset(bounds.epoch, bounds.low)), encode(Ping(bounds.head))]

    def end(self, *, written: bool) -> None:
        """Send nothing more; an unfinished write counts as written, or does not. Idempotent."""
        self._ended = True
        self.finish_write(written=written)

    def _skip(self, low: int) -> tuple[bytes, ...]:
        """Step over events that left the log before they were sent; returns the gap that says so."""
        gone = self.cursor.skip(low)
        if gone is None or self.plain:
            return ()
        if self._catching_up_to is None:  # because the end of a run may be in the gap
            self._catching_up_to = max(self.cursor.position, self.ledger.head)
        return (encode(Gap(*gone, "retention")),)

    def _join(self, outgoing: Outgoing) -> None:
        """Replace the events by a batch, where that joins some, for a device that is behind."""
        joined = None if self.plain else batch(outgoing.first, outgoing.last, outgoing.frames)
        if joined is not None:
            outgoing.before, outgoing.frames = (*outgoing.before, joined), b""

    # --- acks, and how it stands ------------------------------------------------

    def ack(self, offset: int) -> list[tuple[int, int]]:
        """Ack everything sent up to an offset; returns the spans that are new.

        Raises :class:`~actors.errors.PeerError` for an offset beyond the last one sent.
        """
        return self.cursor.ack(offset)

    def describe(self, offset: int, stalled_seconds: float | None = None) -> str:
        """Say how this device stands to one offset, for people: ``acked``, ``12 behind``."""
        standing = self.cursor.standing(offset)
        if standing == "behind" or offset > self.written:
            idle = "" if stalled_seconds is None else f", its socket took nothing for {stalled_seconds:.1f} s"
            return f"{self.lag_events} behind{idle}"
        if standing == "handed" and self.plain:
            return "written (a plain client, which does not confirm)"
        return _STANDINGS[standing]

    @property
    def lag_events(self) -> int:
        """The offsets of the log that the socket has yet to take."""
        return max(self.ledger.head - self.written, 0)

    @property
    def written(self) -> int:
        """The last offset that the socket has taken whole."""
        if self._writing is None or self.ledger.of(self._writing[0].epoch) is None:
            return self.cursor.position
        return min(self._writing[1] - 1, self.cursor.position)

    def __repr__(self) -> str:
        writing = "" if self._writing is None else f" writing={self._writing[1]}-{self._writing[2]}"
        return f"<Subscription {self.state.value} next={self.cursor.position + 1} acked={self.cursor.acked}{writing}>"
