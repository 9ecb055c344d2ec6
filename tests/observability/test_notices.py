"""Notices: what happens to a runtime is said once, in a sentence that says to whom it happened, and what to do."""

from __future__ import annotations

import logging
from collections import Counter

import pytest
import trio
from trio.testing import MockClock

import actors
from actors.delivery.dead_letters import DeadLetter
from actors.observability.notices import Notices
from actors.stages import Cause
from tests.support.raw import upgrade_request
from tests.support.served import ask, context_of, served


@pytest.fixture(autouse=True)
def everything(caplog: pytest.LogCaptureFixture) -> None:
    """Take what is said at INFO, too."""
    caplog.set_level(logging.INFO, "actors")


def said(caplog: pytest.LogCaptureFixture, notice: str) -> list[logging.LogRecord]:
    """The records of one row."""
    return [record for record in caplog.records if vars(record).get("notice") == notice]


async def test_refused_origins(caplog: pytest.LogCaptureFixture) -> None:
    """A page of a site that is not allowed is named, with what to do; the next attempt in the minute is no line."""
    async with served(origins=["https://chat.example"]) as server:
        for _ in range(2):
            request = upgrade_request(origin="https://other.example")
            assert (await ask(server, request))[0] == 403
    (record,) = said(caplog, "origin_refused")
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "a page of https://other.example was refused (403). If it is yours, allow it:"
        " open_runtime(origins=['https://other.example']), or actors serve --origin https://other.example"
    )


def test_a_flood_of_origins(caplog: pytest.LogCaptureFixture) -> None:
    """10,000 handshakes of as many origins are as many lines as the limit says, and one with the number of the rest."""
    now = 0.0
    context = context_of(lambda: now)
    notices = Notices(context)
    for number in range(10_000):
        notices.handshake_refused(403, "origin", f"https://{number}.example\x1b[2J")
    now = 61.0
    context.lines.look()
    *first, last = caplog.records
    assert len(first) == context.limits.warnings
    assert all(record.getMessage().isprintable() for record in first)
    assert vars(last)["count"] == 10_000 - context.limits.warnings


@pytest.mark.parametrize(
    ("reason", "notice"),
    [
        ("too_many", "connections_full"),
        ("too_many_devices", "connections_full"),
        ("bad_request", "request_refused"),
        ("draining", "request_refused"),
        ("unauthenticated", None),
        ("unavailable", None),
    ],
)
def test_other_refused_requests(reason: str, notice: str | None, caplog: pytest.LogCaptureFixture) -> None:
    """A request that found no room is a warning, one that needs no act is not; credentials are told of elsewhere."""
    Notices(context_of(lambda: 0.0)).handshake_refused(503, reason, None)
    assert [vars(record)["notice"] for record in caplog.records] == ([] if notice is None else [notice])


async def test_refused_credentials(caplog: pytest.LogCaptureFixture) -> None:
    """A refused token is never written; whose it was is, where the application says so, and explain tells it."""

    async def authenticate(credentials: actors.Credentials) -> str | None:
        if credentials.token.startswith("old"):
            raise actors.Refused(f"{credentials.token} expired at noon", user_id="alice")
        return None if credentials.token.startswith("bad") else "alice"

    async with served(authenticate=authenticate, limits=actors.Limits(close_seconds=0.05)) as server:
        (receipt,) = await server.emit(1)
        for token in ("old-secret-of-alice", "bad-secret"):
            async with server.peer() as peer:
                await peer.open("actors.v1")
                await peer.say({"op": "hello", "v": 1, "token": token})
                assert (await peer.ending()) is not None
        fate = str(server.runtime.explain(receipt))
    (user,) = said(caplog, "user_refused")
    assert "a device of user alice, at 127.0.0.1:" in user.getMessage()
    assert "was refused: [credential] expired at noon (hello)" in user.getMessage()
    (unknown,) = said(caplog, "credentials_refused")
    assert "was refused: authenticate found no user for it (hello)" in unknown.getMessage()
    assert "secret" not in caplog.text + fate
    assert "; a device of alice was refused at " in fate


