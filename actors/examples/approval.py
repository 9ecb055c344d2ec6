"""An agent that asks for approval before it acts, on every device of its user."""

import trio

import actors

PATIENCE_SECONDS = 120.0


async def approval(run: actors.Run, message: actors.Message) -> str:
    """Carry out the user's message, if the user approves of it in time, on any device."""
    plan = str(message.payload.get("text", "what you sent"))
    await run.thinking("This changes something, so I ask first.")
    question = {"question": f"Shall I go on with “{plan}”?", "choices": ["yes", "no"]}
    try:
        answer = await run.ask("approval", question, timeout=PATIENCE_SECONDS)
    except actors.Unanswered:
        return say(run, "Nobody answered, so I did nothing.")
    if answer.payload.get("choice") != "yes":
        return say(run, "Then I leave it as it is.")
    async with run.tool("act", {"plan": plan}) as tool:
        await trio.sleep(0.5)
        tool.result = "done"
    return say(run, "It is done.")


def say(run: actors.Run, text: str) -> str:
    """Stream the answer, and return it as the run's result."""
    run.delta(text)
    return text
