"""``actors serve`` as a process: events in, devices out, and the truth on the streams."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import msgspec
import pytest
import trio

from actors.errors import PeerError
from actors.wire.dialled import dial
from tests.tools.command import SEED, check_refusal, device, events, lines, run, running, stages

ANYWHERE = "0.0.0.0"  # noqa: S104 - what is tested is that it is guarded
EVENT = '{"type":"x","thread_id":"t","user_id":"alice"}'
HALVES = "Hi \\ud83d", "\\ude00!", "\\ud83d"
ODD = '{ "b":1.50, "a" : 9007199254740991, "z":1E3, "text":"\\u00e9é" }'


async def test_every_receipt_is_told_in_order_up_to_acked() -> None:
    """A device that acks: each line is STORED, WRITTEN, ACKED, with seq, offset and time; the status is 0."""
    before = time.time()
    async with running("serve", "--stdin", "--receipts") as command, device(command.url, "alice") as websocket:
        for number in range(3):
            await command.feed(f'{{"type":"x","thread_id":"t{number % 2}","user_id":"alice","event_id":"e{number}"}}')
        await events(websocket, 3, ack=True)
        finished = await command.finish()
    ladder = ["STORED", "WRITTEN", "ACKED"]
    assert stages(finished) == {1: ladder, 2: ladder, 3: ladder}
    stored = [receipt for receipt in finished.objects if receipt["stage"] == "STORED"]
    assert before <= stored[2].pop("timestamp") <= time.time()
    assert stored[2] == {"line": 3, "event_id": "e2", "thread_id": "t0", "seq": 2, "offset": 3, "stage": "STORED"}
    assert finished.summary == "3 events: 3 ACKED"
    assert finished.status == 0


async def test_the_payload_arrives_as_it_was() -> None:
    """Not one byte of the payload is another on the device: keys, numbers, spaces, escapes."""
    async with running("serve", "--stdin") as command, device(command.url, "alice") as websocket:
        await command.feed(f'{{"payload":{ODD},"type":"x","thread_id":"t","user_id":"alice","run_id":"r"}}')
        (text,) = await events(websocket, 1)
    assert text.startswith(f'{{"type":"x","payload":{ODD},"thread_id":"t","run_id":"r",')
    assert text.endswith(',"seq":1,"offset":1}')


async def test_the_seed_event_reaches_the_user_named_on_the_command_line() -> None:
    """An event that names no user goes to ``--user``; a line that names one goes to that one."""
    async with (
        running("serve", "--stdin", "--user", "alice") as command,
        device(command.url, "alice") as alice,
        device(command.url, "bob") as bob,
    ):
        await command.feed(SEED, '{"type":"x","thread_id":"t2","user_id":"bob"}', '{"type":"y","thread_id":"t2"}')
        (seed,) = await events(alice, 1)
        theirs = await events(bob, 2)
    assert msgspec.json.decode(seed)["thread_id"] == "thread_86db35a070e14921"
    assert f'"payload":{SEED[SEED.index(":{") + 1 : -1]},' in seed
    assert [msgspec.json.decode(text)["type"] for text in theirs] == ["x", "y"]


async def test_a_plain_client_leaves_events_written() -> None:
    """A client without a subprotocol cannot ack: the command does not wait for that, and written is enough for
    status 0."""
    async with (
        running("serve", "--stdin", "--receipts", "--linger", "inf") as command,
        dial(command.url, headers={"Cookie": "actors_token=alice"}) as websocket,
    ):
        await command.feed(EVENT)
        await events(websocket, 1)
        finished = await command.finish()
    assert stages(finished) == {1: ["STORED", "WRITTEN"]}
    assert (finished.status, finished.summary) == (0, "1 event: 1 WRITTEN")


async def test_without_a_device_the_status_says_so() -> None:
    """Events that no device took are counted where they stayed, and the status is 1."""
    finished = await run("serve", "--stdin", "--receipts", "--linger", "0", "--port", "0", stdin=lines(EVENT, SEED))
    assert (finished.status, finished.summary) == (1, "2 events: 1 STORED, 1 BUFFERED")
    assert stages(finished) == {1: ["STORED"], 2: ["BUFFERED"]}
    assert finished.objects[1]["offset"] is None


async def test_what_retention_shed_is_told_with_its_cause() -> None:
    """More events than a log retains, and no device there: the oldest are DROPPED, each with its line and cause."""
    finished = await run("serve", "--stdin", "--receipts", "--linger", "0", "--port", "0", stdin=lines(*[EVENT] * 1003))
    assert (finished.status, finished.summary) == (1, "1003 events: 1000 STORED, 3 DROPPED (retention)")
    dropped = [receipt for receipt in finished.objects if receipt["stage"] == "DROPPED"]
    assert [(receipt["line"], receipt["cause"]) for receipt in dropped] == [(n, "retention") for n in (1, 2, 3)]
    assert stages(finished)[1] == ["STORED", "DROPPED"]


async def test_a_held_event_goes_up_the_ladder_from_where_it_was(tmp_path: Path) -> None:
    """An event of a thread without an owner is BUFFERED, and goes on when a later line names the owner."""
    tokens = tmp_path / "tokens.toml"
    tokens.write_text('alice = "alice"\n')
    async with (
        running("serve", "--stdin", "--receipts", "--tokens", str(tokens)) as command,
        device(command.url, "alice") as websocket,
    ):
        await command.feed('{"type":"x","thread_id":"t"}', EVENT)
        await events(websocket, 2, ack=True)
        finished = await command.finish()
    assert stages(finished) == {1: ["BUFFERED", "STORED", "WRITTEN", "ACKED"], 2: ["STORED", "WRITTEN", "ACKED"]}


async def test_bad_lines_are_numbered_and_stop_nothing() -> None:
    """Each bad line is answered with its number and counted; what is good before, between and after is delivered."""
    bad: list[str | bytes] = [
        "",
        "nonsense",
        b"\xff",
        "[1]",
        '{"type":"dropped","thread_id":"t"}',
        EVENT.replace("alice", "bob"),
        "x" * (2**20 + 1),
    ]
    async with running("serve", "--stdin") as command, device(command.url, "alice") as websocket:
        await command.feed(EVENT, *bad, EVENT + "\r", " " * 10)
        await events(websocket, 2, ack=True)
        finished = await command.finish()
    errors = [line for line in finished.err.splitlines() if line.startswith("line ")]
    assert [line.partition(":")[0] for line in errors] == [f"line {number}" for number in (3, 4, 5, 6, 7, 8)]
    assert all("expected" in line for line in errors)
    assert (finished.status, finished.summary) == (0, "2 events: 2 ACKED; 6 bad lines")


async def test_nothing_but_bad_lines_is_a_failure() -> None:
    """Input that is no JSON at all, random bytes for one, does not end with status 0."""
    finished = await run("serve", "--stdin", "--linger", "0", "--port", "0", stdin=bytes(range(256)) * 4)
    assert finished.status == 1
    assert "0 events; " in finished.summary


async def test_a_character_that_was_cut_in_two_arrives_whole() -> None:
    """Tokens that end and begin with half an emoji, as models stream them, reach the device as one character."""
    tokens = [f'{{"type":"agent_delta","thread_id":"t","run_id":"r","payload":{{"text":"{text}"}}}}' for text in HALVES]
    async with running("serve", "--stdin", "--user", "alice") as command, device(command.url, "alice") as websocket:
        await command.feed(*tokens)
        seen = [msgspec.json.decode(text)["payload"]["text"] for text in await events(websocket, 3, ack=True)]
        finished = await command.finish()
    assert "".join(seen) == "Hi 😀!"
    assert "line 3: payload.text: ends in half of a surrogate pair (\\ud83d)" in finished.err
    assert (finished.status, finished.summary) == (0, "3 events: 3 ACKED")


async def test_a_repeated_line_is_delivered_once() -> None:
    """The same event id again shares the first line's fate; with another body it is a bad line."""
    first = '{"type":"x","thread_id":"t","user_id":"alice","event_id":"e","payload":{"a":1}}'
    async with running("serve", "--stdin", "--receipts") as command, device(command.url, "alice") as websocket:
        await command.feed(first, first, first.replace("1", "2"), EVENT)
        texts = await events(websocket, 2, ack=True)
        finished = await command.finish()
    assert [msgspec.json.decode(text)["offset"] for text in texts] == [1, 2]
    assert stages(finished)[2] == ["STORED", "WRITTEN", "ACKED"]
    assert "line 3: event id 'e'" in finished.err
    assert finished.summary == "3 events: 3 ACKED; 1 bad line"


