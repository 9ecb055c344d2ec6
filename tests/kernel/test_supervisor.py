"""The static supervisor: who is started again, in which order all stop, and what comes out."""

from __future__ import annotations

import asyncio
import gc
import itertools
import math
import random
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.environment import Environment
from actors.errors import RestartsExhausted
from actors.kernel.failures import Failures
from actors.kernel.restarts import Backoff, Intensity
from actors.kernel.supervisor import Child, Restart, Strategy, Supervisor

ALL, ONE, REST = Strategy.ONE_FOR_ALL, Strategy.ONE_FOR_ONE, Strategy.REST_FOR_ONE
P, TR, TE = Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY

Status = trio.TaskStatus[Any]


class Boom(Exception):
    """The crash of a child in these tests."""


@attrs.define
class Stage:
    """A script of what happened to which child: ``+a`` started, ``-a`` ended, ``?a`` asked to stop; with ``@`` and the
    time."""

    said: list[str] = attrs.field(factory=list)
    ends: dict[str, Callable[[BaseException | None], None]] = attrs.field(factory=dict)
    failures: Failures = attrs.field(factory=lambda: Failures(100, lambda: 7.0))
    opened: float = attrs.field(factory=trio.current_time)

    def say(self, text: str, *, timed: bool = False) -> None:
        self.said.append(f"{text}@{trio.current_time() - self.opened:g}" if timed else text)

    def heard(self) -> str:
        """Everything said since the last call, in one line."""
        text = " ".join(self.said)
        self.said.clear()
        return text

    def child(self, name: str, restart: Restart = P, **more: Any) -> Child:
        """A child that serves until the test ends it, or its supervisor does."""

        async def start(status: Status) -> None:
            ended, orders = trio.open_memory_channel[BaseException | None](1)
            self.ends[name] = ended.send_nowait
            self.say(f"+{name}")
            status.started()
            try:
                error = await orders.receive()
            finally:
                self.say(f"-{name}")
            if error is not None:
                raise error

        return Child(name=name, start=start, restart=restart, **more)

    def supervisor(
        self,
        *children: Child,
        strategy: Strategy = ONE,
        intensity: Intensity = Intensity(3, 5.0),  # noqa: B008 - frozen
        pause: float = 0.0,
    ) -> Supervisor:
        backoff = Backoff(first_seconds=pause, factor=2.0, longest_seconds=60.0)
        environment = Environment(wall_clock=lambda: 0.0, random=random.Random(0))
        return Supervisor(
            path="top",
            children=children,
            strategy=strategy,
            intensity=intensity,
            backoff=backoff,
            environment=environment,
            failures=self.failures,
        )

    async def end(self, name: str, error: BaseException | None = None) -> str:
        """Let a child return or crash; what was said until all is quiet again."""
        self.ends[name](error)
        await quiet()
        return self.heard()

    def reports(self) -> list[str]:
        return [f"{failure.path}: {failure.error}" for failure in self.failures]


async def quiet() -> None:
    """Until everybody waits; no time passes."""
    await wait_all_tasks_blocked()


async def outcome(supervisor: Supervisor, script: Callable[[], Awaitable[None]]) -> BaseException | None:
    """Play a script beside a supervisor, and return what comes out of it, bare."""
    came: BaseException | None = None

    async def run() -> None:
        nonlocal came
        try:
            await supervisor.run()
        except (RestartsExhausted, KeyboardInterrupt, SystemExit) as error:
            came = error

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await quiet()
        await script()
        nursery.cancel_scope.cancel()
    return came


@pytest.fixture
async def stage() -> Stage:
    return Stage()


Case = tuple[Strategy, tuple[Restart, ...], bool, str]


