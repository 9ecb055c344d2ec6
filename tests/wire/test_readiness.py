"""One task that watches all sockets: who is called, and when it stops."""

from __future__ import annotations

import gc
import socket
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.wire import readiness as module
from actors.wire.endpoint import Endpoint, SocketEndpoint
from actors.wire.readiness import Readiness
from tests.support.served import PATIENCE_SECONDS


class Pair:
    """A socket that is watched, and the other end of it."""

    def __init__(self, readiness: Readiness) -> None:
        ours, self.theirs = socket.socketpair()
        self.endpoint: Endpoint = SocketEndpoint(ours)
        self.got: list[bytes | None] = []
        self.failures: list[BaseException] = []
        self.readiness = readiness

    def watch(self, then: Callable[[], None] = lambda: None) -> None:
        def read() -> None:
            self.got.append(self.endpoint.receive(100))
            then()

        self.readiness.watch(self.endpoint, read, self.failures.append)

    def close(self) -> None:
        self.readiness.forget(self.endpoint)
        self.endpoint.close()
        self.theirs.close()


@pytest.fixture(params=["one task for all", "a task each"])
def readiness(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Readiness:
    """Where the system has a selector with a descriptor, and where it has none."""
    if request.param == "a task each":
        monkeypatch.setattr(module, "_selector", lambda: None)
    return Readiness()


@pytest.fixture
async def pairs(readiness: Readiness) -> AsyncIterator[Callable[[], Pair]]:
    """Makes pairs, which are closed at the end."""
    with ExitStack() as stack:

        def make() -> Pair:
            pair = Pair(readiness)
            stack.callback(pair.close)
            return pair

        yield make


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        while not condition():
            await trio.lowlevel.checkpoint()


async def test_called_when_there_is_something(
    readiness: Readiness, pairs: Callable[[], Pair], nursery: trio.Nursery
) -> None:
    """Each socket that has bytes, and no other, also one that is watched from before the start, and its end."""
    early, idle = pairs(), pairs()
    early.watch()
    idle.watch()
    await nursery.start(readiness.run)
    late = pairs()
    late.watch()
    early.theirs.send(b"one")
    late.theirs.send(b"two")
    await until(lambda: bool(early.got and late.got))
    assert (early.got, late.got, idle.got) == ([b"one"], [b"two"], [])
    readiness.forget(late.endpoint)
    late.watch(lambda: readiness.forget(late.endpoint))
    late.theirs.close()
    await until(lambda: late.got[-1] == b"")
    await wait_all_tasks_blocked()
    assert late.got == [b"two", b""]
    nursery.cancel_scope.cancel()


async def test_forgotten(readiness: Readiness, pairs: Callable[[], Pair], nursery: trio.Nursery) -> None:
    """One that is forgotten is not called, even if it was found ready in the same turn; watched again, it is."""
    await nursery.start(readiness.run)
    one, two = pairs(), pairs()
    for pair, other in ((one, two), (two, one)):
        pair.watch(lambda other=other: readiness.forget(other.endpoint))  # type: ignore[misc]
        pair.theirs.send(b"x")
    await until(lambda: bool(one.got or two.got))
    await wait_all_tasks_blocked()
    assert len(one.got) + len(two.got) == 1
    silent, called = (one, two) if two.got else (two, one)
    readiness.forget(called.endpoint)
    silent.watch()
    await until(lambda: bool(silent.got))
    assert repr(readiness) == "<Readiness watches=1>"
    readiness.forget(silent.endpoint)
    readiness.forget(silent.endpoint)
    nursery.cancel_scope.cancel()


async def test_run_again(readiness: Readiness, pairs: Callable[[], Pair]) -> None:
    """What is watched stays so over a restart of the task."""
    pair = pairs()
    pair.watch()
    for text in (b"one", b"two"):
        async with trio.open_nursery() as nursery:
            await nursery.start(readiness.run)
            pair.theirs.send(text)
            await until(lambda text=text: pair.got[-1:] == [text])  # type: ignore[misc]
            nursery.cancel_scope.cancel()
    assert pair.got == [b"one", b"two"]


class Odd(SocketEndpoint):
    """An endpoint of a host's that cannot be waited for."""

    def fileno(self) -> int:
        return -1

    async def wait_readable(self) -> None:
        raise ZeroDivisionError("odd")


class Gone(SocketEndpoint):
    """An endpoint whose descriptor the system does not know."""

    def fileno(self) -> int:
        return 1_000_000


@pytest.mark.parametrize("kind", [Odd, Gone])
@pytest.mark.parametrize("early", [True, False])
async def test_one_that_cannot_be_watched(
    readiness: Readiness, pairs: Callable[[], Pair], nursery: trio.Nursery, kind: type[SocketEndpoint], early: bool
) -> None:
    """Fails by itself, at once or when the task starts; the others are watched as before."""
    if module._selector() is None:
        kind = Odd  # where each has a task, no descriptor is asked for
    ours, theirs = socket.socketpair()
    failures: list[BaseException] = []
    endpoint, good = kind(ours), pairs()
    if early:
        readiness.watch(endpoint, lambda: None, failures.append)
    await nursery.start(readiness.run)
    good.watch()
    if not early:
        readiness.watch(endpoint, lambda: None, failures.append)
    await wait_all_tasks_blocked()
    assert len(failures) == 1
    good.theirs.send(b"x")
    await until(lambda: good.got == [b"x"])
    readiness.forget(endpoint)
    endpoint.close()
    theirs.close()
    nursery.cancel_scope.cancel()


async def test_none_is_held_after_its_turn(
    readiness: Readiness, pairs: Callable[[], Pair], nursery: trio.Nursery
) -> None:
    """What has ended is let go, and not kept until something else happens."""

    class Connection:
        def end(self) -> None:
            readiness.forget(pair.endpoint)

    connection = Connection()
    known = weakref.ref(connection)
    await nursery.start(readiness.run)
    pair = pairs()
    readiness.watch(pair.endpoint, connection.end, pair.failures.append)
    del connection
    assert known() is not None
    pair.theirs.send(b"x")
    await wait_all_tasks_blocked()
    gc.collect()
    assert known() is None
    nursery.cancel_scope.cancel()


async def test_a_storm_lets_others_have_a_turn(
    readiness: Readiness, pairs: Callable[[], Pair], nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many sockets that are ready at once are read in turns."""
    monkeypatch.setattr(module, "_TURN", 8)  # ten turns, of which this test's task misses some while it starts
    many = [pairs() for _ in range(80)]
    turns: list[int] = []
    for pair in many:
        pair.watch()
        pair.theirs.send(b"x")

    async def count() -> None:
        while (read := sum(bool(pair.got) for pair in many)) < len(many):
            turns.append(read)
            await trio.lowlevel.checkpoint()

    await nursery.start(readiness.run)
    with trio.fail_after(PATIENCE_SECONDS):
        await count()
    assert len({read for read in turns if 0 < read < len(many)}) >= 2 or readiness._selector is None
    nursery.cancel_scope.cancel()
