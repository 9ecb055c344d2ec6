"""The application's own code raises what is no Exception, wherever it is called: no other part notices."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NoReturn

import attrs
import pytest
import trio

import actors
from actors import Message, Run
from actors.client import RequestRefused, SessionEnded, connect
from actors.runs.run import TERMINAL
from actors.wire.http import Page
from tests.support.raw import upgrade_request
from tests.support.served import Served, served


class Unheard(BaseException):
    """An exception of the application's, that is no Exception."""


ENDS: list[Callable[[], BaseException]] = [
    lambda: SystemExit(3),
    asyncio.CancelledError,
    GeneratorExit,
    Unheard,
    lambda: BaseExceptionGroup("several", [SystemExit(3), Unheard(), ValueError("x")]),
    lambda: BaseExceptionGroup("nested", [BaseExceptionGroup("inner", [GeneratorExit(), asyncio.CancelledError()])]),
    lambda: ValueError("an Exception"),
]
NAMES = ["SystemExit", "CancelledError", "GeneratorExit", "Unheard", "group", "nested", "ValueError"]


@attrs.define
class Application:
    """Every callback of an application; the one that is to raise raises ``end``."""

    culprit: str
    end: Callable[[], BaseException]

    def reach(self, place: str) -> None:
        if place == self.culprit:
            raise self.end()

    async def authenticate(self, credentials: actors.Credentials) -> str:
        if credentials.token != "bob":
            self.reach("authenticate")
        return credentials.token

    async def authorize(self, user_id: str, thread_id: str) -> bool:
        self.reach("authorize")
        return True

    async def on_undelivered(self, fate: actors.Fate) -> None:
        if fate.receipt is not None and fate.receipt.thread_id == "alone":
            self.reach("on_undelivered")

    async def on_message(self, run: Run, message: Message) -> Any:
        self.reach("agent")
        await self._work(run)
        if self.culprit == "result":
            return Grumpy(self.end)
        if self.culprit == "text of an exception":
            raise UnsayableError(self.end)
        return "done"

    async def _work(self, run: Run) -> None:
        async with run.tool("t") as tool:
            self.reach("tool")
            tool.result = Grumpy(self.end) if self.culprit == "tool result" else None
        async with run.run("child"):
            self.reach("child run")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 0)
            nursery.start_soon(self._task, run)
        if self.culprit == "payload":
            await run.emit("x", {"deep": [Grumpy(self.end)]})
        if self.culprit == "worker thread":
            await trio.to_thread.run_sync(self.reach, "worker thread")

    async def _task(self, run: Run) -> None:
        self.reach("task")
        if self.culprit == "task beside a cancelled one":
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.sleep_forever)
                    scope.cancel()
                    self.reach("task beside a cancelled one")


class Grumpy:
    """An object of the application's that no encoder gets anything out of."""

    def __init__(self, end: Callable[[], BaseException]) -> None:
        self.end = end

    def __getattribute__(self, name: str) -> Any:
        if name in {"end", "__class__"}:
            return object.__getattribute__(self, name)
        raise self.end()

    def __str__(self) -> NoReturn:
        raise self.end()

    __repr__ = __format__ = __str__  # type: ignore[assignment]


class UnsayableError(Exception):
    """An exception that cannot say what it is about."""

    def __init__(self, end: Callable[[], BaseException]) -> None:
        self.end = end

    def __str__(self) -> NoReturn:
        raise self.end()

    __repr__ = __str__


class BrokenStream(trio.abc.Stream):
    """A connection that the host accepted, with broken code of its own."""

    def __init__(self, end: Callable[[], BaseException]) -> None:
        self.end = end

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        raise self.end()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        raise self.end()

    async def wait_send_all_might_not_block(self) -> None:
        raise self.end()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class Complainer(logging.Handler):
    """A handler of the application's log that raises when it is told anything."""

    def __init__(self, end: Callable[[], BaseException]) -> None:
        super().__init__()
        self.end = end

    def emit(self, record: logging.LogRecord) -> None:
        raise self.end()