@pytest.mark.parametrize(
    "case",
    [
        (ONE, (P, P, P), True, "-b +b"),
        (ONE, (P, P, P), False, "-b +b"),
        (ONE, (P, TR, P), True, "-b +b"),
        (ONE, (P, TR, P), False, "-b"),
        (ONE, (P, TE, P), True, "-b"),
        (ONE, (P, TE, P), False, "-b"),
        (ALL, (P, P, P), True, "-b -c -a +a +b +c"),
        (ALL, (P, P, P), False, "-b -c -a +a +b +c"),
        (ALL, (P, TR, P), True, "-b -c -a +a +b +c"),
        (ALL, (P, TR, P), False, "-b"),
        (ALL, (P, TE, P), True, "-b"),
        (ALL, (TE, P, TR), True, "-b -c -a +b +c"),
        (REST, (P, P, P), True, "-b -c +b +c"),
        (REST, (P, P, P), False, "-b -c +b +c"),
        (REST, (P, TR, P), True, "-b -c +b +c"),
        (REST, (P, TR, P), False, "-b"),
        (REST, (P, TE, P), True, "-b"),
        (REST, (P, P, TE), True, "-b -c +b"),
    ],
)
async def test_an_exit(autojump_clock: MockClock, stage: Stage, case: Case) -> None:
    """An exit stops siblings in reverse, then starts them in order, as strategy and kinds say; a crash is reported."""
    strategy, kinds, crash, expected = case
    children = [stage.child(name, kind) for name, kind in zip("abc", kinds, strict=True)]
    async with trio.open_nursery() as nursery:
        await nursery.start(stage.supervisor(*children, strategy=strategy).run)
        assert stage.heard() == "+a +b +c"
        assert await stage.end("b", Boom("once") if crash else None) == expected
        assert stage.reports() == (["top/b: Boom: once"] if crash else [])
        nursery.cancel_scope.cancel()


async def test_a_transient_sibling_that_had_returned_starts_again(autojump_clock: MockClock, stage: Stage) -> None:
    """one_for_all starts all siblings afresh, those that had finished among them (as OTP's start_children)."""
    children = [stage.child("a"), stage.child("b", TR)]
    async with trio.open_nursery() as nursery:
        await nursery.start(stage.supervisor(*children, strategy=ALL).run)
        assert await stage.end("b") == "+a +b -b"
        assert await stage.end("a", Boom()) == "-a +a +b"
        nursery.cancel_scope.cancel()


async def test_run_ends_with_its_last_child(autojump_clock: MockClock, stage: Stage) -> None:
    """When no child is left, and none is to come, the supervisor returns."""
    async with trio.open_nursery() as nursery:
        await nursery.start(stage.supervisor(stage.child("a", TR), stage.child("b", TE)).run)
        assert await stage.end("b", Boom()) == "+a +b -b"
        assert await stage.end("a") == "-a"
    await stage.supervisor().run()


async def test_a_child_is_started_when_the_one_before_serves(autojump_clock: MockClock, stage: Stage) -> None:
    """A child starts only after the one before it said that it serves; then run does."""

    async def slow(status: Status) -> None:
        await trio.sleep(1)
        stage.say("serves", timed=True)
        status.started()
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        await nursery.start(stage.supervisor(Child(name="a", start=slow), stage.child("b")).run)
        assert stage.heard() == "serves@1 +b"
        nursery.cancel_scope.cancel()


async def test_crashes_at_once_are_one_restart(autojump_clock: MockClock, stage: Stage) -> None:
    """one_for_all: a sibling that is gone already is not asked to stop, and its crash is reported but not counted."""
    children = [stage.child(name, stop=lambda: stage.say("asked")) for name in "ab"]
    async with trio.open_nursery() as nursery:
        await nursery.start(stage.supervisor(*children, strategy=ALL, intensity=Intensity(1, 5.0)).run)
        stage.heard()
        stage.ends["a"](Boom())
        said = await stage.end("b", Boom())
        assert said.endswith("+a +b")
        assert sorted(said.split()) == ["+a", "+b", "-a", "-b"]
        assert sorted(stage.reports()) == ["top/a: Boom", "top/b: Boom"]
        nursery.cancel_scope.cancel()


# --- intensity and backoff ------------------------------------------------------


