"""A WebSocket that echoes messages, text as text and binary as binary.

It is for conformance suites alone (``actors serve --echo``). Their results hold
for ``/ws`` as well, because both have the same listener, upgrade, protocol
engine, transport and timeouts.
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
from actors.wire.websocket import WebSocket

ECHO_BYTES = 16 * MIB
"""The largest message of the suites."""

_ANSWERS = 1_000_000
"""Messages at once: no limit for a suite. Unread output is bounded all the same."""


async def echo(endpoint: Endpoint, head: RequestHead, limits: Limits) -> None:
    """Serve one upgraded connection to its end. Cancelled, it closes the socket at once."""
    limits = attrs.evolve(limits, inbound_bytes=ECHO_BYTES, inbound_burst=_ANSWERS)
    async with trio.open_nursery() as nursery:
        transport = Transport(
            endpoint,
            nursery,
            limits=limits,
            on_drained=lambda: None,
            on_failed=lambda _: nursery.cancel_scope.cancel(),
        )
        websocket = WebSocket(transport, limits, on_received=lambda _: None)
        try:
            websocket.open(head, None)
            ending = await _mirror(websocket, transport)
            with trio.move_on_after(limits.close_seconds):
                await _see_out(websocket, transport, ending)
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
    """Close the WebSocket unless the connection broke, and wait until the peer has read everything."""
    if ending.name != "vanished":
        await websocket.close(CLOSINGS[ending.name].code, str(ending))
    await transport.drain()
    await transport.discard()
