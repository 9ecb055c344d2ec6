"""Lines of JSON, read into events."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.events.json_lines import BadLine, Line, LineEvent, LineReader, parse
from tests.tools.command import SEED


def read(text: bytes, chunk_bytes: int, most_bytes: int = 100) -> list[Line]:
    """Cut a text into lines, given in chunks of one size."""
    reader = LineReader(most_bytes)
    chunks = [text[start : start + chunk_bytes] for start in range(0, len(text), chunk_bytes)]
    return [line for chunk in chunks for line in reader.feed(chunk)] + list(reader.finish())


@pytest.mark.parametrize("chunk_bytes", [1, 2, 3, 7, 1000])
def test_lines_are_numbered_however_they_arrive(chunk_bytes: int) -> None:
    """Chunk boundaries change nothing; a blank line has a number, and a last line needs no newline."""
    expected = [Line(1, b"one"), Line(2, b""), Line(3, b"three\r"), Line(4, b"four")]
    assert read(b"one\n\nthree\r\nfour", chunk_bytes) == expected


@pytest.mark.parametrize("chunk_bytes", [1, 4, 1000])
@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_line_that_is_too_long_is_said_once_and_skipped_to_its_newline(chunk_bytes: int, end: bytes) -> None:
    """A line of the limit passes, one byte more does not, and the lines around it are unharmed."""
    text = b"a\n" + b"x" * 10 + b"\n" + b"y" * 11 + b"\nb\n" + b"z" * 500 + end
    lines = read(text, chunk_bytes, most_bytes=10)
    assert lines == [Line(1, b"a"), Line(2, b"x" * 10), Line(3, None), Line(4, b"b"), Line(5, None)]


def test_a_byte_order_mark_is_no_part_of_the_first_line() -> None:
    """A file saved with a UTF-8 byte order mark reads as one without; elsewhere the mark stays."""
    assert read(b"\xef\xbb\xbfa\n\xef\xbb\xbfb", 2) == [Line(1, b"a"), Line(2, b"\xef\xbb\xbfb")]


@given(st.binary(max_size=300), st.integers(1, 50))
def test_lines_are_those_of_split(text: bytes, chunk_bytes: int) -> None:
    """Any input gives the lines that splitting the whole would give."""
    whole = text.split(b"\n")
    if not whole[-1]:
        whole.pop()
    expected = [line.removeprefix(b"\xef\xbb\xbf") if not index else line for index, line in enumerate(whole)]
    assert [line.text for line in read(text, chunk_bytes, most_bytes=1000)] == expected


def test_the_seed_event_is_read_from_its_payload() -> None:
    """An event as chat products emit it is enough: thread and run are found in the payload, which stays as it was."""
    assert parse(SEED.encode()) == LineEvent(
        type="agent_started",
        payload=SEED[SEED.index('"payload":') + 10 : -1].encode(),
        thread_id="thread_86db35a070e14921",
        run_id="thread_thread_86db35a070e14921_run_1756905054017_54480004",
        event_id=None,
        user_id=None,
    )


def test_the_top_level_comes_before_the_payload() -> None:
    """An id at the top level counts, and one in the payload only without it; null counts as absent."""
    text = (
        b'{"user_id":null,"thread_id":"t","type":"x","other":[1],'
        b'"payload":{"thread_id":"inner","run_id":"r","user_id":"u","event_id":null}}'
    )
    event = parse(text)
    assert (event.thread_id, event.run_id, event.user_id, event.event_id) == ("t", "r", "u", None)


def test_the_payload_is_kept_byte_by_byte() -> None:
    """Order of keys, spelling of numbers, spaces and escapes are the producer's; no payload is an empty one."""
    payload = b'{ "b":1.50, "a" : 12345678901234567890123, "a":1E3,"\\u0061":"\\/\xc3\xa9" }'
    assert parse(b'{"payload":' + payload + b',"type":"x","thread_id":"t"}').payload == payload
    assert parse(b'{"type":"x","thread_id":"t"}').payload == b"{}"


@pytest.mark.parametrize(
    ("text", "expected", "came"),
    [
        (b"nonsense", "a JSON object", "nonsense"),
        (b"[1]", "a JSON object", "an array"),
        (b" 42", "a JSON object", "the number 42"),
        (b'{"type":"x"', "a JSON object", '{"type":"x"'),
        (b'{"type":"x","thread_id":"t"} trailing', "a JSON object", '{"type":"x"'),
        (b"[" * 30_000, "a JSON object", "an array"),
        (b'{"a":' * 30_000, "a JSON object", '{"a":{"a":'),
        (b'{"type":"\xff"}', "UTF-8", "the byte 0xff at byte 9"),
        (b"\xff\xfe{\x00}\x00", "UTF-8", "the byte 0xff at byte 0"),
        (b'\x00{"type":1}', "a JSON object", "\\x00{"),
        (b'{"thread_id":"t"}', "a type", "none"),
        (b'{"type":null,"thread_id":"t"}', "a type", "none"),
        (b'{"type":7,"thread_id":"t"}', "a string as type", "the number 7"),
        (b'{"type":"x"}', "a thread_id, at the top level or in the payload", "none"),
        (b'{"type":"x","thread_id":{}}', "a string as thread_id", "an object"),
        (b'{"type":"x","payload":{"thread_id":true}}', "a string as payload.thread_id", "true"),
        (b'{"type":"x","thread_id":"t","user_id":-1.5}', "a string as user_id", "the number -1.5"),
        (b'{"type":"x","thread_id":"t","payload":null}', "an object as payload", "null"),
        (b'{"type":"x","thread_id":"t","payload":"{}"}', "an object as payload", "a string"),
    ],
)
def test_a_bad_line_says_what_was_expected_and_what_came(text: bytes, expected: str, came: str) -> None:
    """Whatever is wrong with a line, it is one line of text that a producer's author can act on."""
    with pytest.raises(BadLine) as caught:
        parse(text)
    said = str(caught.value)
    assert said.startswith(f"expected {expected}, got {came}")
    assert said.isprintable()


@given(st.binary(max_size=200))
def test_no_input_breaks_the_reader_of_lines(text: bytes) -> None:
    """Any bytes at all are an event or a bad line."""
    with suppress(BadLine):
        assert parse(text).thread_id is not None


def test_a_trace_is_a_field_of_the_line() -> None:
    """It is taken from the top level alone, because what is in a payload is the application's."""
    assert parse(b'{"type":"x","thread_id":"t","traceparent":"00-1"}').traceparent == "00-1"
    assert parse(b'{"type":"x","thread_id":"t","payload":{"traceparent":"00-1"}}').traceparent is None
    with pytest.raises(BadLine, match="expected a string as traceparent, got the number 7"):
        parse(b'{"type":"x","thread_id":"t","traceparent":7}')