@pytest.mark.parametrize(("last", "exhausted"), [(5.0, True), (5.125, False)])
async def test_the_restart_that_is_one_too_many(
    autojump_clock: MockClock, stage: Stage, last: float, exhausted: bool
) -> None:
    """The fourth restart at five seconds sharp stops everybody, in reverse, and is raised bare; later it is mended."""
    children = [stage.child("a"), stage.child("b"), stage.child("c")]

    async def script() -> None:
        for at in (0.0, 1.0, 2.0, last):
            await trio.sleep_until(stage.opened + at)
            stage.heard()
            assert await stage.end("b", Boom(f"at {at}")) == ("-b -c -a" if exhausted and at == last else "-b +b")

    came = await outcome(stage.supervisor(*children), script)
    assert len(stage.failures) == 4
    assert isinstance(came, RestartsExhausted) == exhausted
    if came is not None:
        assert str(came) == (
            "top: expected at most 3 restarts within 5 s, got 4; the last was for b, which crashed: Boom: at 5.0"
        )
        assert came.__cause__ is came.__context__ is None


async def test_a_permanent_child_that_returns_too_often(autojump_clock: MockClock, stage: Stage) -> None:
    """Returns of a permanent child spend the budget too, and are told from crashes."""

    async def brief(status: Status) -> None:
        status.started()

    with pytest.raises(RestartsExhausted, match=r"got 4; the last was for a, which returned$"):
        await stage.supervisor(Child(name="a", start=brief)).run()
    assert len(stage.failures) == 0


async def test_the_pause_grows(autojump_clock: MockClock, stage: Stage) -> None:
    """Restarts wait, longer each time, between half of the pause and the whole."""

    async def crash(status: Status) -> None:
        stage.say("started", timed=True)
        status.started()
        raise Boom

    with pytest.raises(RestartsExhausted):
        await stage.supervisor(Child(name="a", start=crash), pause=0.5).run()
    times = [float(text.partition("@")[2]) for text in stage.said]
    first, second, third = (after - before for before, after in itertools.pairwise(times))
    assert 0.25 <= first < 0.5 <= second < 1.0 <= third < 2.0


async def test_other_children_are_seen_to_during_a_pause(autojump_clock: MockClock, stage: Stage) -> None:
    """While one child waits for its restart, others are restarted at their own times."""
    async with trio.open_nursery() as nursery:
        await nursery.start(stage.supervisor(stage.child("a"), stage.child("b"), pause=1.0).run)
        assert await stage.end("a", Boom()) == "+a +b -a"
        assert await stage.end("b") == "-b"
        await trio.sleep(1.0)
        assert stage.heard() == "+a"
        await trio.sleep(1.0)
        assert stage.heard() == "+b"
        nursery.cancel_scope.cancel()


async def test_a_crash_before_a_pause_is_over_widens_it(autojump_clock: MockClock, stage: Stage) -> None:
    """rest_for_one: when an earlier child crashes during the pause, all that follow start once, after it."""
    async with trio.open_nursery() as nursery:
        children = [stage.child(name) for name in "abc"]
        await nursery.start(stage.supervisor(*children, strategy=REST, pause=1.0).run)
        assert await stage.end("b", Boom()) == "+a +b +c -b -c"
        assert await stage.end("a", Boom()) == "-a"
        await trio.sleep(3.0)
        assert stage.heard() == "+a +b +c"
        nursery.cancel_scope.cancel()


async def test_cancelled_during_a_pause(autojump_clock: MockClock, stage: Stage) -> None:
    """A supervisor that waits to restart a child can be cancelled at once, and stops the others."""
    async with trio.open_nursery() as nursery:
        await nursery.start(stage.supervisor(stage.child("a"), stage.child("b"), pause=60.0).run)
        assert await stage.end("b", Boom()) == "+a +b -b"
        nursery.cancel_scope.cancel()
    assert stage.heard() == "-a"
    assert trio.current_time() - stage.opened < 1


# --- crashes at start -----------------------------------------------------------


def crashing(stage: Stage, name: str, crashes: Callable[[int], bool]) -> Child:
    """A child whose n-th start crashes before it serves, as ``crashes(n)`` says."""
    starts = 0

    async def start(status: Status) -> None:
        nonlocal starts
        starts += 1
        if crashes(starts):
            stage.say(f"!{name}")
            raise Boom(f"start {starts}")
        await steady.start(status)

    steady = stage.child(name)
    return Child(name=name, start=start)


