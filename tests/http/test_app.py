"""The application: who may call, what is refused, and what one request can do to others."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import trio
from fastapi import FastAPI

import actors
from actors.errors import EmitterError
from actors.http import Keys, open_api
from actors.http.calls import Bounds
from actors.threads.emitter import Emitter
from tests.http.serving import KEYS, OPERATOR, PRODUCER, door, head, until

EVENT = {"type": "x", "user_id": "alice"}
PATH = "/v1/threads/t1/events"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", f"Basic {PRODUCER}", PRODUCER, "Bearer \u00e9"])
async def test_without_a_key(header: str | None) -> None:
    """Nothing is told but that a key is needed, of any path that has something."""
    headers = {} if header is None else {b"authorization": header.encode("latin-1")}
    async with door(keys=KEYS) as api:
        for method, path in (("POST", PATH), ("GET", PATH), ("POST", "/v1/events"), ("GET", "/v1/audit")):
            came = await api.client.request(method, path, headers=headers)
            assert (came.status_code, came.json()["error"]["name"]) == (401, "unauthenticated")
            assert came.headers["www-authenticate"] == "Bearer"


async def test_a_refused_program_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """That a program was refused is said once in a minute for each address and key, by the key's name, and no key is
    written."""
    async with door(keys=KEYS) as api:
        for key in ("wrong-secret-key", PRODUCER, PRODUCER):
            headers = {"authorization": f"Bearer {key}"}
            assert (await api.client.get("/v1/audit", headers=headers)).status_code in {401, 403}
        said = [one.getMessage() for one in caplog.records if vars(one).get("notice") == "key_refused"]
    assert ["its key: none that is known" in text for text in said[:2]] == [True, False]
    assert "expected a key with admin = true" in said[1]
    assert "wrong-secret-key" not in caplog.text
    assert PRODUCER not in caplog.text


async def test_no_key_at_all() -> None:
    """Keys that are none let no program in."""
    async with door(keys=Keys({}), key=PRODUCER) as api:
        assert await api.refusal("POST", PATH, EVENT) == (401, "unauthenticated")


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        (["Host: localhost:1"], True),
        (["Host: 127.0.0.9"], True),
        (["Host: [::1]:80"], True),
        (["Host: rebound.example"], False),
        (["Host: 127.0.0.1.example"], False),
        (["Host: "], False),
        (["Host: 127.0.0.1", "Origin: https://evil.example"], False),
        (["Host: 127.0.0.1", "Origin: null"], False),
        (["Host: 127.0.0.1:80", "Origin: http://127.0.0.1:80"], True),
        (["Host: 127.0.0.1:80", "Origin: http://127.0.0.1:81"], False),
        (["Host: rebound.example", "Origin: http://rebound.example"], False),
    ],
)
async def test_a_page_in_a_browser_is_no_program(headers: list[str], allowed: bool) -> None:
    """Where keys are not checked, what a page of another site makes a browser send is refused."""
    async with door() as api, await api.stream() as stream:
        lines = ["GET /v1/audit HTTP/1.1", *headers, "Connection: close", "", ""]
        await stream.send_all("\r\n".join(lines).encode())
        first = (await stream.receive_some()).split(b" ", 2)[1]
        assert first == (b"200" if allowed else b"403")


@pytest.mark.parametrize("host", ["[::1", "[x]", "]", ""])
async def test_a_host_that_is_none(host: str) -> None:
    """It is refused as that of a page, and is no failure of the server's."""
    async with door() as api:
        assert await api.refusal("GET", "/v1/audit", headers={"host": host}) == (403, "forbidden")
        assert api.runtime.failures.total == 0


async def test_with_keys_a_page_needs_one() -> None:
    """Where they are checked, a name and an origin are nothing that has to be checked as well."""
    async with door(keys=KEYS, key=OPERATOR) as api:
        headers = {"host": "api.internal", "origin": "https://ops.internal"}
        assert (await api.ask("GET", "/v1/audit", headers=headers))[0] == 200


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"]
)
async def test_a_body_of_another_type(kind: str | None) -> None:
    """A form or a plain text, which any page can send, is refused."""
    headers = {} if kind is None else {"content-type": kind}
    async with door() as api:
        came = await api.client.post(PATH, content=b'{"type":"x"}', headers=headers)
        assert (came.status_code, came.json()["error"]["name"]) == (415, "bad_request")
        packed = {"content-type": "application/json", "content-encoding": "gzip"}
        assert (await api.client.post(PATH, content=b"x", headers=packed)).status_code == 415
        fine = {"content-type": 'Application/JSON; charset="UTF-8"'}
        assert (await api.client.post(PATH, content=b'{"type":"x"}', headers=fine)).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b'{"type":"\xff"}',
        b'{"type":"\\ud83d"}',
        b"[" * 100_000,
        b"null",
        b'{"type":"x"} x',
        b"\x00",
    ],
    ids=lambda body: repr(body[:20]),
)
async def test_a_body_that_is_none(body: bytes) -> None:
    """It is refused with what was expected, and nothing fails."""
    async with door() as api:
        status, told = await api.ask("POST", PATH, content=body, headers={"content-type": "application/json"})
        assert (status, told["error"]["name"]) == (400, "bad_request")
        assert list(api.runtime.failures) == []


async def test_paths_and_methods_that_are_none() -> None:
    """404 and 405, with what there is."""
    async with door() as api:
        for path in ("/", "/v1", "/v1/threads/t1", "/v2/threads/t1/events", "/v1/threads//events"):
            assert await api.refusal("GET", path) == (404, "unknown_op")
        came = await api.client.request("PATCH", PATH)
        assert (came.status_code, came.headers["allow"]) == (405, "GET, HEAD, POST")
        assert (await api.client.head("/healthz")).status_code == 200
        assert (await api.client.options(PATH)).status_code == 405


