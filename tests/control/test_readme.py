"""The page of the folder: its example runs as printed, and its tables are those of the code."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import get_args

from actors.control import causes, requests, why
from actors.control.client import Client
from actors.tools import control
from tests.support.pages import ROOT, examples

PAGE = "actors/control/README.md"
TEXT = (ROOT / PAGE).read_text()


def test_the_example_runs_as_printed(tmp_path: Path) -> None:
    """It prints the command that finds it, and its socket answers."""
    (example,) = examples(PAGE)
    words = [sys.executable, "-u", "-c", example.replace("8765", "0")]
    environment = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        path = process.stdout.readline().decode().split()[-1]
        assert path == str(tmp_path / "trio-actors" / f"{process.pid}.sock")
        with Client(Path(path)) as client:
            assert client.ask_json(requests.Status())["pid"] == process.pid
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert not Path(path).exists()


def test_every_command_is_in_the_table() -> None:
    """What is there is said, and nothing else."""
    named = set(re.findall(r"`actors ([a-z-]+)", TEXT.partition("## The causes")[0]))
    assert named - {"serve", "demo"} == set(control._ACTS)


def test_every_cause_is_in_the_table() -> None:
    """Each word that the code has for a cause has a row, and no other has."""
    code = "".join(Path(module.__file__ or "").read_text() for module in (causes, why))
    words = set(re.findall(r'(?:return |append\(\(|cause, told\.text = )\(?"([a-z_ ]+)", ', code))
    words |= set(re.findall(r'cause="([a-z]+)"', code))
    table = TEXT.partition("## The causes")[2].partition("## The socket")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    assert words == {word for row in rows for word in re.findall(r"`([a-z_ ]+)`", row)}


def test_every_request_is_in_the_table() -> None:
    """By its ``op``, as the code reads it."""
    table = TEXT.partition("## The socket")[2].partition("## In a program")[0]
    for kind in (*get_args(requests.Query), requests.Trace):
        tag = kind.__struct_config__.tag
        assert f'"op":"{tag}"' in table or f"`{tag}`" in table, tag