async def test_the_last_line_needs_no_newline_and_a_byte_order_mark_no_removal() -> None:
    """A byte order mark and a missing newline, which editors leave, change nothing."""
    stdin = b"\xef\xbb\xbf" + EVENT.encode() + b"\n" + EVENT.encode()
    finished = await run("serve", "--stdin", "--linger", "0", "--port", "0", stdin=stdin)
    assert finished.summary == "2 events: 2 STORED"


async def test_empty_input_is_delivered() -> None:
    """Of no events each was delivered."""
    finished = await run("serve", "--stdin", "--linger", "inf", "--port", "0")
    assert (finished.status, finished.summary) == (0, "0 events")


async def test_a_reader_of_receipts_that_goes_stops_nothing() -> None:
    """A broken pipe on standard output ends the receipts, quietly, and not the delivery."""
    receiving, sending = os.pipe()
    os.close(receiving)
    async with running("serve", "--stdin", "--receipts", stdout=sending) as command:
        os.close(sending)
        async with device(command.url, "alice") as websocket:
            await command.feed(EVENT)
            await events(websocket, 1, ack=True)
            await command.feed(EVENT)
            await events(websocket, 1, ack=True)
            finished = await command.finish()
    assert (finished.status, finished.summary) == (0, "2 events: 2 ACKED")
    assert "Traceback" not in finished.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_serving_politely(number: signal.Signals) -> None:
    """Without ``--stdin``: devices get going_away, and the status is 0."""
    async with running("serve") as command, device(command.url, "alice") as websocket:
        command.signal(number)
        leaving = msgspec.json.decode(await websocket.receive())
        assert leaving["op"] == "going_away"
        assert 1_000 <= leaving["retry_ms"] <= 3_000
        with pytest.raises(PeerError, match="1012"):
            await websocket.receive()
        finished = await command.ended()
    assert finished.status == 0
    assert finished.err.splitlines()[1:] == [
        "drained: 0 events not confirmed, 1 connection closed, 0 aborted, 0 runs cancelled"
    ]


