"""The output of a run: its text is joined, in order with its other events, neither lost nor doubled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import attrs
import msgspec
import pytest
import trio
import trio.testing

import actors
from actors import Run
from tests.runs.emitting import (
    LIMITS,
    STARTED,
    TEXT_LIMIT,
    cancelled,
    emitted,
    failed,
    fill,
    opened,
    raises_inside,
    settled,
    stalled,
)

# --- text -------------------------------------------------------------------------------


async def texts_of(runtime: actors.Runtime) -> list[str]:
    return [payload["text"] for kind, payload in await emitted(runtime) if kind == "agent_delta"]


async def test_text_is_joined_for_a_window(autojump_clock: trio.testing.MockClock) -> None:
    """Texts of one window are one event, sent when it is over, without another call; the next text begins another."""
    async with opened() as runtime, runtime.thread("t1").run("bot") as run:
        run.delta("one ")
        run.delta("two")
        assert await texts_of(runtime) == []
        await trio.sleep(0.05)
        assert await texts_of(runtime) == ["one two"]
        run.delta("three")
        await trio.sleep(0.05)
        assert await texts_of(runtime) == ["one two", "three"]


async def test_text_without_a_window() -> None:
    """With a window of 0 each text is an event of its own, at once."""
    async with opened(limits=actors.Limits(delta_window_ms=0)) as runtime, runtime.thread("t1").run("bot") as run:
        run.delta("one ")
        run.delta("two")
        assert await texts_of(runtime) == ["one ", "two"]


async def emit_note(run: Run) -> None:
    await run.emit("note", {})


async def think(run: Run) -> None:
    await run.thinking("hm")


async def call_tool(run: Run) -> None:
    async with run.tool("search"):
        pass


async def leave_tool(run: Run) -> None:
    """Nothing: the tool around it is left."""


@pytest.mark.parametrize("act", [emit_note, think, call_tool])
async def test_text_goes_before_the_next_event(act: Callable[[Run], Awaitable[None]]) -> None:
    """Text added before an event comes before it; the window that was open changes nothing later."""
    async with opened() as runtime:
        async with runtime.thread("t1").run("bot") as run:
            run.delta("said before")
            await act(run)
        kinds = [kind for kind, _ in await emitted(runtime)]
        assert kinds[:2] == ["agent_started", "agent_delta"]
        assert kinds.count("agent_delta") == 1


async def test_text_said_in_a_tool_is_in_it() -> None:
    """Text added within a tool comes before its end."""
    async with opened() as runtime:
        async with runtime.thread("t1").run("bot") as run, run.tool("write"):
            run.delta("text")
        kinds = [kind for kind, _ in await emitted(runtime)]
        assert kinds[1:4] == ["tool_executing", "agent_delta", "tool_completed"]


async def test_text_goes_before_a_failure() -> None:
    """Text added before a run raises is emitted."""
    async with opened() as runtime:
        with raises_inside(ValueError):
            async with runtime.thread("t1").run("bot") as run:
                run.delta("half a sen")
                raise ValueError("x")
        assert await emitted(runtime) == [STARTED, ("agent_delta", {"text": "half a sen"}), failed("ValueError", "x")]


async def test_no_text_is_no_event(autojump_clock: trio.testing.MockClock) -> None:
    """An empty text is nothing, before other texts and after them."""
    async with opened() as runtime, runtime.thread("t1").run("bot") as run:
        run.delta("")
        await trio.sleep(1)
        run.delta("a")
        for _ in range(100):
            run.delta("")
        assert len(runtime.tree.runs.deltas._due) == 1
        await trio.sleep(1)
        assert await texts_of(runtime) == ["a"]


@pytest.mark.parametrize(
    "text", [b"bytes", None, 7, "\udc00", "\ud800x", "x" * (TEXT_LIMIT + 1), "é" * (TEXT_LIMIT // 2 + 1)]
)
async def test_what_is_not_text(text: Any) -> None:
    """What is no text, cannot be encoded, or is too much at once raises; what was gathered stays."""
    async with opened() as runtime:
        async with runtime.thread("t1").run("bot") as run:
            run.delta("good")
            with pytest.raises(actors.Unencodable, match="text"):
                run.delta(text)
        assert await texts_of(runtime) == ["good"]


@pytest.mark.parametrize("text", [None, 5, b"hm", ["hm"], "a\ud83db"])
async def test_thoughts_that_are_no_text(text: Any) -> None:
    """A thought is text, as a delta is; what is none raises, and nothing is emitted."""
    async with opened() as runtime:
        async with runtime.thread("t1").run("bot") as run:
            with pytest.raises(actors.Unencodable, match=r"^text: expected (a string|text that UTF-8 can encode), got"):
                await run.thinking(text)
        assert [type_ for type_, _ in await emitted(runtime)] == ["agent_started", "agent_completed"]


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        (None, {}, "^name: expected a string, got null"),
        (b"search", {}, "^name: expected a string, got bytes"),
        ("\ud83d", {}, "^name: expected text that UTF-8 can encode, got half of a surrogate pair, U\\+D83D"),
        ("search", [1], "^arguments: expected a JSON object, got list"),
        ("search", [], "^arguments: expected a JSON object, got list"),
        ("search", "", "^arguments: expected a JSON object, got str"),
        ("search", 0, "^arguments: expected a JSON object, got int"),
        ("search", b"{}", "^arguments: expected a JSON object, got bytes"),
        ("search", msgspec.Raw(b"[]"), "^arguments: expected a JSON object, got JSON that begins with '\\['"),
        ("search", {"q": "\ud83d"}, "^payload.arguments.q: expected a value that JSON can carry, got half of a"),
    ],
)
async def test_calls_that_are_none(name: Any, arguments: Any, expected: str) -> None:
    """A tool has a name and an object of arguments; anything else raises before the call is emitted."""
    async with opened() as runtime:
        async with runtime.thread("t1").run("bot") as run:
            with pytest.raises(actors.Unencodable, match=expected):
                async with run.tool(name, arguments):
                    pytest.fail("it was called")
        assert [type_ for type_, _ in await emitted(runtime)] == ["agent_started", "agent_completed"]


@attrs.frozen
class Query:
    """Arguments as a class."""

    q: str


@pytest.mark.parametrize("arguments", [{"q": "trio"}, Query("trio"), msgspec.Raw(b' {"q":"trio"}')])
async def test_arguments_of_a_class(arguments: Any) -> None:
    """Arguments are whatever a payload may be."""
    async with opened() as runtime:
        async with runtime.thread("t1").run("bot") as run, run.tool("search", arguments):
            pass
        assert (await emitted(runtime))[1][1]["arguments"] == {"q": "trio"}


@pytest.mark.parametrize("type_", [None, 5, [], {}])
async def test_types_that_are_no_text(type_: Any) -> None:
    """A type is text, also where it is compared with those of a run."""
    async with opened() as runtime, runtime.thread("t1").run("bot", run_id="r1") as run:
        with pytest.raises(actors.Unencodable, match="type: expected a string"):
            await run.emit(type_, {})
        with pytest.raises(actors.Unencodable, match="type: expected a string"):
            await runtime.thread("t1").emit(type_, {}, run_id="r1")
        with pytest.raises(actors.Unencodable, match="run_id: expected a string"):
            await runtime.thread("t1").emit("tick", {}, run_id=[])  # type: ignore[arg-type] # as a caller may err


async def test_an_emoji_that_was_cut_in_two_is_whole() -> None:
    """A half at the end of a text waits for the other one, through other events and the delta window."""
    async with opened() as runtime:
        async with runtime.thread("t1").run("bot") as run:
            run.delta("a\ud83d")
            await run.thinking("still")
            run.delta("\ude00b\ud83d")
            run.delta("")
            run.delta("\ude01")
        assert await texts_of(runtime) == ["a", "😀b😁"]


async def test_half_an_emoji_that_nothing_completes_is_replaced() -> None:
    """U+FFFD stands for it, where another text follows and where the run ends."""
    async with opened() as runtime:
        async with runtime.thread("t1").run("bot") as run:
            run.delta("a\ud83d")
            run.delta("b\ud83d")
        assert await texts_of(runtime) == ["a\ufffdb\ufffd"]


async def test_text_that_is_refused_leaves_the_half_that_waits() -> None:
    """A text with a half in its middle raises; the next one completes what was held before it."""
    async with opened() as runtime:
        async with runtime.thread("t1").run("bot") as run:
            run.delta("\ud83d")
            with pytest.raises(actors.Unencodable, match="half of a surrogate pair, U\\+D83D"):
                run.delta("x\ud83dy")
            run.delta("\ude00")
        assert await texts_of(runtime) == ["😀"]


async def test_the_most_text_fits() -> None:
    """As much text as may be gathered fits into one event, escaped in the worst way; more is another event."""
    async with opened() as runtime:
        async with runtime.thread("t1").run("bot") as run:
            run.delta("\0" * TEXT_LIMIT)
            run.delta("x")
        assert await texts_of(runtime) == ["\0" * TEXT_LIMIT, "x"]


# --- a thread that takes nothing --------------------------------------------------------


@pytest.mark.parametrize("how", ["returns", "raises", "cancelled"])
async def test_a_run_ends_in_a_full_mailbox(how: str, autojump_clock: trio.testing.MockClock) -> None:
    """In a thread that takes nothing a run ends without waiting: its terminal event comes after all its text."""
    async with stalled(LIMITS.mailbox_messages) as (runtime, store):
        with trio.CancelScope() as scope, suppress(ValueError):
            async with runtime.thread("t1").run("bot") as run:
                await run.thinking("first")
                assert await fill(runtime) >= LIMITS.mailbox_messages - 2
                run.delta("last words")
                if how == "raises":
                    raise ValueError("x")
                if how == "cancelled":
                    scope.cancel()
                    await trio.sleep_forever()
        assert run.outcome is not None
        last = {"returns": ("agent_completed", {}), "raises": failed("ValueError", "x"), "cancelled": cancelled("host")}
        expected = [("agent_thinking", {"text": "first"}), ("agent_delta", {"text": "last words"})]
        assert await settled(runtime, store) == [STARTED, *expected, last[how]]
        assert (await emitted(runtime))[-1] == last[how]


async def test_text_in_a_full_mailbox(autojump_clock: trio.testing.MockClock) -> None:
    """Text gathers while the thread takes nothing, up to a bound; then WouldBlock, and no text is lost or doubled."""
    async with stalled(delta_bytes=8) as (runtime, store):
        async with runtime.thread("t1").run("bot") as run:
            await fill(runtime)
            run.delta("1234")
            run.delta("5678")
            for _ in range(2):
                with pytest.raises(trio.WouldBlock):
                    run.delta("9")
            store.gate.set()
            await trio.sleep(1)
            run.delta("9")
        expected = [("agent_delta", {"text": "12345678"}), ("agent_delta", {"text": "9"})]
        assert await settled(runtime, store) == [STARTED, *expected, ("agent_completed", {})]


@pytest.mark.parametrize("window_ms", [0, 30])
async def test_text_follows_when_there_is_room(window_ms: int, autojump_clock: trio.testing.MockClock) -> None:
    """Text that found no room goes out soon after there is some, without another call of the agent."""
    async with stalled(delta_window_ms=window_ms) as (runtime, store), runtime.thread("t1").run("bot") as run:
        await fill(runtime)
        run.delta("one ")
        run.delta("two")
        await trio.sleep(1)
        await settled(runtime, store)
        await trio.sleep(1)
        assert await texts_of(runtime) == ["one two"]


async def test_a_cancelled_emit_keeps_the_text(autojump_clock: trio.testing.MockClock) -> None:
    """An ``emit`` that waits for room and is cancelled emits nothing; the text before it comes, once, in order."""
    async with stalled() as (runtime, store):
        async with runtime.thread("t1").run("bot") as run:
            await fill(runtime)
            for n in range(3):
                run.delta(f"{n} ")
                with trio.move_on_after(1) as scope:
                    await run.emit("note", {})
                assert scope.cancelled_caught
            run.delta("end")
        events = await settled(runtime, store)
        assert [kind for kind, _ in events if kind != "agent_delta"] == ["agent_started", "agent_completed"]
        assert events[-1][0] == "agent_completed"
        assert "".join(await texts_of(runtime)) == "0 1 2 end"


async def test_text_takes_one_place_beyond_a_full_mailbox(autojump_clock: trio.testing.MockClock) -> None:
    """However often a run tries, one text of it is beyond a full mailbox; the others gather, and follow."""
    async with stalled() as (runtime, store):
        async with runtime.thread("t1").run("bot") as run:
            await fill(runtime)
            accepted = runtime.audit().total.accepted
            for _ in range(10):
                run.delta("x")
                with trio.move_on_after(0.001):
                    await run.emit("note", {})
            assert runtime.audit().total.accepted == accepted + 1
        await settled(runtime, store)
        assert await texts_of(runtime) == ["x", "x" * 9]


async def test_an_event_does_not_overtake_text(autojump_clock: trio.testing.MockClock) -> None:
    """An event that waits for room follows all the text that was added before it, however long that waits itself."""
    async with stalled() as (runtime, store):
        async with runtime.thread("t1").run("bot") as run, trio.open_nursery() as nursery:
            await fill(runtime)
            for text in "abc":
                run.delta(text)
                nursery.start_soon(run.thinking, f"after {text}")
                await trio.testing.wait_all_tasks_blocked()
            store.gate.set()
        expected = [payload["text"] for kind, payload in (await settled(runtime, store))[1:-1]]
        assert all("".join(expected[: expected.index(f"after {text}")]).count(text) for text in "abc")
        assert "".join(await texts_of(runtime)) == "abc"


async def test_tasks_of_a_run_keep_its_text_in_order(autojump_clock: trio.testing.MockClock) -> None:
    """While tasks of a run wait for room, and another ends a tool, the text comes in the order it was added."""
    async with stalled() as (runtime, store):
        async with runtime.thread("t1").run("bot") as run, trio.open_nursery() as nursery:
            async with run.tool("write"):
                await fill(runtime)
                run.delta("one ")
                nursery.start_soon(run.thinking, "a")
                await trio.testing.wait_all_tasks_blocked()
                run.delta("two ")
                nursery.start_soon(run.thinking, "b")
                await trio.testing.wait_all_tasks_blocked()
                run.delta("three")
            store.gate.set()
        await settled(runtime, store)
        assert "".join(await texts_of(runtime)) == "one two three"


# --- after the end ----------------------------------------------------------------------


async def use_tool(run: Run) -> None:
    async with run.tool("late"):
        pytest.fail("it was called")


async def open_child(run: Run) -> None:
    async with run.run("late"):
        pytest.fail("it has begun")


async def say(run: Run) -> None:
    run.delta("late")


@pytest.mark.parametrize("act", [emit_note, think, use_tool, open_child, say])
async def test_nothing_follows_the_end(act: Callable[[Run], Awaitable[None]]) -> None:
    """After its terminal event a run emits nothing, and raises RunEnded."""
    async with opened() as runtime:
        async with runtime.thread("t1").run("bot") as run:
            pass
        with pytest.raises(actors.RunEnded, match="agent_completed"):
            await act(run)
        assert await emitted(runtime) == [STARTED, ("agent_completed", {})]


async def test_a_tool_that_outlives_its_run() -> None:
    """The end of a tool that comes after the run's is refused: RunEnded, and no event."""
    async with opened() as runtime:
        async with runtime.thread("t1").run("bot") as run:
            tool = run.tool("slow")
            await tool.__aenter__()
        with pytest.raises(actors.RunEnded):
            await tool.__aexit__(None, None, None)
        assert [kind for kind, _ in await emitted(runtime)][-1] == "agent_completed"


@pytest.mark.parametrize("act", [emit_note, think, use_tool, open_child])
async def test_the_end_ends_the_wait_for_room(
    act: Callable[[Run], Awaitable[None]], autojump_clock: trio.testing.MockClock
) -> None:
    """A task that waits for room when the run ends gets RunEnded, at once, and its event is not emitted."""
    ended: list[Run] = []
    async with stalled() as (runtime, store), trio.open_nursery() as nursery:

        async def late(run: Run) -> None:
            with pytest.raises(actors.RunEnded):
                await act(run)
            ended.append(run)

        async with runtime.thread("t1").run("bot") as run:
            await fill(runtime)
            run.delta("said before")
            nursery.start_soon(late, run)
            await trio.testing.wait_all_tasks_blocked()
        await trio.testing.wait_all_tasks_blocked()
        assert ended == [run]
        events = await settled(runtime, store)
        assert events == [STARTED, ("agent_delta", {"text": "said before"}), ("agent_completed", {})]
