"""The corpus that the mappers of both languages are held to: a course of inputs, and what each of them is in AG-UI.

python -m tests.agui.vectors     # writes what the mapper of Python says now: look at the difference before it stays
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from actors.agui.course import Question
from actors.agui.mapper import Mapper
from actors.agui.messages import AguiEvent
from actors.events.delivered import Event

FOLDER = Path(__file__).with_name("vectors")
"""One JSON file for a course."""


def courses() -> dict[str, dict[str, Any]]:
    """The courses by their names."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def apply(mapper: Mapper, step: dict[str, Any]) -> list[AguiEvent]:
    """Give one input of a course to a mapper."""
    ((kind, value),) = ((kind, value) for kind, value in step.items() if kind != "said")
    match kind:
        case "event":
            return mapper.feed(msgspec.convert(value, Event))
        case "prelude":
            return mapper.prelude(
                value.get("known", ()),
                alias=value.get("alias"),
                of=value.get("of"),
                is_whole=value.get("whole", True),
                is_answer=value.get("answer", False),
            )
        case "recall":
            mapper.recall(value)
            return []
        case "mute":
            mapper.mute()
            return []
        case "ask":
            return mapper.ask(Question(**{"run_id": None, **value}))
        case "ask_closed":
            return mapper.ask_closed(value)
        case "lose":
            return mapper.lose(*value)
        case "gap":
            return mapper.gap(*value)
        case "reset":
            return mapper.reset()
        case _:
            raise AssertionError(kind)


def main() -> None:
    """Write what the mapper says."""
    for name, course in courses().items():
        mapper = Mapper(course["thread_id"])
        for step in course["steps"]:
            step["said"] = apply(mapper, step)
        lines = ",\n".join(json.dumps(step, ensure_ascii=False) for step in course["steps"])
        head = {key: value for key, value in course.items() if key != "steps"}
        text = json.dumps(head, ensure_ascii=False)[:-1] + ', "steps": [\n' + lines + "\n]}\n"
        (FOLDER / f"{name}.json").write_text(text)


if __name__ == "__main__":
    main()
