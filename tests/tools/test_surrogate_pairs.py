"""Characters that a producer's stream has cut in two."""

from __future__ import annotations

import json

import pytest

from actors.events.json_lines import BadLine, parse
from actors.tools.surrogate_pairs import HELD_HALVES, SurrogateJoiner


def line(payload: str, type_: str = "agent_delta", run_id: str = "r", more: str = "") -> bytes:
    return f'{{"type":"{type_}","thread_id":"t","run_id":"{run_id}",{more}"payload":{payload}}}'.encode()


def payloads(joiner: SurrogateJoiner, *lines: bytes) -> list[str]:
    """Return the strings at ``text`` of the parsed lines."""
    return [json.loads(joiner.parse(number, one).payload)["text"] for number, one in enumerate(lines, 1)]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (r"\ud83d", r"\ude00", ["", "😀"]),
        (r"Hi \uD83D", r"\uDE00!", ["Hi ", "😀!"]),
        (r"é\\\ud83d", r"\ude00\ud83d\ude01", ["é\\", "😀😁"]),
        (r"\ud83d\ude00\ud83d", r"\ude01", ["😀", "😁"]),
    ],
)
def test_halves_in_succession_are_joined(first: str, second: str, expected: list[str]) -> None:
    """The half at the end of one event goes to the beginning of the next, without a remark."""
    joiner = SurrogateJoiner()
    assert payloads(joiner, line(f'{{"text":"{first}"}}'), line(f'{{"text":"{second}"}}')) == expected
    joiner.finish()
    assert joiner.remarks() == []


def test_each_string_of_each_stream_has_its_own_half() -> None:
    """Runs that emit at the same time, and strings of one event, are not mixed; what comes in between waits."""
    joiner = SurrogateJoiner()
    expected = payloads(
        joiner,
        line(r'{"text":"a\ud83d"}', run_id="r1"),
        line(r'{"text":"b\ud83d","more":"c\ud83d"}', run_id="r2"),
        line('{"text":"thinking"}', "agent_thinking", "r1"),
        line('{"text":""}', run_id="r1"),
        line(r'{"text":"\ude00"}', run_id="r1"),
    )
    assert expected == ["a", "b", "thinking", "", "😀"]
    both = json.loads(joiner.parse(6, line(r'{"more":"\ude02","text":"\ude01"}', run_id="r2")).payload)
    assert both == {"more": "😂", "text": "😁"}
    assert joiner.remarks() == []


def test_a_half_that_nothing_completes_is_said() -> None:
    """U+FFFD stands where the character should be, and the line that it was in is named; so at the end of its run."""
    joiner = SurrogateJoiner()
    assert payloads(joiner, line(r'{"text":"a\ud83d"}'), line('{"text":"b"}')) == ["a", "\ufffdb"]
    (remark,) = joiner.remarks()
    assert remark.startswith("line 1: payload.text: ends in half of a surrogate pair (\\ud83d)")
    joiner.parse(3, line(r'{"text":"c\ud83d"}'))
    joiner.parse(4, line("{}", "agent_completed"))
    assert [remark.partition(":")[0] for remark in joiner.remarks()] == ["line 3"]
    joiner.parse(5, line(r'{"text":"d\ud83d"}'))
    joiner.finish()
    assert [remark.partition(":")[0] for remark in joiner.remarks()] == ["line 5"]


def test_a_repeated_line_is_the_same_event() -> None:
    """An event that is offered again under its id reads as it did the first time."""
    joiner = SurrogateJoiner()
    first = line(r'{"text":"a\ud83d"}', more='"event_id":"e",')
    assert payloads(joiner, first, first, line(r'{"text":"\ude00"}')) == ["a", "a", "😀"]


@pytest.mark.parametrize("text", [r"\ude00", r"a\ud83db", r"\ud83d\ud83dx", r"\ude00\ud83d"])
def test_what_cannot_be_joined_is_said_in_words(text: str) -> None:
    """A half in the middle, or a second half without a first, is a bad line whose error has the position."""
    joiner = SurrogateJoiner()
    with pytest.raises(BadLine, match=r"payload\.text: half of a surrogate pair, U\+D[8E]"):
        joiner.parse(1, line(f'{{"text":"{text}"}}'))
    joiner.finish()
    assert joiner.remarks() == [], "a line that was refused leaves nothing behind"


def test_other_lines_keep_their_bytes() -> None:
    """Nothing else is touched: spelling, order and spaces are the producer's, also while halves are waited for."""
    joiner = SurrogateJoiner()
    joiner.parse(1, line(r'{"text":"\ud83d"}'))
    for text in (line(r'{ "b":1.50, "text" : "\u00e9", "a":[{"text":"x"}] }', run_id="other"), line("{}")):
        assert joiner.parse(2, text) == parse(text)


def test_few_halves_are_held() -> None:
    """Streams that never go on cost a bounded memory; each half that is given up has a remark."""
    joiner = SurrogateJoiner()
    for number in range(HELD_HALVES + 5):
        joiner.parse(number + 1, line(r'{"text":"\ud83d"}', run_id=f"r{number}"))
    assert [remark.partition(":")[0] for remark in joiner.remarks()] == [f"line {n}" for n in range(1, 6)]
