"""The lane of a run's text: it never waits, is bounded, and keeps its order."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
import trio

import actors
from actors import ForeignThread, Unencodable, aio
from actors.limits import MIB
from tests.aio.support import payloads_of
from tests.aio.test_run import in_thread


def test_the_text_of_one_turn_crosses_once() -> None:
    """Tokens that come without an await between them are one callback over there."""

    async def test(runtime: aio.Runtime, thread: aio.Thread) -> None:
        async with thread.run("writer") as found:
            crossed: list[str] = []
            take = found._text._take

            def noting(text: str, size: int) -> None:
                crossed.append(text)
                take(text, size)

            found._text._take = noting  # type: ignore[method-assign]
            for word in ("a", "b", "c"):
                found.delta(word)
            await asyncio.sleep(0)
            found.delta("d")
            await found.flushed()
            assert crossed == ["abc", "d"]
        assert "".join(one["text"] for one in await payloads_of(runtime, "t1", "agent_delta")) == "abcd"

    in_thread(test)


def test_characters_that_a_stream_has_cut_are_whole() -> None:
    """Halves of a surrogate pair meet over turns; one that is left at the end is U+FFFD."""

    async def test(runtime: aio.Runtime, thread: aio.Thread) -> None:
        async with thread.run("writer") as found:
            found.delta("\ud83d")
            await asyncio.sleep(0)
            found.delta("\ude00 \ud83d")
        assert "".join(one["text"] for one in await payloads_of(runtime, "t1", "agent_delta")) == "😀 \ufffd"

    in_thread(test)


def test_what_is_no_text_is_refused_at_once() -> None:
    """The error is raised by the call that hands it in, and the run goes on."""

    async def test(runtime: aio.Runtime, thread: aio.Thread) -> None:
        async with thread.run("writer") as found:
            wrong: Any
            for wrong in (1, b"x", None, "\ude00 alone", "x" * 40_000):
                with pytest.raises(Unencodable):
                    found.delta(wrong)
            found.delta("fine")
        assert await payloads_of(runtime, "t1", "agent_delta") == [{"text": "fine"}]

    in_thread(test)


def test_it_is_for_the_hosts_thread() -> None:
    """From a worker thread it says how to do it, and adds nothing."""

    async def test(runtime: aio.Runtime, thread: aio.Thread) -> None:
        async with thread.run("writer") as found:
            with pytest.raises(ForeignThread, match="call_soon_threadsafe"):
                await asyncio.to_thread(found.delta, "x")
        assert await payloads_of(runtime, "t1", "agent_delta") == []

    in_thread(test)


def test_text_that_finds_no_room_waits_in_order_and_is_bounded() -> None:
    """While the runtime's thread takes nothing, a mebibyte is taken here; ``flushed`` waits for all of it."""

    async def test(runtime: aio.Runtime, thread: aio.Thread) -> None:
        piece = "x" * 16_384
        async with thread.run("writer") as found:
            free = threading.Event()
            runtime.bridge.soon(free.wait, 10)
            count = 0
            with pytest.raises(trio.WouldBlock):  # noqa: PT012 - the whole block is what is tested
                for _ in range(100):
                    found.delta(piece)
                    count += 1
            assert MIB <= count * len(piece) <= MIB + 2 * len(piece)
            free.set()
            await found.flushed()
            found.delta("end")
            await found.emit("after", {})
        texts = [one["text"] for one in await payloads_of(runtime, "t1", "agent_delta")]
        assert "".join(texts) == piece * count + "end"

    limits = actors.Limits(retained_bytes=8 * MIB, mailbox_messages=1)
    in_thread(test, limits=limits)


def test_text_comes_before_the_run_s_end_however_full_the_thread_is() -> None:
    """What was added is there when the run has completed, or failed."""

    async def test(runtime: aio.Runtime, thread: aio.Thread) -> None:
        async with thread.run("writer") as found:
            for n in range(1_000):
                found.delta(f"{n} ")
                if n % 7 == 0:
                    await asyncio.sleep(0)
        texts = [one["text"] for one in await payloads_of(runtime, "t1", "agent_delta")]
        assert "".join(texts) == "".join(f"{n} " for n in range(1_000))

    in_thread(test, limits=actors.Limits(mailbox_messages=1, delta_window_ms=0, retained_events=5_000))