async def test_crash_at_first_start(autojump_clock: MockClock, stage: Stage) -> None:
    """A child that crashes before it ever served fails the whole start: those before it stop, its error comes out, and
    is not reported as well."""
    children = [stage.child("a"), stage.child("b"), crashing(stage, "c", lambda n: n == 1), stage.child("d")]
    with pytest.raises(Boom, match="start 1"):
        await stage.supervisor(*children).run()
    assert stage.heard() == "+a +b !c -b -a"
    assert stage.reports() == []


async def test_crash_at_restart(autojump_clock: MockClock, stage: Stage) -> None:
    """A child that crashes while it is started again is one more restart, of all that the strategy names."""
    children = [stage.child("a"), crashing(stage, "b", lambda n: n == 2), stage.child("c")]
    async with trio.open_nursery() as nursery:
        await nursery.start(stage.supervisor(*children, strategy=ALL).run)
        assert await stage.end("b", Boom("served")) == "+a +b +c -b -c -a +a !b -a +a +b +c"
        assert stage.reports() == ["top/b: Boom: served", "top/b: Boom: start 2"]
        nursery.cancel_scope.cancel()


async def test_crash_at_every_restart(autojump_clock: MockClock, stage: Stage) -> None:
    """A child that can no longer be started spends the budget."""
    supervisor = stage.supervisor(stage.child("a"), crashing(stage, "b", lambda n: n > 1))

    async def script() -> None:
        assert await stage.end("b") == "+a +b -b !b !b !b -a"

    assert str(await outcome(supervisor, script)).endswith("got 4; the last was for b, which crashed: Boom: start 4")


async def test_a_group_is_a_crash(autojump_clock: MockClock, stage: Stage) -> None:
    """An ExceptionGroup out of a child's own nursery is a crash like any other."""
    async with trio.open_nursery() as nursery:
        await nursery.start(stage.supervisor(stage.child("a")).run)
        await stage.end("a", ExceptionGroup("several", [Boom("one"), Boom("two")]))
        assert stage.reports() == ["top/a: ExceptionGroup: several (2 sub-exceptions)"]
        nursery.cancel_scope.cancel()


# --- shutdown -------------------------------------------------------------------


def leaving(
    stage: Stage, name: str, *, asked: float = 1.0, cancelled: float = 0.0, crash: bool = False, **more: Any
) -> Child:
    """A child that takes so many seconds to leave once asked, and shields itself so many once cancelled."""
    bell = trio.Event()

    async def start(status: Status) -> None:
        status.started()
        try:
            await bell.wait()
            await trio.sleep(asked)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(cancelled)
            stage.say(f"-{name}", timed=True)
            if crash:
                raise Boom("on leaving")

    def stop() -> None:
        stage.say(f"?{name}", timed=True)
        bell.set()

    return Child(name=name, start=start, shutdown_seconds=2.0, **{"stop": stop, **more})


@pytest.mark.parametrize(
    ("middle", "expected", "reports"),
    [
        ({}, "?c@0 -c@1 ?b@1 -b@2 ?a@2 -a@3", []),
        ({"asked": 9.0}, "?c@0 -c@1 ?b@1 -b@3 ?a@3 -a@4", []),
        ({"asked": 9.0, "cancelled": 1.0}, "?c@0 -c@1 ?b@1 -b@4 ?a@4 -a@5", []),
        ({"asked": 9.0, "cancelled": 1.0, "stop": None}, "?c@0 -c@1 -b@2 ?a@2 -a@3", []),
        ({"crash": True}, "?c@0 -c@1 ?b@1 -b@2 ?a@2 -a@3", ["Boom: on leaving"]),
        ({"asked": 9.0, "cancelled": 1.0, "crash": True}, "?c@0 -c@1 ?b@1 -b@4 ?a@4 -a@5", ["Boom: on leaving"]),
        (
            {"asked": 9.0, "cancelled": 9.0},
            "?c@0 -c@1 ?b@1 ?a@5 -a@6 -b@12",
            ["shields itself from cancellation, or waits for a thread, 2 s after it was cancelled"],
        ),
    ],
    ids=["asked", "cancelled", "slow", "not asked", "crashes", "crashes when cancelled", "shields itself"],
)
async def test_shutdown(
    autojump_clock: MockClock, stage: Stage, middle: dict[str, Any], expected: str, reports: list[str]
) -> None:
    """Under an outer cancellation children still stop one at a time, the latest first: asked, waited for, cancelled."""
    children = [leaving(stage, "a"), leaving(stage, "b", **middle), leaving(stage, "c")]
    async with trio.open_nursery() as nursery:
        await nursery.start(stage.supervisor(*children).run)
        nursery.cancel_scope.cancel()
    assert stage.heard() == expected
    assert stage.reports() == [f"top/b: {report}" for report in reports]


