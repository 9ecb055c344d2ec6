"""A reader of a log: it checks, message by message, that nothing is missing that it was not told of."""

from __future__ import annotations

import attrs

from tests.support.raw import Message


@attrs.define
class Reading:
    """A cursor, and what was read: texts by run, counted by offset."""

    epoch: str = ""
    offset: int = 0
    session: str | None = None
    seen: list[tuple[int, int]] = attrs.field(factory=list)
    """Ranges that came, in order."""
    gaps: list[tuple[int, int]] = attrs.field(factory=list)
    resets: list[str] = attrs.field(factory=list)
    payloads: dict[int, Message] = attrs.field(factory=dict)
    """By offset; of joined texts, by the last one."""
    texts: dict[str, str] = attrs.field(factory=dict)
    seqs: dict[str, int] = attrs.field(factory=dict)
    """The last sequence number that was read, by run."""

    @property
    def resume(self) -> Message | None:
        """The cursor, as a hello says it."""
        return {"epoch": self.epoch, "offset": self.offset} if self.epoch else None

    def welcomed(self, welcome: Message) -> None:
        """A connection begins."""
        self.session = welcome["session"]
        if welcome["resume"] == "fresh":
            self.epoch, self.offset = welcome["epoch"], welcome["start"] - 1

    def take(self, message: Message) -> None:
        """The next message."""
        op = message.get("op")
        if op is None:
            self._step(message["offset"], message["offset"])
            self._read(message)
        elif op == "batch":
            self._step(message["from"], message["to"])
            for event in message["events"]:
                self._read(event)
        elif op == "gap":
            self.gaps.append((message["from"], message["to"]))
            self._step(message["from"], message["to"])
        elif op == "reset":
            self.resets.append(message["epoch"])
            self.epoch, self.offset = message["epoch"], message["low"] - 1
            self.payloads.clear()

    def _step(self, first: int, last: int) -> None:
        assert first == self.offset + 1, f"{first} to {last} came after {self.offset}"
        self.offset = last
        self.seen.append((first, last))

    def _read(self, event: Message) -> None:
        self.payloads[event["offset"]] = event["payload"]
        if event["type"] == "agent_delta":
            run = event["run_id"]
            self.seqs[run] = event["seq"]
            self.texts[run] = self.texts.get(run, "") + event["payload"]["text"]
