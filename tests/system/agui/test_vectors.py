"""Both mappers, and the published client, held to the same courses: those of the corpus, and courses by chance."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest

from actors.agui.mapper import Mapper
from tests.agui.random_courses import RandomCourse, junk
from tests.agui.vectors import courses
from tests.support.agui_client import AguiClient
from tests.system.client_js.node import Node

pytestmark = pytest.mark.slow

_APPLY = """
    const apply = (mapper, step) => {
      const [[kind, value]] = Object.entries(step).filter(([name]) => name !== "said");
      const about = {...value, isWhole: value?.whole, isAnswer: value?.answer, expiresAt: value?.expires_at};
      const acts = {
        event: () => mapper.feed(value), prelude: () => mapper.prelude(about), ask: () => mapper.ask(about),
        ask_closed: () => mapper.askClosed(value), lose: () => mapper.lose(...value), gap: () => mapper.gap(...value),
        reset: () => mapper.reset(), recall: () => mapper.recall(value) ?? [], mute: () => mapper.mute() ?? [],
      };
      return acts[kind]();
    };
"""


async def test_the_corpus(node: Node) -> None:
    """JavaScript says what the corpus has, and the published client takes all of it without a word."""
    script = """
        const said = {};
        for (const [name, {thread_id, steps}] of Object.entries(corpus)) {
          const mapper = new Mapper(thread_id);
          said[name] = steps.map((step) => apply(mapper, step));
          await reduce(said[name].flat());
        }
        return said;
    """
    corpus = courses()
    said = await node.run(_APPLY + script, corpus=corpus)
    for name, course in corpus.items():
        assert said[name] == [step["said"] for step in course["steps"]], name


async def test_courses_by_chance(node: Node) -> None:
    """Of runs beside and below each other, cut anywhere, and of junk: both languages say the same, and the published
    client comes to the messages that the one in Python has, of the whole course."""
    given: list[dict[str, Any]] = []
    expected: list[tuple[Any, Any]] = []
    for seed in range(120):
        events = RandomCourse(Random(seed)).grow(25) if seed % 2 else junk(Random(seed), 40)
        cut = Random(seed).randrange(len(events))
        mapper = Mapper("t1")
        for event in events[:cut]:
            mapper.feed(event)
        said = [*mapper.prelude(), *(one for event in events[cut:] for one in mapper.feed(event))]
        whole = Mapper("t1")
        whole.prelude()
        client = AguiClient().take(said if seed % 2 == 0 else [one for event in events for one in whole.feed(event)])
        given.append({"events": msgspec.to_builtins(events), "cut": cut})
        expected.append((said, client.messages))
    script = """
        const found = [];
        for (const {events, cut} of given) {
          const mapper = new Mapper("t1");
          for (const event of events.slice(0, cut)) mapper.feed(event);
          const said = [...mapper.prelude(), ...events.slice(cut).flatMap((event) => mapper.feed(event))];
          found.push([said, await reduce(said)]);
        }
        return found;
    """
    found = await node.run(script, given=given)
    for (said, messages), (own_said, own_messages) in zip(found, expected, strict=True):
        assert said == own_said
        assert messages == own_messages
