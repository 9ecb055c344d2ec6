"""Devices, as they are shown: a place in a log, and what is known of the socket."""

from __future__ import annotations

from actors.connections.actor import Connection, transport_of
from actors.control.answers import DeviceAnswer
from actors.runtime import Runtime
from actors.users.presence import Subscriber


def device_answer(runtime: Runtime, device: Subscriber, offset: int | None = None) -> DeviceAnswer:
    """Return a device as it stands now; its text is about ``offset``, or else the head of the log."""
    told = DeviceAnswer(label=device.label, user_id=device.user_id, kind=_kind(device), state="saying hello")
    subscription = device.subscription
    if subscription is not None:
        ledger, cursor = subscription.ledger, subscription.cursor
        told.state, told.epoch, told.head = subscription.state.value, ledger.epoch, ledger.head
        told.cursor, told.written, told.lag_events = cursor.acked, subscription.written, subscription.lag_events
    told.text = device.describe(0 if told.head is None else told.head if offset is None else offset, _now(runtime))
    if isinstance(device, Connection):
        _add_socket(told, device, runtime)
    return told


def _kind(device: Subscriber) -> str:
    if not isinstance(device, Connection):
        return "follower"
    return "plain" if device.plain else "v1"


def _add_socket(told: DeviceAnswer, connection: Connection, runtime: Runtime) -> None:
    """Add what is known of a socket. A carrier of messages, as ASGI, cannot say what waits in it."""
    transport, heartbeat = transport_of(connection), runtime.tree.pulse.heartbeat
    told.backlog_bytes = transport.backlog_bytes
    told.pending_bytes = transport.pending_bytes if transport.carrier is None else None
    told.stalled_at = _wall(runtime, transport.stalled_since)
    told.heard_at = _wall(runtime, heartbeat.heard_at(connection))
    told.pinged_at = _wall(runtime, heartbeat.pinged_at(connection))


def _now(runtime: Runtime) -> float:
    return runtime.environment.clock()


def _wall(runtime: Runtime, at: float | None) -> float | None:
    """Return a time of the monotonic clock as one of the wall clock."""
    return None if at is None else runtime.environment.wall_clock() - (_now(runtime) - at)
