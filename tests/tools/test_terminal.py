"""The standard streams of every command: a reader that has gone is no failure, and any other fault is reported."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trio

from actors.tools.terminal import OutputWriter, StreamFailed, read, write
from tests.tools.command import PATIENCE_SECONDS, Finished, device, events, running

EVENT = b'{"type":"x","thread_id":"t","user_id":"alice"}\n'
ROOT = Path(__file__).parent.parent.parent

ACTORS, TESTING, BENCHMARKS = ("-m", "actors"), ("-m", "actors.testing"), ("-m", "benchmarks")
SAYING = {
    "help": (*ACTORS, "--help"),
    "help of a command": (*ACTORS, "serve", "--help"),
    "version": (*ACTORS, "--version"),
    "receipts": (*ACTORS, "serve", "--stdin", "--receipts", "--linger", "0", "--port", "0"),
    "proof": (*ACTORS, "demo", "--once"),
    "proof as JSON": (*ACTORS, "demo", "--once", "--json"),
    "watch": (*ACTORS, "watch", "ws://127.0.0.1:9/ws", "--token", "alice"),
    "send": (*ACTORS, "send", "ws://127.0.0.1:9/ws", "--token", "alice", "hello"),
    "cancel": (*ACTORS, "cancel", "ws://127.0.0.1:9/ws", "--token", "alice", "run_1"),
    "a seed": (*TESTING, "--seed", "1"),
    "help of the simulation": (*TESTING, "--help"),
    "help of the benchmarks": (*BENCHMARKS, "--help"),
}
"""Return the standard output of a command."""

every_output = pytest.mark.parametrize("words", SAYING.values(), ids=SAYING.keys())


@contextmanager
def opened(path: str, flags: int) -> Iterator[int]:
    fd = os.open(path, flags)
    try:
        yield fd
    finally:
        os.close(fd)


async def finished(
    words: Sequence[str], redirect: str = "", stdin: bytes = b"", environment: Mapping[str, str] | None = None
) -> Finished:
    """Run a program of this package to its end, its streams redirected as a shell does."""
    command = ["/bin/sh", "-c", f'exec "$0" "$@" {redirect}', sys.executable, *words]
    with trio.fail_after(PATIENCE_SECONDS):
        done = await trio.run_process(
            command,
            stdin=stdin,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
        )
    return Finished(done.returncode, done.stdout.decode(), done.stderr.decode())


# --- what is said -----------------------------------------------------------------


@every_output
async def test_a_full_disk_is_one_line(words: Sequence[str]) -> None:
    """Output that cannot be written is one line on standard error, and status 2."""
    await check_full(words, buffered=True)


async def test_a_full_disk_is_one_line_without_a_buffer() -> None:
    """The same with PYTHONUNBUFFERED, where argparse itself would report nothing."""
    await check_full(SAYING["help"], buffered=False)


async def check_full(words: Sequence[str], *, buffered: bool) -> None:
    done = await finished(words, "> /dev/full", EVENT, {"PYTHONUNBUFFERED": "" if buffered else "1"})
    assert done.status == 2
    (output,) = done.err.splitlines()
    assert output.endswith("standard output: No space left on device")


@pytest.mark.parametrize("name", ["receipts", "proof", "watch", "send", "cancel"])
@pytest.mark.parametrize("redirect", [">&-", "> /dev/null 1< /dev/null"])
async def test_no_output_is_said_before_anything_is_done(name: str, redirect: str) -> None:
    """Standard output that is closed, or open for reading: nothing is emitted, sent or acked unseen; status 2."""
    done = await finished(SAYING[name], redirect, EVENT)
    assert done.status == 2
    (output,) = done.err.splitlines()
    assert "standard output: " in output


@pytest.mark.parametrize("name", sorted(SAYING.keys() - {"watch", "send", "cancel"}))
async def test_a_reader_who_has_gone_is_no_failure(name: str) -> None:
    """A pipe that is not read any more is no error, and no traceback."""
    words = SAYING[name]
    receiving, sending = os.pipe()
    os.close(receiving)
    try:
        with trio.fail_after(PATIENCE_SECONDS):
            done = await trio.run_process(
                [sys.executable, *words], stdin=b"", stdout=sending, capture_stderr=True, check=False, cwd=ROOT
            )
    finally:
        os.close(sending)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert b"standard output" not in done.stderr


@pytest.mark.parametrize(
    "words", [(*ACTORS, "serve", "--port", "0"), (*ACTORS, "nonsense"), (*TESTING, "--seeds", "1")]
)
async def test_a_full_standard_error_is_a_status(words: Sequence[str]) -> None:
    """An error that cannot be reported is status 2: a server does not listen if it cannot print its address."""
    assert (await finished(words, "2> /dev/full")).status == 2


@pytest.mark.parametrize("words", [(*ACTORS, "nonsense"), SAYING["proof"]])
async def test_nothing_is_said_where_nobody_wants_to_hear(words: Sequence[str]) -> None:
    """Standard error that was closed on purpose changes nothing."""
    assert (await finished(words, "2>&-")).status == (2 if "nonsense" in words else 0)


async def test_a_socket_has_readers_who_go_as_well() -> None:
    """A socket as standard output may lose its reader as a pipe may: delivery goes on, the status is 0."""
    receiver, sender = socket.socketpair()
    async with running("serve", "--stdin", "--receipts", stdout=sender.fileno()) as command:
        sender.close()
        async with device(command.url, "alice") as websocket:
            receiver.close()
            await command.feed(EVENT.strip())
            await events(websocket, 1, ack=True)
            done = await command.finish()
    assert (done.status, done.summary) == (0, "1 event: 1 ACKED")


# --- what is read -----------------------------------------------------------------


@pytest.mark.parametrize("redirect", ["<&-", "0> /dev/null"])
async def test_an_input_that_cannot_be_read_is_one_line(redirect: str) -> None:
    """Standard input that is closed, or open for writing: one line, status 2, and nothing was served."""
    done = await finished((*ACTORS, "serve", "--stdin", "--port", "0"), redirect)
    assert done.status == 2
    (output,) = done.err.splitlines()
    assert output.startswith("actors: standard input: ")


async def test_an_input_that_breaks_is_no_end_of_it() -> None:
    """Lines read before an input broke are delivered and counted; the reason of the break is reported; status 2."""
    ours, theirs = socket.socketpair()
    ours.sendall(EVENT)
    theirs.sendall(b"unread")  # so that closing resets the other end
    words = [sys.executable, *ACTORS, "serve", "--stdin", "--linger", "0", "--port", "0"]
    with trio.fail_after(PATIENCE_SECONDS):
        process = await trio.lowlevel.open_process(words, stdin=theirs.fileno(), stderr=subprocess.PIPE, cwd=ROOT)
        theirs.close()
        output = b""
        assert process.stderr is not None
        while b"listening" not in output:
            output += await process.stderr.receive_some()
        ours.close()
        async for chunk in process.stderr:
            output += chunk
        assert await process.wait() == 2
    assert b"actors: standard input: Connection reset by peer" in output
    assert output.splitlines()[-1] == b"1 event: 1 STORED"


async def test_a_descriptor_shared_with_a_program_that_does_not_block() -> None:
    """Set to non-blocking from outside, an input is waited for, and an output too: nothing is lost."""
    receiving, sending = os.pipe()
    os.set_blocking(receiving, False)
    os.set_blocking(sending, False)
    got: list[bytes] = []
    async with trio.open_nursery() as nursery:

        async def take() -> None:
            while sum(map(len, got)) < 300_000:
                got.append(await trio.to_thread.run_sync(read, receiving, 65_536))

        nursery.start_soon(take)
        await trio.sleep(0.05)
        await trio.to_thread.run_sync(write, sending, b"x" * 300_000)
    assert b"".join(got) == b"x" * 300_000
    os.close(receiving)
    os.close(sending)


async def test_an_outlet_tells_once_what_failed() -> None:
    """A stream that fails in the middle is reported once; later text is discarded, and no task waits for it."""
    told: list[StreamFailed] = []
    with opened("/dev/full", os.O_WRONLY) as fd:
        outlet = OutputWriter(fd, "standard output", on_failed=told.append)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outlet.run)
            for _ in range(3):
                outlet.write("receipt\n")
                await outlet.drain()
            nursery.cancel_scope.cancel()
    assert [str(error) for error in told] == ["standard output: No space left on device"]


async def test_any_locale_will_do() -> None:
    """Text that is typed and shown is UTF-8 even where Python expects nothing but ASCII."""
    old = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    words = (*ACTORS, "serve", "--stdin", "--user", "é", "--receipts", "--linger", "0", "--port", "0")
    done = await finished(words, stdin='{"type":"x","thread_id":"é"}\n'.encode(), environment=old)
    assert done.objects[0]["thread_id"] == "é"
    assert done.objects[0]["stage"] == "STORED"
    assert (await finished((*ACTORS, "demo", "--once"), environment=old)).status == 0


# --- Ctrl-C ----------------------------------------------------------------------


RUNNING = {
    "proof": ((*ACTORS, "demo", "--once"), b"listening"),
    "watch": ((*ACTORS, "watch", "ws://127.0.0.1:9/ws", "--token", "alice"), b"expected a server"),
    "send": ((*ACTORS, "send", "ws://127.0.0.1:9/ws", "--token", "alice", "hello"), b"expected a server"),
    "cancel": ((*ACTORS, "cancel", "ws://127.0.0.1:9/ws", "--token", "alice", "run_1"), b"expected a server"),
    "the example": (("-u", "-m", "actors.examples.assistant"), b"http://"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNNING)
@pytest.mark.parametrize("times", [1, 2])
async def test_ctrl_c_leaves_no_traceback(name: str, times: int) -> None:
    """Any command, and the README's own program, ends on Ctrl-C without a traceback: 130, or 0 where that was due."""
    words, ready = RUNNING[name]
    with trio.fail_after(PATIENCE_SECONDS):
        process = await trio.lowlevel.open_process(
            [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT
        )
        assert process.stdout is not None
        output = b""
        while ready not in output:
            output += await process.stdout.receive_some()
        for _ in range(times):
            process.send_signal(signal.SIGINT)
            await trio.sleep(0.02)
        async for chunk in process.stdout:
            output += chunk
        status = await process.wait()
    assert b"Traceback" not in output
    # A second one may strike when Python is on its way out already: a shell says 130 of both.
    allowed = {0} if name == "watch" else {130, -signal.SIGINT} if name == "the example" and times > 1 else {130}
    assert status in allowed


@pytest.mark.slow
@pytest.mark.parametrize("words", [(*TESTING, "--seeds", "100000"), (*BENCHMARKS, "mailbox")])
async def test_ctrl_c_ends_what_only_works(words: Sequence[str]) -> None:
    """The simulation and a benchmark end on Ctrl-C with 130 and no traceback."""
    ours, its = os.openpty()  # on a terminal both show how far they are, so that it is known when they work
    with trio.fail_after(PATIENCE_SECONDS):
        process = await trio.lowlevel.open_process(
            [sys.executable, *words], stdout=subprocess.DEVNULL, stderr=its, cwd=ROOT
        )
        os.close(its)
        async with trio.lowlevel.FdStream(ours) as terminal:
            output = await terminal.receive_some()
            process.send_signal(signal.SIGINT)
            with suppress(trio.BrokenResourceError):  # Linux says so of a terminal that no program has any more
                async for chunk in terminal:
                    output += chunk
        assert await process.wait() == 130
    assert b"Traceback" not in output