IN_A_RUN = [
    "agent",
    "tool",
    "tool result",
    "child run",
    "task",
    "task beside a cancelled one",
    "worker thread",
    "payload",
    "result",
    "text of an exception",
]
ELSEWHERE = ["authenticate", "authorize", "on_undelivered", "service", "stream", "page", "log", "watch"]


@pytest.fixture(params=ENDS, ids=NAMES)
def end(request: pytest.FixtureRequest) -> Callable[[], BaseException]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def tidy_log() -> Iterator[None]:
    """No handler is left behind."""
    handlers = list(logging.getLogger("actors").handlers)
    yield
    logging.getLogger("actors").handlers[:] = handlers


async def beside(server: Served, provoke: Callable[[], Awaitable[None]]) -> None:
    """Something happens while bob has a device and a run, which hears and says the same as ever."""
    async with server.peer() as bob, server.runtime.thread("thread-of-bob").run("bystander", run_id="bystander") as run:
        await server.runtime.bind("thread-of-bob", "bob")
        await bob.attach("bob")
        await provoke()
        await trio.sleep(0.02)
        assert run.outcome is None
        receipt = await run.emit("still here", {})
        while (event := await bob.next_event())["type"] != "still here":
            assert event["type"] == "agent_started"
        await bob.ack(event["offset"])
        await receipt.reached(actors.Stage.ACKED)
    assert run.outcome == "agent_completed"


@pytest.mark.parametrize("culprit", IN_A_RUN)
async def test_out_of_a_run(culprit: str, end: Callable[[], BaseException]) -> None:
    """Whatever comes out of an agent or its tools ends that run as failed, is recorded, and ends nothing else."""
    application = Application(culprit, end)
    async with served(on_message=application.on_message) as server:
        await beside(server, lambda: _ask(server))
        assert [failure.path.partition("/")[0] for failure in server.runtime.failures] == ["runs"]


async def _ask(server: Served) -> None:
    async with server.peer() as alice:
        await alice.attach("alice")
        await alice.say({"op": "send", "id": "c1", "payload": {"text": "hi"}})
        run_id = (await alice.next_op("reply"))["run_id"]
        while not (last := [one["type"] for one in alice.messages() if _ends(one, run_id)]):
            await alice.next_message()
        assert last == ["agent_failed"]


def _ends(message: dict[str, Any], run_id: str) -> bool:
    return message.get("run_id") == run_id and message.get("type") in TERMINAL


@pytest.mark.parametrize("culprit", ELSEWHERE)
async def test_out_of_a_callback(culprit: str, end: Callable[[], BaseException]) -> None:
    """Whatever comes out of any other code of the application costs that one call, and is recorded."""
    application = Application(culprit, end)
    options: dict[str, Any] = {
        "authenticate": application.authenticate,
        "authorize": application.authorize,
        "on_undelivered": application.on_undelivered,
        "limits": actors.Limits(undelivered_seconds=0.01, sweep_seconds=0.01),
        "pages": {"/page": broken_page(end)} if culprit == "page" else {},
    }

    async def serve(*_: object) -> None:
        raise end()

    async with served(**options, services={"/service": serve}) as server:
        await beside(server, lambda: PROVOCATIONS[culprit](server, end))
        if culprit not in {"log", "watch"}:
            assert len(server.runtime.failures) == 1, server.failures()


def broken_page(end: Callable[[], BaseException]) -> Page:
    """A page of the application's own making."""

    class BrokenPage(Page):
        def response(self, *, body: bool = True) -> bytes:
            raise end()

    return BrokenPage(b"", "text/plain")


async def _authenticate(server: Served, _: object) -> None:
    assert isinstance(server.address, tuple)
    async with server.peer() as alice:
        await alice.open("actors.v1")
        await alice.say({"op": "hello", "v": 1, "token": "alice"})
        assert (await alice.next_message())["error"]["name"] == "unavailable"


async def _authorize(server: Served, _: object) -> None:
    assert isinstance(server.address, tuple)
    async with connect(f"ws://127.0.0.1:{server.address[1]}/ws", token="alice") as session:
        with pytest.raises(RequestRefused, match="unavailable"):
            await session.send({}, thread_id="free")