async def test_a_body_that_is_too_big() -> None:
    """It is refused as soon as that is known, announced or not; the client sees the answer."""
    async with door(bounds=Bounds(body_bytes=1_000)) as api:
        big = b'{"type":"x","payload":{"a":"%b"}}' % (b"x" * 2_000_000)

        async def pieces() -> Any:
            for at in range(0, len(big), 65_536):
                yield big[at : at + 65_536]

        for content in (big, pieces()):
            came = await api.client.post(PATH, content=content, headers={"content-type": "application/json"})
            assert (came.status_code, came.json()["error"]["name"]) == (413, "too_big")
        assert (await api.ask("POST", PATH, EVENT))[0] == 200


async def test_a_body_that_never_ends() -> None:
    """It is given up in time, answered, and costs nobody else anything."""
    bounds = Bounds(body_seconds=0.1, discarded_seconds=0.1)
    async with door(bounds=bounds) as api, await api.stream() as stream:
        await stream.send_all(head("POST", PATH, "Content-Type: application/json", "Content-Length: 100") + b'{"ty')
        assert (await api.ask("POST", PATH, EVENT))[0] == 200
        came = b""
        async for part in stream:
            came += part
        assert came.startswith(b"HTTP/1.1 408 ")
        assert b'"name":"too_slow"' in came


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        head("POST", PATH, "Content-Type: application/json", "Transfer-Encoding: chunked") + b"zz\r\n{}\r\n",
        head("POST", PATH, "Content-Type: application/json", "Content-Length: -1"),
        head("POST", PATH, "X: " + "y" * 100_000),
        b"\x00" * 1_000,
    ],
    ids=["tls", "two lengths", "no chunk", "negative", "long head", "zeros"],
)
async def test_garbage(garbage: bytes) -> None:
    """It is refused or cut off, and the next request is served."""
    async with door() as api:
        async with await api.stream() as stream:
            await stream.send_all(garbage)
            with trio.move_on_after(0.3):
                await stream.receive_some()
        assert (await api.ask("POST", PATH, EVENT))[0] == 200
        await until(lambda: "0 requests" in repr(api.api))
        assert list(api.runtime.failures) == []


async def test_requests_beyond_the_bound() -> None:
    """They are told to come again later, and those in progress are not harmed."""
    async with door(bounds=Bounds(requests=1)) as api, await api.stream() as stream:
        await stream.send_all(head("POST", PATH, "Content-Type: application/json", "Content-Length: 12"))
        await until(lambda: "1 requests" in repr(api.api))
        refused = await api.client.get("/v1/audit")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
        assert refused.json()["error"]["name"] == "too_many_requests"
        await stream.send_all(b'{"type":"x"}')
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")


async def test_an_operation_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug is a failure of the runtime's record, 500 to its client, and nothing to others."""

    def fails(*arguments: Any) -> None:
        raise ZeroDivisionError("a bug")

    async with door() as api:
        monkeypatch.setattr(Emitter, "compose", fails)
        assert await api.refusal("POST", PATH, EVENT) == (500, "failed")
        monkeypatch.undo()
        assert [failure.error for failure in api.runtime.failures] == ["ZeroDivisionError: a bug"]
        assert (await api.ask("POST", PATH, EVENT))[0] == 200


async def test_an_error_that_has_no_row_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told as a failure, with its text."""

    def fails(*arguments: Any) -> None:
        raise EmitterError("expected a, got b")

    async with door() as api:
        monkeypatch.setattr(Emitter, "compose", fails)
        status, told = await api.ask("POST", PATH, EVENT)
        assert (status, told["error"]["message"]) == (500, "expected a, got b")
        monkeypatch.undo()


async def test_no_websocket_is_there() -> None:
    """An upgrade is refused."""
    async with door() as api, await api.stream() as stream:
        await stream.send_all(
            head("GET", "/v1/events", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
        )  # fmt: skip
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 403")


async def test_mounted_in_fastapi() -> None:
    """It is an ASGI application: at a path of a host's own, ids are the same as at the root."""
    app = FastAPI()
    async with actors.open_runtime() as runtime, open_api(runtime, keys=KEYS) as api:
        app.mount("/li ve", api)
        transport = httpx.ASGITransport(app)
        headers = {"authorization": f"Bearer {PRODUCER}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://host.example", headers=headers) as client:
            came = await client.post("/li%20ve/v1/threads/a%2Fb/events", json=EVENT)
            assert (came.status_code, runtime.owner("a/b")) == (200, "alice")
            assert (await client.get("/v1/threads/a%2Fb/events")).status_code == 404


async def test_mounted_without_keys() -> None:
    """Nothing is answered but that keys are needed, whatever the request says of where it comes from."""
    async with actors.open_runtime() as runtime, open_api(runtime) as api:
        transport = httpx.ASGITransport(api, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            for path in ("/v1/audit", PATH, "/healthz"):
                assert (await client.get(path)).status_code == 403


async def test_the_body_of_the_block_raises_bare() -> None:
    """An exception of the host's is no group."""
    async with actors.open_runtime() as runtime:
        with pytest.raises(ValueError, match="the host"):
            async with open_api(runtime):
                raise ValueError("the host's own")


async def test_a_host_that_asks_how_it_lives() -> None:
    """As the outermost application it answers a server's lifespan."""
    messages = iter(["lifespan.startup", "lifespan.shutdown"])
    sent: list[str] = []

    async def receive() -> dict[str, Any]:
        return {"type": next(messages)}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    async with actors.open_runtime() as runtime, open_api(runtime) as api:
        await api({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
