"""The simulation for your own agents: their code, faulty devices, and an answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio

import actors
from actors.kernel.mailbox import Mailbox
from actors.receipts import Receipt
from actors.testing import Mismatched, World, cancel_at_every_step, fail_every_store_call, run, simulate
from actors.testing.fixtures import Simulated, simulated
from actors.testing.records import Mismatch
from actors.threads.emitter import Emitter
from actors.threads.messages import Emission, ThreadMessage

__all__ = ["simulated"]


async def assistant(answering: actors.Run, message: actors.Message) -> str:
    """Thinks, speaks, uses a tool."""
    await answering.thinking("…")
    for word in ("hello", " ", "world"):
        answering.delta(word)
        await trio.sleep(0.3)
    async with answering.tool("clock") as tool:
        tool.result = 12
    return "done"


async def conversation(world: World) -> None:
    """A user says something, and has the answer, whatever happens to the device."""
    device = world.device("alice")
    device.ask("send", payload={"text": "hi"})
    await trio.sleep(2)
    await world.settle()
    types = [event["type"] for event in device.seen]
    assert types[0] == "user_message"
    assert types[-1] == "agent_completed"
    assert "".join(one["payload"]["text"] for one in device.seen if one["type"] == "agent_delta") == "hello world"


def test_an_agent(simulated: Simulated) -> None:
    """The whole run arrives, once and in order, under every seed."""
    simulated(conversation, range(40), on_message=assistant)


def plain(world: World) -> None:
    """Is not a coroutine function, and would check nothing."""


async def generator(world: World) -> AsyncIterator[int]:
    """Is not one either."""
    yield 1


@pytest.mark.parametrize(
    ("scenario", "seeds", "options", "said"),
    [
        (plain, range(1), {}, "scenario: expected a coroutine function, async def scenario.world., got the function"),
        (generator, range(1), {}, "scenario: expected a coroutine function"),
        (assistant, range(1), {}, "scenario: expected a coroutine function, .* got one that takes"),
        (None, range(1), {}, "scenario: expected a coroutine function, .* got None"),
        (lambda _: None, range(1), {}, "scenario: expected a coroutine function, got one that returned None"),
        (conversation, range(1), {"on_message": "x"}, "on_message: expected a coroutine function, .* got 'x'"),
        (conversation, range(1), {"on_message": conversation}, "on_message: expected a coroutine function, .* takes"),
        (conversation, "12", {}, "seeds: expected integers, range.100. for example, got '12'"),
        (conversation, 5, {}, "seeds: expected integers, range.100. for example, got 5"),
        (conversation, ["1"], {}, "seed: expected an integer, got '1'"),
        (conversation, [True], {}, "seed: expected an integer, got True"),
        (conversation, [1.5], {}, "seed: expected an integer, got 1.5"),
    ],
)
def test_what_checks_nothing(simulated: Simulated, scenario: Any, seeds: Any, options: Any, said: str) -> None:
    """A value that is no scenario, no agent or no seed is refused at once, and in these words."""
    with pytest.raises(TypeError, match=said):
        simulated(scenario, seeds, **options)


@pytest.mark.parametrize("repeat", [cancel_at_every_step, fail_every_store_call])
def test_what_breaks_nothing_off(repeat: Callable[..., int]) -> None:
    """Neither is a scenario broken off that is none."""
    with pytest.raises(TypeError, match="scenario: expected a coroutine function"):
        repeat(plain)
    with pytest.raises(TypeError, match="on_message: expected a coroutine function"):
        repeat(conversation, on_message="x")
    with pytest.raises(TypeError, match="seed: expected an integer"):
        repeat(conversation, seed="1")


def test_a_fault_that_is_none() -> None:
    """A store fails in one of three ways."""
    with pytest.raises(ValueError, match="fault: expected one of 'full', 'unwritten', 'unanswered', got 'slow'"):
        fail_every_store_call(conversation, "slow")  # type: ignore[arg-type] # as a person may get it wrong


async def test_in_a_test_of_its_own(autojump_clock: object) -> None:
    """With pytest-trio's virtual clock a test can have its world inline."""
    async with simulate(1, on_message=assistant) as world:
        await conversation(world)


