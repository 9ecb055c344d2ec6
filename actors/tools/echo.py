"""A WebSocket that sends back what it is sent, text as text and binary as binary.

For conformance suites (``actors serve --echo``), and for nothing else: what they
find out about it is true of ``/ws``, which has the same door, upgrade, protocol
engine, transport and limits of patience.
"""

from __future__ import annotations

import attrs
import trio
from wsproto.frame_protocol import FrameProtocol

from actors.errors import PeerError
from actors.limits import MIB, Limits
from actors.protocol.codes import CLOSINGS
from actors.wire.endpoint import Endpoint
from actors.wire.http import RequestHead
from actors.wire.transport import Transport
from actors.wire.websocket import WebSocket, upgrade

ECHO_BYTES = 16 * MIB
"""The largest message of the suites."""

_ANSWERS = 1_000_000
"""Suites ask as often as they like; what a peer does not read is bounded all the same."""


async def echo(endpoint: Endpoint, head: RequestHead, limits: Limits) -> None:
    """Serve one upgraded connection to its end. Cancelled, the socket is closed as it stands."""
    limits = attrs.evolve(limits, inbound_bytes=ECHO_BYTES, inbound_burst=_ANSWERS)
    async with trio.open_nursery() as nursery:
        transport = Transport(
            endpoint,
            nursery,
            limits=limits,
            on_drained=_nothing,
            on_failed=lambda _: nursery.cancel_scope.cancel(),
        )
        try:
            async with upgrade(transport, head.upgrade_request, head.rest, None, limits, _nothing) as websocket:
                ending = await _mirror(websocket, transport)
                with trio.move_on_after(limits.close_seconds):
                    await _see_out(websocket, transport, ending)
        except PeerError:
            pass  # the engine gave up on its peer
        finally:
            transport.close()
        nursery.cancel_scope.cancel()


async def _mirror(websocket: WebSocket, transport: Transport) -> PeerError:
    """Send back each message once the socket has taken the one before; returns why there are no more."""
    while True:
        try:
            message = await websocket.receive_either()
        except PeerError as error:
            return error
        transport.write(bytes(FrameProtocol(client=False, extensions=[]).send_data(message)))
        await transport.emptied()


async def _see_out(websocket: WebSocket, transport: Transport, ending: PeerError) -> None:
    """Answer what the engine has not answered, and let the peer read it."""
    if ending.name != "vanished":
        await websocket.close(CLOSINGS[ending.name].code, str(ending))
    await transport.drain()
    await transport.discard()


def _nothing() -> None:
    pass