async def test_quarantine_and_the_way_out(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """An actor that is taken out of service is said at ERROR, with its last error and the command that puts it back;
    that it is back is said as well."""
    async with actors.open_runtime() as runtime:
        await runtime.thread("t1").emit("step", {}, user_id="alice")
        mailbox = runtime.tree.users.mailbox("alice")
        while runtime.tree.users.quarantined("alice") is None:
            with trio.move_on_after(1):
                await mailbox.send("no message")  # type: ignore[arg-type]
            await trio.sleep(0.2)
        runtime.release("users/alice")
    (record,) = said(caplog, "quarantined")
    assert record.levelno == logging.ERROR
    assert vars(record)["path"] == "users/alice"
    assert "actors release 'users/alice', or runtime.release('users/alice')" in record.getMessage()
    assert "AssertionError" in record.getMessage()
    assert [one.getMessage() for one in said(caplog, "released")] == ["users/alice is back in service"]
    failures = said(caplog, "failed")
    assert len(failures) == 1, "the others are the same one"


async def test_a_reset_says_why(caplog: pytest.LogCaptureFixture) -> None:
    """A device whose cursor is of another log is named, with the reason for its reset."""
    async with served() as server, server.peer() as peer:
        await server.emit(1)
        await peer.open("actors.v1")
        welcome = await peer.hello("alice", resume={"epoch": "of another process", "offset": 3})
        assert welcome["resume"] == "reset"
    (record,) = said(caplog, "reset")
    assert record.getMessage().startswith("users/alice/connections/c1 was told to begin anew (reset): its cursor")


@pytest.mark.parametrize(
    ("row", "notice", "level"),
    [("silent", "device_lost", logging.INFO), ("flooding", "device_ended", logging.WARNING), ("left", None, 0)],
)
def test_devices_that_end(row: str, notice: str | None, level: int, caplog: pytest.LogCaptureFixture) -> None:
    """A phone that went silent needs no act, a client that floods does, and a goodbye is no news; a user's device that
    comes again and again is one line."""
    notices = Notices(context_of(lambda: 0.0))
    for label in ("c1", "c2"):
        notices.connection_closed(label, f"users/alice/connections/{label}", row)
    assert [(vars(one)["notice"], one.levelno) for one in caplog.records] == (
        [] if notice is None else [(notice, level)]
    )


def test_drops_by_cause(caplog: pytest.LogCaptureFixture) -> None:
    """Drops are told by cause with their number since it was said last, what it means, and where the newest was;
    retention has a line of its own, and the end of a runtime none."""
    now = 0.0
    notices = Notices(context_of(lambda: now))
    dropped = Counter({Cause.UNBOUND_EXPIRED: 5, Cause.RETENTION: 7, Cause.SHUTDOWN: 9})
    letter = DeadLetter(cause=Cause.UNBOUND_EXPIRED, count=5, at=0.0, thread_id="t1", first=1, last=5)
    notices.look(dropped, [letter])
    dropped[Cause.UNBOUND_EXPIRED] += 2
    notices.look(dropped, [letter])
    assert caplog.messages == [
        "5 events were dropped (unbound_expired): its thread had no owner for as long as a hold lasts. The newest:"
        " thread t1, 1 to 5"
    ]
    now = 60.0
    notices.look(dropped, [])
    assert caplog.messages[1].startswith("2 events were dropped (unbound_expired)")
    assert caplog.messages[1].endswith("The newest: not known any more")


async def test_a_mailbox_that_is_full(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """Senders that wait for seconds for room are told of, with the actor that has none."""
    async with actors.open_runtime() as runtime:
        runtime.tree.dispatcher.waiting["threads/t1"] = 3
        await trio.sleep(7)
        runtime.tree.dispatcher.waiting.clear()
    (record, *_) = said(caplog, "mailbox_full")
    assert record.getMessage() == (
        "threads/t1 has no room for what it is told, for 5 s now, and 3 senders wait: it handles more than it can"
    )


async def test_emitters_that_are_held(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """A producer that is held back for seconds by a device that does not ack is told of, with the device."""
    async with actors.open_runtime(ahead=1, ahead_seconds=30) as runtime, runtime.follow("alice"):
        thread = runtime.thread("t1")
        await thread.emit("step", {}, user_id="alice")
        with trio.move_on_after(8):
            await thread.emit("step", {})
    (record, *_) = said(caplog, "emits_held")
    assert record.getMessage() == ("emitters wait for the devices of user alice (ahead=), for 5 s now: f1 1 behind")