def test_without_faults() -> None:
    """``run`` runs any function under a seed."""

    async def quiet(seed: int) -> int:
        async with simulate(seed, faulty=False) as world:
            device = world.device("alice")
            await world.runtime.thread("t").emit("tick", {}, user_id="alice")
            await world.settle()
            return len(device.seen)

    assert run(quiet, 3) == 1


async def test_the_block_checks(autojump_clock: object) -> None:
    """A mismatch comes out of the block, with the seed."""
    with pytest.raises(Mismatched, match="seed simulation 5:\n  invariant 3, no silent gap: so it is"):
        async with simulate(5) as world:
            world.records.mismatches.append(Mismatch(3, "so it is"))


async def test_errors_come_out_as_they_are(autojump_clock: object) -> None:
    """An error of the block is not wrapped in a group."""
    with pytest.raises(ZeroDivisionError):
        async with simulate(5):
            raise ZeroDivisionError


async def test_restart(autojump_clock: object) -> None:
    """The runtime can be restarted; devices are told that the log is another one."""
    async with simulate(1, faulty=False) as world:
        device = world.device("alice")
        await world.runtime.thread("t").emit("tick", {"life": 1}, user_id="alice")
        await trio.sleep(1)
        await world.restart(1.0)
        await world.runtime.thread("t").emit("tick", {"life": 2}, user_id="alice")
        await world.settle()
        assert [event["payload"]["life"] for event in device.seen] == [1, 2]


async def scenario(world: World) -> None:
    """Everything that an application does, once."""
    device, thread = world.device("alice"), world.runtime.thread("t")
    await thread.emit("tick", {}, user_id="alice")
    async with thread.run("agent") as own:
        own.delta("text")
        async with own.tool("clock"):
            pass
    await world.runtime.rebind("t", "bob")
    await thread.emit("tick", {})
    await world.runtime.unbind("t")
    await thread.emit("tick", {})
    await world.runtime.bind("t", "alice")
    device.ask("send", payload={"text": "hi"}, thread_id="t")
    await trio.sleep(1)


@pytest.mark.slow
def test_cancelled_at_every_step() -> None:
    """Wherever a scenario is cancelled, everything settles."""
    assert cancel_at_every_step(scenario, on_message=assistant) > 50


@pytest.mark.slow
def test_cancelled_at_every_step_of_a_store_that_waits() -> None:
    """The same, with a store that has to be waited for."""
    assert cancel_at_every_step(scenario, on_message=assistant, store_seconds=0.001) > 80


@pytest.mark.parametrize("fault", ["full", "unwritten", "unanswered"])
def test_every_call_of_the_store_fails(fault: str) -> None:
    """Whichever call of the store fails, and however, everything settles."""
    assert fail_every_store_call(scenario, fault, on_message=assistant) > 10  # type: ignore[arg-type]


def test_a_bug_is_found_at_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """An emit that hands over what it then says it has not is found by cancelling at every step."""

    async def leaky(self: Emitter, emission: Emission, mailbox: Mailbox[ThreadMessage]) -> Receipt:
        self._accounts.accepted += 1
        mailbox.tell(emission)
        receipt = self._conclude(emission)
        await trio.lowlevel.checkpoint()
        return receipt

    monkeypatch.setattr("actors.threads.emitter.Emitter._hand_over", leaky)
    with pytest.raises(Mismatched, match="was refused to its emitter"):
        cancel_at_every_step(scenario)


def test_a_long_scenario_is_refused() -> None:
    """A scenario that is not through after so many steps says so."""
    with pytest.raises(RuntimeError, match="at most 3 steps"):
        cancel_at_every_step(scenario, most_steps=3)
    with pytest.raises(RuntimeError, match="at most 3 calls"):
        fail_every_store_call(scenario, most_calls=3)
