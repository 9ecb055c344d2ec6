"""A scripted assistant and its server: the whole of what embedding takes."""

import sys

import trio

import actors
from actors.web import pages


async def assistant(run: actors.Run, message: actors.Message) -> str:
    question = str(message.payload.get("text", ""))
    city = question.rstrip("?!. ").split(" ")[-1].title() or "Oslo"
    await run.thinking(f"This is about {city}. The weather tool knows.")
    async with run.tool("weather", {"city": city}) as tool:
        await trio.sleep(0.5)
        tool.result = {"sky": "clear", "celsius": len(city)}
    answer = f"The sky over {city} is clear tonight, at {tool.result['celsius']} degrees. Take a coat, find a place "
    answer += "away from the street lamps, give your eyes ten minutes, and look up: Jupiter stands in the south."
    for word in answer.split(" "):
        run.delta(f"{word} ")  # words that come within 30 ms of each other travel as one event
        await trio.sleep(0.02)
    return answer


async def main() -> None:
    async with actors.open_runtime(on_message=assistant, pages=pages()) as runtime, trio.open_nursery() as nursery:
        host, port = await nursery.start(runtime.serve, "127.0.0.1", 8765)
        print(f"Ask about the weather on http://{host}:{port}/, and leave with Ctrl-C")


if __name__ == "__main__":
    try:
        trio.run(main)
    except KeyboardInterrupt:
        sys.exit(130)
