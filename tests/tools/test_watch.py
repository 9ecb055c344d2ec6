"""``actors watch``, ``send`` and ``cancel``, as a person runs them."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import msgspec
import pytest
import trio

from actors.events.delivered import Event
from actors.tools.terminal import complain
from actors.tools.watch import _line, payload_of
from tests.tools.command import PATIENCE_SECONDS, Finished, arguments, run, running

TICK = '{"type":"tick","thread_id":"t1","user_id":"alice","payload":{"n":%d}}'


async def with_token(*words: str) -> Finished:
    """Run a command that finds alice's token in the environment."""
    with trio.fail_after(PATIENCE_SECONDS):
        done = await trio.run_process(
            arguments(*words), capture_stdout=True, capture_stderr=True, check=False, env={"ACTORS_TOKEN": "alice"}
        )
    return Finished(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.mark.slow
async def test_watch_prints_events() -> None:
    """As JSON, as they came, with the token from the environment; what is about the connection is on standard error."""
    async with running("serve", "--stdin") as command:
        await command.feed(TICK % 1, TICK % 2)
        watched = await with_token("watch", command.url, "--json", "--count", "2")
    assert watched.status == 0
    assert [(event["type"], event["payload"], event["offset"]) for event in watched.objects] == [
        ("tick", {"n": 1}, 1),
        ("tick", {"n": 2}, 2),
    ]
    assert "connected" in watched.err


@pytest.mark.slow
async def test_what_was_printed_is_acked() -> None:
    """Watched twice, each event is printed once: the last of ``--count`` is acked like those before it."""
    async with running("serve", "--stdin") as command:
        await command.feed(TICK % 1, TICK % 2, TICK % 3)
        first = await with_token("watch", command.url, "--json", "--count", "2")
        second = await with_token("watch", command.url, "--json", "--count", "1")
        finished = await command.finish()
    assert [event["offset"] for event in first.objects + second.objects] == [1, 2, 3]
    assert finished.summary == "3 events: 3 ACKED"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_what_was_printed_before_a_signal_is_acked(number: signal.Signals) -> None:
    """Also when it is a signal that ends the watching, at once after an event."""
    async with running("serve", "--stdin") as command:
        await command.feed(TICK % 1, TICK % 2)
        with trio.fail_after(PATIENCE_SECONDS):
            process = await trio.lowlevel.open_process(
                arguments("watch", command.url, "--token", "alice"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            assert process.stdout is not None
            output = b""
            while b"offset 2" not in output:
                output += await process.stdout.receive_some()
            await trio.sleep(0.1)  # it comes back for the next one
            process.send_signal(number)
            assert await process.wait() == 0
        finished = await command.finish()
    assert finished.summary == "2 events: 2 ACKED"


@pytest.mark.slow
async def test_what_was_not_printed_is_not_acked() -> None:
    """An event that standard output did not take is there for the next device."""
    async with running("serve", "--stdin", "--linger", "0") as command:
        await command.feed(TICK % 1)
        receiving, sending = os.pipe()
        with trio.fail_after(PATIENCE_SECONDS):
            process = await trio.lowlevel.open_process(
                arguments("watch", command.url, "--token", "alice"), stdout=sending, stderr=subprocess.DEVNULL
            )
            os.close(sending)
            os.close(receiving)
            assert await process.wait() == 0
        finished = await command.finish()
    assert finished.summary == "1 event: 1 WRITTEN"


@pytest.mark.slow
async def test_watch_for_people() -> None:
    """Without ``--json`` a line has what one looks for."""
    async with running("serve", "--stdin") as command:
        await command.feed(TICK % 1)
        watched = await run("watch", command.url, "--token", "alice", "--count", "1")
    assert '  t1  seq 1  offset 1  tick  {"n":1}' in watched.out


@pytest.mark.slow
async def test_watch_in_the_middle_of_a_run() -> None:
    """A watcher that begins in the middle of a run gets its id, to cancel it, and those of waiting runs."""
    async with running("demo", "--agent", "approval", "--drain", "0") as command:
        url = command.url or next(word for word in command._err.decode().split() if word.startswith("ws://"))
        (first,) = (await run("send", url, "--token", "alice", "deploy")).objects
        (second,) = (await run("send", url, "--token", "alice", "--thread", first["thread_id"], "again")).objects
        watch = arguments("watch", url, "--token", "alice", "--from", "head")
        watching = await trio.lowlevel.open_process(watch, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert watching.stderr is not None
        output = ""
        async for chunk in watching.stderr:
            output += chunk.decode()
            if second["run_id"] in output:
                watching.kill()
        await watching.wait()
    where = f"in thread {first['thread_id']}; actors cancel stops it"
    assert f"run {first['run_id']} is active {where}" in output
    assert f"run {second['run_id']} waits for its turn {where}" in output


@pytest.mark.slow
async def test_a_terminal_obeys_nobody() -> None:
    """Names of threads and types move no cursor and forge no line, neither of the server's log nor here."""
    event = {"type": "t\x1b[31m", "thread_id": "x\nERROR: forged \x1b[2J", "user_id": "alice", "payload": {}}
    async with running("serve", "--stdin") as command:
        await command.feed(msgspec.json.encode(event))
        watched = await run("watch", command.url, "--token", "alice", "--count", "1")
        served = await command.finish()
    assert "x\\nERROR: forged \\x1b[2J  seq 1  offset 1  t\\x1b[31m" in watched.out
    assert "\x1b" not in watched.out + served.err
    assert not any(line.startswith("ERROR: forged") for line in served.err.splitlines())


@pytest.mark.slow
async def test_send_and_cancel() -> None:
    """A message is placed, and where is printed; a run that does not exist is refused, in one line."""
    async with running("demo") as command:
        # the demo says how to talk to it on its first line
        url = command.url or next(word for word in command._err.decode().split() if word.startswith("ws://"))
        sent = await run("send", url, "--token", "alice", "Oslo?")
        (answer,) = sent.objects
        assert sent.status == 0
        assert {"thread_id", "event_id", "run_id", "epoch", "seq", "offset"} == set(answer)
        cancelled = await run("cancel", url, "--token", "alice", answer["run_id"])
        assert cancelled.status == 0
        refused = await run("cancel", url, "--token", "alice", "run_of_nobody")
        assert refused.status == 1
        assert "unknown_run (4603)" in refused.err


@pytest.mark.slow
async def test_a_wrong_token(tmp_path: Path) -> None:
    """Is refused for good: exit status 1, and the server's words."""
    tokens = tmp_path / "tokens.toml"
    tokens.write_text('secret = "alice"\n')
    async with running("serve", "--tokens", str(tokens)) as command:
        watched = await run("watch", command.url, "--token", "guess")
    assert watched.status == 1
    assert "4501" in watched.err
    assert "Traceback" not in watched.err


@pytest.mark.slow
async def test_nobody_answers() -> None:
    """A server that is not there: 3, and why."""
    sent = await run("send", "ws://127.0.0.1:9/ws", "--token", "alice", "--timeout", "1", "hello")
    assert sent.status == 3
    assert "expected a server at 127.0.0.1:9" in sent.err


async def test_what_cannot_be_meant() -> None:
    """Another kind of URL: 2, in one line."""
    watched = await run("watch", "ftp://127.0.0.1/")
    assert watched.status == 2
    assert watched.summary.startswith("actors: expected a URL like wss://host/ws")


@pytest.mark.slow
async def test_ctrl_c_ends_it_quietly() -> None:
    """Status 0, and nothing more on standard error."""
    async with running("serve") as command:
        with trio.fail_after(PATIENCE_SECONDS):
            process = await trio.lowlevel.open_process(
                arguments("watch", command.url, "--token", "alice"), stderr=subprocess.PIPE
            )
            assert process.stderr is not None
            output = b""
            while b"caught up" not in output:
                output += await process.stderr.receive_some()
            process.send_signal(signal.SIGINT)
            async for chunk in process.stderr:
                output += chunk
            assert await process.wait() == 0
    assert output.splitlines() == [b"connected", b"caught up at offset 0"]


@pytest.mark.parametrize(
    "words",
    [
        ("send", "--token", "\udcff", "hello"),
        ("send", "--token", "", "hello"),
        ("send", "\udcff"),
        ("send", '{"text":"\\ud83d"}'),
        ("send", '{"text":"hello"'),
        ("send", '{ "number": NaN}'),
        ("send", "--thread", "", "hello"),
        ("send", "--type", "x" * 257, "hello"),
        ("send", "--timeout", "0", "hello"),
        ("send", "--timeout", "inf", "hello"),
        ("cancel", ""),
        ("cancel", "\udcff"),
        ("watch", "--count", "0"),
        ("watch", "--count", "-1"),
        ("watch", "--from", "nowhere"),
    ],
)
async def test_what_cannot_be_sent_is_refused_here(words: tuple[str, ...]) -> None:
    """Arguments that no server would take: the usage, what was expected, and status 2; no credential is shown."""
    finished = await run(words[0], "ws://127.0.0.1:9/ws", *words[1:])
    assert finished.status == 2
    assert finished.err.startswith(f"usage: actors {words[0]}")
    assert "expected" in finished.summary or "choose from" in finished.summary
    assert "\\udcff" not in finished.err


def test_text_or_json() -> None:
    """A JSON object is the payload, anything else is text."""
    assert payload_of('{"city":"Oslo"}') == {"city": "Oslo"}
    assert payload_of("hello") == {"text": "hello"}
    assert payload_of("{hello}") == {"text": "{hello}"}
    assert payload_of("[1]") == {"text": "[1]"}
    assert msgspec.json.encode(payload_of("42")) == b'{"text":"42"}'


@pytest.mark.parametrize("timestamp", [1.7e12, 1e300, -1e15])
def test_a_time_that_no_calendar_has(timestamp: float) -> None:
    """An event of a server that counts milliseconds, or worse, is shown with the number."""
    event = Event(type="x", payload={}, thread_id="t", timestamp=timestamp, seq=1, offset=1)
    assert _line(event).startswith(f"{timestamp:g}  t  seq 1")


def test_a_payload_cannot_drive_the_terminal() -> None:
    """Characters that a terminal obeys, or that turn a line around, are shown escaped, and all others as they are."""
    event = Event(type="x\x9b", payload={"a": "é \x9b31m\x7f\u202e\u2028"}, thread_id="\x1b[31m", seq=1, offset=1)
    assert _line(event).isprintable()
    assert "é" in _line(event)


def test_a_refusal_cannot_drive_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    """What is written to standard error is escaped, whoever it quotes."""
    complain("actors: x\x1b[31m (4601)\nno\x1b]0;pwn\x07\x9b")
    assert capfd.readouterr().err == "actors: x\\x1b[31m (4601)\nno\\x1b]0;pwn\\x07\\x9b\n"
