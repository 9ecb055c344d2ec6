"""The user actor: the devices that are here, the offset at which each begins, and their acks.

Attaching is one message, handled in one step, so that no other step comes
between reading the log's bounds, choosing the offset at which the device
starts, and adding it to the devices that are flushed. That step is the whole
seam between replay and live delivery.
"""

from __future__ import annotations

from actors.delivery.bounds import Bounds
from actors.delivery.cursor import start
from actors.delivery.ledger import Ledger
from actors.delivery.subscription import Subscription
from actors.errors import PeerError
from actors.observability.instrument import Instruments
from actors.protocol.codes import CLOSINGS
from actors.stores.store import View
from actors.users.context import UserContext
from actors.users.presence import REWOUND, Acked, Attach, Detach, Presence, Session, Subscriber, UserMessage
from actors.users.sessions import first_offset_of, new_session_id


class UserActor:
    """One user's fan-out, attachments and acks. Never has to wait."""

    __slots__ = ("_context", "_presence", "_user_id")

    def __init__(self, user_id: str, presence: Presence, *, context: UserContext) -> None:
        self._user_id = user_id
        self._presence = presence
        self._context = context

    def __repr__(self) -> str:
        return f"<UserActor {self._user_id} {self._presence!r}>"

    def handle(self, message: UserMessage) -> None:
        """Take one message, and look whether a device has found another epoch.

        After each message, because the one that said so may have found the
        mailbox full, or may have been lost in a crash.
        """
        if isinstance(message, Acked):
            note_acks(message, self._context.instruments)
            self._presence.unconfirmed = True
            self._presence.acked_at = self._context.environment.wall_clock()
        elif isinstance(message, Attach):
            self._attach(message)
        elif isinstance(message, Detach):
            self._detach(message)
        else:
            assert message is REWOUND, "a user is told of attachments, departures, acks and other epochs"
            self._presence.rewound = True
        if self._presence.rewound:
            self._change_epoch()

    async def settle(self) -> None:
        """Never called, because no message leaves work to wait for."""
        raise AssertionError("a user actor leaves nothing to settle")

    def _attach(self, attach: Attach) -> None:
        gone = attach.device.ended_by()
        if gone is not None:  # a client that gave this connection up has another one, which this must not supersede
            attach.reply.refuse(PeerError(gone, CLOSINGS[gone].text))
            return
        presence, limit = self._presence, self._context.limits.connections_per_user
        known = self._session_of(attach.session_id)
        if known is not None and known.device is not None:
            self._fence(known.device)
        if len(presence.devices) + presence.held >= limit:
            text = f"expected at most {limit} connections of one user, this is one more"
            attach.reply.refuse(PeerError("too_many_devices", text))
            return
        session = self._begin(attach, Session(id="") if known is None else known)
        if attach.keeps_session and not attach.device.plain:
            self._remember(session)
        presence.devices.append(attach.device)
        presence.absences = 0
        self._context.mark(presence)
        attach.reply.give(session)

    def _session_of(self, session_id: str | None) -> Session | None:
        """Find a session by its id, also one of an earlier life; ``None`` for an id that was not made for this user."""
        if session_id is None:
            return None
        known = self._presence.sessions.get(session_id)
        if known is not None:
            return known
        first_offset = first_offset_of(self._context.secret(), self._user_id, session_id)
        return None if first_offset is None else Session(id=session_id, first_offset=first_offset)

    def _begin(self, attach: Attach, session: Session) -> Session:
        """Ack the events that the device's cursor says it took, and subscribe it to the log; returns its session."""
        device = attach.device
        bounds, ledger = self._log()
        session.follow(bounds, ledger)
        shared = None if attach.resume is None else bounds.shared(attach.resume[0])
        if attach.resume is not None and shared is not None:
            for first, last in session.ack_resumed(min(attach.resume[1], shared), bounds, ledger):
                _note_ack(ledger, first, last, self._context.instruments)
                self._presence.acked_at = self._context.environment.wall_clock()
        unseen = ledger.first_unwritten() if device.plain else ledger.first_unacked()
        beginning = start(bounds, attach.resume, attach.origin, unseen, renames=device.renames)
        context = self._context
        subscription = Subscription(
            self._view,
            ledger,
            start=beginning,
            bounds=bounds,
            plain=device.plain,
            instruments=context.instruments,
        )
        if not session.id and not device.plain:
            session.id = new_session_id(context.secret(), self._user_id, beginning.offset, context.environment)
        device.begin(subscription, beginning, bounds, session.id, self._presence)
        session.pass_to(device, subscription)
        return session

    def _change_epoch(self) -> None:
        """Move every device that reads an ended epoch into the present one; its unacked events stay unacked."""
        self._presence.rewound = False
        bounds, ledger = self._log()
        for device in self._presence.devices:
            if _subscription_of(device).ledger is not ledger:
                _move(device, bounds, ledger)
        for session in self._presence.sessions.values():
            if session.device is None:
                continue
            subscription = _subscription_of(session.device)
            if session.cursor is subscription.cursor:
                session.follow(bounds, ledger)
            elif session.ledger is not ledger:
                session.pass_to(session.device, subscription)
        self._context.mark(self._presence)

    def _log(self) -> tuple[Bounds, Ledger]:
        """Read the bounds of the user's log, and find the ledger of its epoch."""
        context = self._context
        bounds, now = self._view.bounds, context.environment.wall_clock()
        account = context.accounts.account(self._user_id, bounds.epoch, bounds.low, now, lineage=bounds.lineage)
        return bounds, account.ledger

    @property
    def _view(self) -> View:
        assert self._presence.view is not None, "a log is followed before a device is attached"
        return self._presence.view

    def _fence(self, device: Subscriber) -> None:
        """End a session's older connection, because a session has one, and the newer one supersedes it."""
        device.end("superseded", "another connection of this session took over")
        self._presence.leave(device)

    def _remember(self, session: Session) -> None:
        sessions = self._presence.sessions
        if session.id not in sessions and len(sessions) >= self._context.limits.sessions_per_user:
            self._forget_session()
        sessions[session.id] = session
        sessions.move_to_end(session.id)

    def _forget_session(self) -> None:
        """Forget the session that was longest without a new connection, but none in use: it is known by its signature,
        and another connection of it would not end the one that it has."""
        sessions = self._presence.sessions
        unused = next((session.id for session in sessions.values() if session.device is None), None)
        if unused is not None:
            del sessions[unused]

    def _detach(self, detach: Detach) -> None:
        self._presence.remember(detach.departure)
        self._presence.leave(detach.device)


def _subscription_of(device: Subscriber) -> Subscription:
    assert device.subscription is not None, "a device that is here has a subscription"
    return device.subscription


def _move(device: Subscriber, bounds: Bounds, ledger: Ledger) -> None:
    """Rename the epoch of a device that saw nothing of what is lost; reset one that did, or does not know the word."""
    subscription = _subscription_of(device)
    fork = bounds.shared(subscription.ledger.epoch)
    if fork is not None and (device.plain or (device.renames and subscription.cursor.position <= fork)):
        device.rename(bounds, ledger, fork)
    else:
        device.reset(bounds, ledger)


def note_acks(acked: Acked, instruments: Instruments) -> None:
    """Write a device's acks into the books. Idempotent, so that a crash may have it done twice."""
    for first, last in acked.spans:
        _note_ack(acked.ledger, first, last, instruments)


def _note_ack(ledger: Ledger, first: int, last: int, instruments: Instruments) -> None:
    fresh = ledger.ack(first, last)
    if instruments.acked is not None:
        instruments.acked(ledger.user_id, ledger.epoch, first, last, fresh)
