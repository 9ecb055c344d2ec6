"""A scripted assistant: one run of an agent, event by event, through the public API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from actors.events import Lifecycle
from actors.receipts import Receipt
from actors.runtime import Thread

SCRIPT: tuple[tuple[Lifecycle, dict[str, Any]], ...] = (
    (Lifecycle.AGENT_STARTED, {"agent_name": "scripted-assistant"}),
    (Lifecycle.AGENT_THINKING, {"thought": "The question is about the weather; a tool knows."}),
    (Lifecycle.TOOL_EXECUTING, {"tool_name": "weather", "arguments": {"city": "Oslo"}}),
    (Lifecycle.TOOL_COMPLETED, {"tool_name": "weather", "result": {"sky": "clear", "celsius": 4}}),
    (Lifecycle.AGENT_DELTA, {"text": "It is clear "}),
    (Lifecycle.AGENT_DELTA, {"text": "and four degrees "}),
    (Lifecycle.AGENT_DELTA, {"text": "in Oslo."}),
    (Lifecycle.AGENT_COMPLETED, {"text": "It is clear and four degrees in Oslo."}),
)


async def assist(
    thread: Thread, run_id: str, *, pause_seconds: float = 0.0, on_receipt: Callable[[Receipt], object] | None = None
) -> None:
    """Emit the script as one run; ``on_receipt`` is given each receipt as soon as ``emit`` has returned it."""
    for type_, payload in SCRIPT:
        receipt = await thread.emit(type_, {"run_id": run_id, **payload}, run_id=run_id)
        if on_receipt is not None:
            on_receipt(receipt)
        await trio.sleep(pause_seconds)
