"""The files of the deployment's page: what reads them takes them, and what they say of the server is so."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.system.http.command import one_for_all
from tests.system.site.page import printed, replaced
from tests.tools.command import arguments

TOKENS = 'secret-of-alice = "alice"\n'


def instructions(name: str) -> list[str]:
    """What stands behind an instruction of the container's file."""
    (block,) = printed("deploy.md", "dockerfile")
    return re.findall(rf"^{name} (.*)$", block, re.MULTILINE)


def manifest() -> dict[str, Any]:
    """The Deployment."""
    (block,) = printed("deploy.md", "yaml")
    loaded: dict[str, Any] = yaml.safe_load(block)
    return loaded


def container() -> dict[str, Any]:
    """The one container of the Deployment."""
    (one,) = manifest()["spec"]["template"]["spec"]["containers"]
    assert isinstance(one, dict)
    return one


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the API of the container's command listens, when it runs with the ports and paths of this test."""
    folder = tmp_path_factory.mktemp("deploy")
    (folder / "tokens.toml").write_text(TOKENS)
    (command,) = instructions("CMD")
    words = json.loads(command)
    assert words[:2] == ["actors", "serve"]
    changes = {"sqlite:/data/events.db": f"sqlite:{folder}/events.db", "/etc/chat/tokens.toml": f"{folder}/tokens.toml"}
    options = [changes.get(word, word) for word in words[2:]]
    for left_out in ("--http", "--keys"):  # with an address and a file of the test's own
        del options[options.index(left_out) : options.index(left_out) + 2]
    with one_for_all(folder, more=options) as (devices, found):
        assert devices.startswith("ws://0.0.0.0:")
        yield found


def status(url: str) -> int:
    """The status with which a path is answered."""
    with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - of this machine
        return int(answer.status)


# --- the container ------------------------------------------------------------------


def test_the_container_keeps_its_file_and_shows_its_ports() -> None:
    """What the command writes is below the volume, and where it listens is exposed and is what the manifest names."""
    (command,), (volume,), (ports,) = (instructions(name) for name in ("CMD", "VOLUME", "EXPOSE"))
    words = json.loads(command)
    assert f"sqlite:{volume}/" in words[words.index("--store") + 1]
    listening = {words[words.index("--http") + 1].rpartition(":")[2], "8765"}
    assert set(ports.split()) == listening
    assert {str(port["containerPort"]) for port in container()["ports"]} == listening
    assert instructions("STOPSIGNAL") == ["SIGTERM"]


def test_what_the_container_installs_can_be(tmp_path: Path) -> None:
    """Its build installs the checkout, with an extra that there is."""
    install = instructions("RUN")[0]
    assert shlex.split(install) == ["pip", "install", "--no-cache-dir", ".[http]"]
    assert instructions("COPY") == [". ."]


def test_the_container_finds_itself_healthy(url: str) -> None:
    """The check of its health succeeds beside the server, and fails where there is none."""
    (check,) = instructions("HEALTHCHECK")
    words = json.loads(check.removeprefix("CMD "))
    assert words[:2] == ["python", "-c"]
    for place, expected in ((url, 0), ("http://127.0.0.1:1", 1)):
        program = replaced(words[2], ("http://127.0.0.1:8766", place))
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=60)
        assert done.returncode == expected, done.stderr


# --- Kubernetes ---------------------------------------------------------------------


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_each_probe_asks_what_the_server_answers(probe: str, url: str) -> None:
    """Its path is answered with 200, on the port of the programs."""
    asked = container()[probe]["httpGet"]
    assert asked["port"] == "programs"
    assert status(f"{url}{asked['path']}") == 200


def test_the_grace_is_longer_than_the_drain() -> None:
    """The wait of the hook and the server's own drain end before Kubernetes kills."""
    pod = manifest()["spec"]["template"]["spec"]
    (_, waited) = container()["lifecycle"]["preStop"]["exec"]["command"]
    told = subprocess.run(arguments("serve", "--help"), capture_output=True, check=True, text=True).stdout
    drain = re.search(r"ack their events \((\d+)\)", told)
    assert drain is not None
    assert int(waited) + int(drain[1]) < pod["terminationGracePeriodSeconds"]


def test_one_process_has_the_file() -> None:
    """There is one replica, which ends before the next one begins, on a volume that is there."""
    spec = manifest()["spec"]
    pod = spec["template"]["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    mounted = {mount["name"]: mount["mountPath"] for mount in container()["volumeMounts"]}
    assert set(mounted) == {volume["name"] for volume in pod["volumes"]}
    assert mounted["data"] == instructions("VOLUME")[0]


# --- systemd ------------------------------------------------------------------------


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """``systemd-analyze verify`` has no remark on it."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("there is no systemd-analyze (Debian's package systemd)")
    (block,) = printed("deploy.md", "ini")
    unit = tmp_path / "chat.service"
    unit.write_text(replaced(block, ("/srv/chat/.venv/bin/python", sys.executable), ("/srv/chat", str(tmp_path))))
    done = subprocess.run([program, "verify", "--man=no", str(unit)], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr.decode()) == (0, "")
