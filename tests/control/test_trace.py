"""The trace: what is shown, what is not, and that nothing of it is left behind."""

from __future__ import annotations

import pytest
import trio

import actors
from actors.connections.actor import transport_of
from actors.control import trace as module
from actors.control.answers import TraceLine
from actors.control.trace import BUFFERED_LINES, TEXT_CHARACTERS, DeviceTap, Lines, shortened, trace
from tests.support.served import served


async def told(lines: Lines, count: int) -> list[TraceLine]:
    """The next lines."""
    return [await anext(lines) for _ in range(count)]


async def test_the_way_of_an_event() -> None:
    """It is stored, goes out as the device gets it, is written and acked; each line names its place."""
    async with served() as server, server.peer() as peer:
        await peer.attach("alice")
        with trace(server.runtime, "alice") as lines:
            await server.emit(1, size=1_000)
            await peer.next_event()
            await peer.ack(1)
            found = await told(lines, 6)
        assert [(one.kind, one.device) for one in found] == [
            ("owner", None), ("event", None), ("out", "c1"), ("event", None), ("in", "c1"), ("event", None),
        ]  # fmt: skip
        assert found[1].text == "stored: seq 1 of thread thread-of-alice, offset 1"
        assert found[2].text.startswith('{"type":"tick","payload":{"n":0,"x":"xxx')
        assert len(found[2].text) == TEXT_CHARACTERS
        assert [found[number].text for number in (3, 4, 5)] == [
            "written: offset 1",
            '{"op": "ack", "offset": 1}',
            "acked: offset 1",
        ]


async def test_a_device_that_comes_and_goes() -> None:
    """It is listened to from its welcome on; the hello, which has its credential, is not shown."""
    async with served() as server:
        with trace(server.runtime, "alice") as lines:
            async with server.peer() as peer:
                await peer.attach("alice")
                assert [(one.kind, one.text[:14]) for one in await told(lines, 3)] == [
                    ("device", "begins: fresh"), ("out", '{"op":"welcome'), ("out", '{"op":"caught_'),
                ]  # fmt: skip
                await peer.leave()
            texts: list[str] = []
            while not texts or texts[-1] != "ended: left":
                texts.append((await anext(lines)).text)
            assert texts[0] == "close"


@pytest.mark.parametrize(
    "message",
    [
        '{"op":"hello","v":1,"token":"secret"}',
        '{"op":"hello","v":1,"tok\\u0065n":"secret"}',
        '{"op":"hello","v":1,"tok\\u0065n":"secret',
        '{"op":"x\\ud83d","tok\\u0065n":"secret"}',
    ],
)
async def test_a_credential_is_not_shown(message: str) -> None:
    """A message that has a token in it, however that is spelt, is told of, without its text."""
    async with served() as server, server.peer() as peer:
        await peer.attach("alice")
        with trace(server.runtime, "alice") as lines:
            await peer.say(message)
            assert (await anext(lines)).text == "a message with a token, not shown"


async def test_owners_and_runs() -> None:
    """Changes of owner, refusals and runs are those of the user's threads, and of no other's."""
    async with actors.open_runtime() as runtime:
        with trace(runtime, "alice") as lines:
            await runtime.bind("t1", "alice")
            await runtime.bind("t2", "bob")
            async with runtime.thread("t2").run("other"):
                pass
            async with runtime.thread("t1").run("assistant", run_id="r1"):
                pass
            await runtime.rebind("t1", "bob")
            with pytest.raises(actors.NotTheOwner):
                await runtime.thread("t1").emit("x", {}, user_id="alice")
            runtime.failures.report("users/alice/connections/c1", "a test", ValueError("a bug"))
            runtime.failures.report("users/bob", "a test", ValueError("a bug"))
            found = await told(lines, 8)
        assert [one.text for one in found if one.kind != "event"] == [
            "thread t1 is bound to alice",
            "run r1 of assistant begins in thread t1",
            "run r1 ends: agent_completed",
            "rebind: thread t1 is bound to bob",
            "refused: thread t1, for alice; it is bound to bob",
            "users/alice/connections/c1: ValueError: a bug",
        ]


async def test_a_slow_reader_is_told_what_it_missed() -> None:
    """Beyond the bound lines are counted, and the count comes where they would have been."""
    async with actors.open_runtime(limits=actors.Limits(retained_events=5_000)) as runtime:
        with trace(runtime, "alice") as lines:
            for _ in range(BUFFERED_LINES + 9):
                await runtime.thread("t1").emit("x", {}, user_id="alice")
            found = await told(lines, BUFFERED_LINES + 1)
            assert (found[-1].kind, found[-1].missed) == ("missed", 10)
            await runtime.thread("t1").emit("x", {})
            assert (await anext(lines)).kind == "event"


async def test_nothing_is_left_behind() -> None:
    """After the block no instrument listens, and no socket; two traces of one device do not disturb each other."""
    async with served() as server, server.peer() as peer:
        await peer.attach("alice")
        (connection,) = server.runtime.tree.server.connections.values()
        before = server.runtime.instruments.placed
        with trace(server.runtime, "alice") as first:
            with trace(server.runtime, "alice"):
                assert len(transport_of(connection).taps) == 2
            await server.emit(1)
            assert [one.kind for one in await told(first, 4)] == ["owner", "event", "out", "event"]
        assert transport_of(connection).taps == ()
        assert server.runtime.instruments.placed is before


async def test_a_fault_of_the_trace_ends_the_trace_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that cannot be shown is a failure that is reported, and the device goes on."""

    def fails(frames: bytes) -> None:
        raise ZeroDivisionError("a bug in the trace")

    async with served() as server, server.peer() as peer:
        await peer.attach("alice")
        (connection,) = server.runtime.tree.server.connections.values()
        with trace(server.runtime, "alice"):
            monkeypatch.setattr(module, "_messages", fails)
            await server.emit(2)
            assert [(await peer.next_event())["offset"] for _ in range(2)] == [1, 2]
            assert transport_of(connection).taps == ()
        assert [one.error for one in server.runtime.failures] == ["ZeroDivisionError: a bug in the trace"]


def test_frames_of_every_kind() -> None:
    """Texts of each length of header, pings and closes are read; what is long is cut in its middle."""
    said: list[str] = []

    def say(kind: str, text: str, device: str) -> None:
        said.append(shortened(text))

    tap = DeviceTap("c1", say, on_failed=lambda error: pytest.fail(str(error)))
    medium, long = b"b" * 256, b"a" * 70_000
    frames = b"\x81\x02ok\x89\x00\x81\x7e\x01\x00" + medium + b"\x81\x7f" + len(long).to_bytes(8) + long
    tap.sent(frames + b"\x88\x02\x03\xe8")
    assert [said[0], said[1], said[4]] == ["ok", "ping", "close"]
    assert [len(said[2]), len(said[3])] == [TEXT_CHARACTERS] * 2
    assert shortened("\x1b[2J") == "\\x1b[2J"


async def test_the_next_line_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    """A reader that is cancelled has taken nothing."""
    async with actors.open_runtime() as runtime:
        with trace(runtime, "alice") as lines:
            with trio.move_on_after(1):
                await anext(lines)
            await runtime.bind("t1", "alice")
            assert (await anext(lines)).kind == "owner"
