"""The browser's client plays its side of the transcripts in ``tests/protocol/transcripts``: in Node, over real sockets.

One Node process plays them all; each in a world of its own, whose time is virtual (``player.mjs``).
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.protocol.reading import Scenario
from tests.support.client_interface import ClientView, ServerSide, SessionOptions
from tests.support.expected_items import DeliveredItem
from tests.support.expected_items import event as given_event
from tests.support.raw import PING, Message, frame
from tests.support.scripted_server import Line
from tests.support.transcript_runner import left_out, play, plays
from tests.system.client_js.node import CLIENT, NO_NODE, node_command

PLAYER = Path(__file__).with_name("player.mjs")
LACKS = {"cookie": "a script cannot set the cookies of an upgrade: the browser does"}
"""The scenarios that this client does not play, and why."""
LISTENERS_LACK = {"is_busy": "a listener that has returned has come back"}
PLAYS = [
    *((*play, "loop") for play in plays(LACKS)),
    *((*play, "listeners") for play in plays(LACKS | LISTENERS_LACK)),
]
"""Each play, with either way of an application to take what comes."""

HANG_SECONDS = 60.0


@pytest.fixture(scope="module")
def player() -> Iterator[int]:
    """The port of a Node process that plays applications."""
    command = node_command()
    if command is None:
        pytest.skip(NO_NODE)
    run = [*command, "--no-warnings", str(PLAYER), CLIENT.as_uri()]
    with subprocess.Popen(run, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


class Browser:
    """The client in Node, and an application that takes all it is given."""

    def __init__(self, control: trio.SocketStream, listener: trio.SocketListener, consumer: str) -> None:
        self._listens = consumer == "listeners"
        self._control = control
        self._listener = listener
        self._rest = b""
        self._accepted = 0

    async def begin(self, chosen: SessionOptions) -> None:
        """Open a session to a socket of this process."""
        port = self._listener.socket.getsockname()[1]
        cursor = None if chosen.cursor is None else {"epoch": chosen.cursor[0], "offset": chosen.cursor[1]}
        token = {} if chosen.token is None else {"token": chosen.token}
        options = {"cursor": cursor, "from": chosen.origin, "listens": self._listens, **token}
        await self._act("begin", url=f"ws://127.0.0.1:{port}/ws", **options)

    async def accept(self) -> Line:
        """The next connection, of the kernel's."""
        self._accepted += 1
        return Line(await self._listener.accept())

    async def ask(self, id_: str, request: Message) -> None:
        """Make a request."""
        await self._act("ask", id=id_, request=request)

    async def hold(self) -> None:
        """Keep the next item in hand."""
        await self._act("hold")

    async def release(self) -> None:
        """Take items again."""
        await self._act("release")

    async def leave(self) -> None:
        """Close the session."""
        await self._act("leave")

    async def settle(self, server_side: ServerSide | None) -> ClientView:
        """Wait until everything said has been heard, as the answer to a ping that followed it shows, in both
        directions."""
        await self._sound(server_side)
        over = server_side.number if server_side is not None and server_side.ended else None
        seen = await self._act("look", accepted=self._accepted, over=over)
        await self._sound(server_side)
        cursor = seen["cursor"] and (seen["cursor"]["epoch"], seen["cursor"]["offset"])
        items = [given(item) for item in seen["given"]]
        return ClientView(seen["dialled"], items, seen["outcomes"], seen["refused"], cursor)

    async def advance(self, most_seconds: float) -> float:
        """To the next timer of the client."""
        return float(await self._act("advance", seconds=most_seconds))

    async def _sound(self, server_side: ServerSide | None) -> None:
        if server_side is None or server_side.ended:
            return
        due = server_side.pongs + 1
        if not server_side.closing:
            await server_side.write(frame(PING, b"", masked=False))
        await server_side.until(lambda: server_side.pongs >= due or server_side.ended)

    async def _act(self, act: str, **fields: Any) -> Any:
        await self._control.send_all(json.dumps({"act": act, **fields}).encode() + b"\n")
        while b"\n" not in self._rest:
            data = await self._control.receive_some()
            assert data, "node has ended; it says why on its standard error"
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)


def given(item: Message) -> DeliveredItem:
    """An item, as the runner compares it."""
    match item:
        case {"kind": "event"}:
            return given_event(item)
        case {"kind": "gap", "from": first, "to": last, "cause": cause}:
            return ("gap", first, last, cause)
        case {"kind": "reset", "epoch": epoch, "low": low}:
            return ("reset", epoch, low)
        case {"kind": "caught_up", "offset": offset}:
            return ("caught_up", offset)
        case {"kind": "active", "run_id": run_id, "payload": payload, "waiting": waiting}:
            return ("active", run_id, payload, waiting)
        case {"kind": "inactive", "run_id": run_id, "reason": reason}:
            return ("inactive", run_id, reason)
        case {"kind": "ask", "id": id_, "payload": payload}:
            return ("ask", id_, payload)
        case {"kind": "ask_closed", "id": id_, "reason": reason}:
            return ("ask_closed", id_, reason)
    raise AssertionError(f"expected an item, got {item}")


@pytest.mark.parametrize(("scenario", "device", "consumer"), PLAYS, ids=str)
async def test_the_client_does_what_the_transcript_has(
    player: int, scenario: Scenario, device: str, consumer: str
) -> None:
    """The client says, acks and delivers, comes back and stays away, as the transcript has it."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    with trio.fail_after(HANG_SECONDS):
        async with listener, await trio.open_tcp_stream("127.0.0.1", player) as control:
            await play(Browser(control, listener, consumer), scenario, device)


def test_nothing_else_is_left_out() -> None:
    """All that is not for servers only is played, but for what has a reason."""
    assert left_out(LACKS) == {"opening:ticket:A", "opening:cookie:A", "requests:too_many_requests:A"}
    assert left_out(LACKS | LISTENERS_LACK) - left_out(LACKS) == {
        "confirming:not_before_it_is_taken:A",
        "confirming:in_hand_when_the_connection_is_lost:A",
        "confirming:taken_while_away:A",
        "confirming:in_hand_again_and_again:A",
        "forks:what_waits_is_lost:A",
        "forks:what_was_given_is_lost:A",
    }
    assert len({str(scenario) for scenario, *_ in PLAYS}) >= 140
    assert len(PLAYS) >= 2 * 180
