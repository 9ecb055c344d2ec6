"""Webhooks: a request to a program elsewhere, signed, sent again until it is taken, and bounded in every way.

The signature is that of the Standard Webhooks specification, for which there
are libraries in every language: HMAC-SHA256 over id, time and body. The id is
the same for each attempt, so that a program that took one knows the next.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import attrs
import httpx
import trio

from actors.environment import Environment

LEAST_SECRET_BYTES = 16
_PREFIX = "whsec_"
_AGAIN = frozenset({408, 425, 429})
"""Refusals after which the same request may be taken."""


class BadSecret(ValueError):
    """A file that has no secret in it; the text shows nothing of it."""


class WebhookFailed(Exception):
    """A program elsewhere did not take a request, however often it was sent."""


@attrs.frozen(kw_only=True)
class Patience:
    """The time for which one request is sent, and sent again."""

    answer_seconds: float = 30.0
    """From the request to the head of its answer."""
    total_seconds: float = 120.0
    """From the first attempt; then it is given up."""
    first_pause_seconds: float = 0.5
    most_pause_seconds: float = 20.0
    """The pause doubles with each attempt, up to this."""


class Webhook:
    """One address of a program elsewhere."""

    def __init__(
        self, url: str, *, secret: bytes, client: httpx.AsyncClient, environment: Environment, patience: Patience
    ) -> None:
        self._url = url
        self._secret = secret
        self._client = client
        self._environment = environment
        self._patience = patience

    def __repr__(self) -> str:
        return f"<Webhook {httpx.URL(self._url).host}>"

    async def send(self, id_: str, body: bytes, *, traceparent: str | None = None) -> httpx.Response:
        """Send a request until it is taken; returns the answer, unread, which the caller closes. A checkpoint.

        Raises :class:`WebhookFailed`: at once for a refusal that another
        attempt would not change, else when the time is up. Cancelled, the
        request is broken off. ``traceparent`` is the trace that it belongs to.
        """
        reason = "no time for an attempt"
        pause = self._patience.first_pause_seconds
        with trio.move_on_after(self._patience.total_seconds):
            while True:
                response: httpx.Response | None = None
                try:
                    with trio.fail_after(self._patience.answer_seconds):
                        response = await self._client.send(self._request(id_, body, traceparent), stream=True)
                except (httpx.TransportError, trio.TooSlowError) as error:
                    reason = str(error) or type(error).__name__
                else:
                    if response.is_success:
                        return response
                    reason = f"status {response.status_code}"
                    await response.aclose()
                    if response.status_code < 500 and response.status_code not in _AGAIN:
                        break
                await trio.sleep(pause * (0.5 + self._environment.random.random()))
                pause = min(pause * 2, self._patience.most_pause_seconds)
        raise WebhookFailed(f"expected {self._url} to take the request, got {reason}")

    def _request(self, id_: str, body: bytes, traceparent: str | None) -> httpx.Request:
        seconds = int(self._environment.wall_clock())
        headers = {
            "content-type": "application/json",
            "accept-encoding": "identity",
            "user-agent": "trio-actors",
            **signature(self._secret, id_, seconds, body),
        }
        if traceparent is not None:
            headers["traceparent"] = traceparent
        return self._client.build_request("POST", self._url, content=body, headers=headers)


def signature(secret: bytes, id_: str, seconds: int, body: bytes) -> Mapping[str, str]:
    """Return the headers that sign a request of this time, in seconds since 1970."""
    digest = hmac.new(secret, f"{id_}.{seconds}.".encode() + body, sha256).digest()
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(seconds),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def read_secret(path: Path) -> bytes:
    """Read the secret of a file: ``whsec_`` and base64, or else its text as it is, without white space around it.

    Raises :class:`BadSecret`, which shows nothing of it.
    """
    try:
        text = path.read_text("utf-8-sig").strip()
    except OSError as error:
        raise BadSecret(f"{path}: expected a file with a secret, {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise BadSecret(f"{path}: expected UTF-8, got other bytes") from None
    secret = text.encode()
    if text.startswith(_PREFIX):
        try:
            secret = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            raise BadSecret(f"{path}: expected base64 after {_PREFIX}, got something else") from None
    if len(secret) < LEAST_SECRET_BYTES:
        raise BadSecret(f"{path}: expected a secret of at least {LEAST_SECRET_BYTES} bytes, got {len(secret)}")
    return secret