async def _on_undelivered(server: Served, _: object) -> None:
    await server.runtime.thread("alone").emit("x", {})
    while not len(server.runtime.failures):  # noqa: ASYNC110 - a failure is recorded, and rings no bell
        await trio.sleep(0.005)


async def _service(server: Served, _: object) -> None:
    async with server.peer() as alice:
        await alice.send(upgrade_request(path="/service"))
        assert await alice.stream.receive_some(1) == b""


async def _page(server: Served, _: object) -> None:
    async with server.peer() as alice:
        await alice.send(b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await alice.stream.receive_some(1) == b""


async def _stream(server: Served, end: Callable[[], BaseException]) -> None:
    await server.runtime.handle(BrokenStream(end))


async def _log(server: Served, end: Callable[[], BaseException]) -> None:
    logging.getLogger("actors").addHandler(Complainer(end))
    await server.runtime.thread("of nobody").emit("x", {})
    await server.runtime.handle(BrokenStream(ValueError))
    assert len(server.runtime.failures) == 1


async def _watch(server: Served, end: Callable[[], BaseException]) -> None:
    def call() -> NoReturn:
        raise end()

    receipt = await server.runtime.thread("t").emit("x", {})
    unwatch = receipt.watch(call)
    await server.runtime.bind("t", "alice")
    assert receipt.stage is actors.Stage.STORED
    unwatch()


PROVOCATIONS: dict[str, Callable[[Served, Callable[[], BaseException]], Awaitable[None]]] = {
    "authenticate": _authenticate,
    "authorize": _authorize,
    "on_undelivered": _on_undelivered,
    "service": _service,
    "page": _page,
    "stream": _stream,
    "log": _log,
    "watch": _watch,
}


async def test_out_of_a_client_callback(end: Callable[[], BaseException]) -> None:
    """An exception of ``on_state`` is in the log, and the session goes on."""

    def on_state(_: object) -> NoReturn:
        raise end()

    async with served() as server:
        assert isinstance(server.address, tuple)
        url = f"ws://127.0.0.1:{server.address[1]}/ws"
        async with connect(url, token="alice", on_state=on_state) as session:
            assert (await session.send({})).seq == 1
        with pytest.raises(SessionEnded):
            await session.send({})


@pytest.mark.parametrize("error", [SystemExit(3), Unheard(), KeyboardInterrupt(), GeneratorExit()], ids=repr)
async def test_out_of_the_body(error: BaseException) -> None:
    """An exception that the host raises in a block of its own comes out bare."""
    with pytest.raises(type(error)) as came:
        async with actors.open_runtime():
            raise error
    assert came.value is error
    with pytest.raises(type(error)) as came:
        async with connect("ws://127.0.0.1:1/ws"):
            raise error
    assert came.value is error


async def test_a_tool_that_exits() -> None:
    """A tool that calls ``sys.exit()`` fails, and says so to its user; the program goes on."""

    async def agent(run: Run, message: Message) -> None:
        async with run.tool("shell"):
            await trio.to_thread.run_sync(sys.exit, "bye")

    async with served(on_message=agent) as server, server.peer() as alice:
        await alice.attach("alice")
        await alice.say({"op": "send", "id": "c1", "payload": {"text": "hi"}})
        events = [await alice.next_event() for _ in range(5)]
        assert [event["type"] for event in events][-2:] == ["tool_completed", "agent_failed"]
        assert events[-1]["payload"] == {"error": {"type": "SystemExit", "message": "bye"}}


async def test_an_event_loop_of_another_kind() -> None:
    """An asyncio task that is cancelled in a thread of an agent is that agent's failure, and no cancellation here."""

    async def cancelled() -> None:
        task = asyncio.ensure_future(asyncio.sleep(10))
        task.cancel()
        await task

    async def agent(run: Run, message: Message) -> None:
        await trio.to_thread.run_sync(asyncio.run, cancelled())

    async with served(on_message=agent) as server, server.peer() as alice:
        await alice.attach("alice")
        await alice.say({"op": "send", "id": "c1", "payload": {"text": "hi"}})
        events = [await alice.next_event() for _ in range(3)]
        assert events[-1]["payload"] == {"error": {"type": "CancelledError", "message": ""}}