async def test_where_a_child_shields_itself(autojump_clock: MockClock, stage: Stage) -> None:
    """The report of a child that shields itself shows the line where it waits."""
    async with trio.open_nursery() as nursery:
        await nursery.start(stage.supervisor(leaving(stage, "a", asked=0.0, cancelled=9.0)).run)
        nursery.cancel_scope.cancel()
    assert "await trio.sleep(cancelled)" in stage.failures[0].traceback


async def test_a_child_that_shields_itself_delays_its_successor(autojump_clock: MockClock, stage: Stage) -> None:
    """Two lives of one child never overlap, even when the old one outstays its shutdown."""
    children = [stage.child("a"), leaving(stage, "b", asked=0.0, cancelled=9.0, stop=None), stage.child("c")]
    async with trio.open_nursery() as nursery:
        await nursery.start(stage.supervisor(*children, strategy=ALL).run)
        assert await stage.end("a", Boom()) == "+a +c -a -c"
        await trio.sleep(5)
        assert stage.heard() == "+a"
        await trio.sleep(5)
        assert stage.heard() == "-b@9 +c"
        nursery.cancel_scope.cancel()


async def test_a_request_to_stop_that_fails(autojump_clock: MockClock, stage: Stage) -> None:
    """A child whose stop raises is reported, and cancelled at once instead."""

    def stop() -> None:
        raise Boom("no")

    async with trio.open_nursery() as nursery:
        await nursery.start(stage.supervisor(stage.child("a"), stage.child("b", stop=stop)).run)
        nursery.cancel_scope.cancel()
    assert stage.heard() == "+a +b -b -a"
    assert [str(failure) for failure in stage.failures] == ["top/b failed handling the request to stop: Boom: no"]
    assert "Cancelled" not in stage.failures[0].traceback
    assert trio.current_time() == stage.opened


async def test_cancelled_while_starting(autojump_clock: MockClock, stage: Stage) -> None:
    """A cancellation during the first start stops the child that was starting, then those before it."""

    async def never(status: Status) -> None:
        try:
            await trio.sleep_forever()
        finally:
            stage.say("-b")

    with trio.move_on_after(1) as scope:
        await stage.supervisor(stage.child("a"), Child(name="b", start=never), stage.child("c")).run()
    assert scope.cancelled_caught
    assert stage.heard() == "+a -b -a"
    assert stage.reports() == []


async def test_cancelled_during_a_restart_of_all(autojump_clock: MockClock, stage: Stage) -> None:
    """A cancellation that comes while siblings are being stopped lets that finish, in order, and starts nobody."""
    children = [leaving(stage, "a"), leaving(stage, "b"), stage.child("c")]
    with trio.move_on_after(1.5):
        async with trio.open_nursery() as nursery:
            await nursery.start(stage.supervisor(*children, strategy=ALL).run)
            stage.ends["c"](Boom())
    assert stage.heard() == "+c -c ?b@0 -b@1 ?a@1 -a@2"


