"""Bytes of any kind against a whole server in memory, in virtual time, beside a device that must not notice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import trio
from trio.testing import MockClock, memory_stream_pair

import actors
from tests.support.raw import ACTORS, TEXT, Peer, frame, upgrade_request

CORPUS = Path(__file__).parent / "corpus"

UPGRADE = upgrade_request(ACTORS)
HELLO = frame(TEXT, b'{"op":"hello","v":1,"token":"mallory"}')

_LISTENING_SECONDS = 12.0
"""Virtual. Longer than a peer has for its request, or its hello; shorter than the silence after which one is asked."""

_ENDING_SECONDS = 60.0
"""Virtual. No peer that has gone is here for longer."""


async def _authenticate(credentials: actors.Credentials) -> str | None:
    return credentials.token if credentials.token in {"alice", "mallory"} else None


async def _agent(run: actors.Run, message: actors.Message) -> None:
    await run.thinking("hm")


def corpus(kind: str) -> dict[str, bytes]:
    """The pieces of one kind that are kept in the tree, by name."""
    return {path.stem: path.read_bytes() for path in sorted((CORPUS / kind).iterdir())}


def withstands(*attacks: bytes) -> None:
    """Each is what one peer says; then it listens for a while, and goes.

    Nothing of the server fails or stays, another user's device gets its
    events, and the books balance.
    """
    trio.run(_withstand, attacks, clock=MockClock(autojump_threshold=0))


async def _withstand(attacks: Sequence[bytes]) -> None:
    async with (
        actors.open_runtime(authenticate=_authenticate, on_message=_agent) as runtime,
        trio.open_nursery() as nursery,
        _stream(runtime, nursery) as stream,
    ):
        bystander = Peer(stream)
        await bystander.attach("alice")
        for number, attack in enumerate(attacks, 1):
            async with _stream(runtime, nursery) as hostile:
                await _say_and_listen(hostile, attack)
            await runtime.thread("t1").emit("tick", {}, user_id="alice")
            assert (await bystander.next_event())["offset"] == number
            await bystander.ack(number)
        await bystander.echo()
        assert [str(failure) + failure.traceback for failure in runtime.failures] == []
        assert runtime.audit().balanced
        await bystander.leave()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def _stream(runtime: actors.Runtime, nursery: trio.Nursery) -> AsyncIterator[trio.abc.Stream]:
    """A connection to the server; the test waits for its end."""
    ours, theirs = memory_stream_pair()
    over = trio.Event()

    async def serve() -> None:
        await runtime.handle(theirs)
        over.set()

    nursery.start_soon(serve)
    yield ours
    await trio.aclose_forcefully(ours)
    with trio.fail_after(_ENDING_SECONDS):
        await over.wait()


async def _say_and_listen(stream: trio.abc.Stream, data: bytes) -> None:
    """Say it, and take what comes."""
    with trio.move_on_after(_LISTENING_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_say, stream, data)
            with suppress(trio.BrokenResourceError):
                while await stream.receive_some():
                    pass
            nursery.cancel_scope.cancel()


async def _say(stream: trio.abc.Stream, data: bytes) -> None:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await stream.send_all(data)
