"""The proxies of the deployment's page, each before a real server."""

from __future__ import annotations

import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

import actors
from tests.support.raw import ACTORS, Peer, upgrade_request
from tests.support.served import served
from tests.system.asgi.servers import free_port
from tests.system.site.chat import chat
from tests.system.site.page import printed
from tests.system.site.proxies import HOST, Proxy, proxied
from tests.tools.command import PATIENCE_SECONDS

NAMES = ("nginx", "caddy")
PATH = "/live/ws"
PAGE = f"https://{HOST}"


@pytest.fixture(params=NAMES)
async def proxy(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Proxy]:
    """Each proxy before a server that pings after 0.3 s of silence, nginx with a time-out of three seconds."""
    seen.clear()
    limits = actors.Limits(ping_seconds=0.3)
    async with (
        served(authenticate=who, limits=limits) as server,
        proxied(request.param, tmp_path, int(server.address[1])) as running,
    ):
        yield running


seen: list[actors.Credentials] = []
"""What the application was asked about."""


async def who(credentials: actors.Credentials) -> str | None:
    seen.append(credentials)
    return credentials.token


async def come(peer: Peer, *, host: str = HOST, origin: str | None = PAGE, **options: str) -> None:
    """Open a WebSocket through the proxy, and say hello."""
    extra = [(name.replace("_", "-"), value) for name, value in options.items()]
    answer = await peer.ask(upgrade_request(ACTORS, path=PATH, host=host, origin=origin, extra=extra))
    assert answer.status == 101, answer
    assert answer.headers["sec-websocket-protocol"] == ACTORS
    await peer.hello("alice")
    await peer.next_op("caught_up")


async def test_a_page_of_the_same_host_connects_below_the_prefix(proxy: Proxy) -> None:
    """The upgrade and the page's host reach the server, and nothing that is beside the prefix does."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with proxy.connected() as peer:
            await come(peer)
            assert await peer.leave() == (1000, "")
        assert (await proxy.get("/live/healthz")).endswith("ok\n")
        assert not (await proxy.get("/healthz")).endswith("ok\n")


async def test_a_page_of_another_host_does_not(proxy: Proxy) -> None:
    """The origin is compared with the host that the browser asked for, and not with the proxy's own."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with proxy.connected() as peer:
            await peer.send(upgrade_request(ACTORS, path=PATH, host=HOST, origin="https://evil.example"))
            assert b" 403 " in bytes(await peer.stream.receive_some(1000))


@pytest.mark.parametrize("proxy", ["nginx"], indirect=True)
async def test_silence_is_broken_by_pings(proxy: Proxy) -> None:
    """A connection on which nothing happens outlives the time-out of nginx, because the server pings it."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with proxy.connected() as peer:
            await come(peer)
            for _ in range(4):  # a second apart, because silence is looked at once a second
                await peer.next_op("ping")
                await peer.say({"op": "pong"})
            await peer.echo()


def test_the_time_out_is_longer_than_a_dead_device_is_looked_for() -> None:
    """With the default limits there is a ping, or the end, before nginx gives a connection up."""
    (block,) = printed("deploy.md", "nginx")
    times = re.findall(r"proxy_(?:read|send)_timeout (\d+)s;", block)
    limits = actors.Limits()
    assert len(times) == 2
    assert min(map(int, times)) > limits.ping_seconds + limits.pong_seconds


async def test_the_application_finds_the_address_of_the_device(proxy: Proxy) -> None:
    """It is in the header, as the proxy saw it: what the device itself said of that is not."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with proxy.connected() as peer:
            await come(peer, X_Forwarded_For="192.0.2.1")
    assert [credentials.headers["x-forwarded-for"] for credentials in seen] == ["127.0.0.1"]


@pytest.mark.parametrize("name", NAMES)
async def test_sigterm_drains_behind_it(name: str, tmp_path: Path) -> None:
    """A device hears that the server goes away, is closed with 1012, and goes on at the next one."""
    port = free_port()
    with trio.fail_after(PATIENCE_SECONDS):
        async with proxied(name, tmp_path, port) as proxy:
            async with chat(tmp_path, port) as process, proxy.connected() as peer:
                await peer.open(ACTORS, path=PATH, host=HOST, origin=PAGE)
                welcome = await peer.hello("token-of-alice")
                process.send_signal(signal.SIGTERM)
                await peer.next_op("going_away")
                ended = await peer.farewell()
                assert ended is not None
                assert ended[0] == 1012
                assert await process.wait() == 0
            async with chat(tmp_path, port), proxy.connected() as peer:
                await peer.open(ACTORS, path=PATH, host=HOST, origin=PAGE)
                cursor = {"epoch": welcome["epoch"], "offset": welcome["head"]}
                assert (await peer.hello("token-of-alice", resume=cursor))["resume"] == "replayed"
