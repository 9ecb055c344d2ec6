"""The client plays its side of the transcripts in ``tests/wire/vectors``: the server's side is played to it.

Played are the scenarios of one device that opens, says hello, hears, confirms, breaks off and comes back. Left out,
by what they need: several devices; cookies and tickets (this client has a token); a session that was kept from before
(this client's sessions end with it, its cursors do not); requests and goodbyes (wishes of an application, which
``test_session`` has); time that goes by in silence.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors.client import Cursor, Session, SessionEnded, connect
from actors.client.backoff import is_final
from tests.client.scripted import URL, Line, Scripted, autojump_clock, server
from tests.wire.test_vectors import SCENARIOS, Scenario, split

__all__ = ["autojump_clock", "server"]

BESIDE = {"emit", "bind", "ask", "withdraw", "drain", "wait_s"}
"""What happens to a server: nothing for a client to do."""


def is_played(scenario: Scenario) -> bool:
    """Whether everything in a scenario is the client's own doing."""
    if scenario.server_only:
        return False
    for step in scenario.steps:
        name, kind, fields = split(step)
        if name not in {"", "A"} or (kind == "open" and (set(fields) != {""} or fields[""] != "A")):
            return False
        if kind not in BESIDE | {"open", "hears", "says", "drops", "closed"}:
            return False
        if kind == "says" and fields.get("message", {}).get("op") not in {"hello", "ack", "pong"}:
            return False
        if kind == "hears" and fields.get("message", {}).get("op") == "reply":
            return False
    first = next(scenario.messages("says"), {})
    return "session" not in first and any("hears" in step.values() for step in scenario.steps)


PLAYED = [scenario for scenario in SCENARIOS if is_played(scenario)]


class Play:
    """One scenario, against one session."""

    def __init__(self, server: Scripted) -> None:
        self.line: Line
        self._server = server
        self._names: dict[str, Any] = {}
        self._numbers = itertools.count(1)

    async def step(self, step: dict[str, Any]) -> None:
        """Play the server's side of one step."""
        name, kind, fields = split(step)
        if kind in BESIDE and not name:
            return
        if kind == "open":
            self.line = await self._server.accept()
            await self.line.upgrade()
        elif kind == "hears":
            messages = fields.get("in_any_order") or [fields["message"]]
            await self.line.say(*(self._filled(message, "") for message in messages))
        elif kind == "drops":
            await self.line.drop()
        elif kind == "closed":
            await self.line.close(fields["code"])
        else:
            await self._expect(self._filled(fields["message"], ""))

    async def _expect(self, expected: dict[str, Any]) -> None:
        said = await self.line.hear()
        while expected["op"] != "ack" and said["op"] == "ack":
            said = await self.line.hear()
        while expected["op"] == "ack" and said["offset"] < expected["offset"]:
            said = await self.line.hear()
        said.pop("from", None) if "resume" in said or said.get("from") == "unacked" else None
        expected.pop("from", None) if "resume" in expected or expected.get("from") == "unacked" else None
        assert said == expected

    def _filled(self, said: Any, key: str) -> Any:
        if isinstance(said, dict):
            return {key: self._filled(value, key) for key, value in said.items()}
        if isinstance(said, list):
            return [self._filled(value, key) for value in said]
        if said == "*":
            return 0.0 if key == "timestamp" else next(self._numbers) if key in {"retry_ms", "offset", "seq"} else "x"
        if isinstance(said, str) and said.startswith("$"):
            return self._names.setdefault(said, f"{said[1:]}_{next(self._numbers)}")
        return said


def wishes(scenario: Scenario) -> dict[str, Any]:
    """What the first hello says that an application decides."""
    hello = next(message for message in scenario.messages("says") if message["op"] == "hello")
    resume = hello.get("resume")
    cursor = None if resume is None else Cursor(resume["epoch"], resume["offset"])
    return {"token": hello.get("token"), "origin": hello.get("from", "unacked"), "cursor": cursor}


@pytest.mark.parametrize("scenario", PLAYED, ids=str)
async def test_the_client_says_what_the_transcript_has(
    server: Scripted, scenario: Scenario, autojump_clock: MockClock
) -> None:
    """Every hello, with session and cursor, and every confirmation is that of the transcript."""
    ended: list[int | None] = []

    async def iterate(session: Session) -> None:
        try:
            async for _ in session:
                pass
        except SessionEnded as error:
            ended.append(error.code)

    play = Play(server)
    with trio.fail_after(600):
        async with connect(URL, **wishes(scenario)) as session, trio.open_nursery() as nursery:
            nursery.start_soon(iterate, session)
            for step in scenario.steps:
                await play.step(step)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    codes = [step["code"] for step in scenario.steps if "closed" in step.values()]
    assert ended == [code for code in codes if is_final(code)]


def test_most_of_what_can_be_is_played() -> None:
    """A change of the vectors' format does not empty this module."""
    assert len(PLAYED) >= 20