async def test_a_supervisor_below_a_supervisor(autojump_clock: MockClock, stage: Stage) -> None:
    """A supervisor is a child like any other: it is restarted with a fresh budget, and its exhaustion is its crash."""
    below = stage.supervisor(stage.child("b"), intensity=Intensity(1, 5.0))

    async def run(status: Status) -> None:
        await below.run(task_status=status)

    top = stage.supervisor(stage.child("a"), Child(name="below", start=run, shutdown_seconds=math.inf))
    async with trio.open_nursery() as nursery:
        await nursery.start(top.run)
        assert stage.heard() == "+a +b"
        for _ in range(3):
            assert await stage.end("b", Boom()) == "-b +b"
        assert [failure.path for failure in stage.failures] == ["top/b", "top/b", "top/below", "top/b"]
        assert stage.failures[2].error.startswith("RestartsExhausted: top: expected at most 1 restarts")
        nursery.cancel_scope.cancel()
    assert stage.heard() == "-b -a"


# --- what is not for mending ----------------------------------------------------


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError(), GeneratorExit()], ids=repr)
async def test_an_exit_out_of_a_child(autojump_clock: MockClock, stage: Stage, error: BaseException) -> None:
    """A child's exception is its crash, also where it is no Exception: the child is restarted, and the others stay."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.supervisor(*(stage.child(name) for name in "ab")).run)
        await trio.sleep(1)
        assert await stage.end("a", error) == "+a +b -a +a"
        assert [failure.path for failure in stage.failures] == ["top/a"]
        nursery.cancel_scope.cancel()


async def test_an_interrupt_out_of_a_child(autojump_clock: MockClock, stage: Stage) -> None:
    """A KeyboardInterrupt is no crash: everybody stops in order, then it comes out, bare."""
    error = KeyboardInterrupt()

    async def script() -> None:
        assert await stage.end("b", error) == "+a +b +c -b -c -a"

    assert await outcome(stage.supervisor(*(stage.child(name) for name in "abc")), script) is error
    assert stage.reports() == []


async def test_an_interrupt_while_another_child_starts(autojump_clock: MockClock, stage: Stage) -> None:
    """An interrupt does not wait for a child that never serves."""

    async def interrupt(status: Status) -> None:
        status.started()
        await trio.sleep(1)
        raise KeyboardInterrupt

    async def never(status: Status) -> None:
        await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        await stage.supervisor(Child(name="a", start=interrupt), Child(name="b", start=never)).run()


async def test_an_interrupt_during_shutdown(autojump_clock: MockClock, stage: Stage) -> None:
    """An interrupt that a child raises while it is stopped comes out too, after the others have stopped."""

    async def start(status: Status) -> None:
        status.started()
        try:
            await trio.sleep_forever()
        finally:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), trio.move_on_after(1):
        await stage.supervisor(stage.child("a"), Child(name="b", start=start)).run()
    assert stage.heard() == "+a -a"


async def test_a_second_interrupt_cuts_the_shutdown_short(autojump_clock: MockClock, stage: Stage) -> None:
    """Interrupted while it stops its children, a supervisor cancels all that are left at once, and ends."""

    def stop() -> None:
        raise KeyboardInterrupt

    children = [leaving(stage, "a", asked=9.0), stage.child("b", stop=stop)]
    with pytest.raises(KeyboardInterrupt), trio.move_on_after(1):
        await stage.supervisor(*children).run()
    assert sorted(stage.said) == ["+b", "-a@1", "-b"]


async def test_cancelled_is_not_swallowed(autojump_clock: MockClock, stage: Stage) -> None:
    """A cancelled scope around a supervisor ends with it; nothing after it runs."""
    with trio.move_on_after(1) as scope:
        await stage.supervisor(stage.child("a")).run()
        stage.say("went on")
    assert scope.cancelled_caught
    assert stage.heard() == "+a -a"


async def test_a_crash_is_not_kept_alive(autojump_clock: MockClock, stage: Stage) -> None:
    """A crash leaves text behind: what its frames held is free, without the cyclic collector."""
    held: list[weakref.ref[Stage]] = []

    async def start(status: Status) -> None:
        cargo = Stage()
        held.append(weakref.ref(cargo))
        status.started()
        raise Boom

    gc.disable()
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(stage.supervisor(Child(name="a", start=start), pause=9.0).run)
            await quiet()
            assert held[0]() is None
            nursery.cancel_scope.cancel()
    finally:
        gc.enable()
