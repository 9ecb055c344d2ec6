"""A runtime with devices of users in memory, and an agent that answers when it is let."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import attrs
import trio
import trio.testing

import actors
from actors import Message, Run
from actors.events.delivered import Event
from tests.support.raw import Peer

LIMITS = actors.Limits()


@attrs.define
class Device:
    """One device of a user, on a connection in memory."""

    peer: Peer
    numbers: Any = attrs.field(factory=count)

    async def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        """Say something that is answered; the answer."""
        await self.peer.say({"op": op, "id": f"{id(self)} {next(self.numbers)}", **fields})
        return await self.peer.next_op("reply")

    async def send(self, text: str, thread_id: str = "t1") -> dict[str, Any]:
        return await self.ask("send", thread_id=thread_id, payload={"text": text})

    async def leave(self) -> None:
        await trio.aclose_forcefully(self.peer.stream)


@attrs.define
class Harness:
    """A runtime in which alice owns the thread ``t1``."""

    runtime: actors.Runtime
    nursery: trio.Nursery
    devices: list[Device] = attrs.field(factory=list)

    async def device(self, user_id: str = "alice") -> Device:
        ours, theirs = trio.testing.memory_stream_pair()
        self.nursery.start_soon(self.runtime.handle, theirs)
        device = Device(Peer(ours))
        await device.peer.attach(user_id)
        self.devices.append(device)
        return device

    async def events(self, thread_id: str = "t1") -> tuple[Event, ...]:
        return (await self.runtime.read(thread_id)).events

    async def story(self, thread_id: str = "t1") -> list[str]:
        """What happened in a thread, each run by the text that it answers."""
        events = await self.events(thread_id)
        texts = {event.event_id: event.payload["text"] for event in events if event.type == "user_message"}
        names = {one.run_id: texts.get(one.payload.get("message_id")) for one in events if one.type == "agent_started"}
        lines = []
        for event in events:
            if event.type == "user_message":
                lines.append(f"{event.payload['text']}?")
            else:
                reason = event.payload.get("reason")
                lines.append(f"{names[event.run_id]}: {event.type}" + (f" ({reason})" if reason else ""))
        return lines

    def failures(self) -> list[str]:
        return [str(failure) for failure in self.runtime.failures]


@asynccontextmanager
async def open_harness(on_message: Any = None, **options: Any) -> AsyncIterator[Harness]:
    async with trio.open_nursery() as nursery:
        async with actors.open_runtime(on_message=on_message, **options) as runtime:
            await runtime.bind("t1", "alice")
            harness = Harness(runtime, nursery)
            yield harness
            for device in harness.devices:
                await device.leave()
        nursery.cancel_scope.cancel()


quiet = trio.testing.wait_all_tasks_blocked


class Agent:
    """Answers each message with its text, when its gate opens; what it was asked, in order."""

    def __init__(self, *, patient: bool = True) -> None:
        self.asked: list[str] = []
        self.gates: dict[str, trio.Event] = {}
        self._patient = patient

    async def __call__(self, run: Run, message: Message) -> str:
        text: str = message.payload["text"]
        self.asked.append(text)
        if self._patient:
            await self.gates.setdefault(text, trio.Event()).wait()
        return text.upper()

    def open(self, *texts: str) -> None:
        for text in texts:
            self.gates.setdefault(text, trio.Event()).set()


async def stubborn(run: Run, message: Message) -> None:
    """Does not listen when it is cancelled; then has something to say."""
    with trio.CancelScope(shield=True):
        await trio.sleep(message.payload.get("seconds", 60))
    run.delta("where was I?")