async def test_a_signal_ends_the_input_and_not_the_report() -> None:
    """With ``--stdin`` a signal is an end of input: what was read is delivered and counted."""
    async with running("serve", "--stdin") as command, device(command.url, "alice") as websocket:
        await command.feed(EVENT)
        texts = await events(websocket, 1)
        command.signal(signal.SIGTERM)
        await websocket.send(f'{{"op":"ack","offset":{msgspec.json.decode(texts[0])["offset"]}}}')
        finished = await command.ended()
    assert (finished.status, finished.summary) == (0, "1 event: 1 ACKED")


async def test_tokens_say_who_may_connect(tmp_path: Path) -> None:
    """A token of the file is its user; any other is refused, a user's own name too."""
    tokens = tmp_path / "tokens.toml"
    tokens.write_text('"s3.cret" = "alice"\nother = "bob"\n')
    async with running("serve", "--stdin", "--tokens", str(tokens), "--host", ANYWHERE) as command:
        url = command.url.replace(ANYWHERE, "127.0.0.1")
        async with device(url, "s3.cret") as websocket:
            await command.feed(EVENT)
            assert len(await events(websocket, 1, ack=True)) == 1
        with pytest.raises(PeerError, match="4501"):
            async with device(url, "alice"):
                pytest.fail("expected a refusal")
        with pytest.raises(PeerError, match="got 401"):
            async with dial(url, headers={"Cookie": "actors_token=alice"}):
                pytest.fail("expected a refusal")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a = [", "expected TOML"),
        ("a = 7", "line 1: user: expected a string, got int"),
        ('x = "bob"\n"" = "alice"', 'line 2: expected token = "user", got an empty token'),
        ("", "expected a line"),
        (None, "expected a file of tokens"),
    ],
)
async def test_a_bad_tokens_file_is_one_line(tmp_path: Path, text: str | None, complaint: str) -> None:
    """Any fault of the file of tokens is reported on one line that shows no token, and the status is 2."""
    tokens = tmp_path / "tokens.toml"
    if text is not None:
        tokens.write_text(text)
    check_refusal(await run("serve", "--tokens", str(tokens), "--port", "0"), complaint)


async def test_the_pages_of_another_host() -> None:
    """A page whose origin is given may connect, and one of any other host may not."""
    async with running("serve", "--origin", "https://chat.example", "--origin", "http://b.example") as command:
        for origin, status in (("https://chat.example", None), ("http://b.example", None), ("https://c.example", 403)):
            headers = {"Cookie": "actors_token=alice", "Origin": origin}
            if status is None:
                async with dial(command.url, headers=headers):
                    pass
            else:
                with pytest.raises(PeerError, match=f"got {status}"):
                    async with dial(command.url, headers=headers):
                        pytest.fail("expected a refusal")


async def test_a_user_without_a_token_could_never_connect(tmp_path: Path) -> None:
    """``--user`` names one of the users in ``--tokens``, or nothing could be delivered."""
    tokens = tmp_path / "tokens.toml"
    tokens.write_text('secret = "alice"\n')
    words = ("serve", "--stdin", "--user", "bob", "--tokens", str(tokens), "--port", "0")
    check_refusal(await run(*words), "--user bob: expected a user of ")


# --- a long input -------------------------------------------------------------------

LONG_EVENT = '{"type":"x","thread_id":"t","user_id":"alice"}'


async def test_a_long_input_waits_for_the_device() -> None:
    """Five times what a log retains, piped in at once: a device that acks gets and acks all of it."""
    async with running("serve", "--stdin") as command, device(command.url, "alice") as websocket:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: command.feed(*[LONG_EVENT] * 5000))
            offsets: list[int] = []
            while len(offsets) < 5000:
                texts = await events(websocket, 250)
                offsets += [msgspec.json.decode(text)["offset"] for text in texts]
                await websocket.send(f'{{"op":"ack","offset":{offsets[-1]}}}')
        finished = await command.finish()
    assert offsets == list(range(1, 5001))
    assert (finished.status, finished.summary) == (0, "5000 events: 5000 ACKED")
