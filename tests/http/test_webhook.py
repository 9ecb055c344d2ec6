"""Webhooks: signed, sent again until they are taken, and bounded."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import trio
from starlette.responses import Response

from actors.http.webhook import BadSecret, WebhookFailed, read_secret, signature
from tests.http.receiver import always, receiver, reply_with, webhook


def test_the_signature_of_the_specification() -> None:
    """The example of Standard Webhooks, from its page."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_a_request_is_sent_until_it_is_taken() -> None:
    """After answers that may pass it is sent again, under the same id."""
    statuses = iter([500, 429, 503, 204])

    async def reply(body: Any) -> Response:
        return Response(status_code=next(statuses))

    async with receiver(reply) as program, webhook(program.url) as hook:
        response = await hook.send("m1", b"{}")
        await response.aclose()
    assert program.ids == ["m1"] * 4
    assert repr(hook) == "<Webhook 127.0.0.1>"


@pytest.mark.parametrize("status", [400, 401, 404, 410, 302])
async def test_a_refusal_is_final(status: int) -> None:
    """What another attempt would not change is not sent again."""
    async with receiver(always(Response(status_code=status))) as program, webhook(program.url) as hook:
        with pytest.raises(WebhookFailed, match=f"got status {status}"):
            await hook.send("m1", b"{}")
    assert len(program.ids) == 1


async def test_a_program_that_is_not_there() -> None:
    """It is asked until the time is up."""
    async with receiver(always(Response())) as program:
        url = program.url
    async with webhook(url, total_seconds=0.2) as hook:
        with pytest.raises(WebhookFailed, match="all attempts to connect"):
            await hook.send("m1", b"{}")


async def test_a_program_that_hangs() -> None:
    """An attempt is given up in its time, and the connection closed; another one may be answered."""
    waits = iter([trio.sleep_forever, trio.lowlevel.checkpoint])

    async def reply(body: Any) -> Response:
        await next(waits)()
        return reply_with({})

    async with receiver(reply) as program, webhook(program.url, answer_seconds=0.1) as hook:
        response = await hook.send("m1", b"{}")
        await response.aclose()
        await program.gone.wait()
    assert program.ids == ["m1", "m1"]


async def test_cancelled_it_breaks_off() -> None:
    """The program sees that its client has gone."""

    async def reply(body: Any) -> Response:
        await trio.sleep_forever()
        raise AssertionError

    async with receiver(reply) as program, webhook(program.url) as hook:
        with trio.move_on_after(0.1):
            await hook.send("m1", b"{}")
        await program.gone.wait()


def test_secrets(tmp_path: Path) -> None:
    """A text as it is, or base64 after ``whsec_``; what is none is refused, and not shown."""
    path = tmp_path / "secret"
    path.write_text(" 0123456789abcdef\n")
    assert read_secret(path) == b"0123456789abcdef"
    path.write_text("whsec_" + base64.b64encode(b"x" * 24).decode())
    assert read_secret(path) == b"x" * 24
    for text, complaint in (
        ("short", "at least 16 bytes, got 5"),
        ("", "at least 16 bytes, got 0"),
        ("whsec_????????????????", "expected base64"),
    ):
        path.write_text(text)
        with pytest.raises(BadSecret, match=complaint) as caught:
            read_secret(path)
        assert not text or text not in str(caught.value)
    path.write_bytes(b"\xff" * 20)
    with pytest.raises(BadSecret, match="expected UTF-8"):
        read_secret(path)
    with pytest.raises(BadSecret, match="No such file"):
        read_secret(tmp_path / "missing")
