"""A device for asyncio: what ``aio.connect`` yields, loses and raises."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import trio

from actors import aio
from actors.client import CaughtUp, Event, SessionEnded, State
from tests.aio.support import device, run, until


async def echo(run: aio.Run, message: Any) -> Any:
    """Answer with the message."""
    run.delta("hm")
    return message.payload


def test_a_session_sends_and_yields() -> None:
    """Items come in order, requests return what the server said, and the cursor is that of the newest item."""

    async def main() -> None:
        async with aio.open_runtime(on_message=echo) as runtime:
            host, port = await runtime.serve()
            async with aio.connect(f"ws://{host}:{port}/ws", token="alice") as session:
                sent = await session.send({"text": "hi"})
                seen: list[str] = []
                async for item in session:
                    seen.append(item.type if isinstance(item, Event) else type(item).__name__)
                    if seen[-1] == "agent_completed":
                        break
                assert [one for one in seen if one[0].islower()] == [
                    "user_message",
                    "agent_started",
                    "agent_delta",
                    "agent_completed",
                ]
                assert session.cursor is not None
                assert session.cursor.offset == 4
                assert session.state == State(name="open")
                history = await session.read(sent.thread_id, after_seq=1, limit=1)
                assert [one.type for one in history.events] == ["agent_started"]
                assert (await session.cancel(sent.run_id or "")).stopped == (sent.run_id,)

    run(main)


def test_a_cancelled_wait_for_an_item_loses_none() -> None:
    """A timeout around ``anext`` at any moment: every event comes once, in order."""

    async def main() -> None:
        async with aio.open_runtime() as runtime:
            await runtime.bind("t1", "alice")
            host, port = await runtime.serve()
            async with aio.connect(f"ws://{host}:{port}/ws", token="alice") as session:

                async def emit() -> None:
                    for n in range(200):
                        await runtime.thread("t1").emit("n", {"n": n})
                        await asyncio.sleep(0.0005)

                emitting = asyncio.create_task(emit())
                seen: list[int] = []
                timeouts = 0
                while len(seen) < 200:
                    try:
                        async with asyncio.timeout(0.0003 * (timeouts % 7)):
                            item = await anext(session)
                    except TimeoutError:
                        timeouts += 1
                        continue
                    if isinstance(item, Event):
                        seen.append(item.payload["n"])
                await emitting
                assert seen == list(range(200))
                assert timeouts > 0

    run(main)


def test_an_item_is_acked_when_the_application_comes_back() -> None:
    """The item that is being processed is not acked, and is there again for the next session."""

    async def main() -> None:
        async with aio.open_runtime() as runtime:
            host, port = await runtime.serve()
            url = f"ws://{host}:{port}/ws"
            for n in range(2):
                await runtime.thread("t1").emit("n", {"n": n}, user_id="alice")
            for expected in ([0, 1], [1]):
                async with aio.connect(url, token="alice") as session:
                    seen: list[int] = []
                    async for item in session:
                        if isinstance(item, Event):
                            seen.append(item.payload["n"])
                            if seen == expected:
                                break
                assert seen == expected

    run(main)


def test_only_one_task_iterates() -> None:
    """A second one is refused."""

    async def main() -> None:
        async with aio.open_runtime() as runtime:
            address = await runtime.serve()
            async with device(address) as alice:
                await until(lambda: any(isinstance(one, CaughtUp) for one in alice.items))
                with pytest.raises(trio.BusyResourceError):
                    await anext(alice.session)

    run(main)


def test_the_token_and_the_states_are_the_hosts() -> None:
    """A function for the token is called in the host's loop, ``async`` or not, and so is ``on_state``."""

    async def main() -> None:
        async with aio.open_runtime() as runtime:
            address = await runtime.serve()
            loop, states, asked = asyncio.get_running_loop(), [], []

            async def fresh() -> str:
                asked.append(asyncio.get_running_loop() is loop)
                return "alice"

            def plain() -> str:
                asked.append(asyncio.get_running_loop() is loop)
                return "alice"

            def note(state: State) -> None:
                states.append((state.name, asyncio.get_running_loop() is loop))

            for token in (fresh, plain):
                url = f"ws://{address[0]}:{address[1]}/ws"
                async with aio.connect(url, token=token, on_state=note) as session:
                    assert isinstance(await anext(session), CaughtUp)
            assert asked == [True, True]
            assert ("open", True) in states

    run(main)


def test_a_session_that_is_refused_or_left_says_so() -> None:
    """What was refused for good ends the iteration with SessionEnded; so does the end of the block."""

    async def main() -> None:
        async def nobody(credentials: Any) -> None:
            return None

        async with aio.open_runtime(authenticate=nobody) as runtime:
            host, port = await runtime.serve()
            async with aio.connect(f"ws://{host}:{port}/ws", token="alice") as session:
                with pytest.raises(SessionEnded):
                    await anext(session)
                with pytest.raises(SessionEnded):
                    await session.send({"text": "x"})
            for act in (anext(session), session.send({"text": "x"})):
                with pytest.raises(SessionEnded):
                    await act
            with pytest.raises(SessionEnded):
                session.reconnect_now()

    run(main)


def test_an_option_that_makes_no_sense_is_refused() -> None:
    """The errors are those of the Trio client, before anything was started."""

    async def main() -> None:
        for options in ({"url": "ftp://x"}, {"url": "ws://x", "queued_items": 0}, {"url": "ws://x", "on_state": 1}):
            with pytest.raises((TypeError, ValueError)):
                async with aio.connect(**options):
                    pytest.fail("it is not open")

    run(main)
