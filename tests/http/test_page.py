"""The page of the folder: its examples run as printed, but for the ports, and its tables are those of the code."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import actors
from actors.http.problems import STATUSES
from actors.http.routes import table
from actors.protocol.codes import PRODUCER_REFUSALS
from tests.system.http.command import one_for_all

PAGE = (Path(actors.__file__).parent / "http" / "README.md").read_text()


def printed(language: str) -> list[str]:
    """The examples in a language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


(KEYS,) = printed("toml")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the API of a server with the keys of the page."""
    with one_for_all(tmp_path_factory.mktemp("page"), KEYS) as (_, found):
        yield found


def run(words: list[str], url: str) -> str:
    """Run an example; its output."""
    text = words[-1].replace("http://127.0.0.1:8766", url)
    done = subprocess.run([*words[:-1], text], capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("node")), reason="there is no curl, or no node")
def test_the_examples_run_as_printed(url: str) -> None:
    """The event, twice; the tokens, with a receipt for each; and the question where it is."""
    event, tokens = printed("sh")
    for _ in range(2):
        told = json.loads(run(["bash", "-c", event], url))
        assert (told["event_id"], told["seq"], told["stage"]) == ("report-7", 1, "stored")
    receipts = [json.loads(line) for line in run(["bash", "-c", tokens], url).splitlines()]
    assert [receipt["seq"] for receipt in receipts] == [2, 3, 4]
    (asked,) = printed("js")
    told_of = run(["node", "--input-type=module", "-e", asked.replace("timeout_s=5", "timeout_s=0")], url)
    assert told_of.startswith("202 stored accepted ")
    assert told_of.endswith("no device of alice is here, or was lately\n")


def test_the_embedding_runs_as_printed(tmp_path: Path) -> None:
    """It listens on both ports, and says where."""
    (example,) = printed("python")
    (tmp_path / "keys.toml").write_text(KEYS)
    text = re.sub(r", 876[56]\)", ", 0)", example)
    words = [sys.executable, "-u", "-c", text]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"devices on ws://")
        process.terminate()


def test_each_example_is_short() -> None:
    """Under 30 lines of code."""
    for language in ("sh", "js", "toml", "python"):
        assert all(len(text.splitlines()) < 30 for text in printed(language))


def test_every_request_is_on_the_page() -> None:
    """The table has the path of each operation."""
    short = {"thread_id": "t", "run_id": "r", "user_id": "u", "event_id": "id"}
    rows = table(None, None).operations  # type: ignore[arg-type]
    for row in rows:
        path = re.sub(r"{(\w+)}", lambda match: f"{{{short[match[1]]}}}", row.path)
        assert f"{path}`" in PAGE or f"/v1{path}`" in PAGE, path


def test_every_refusal_is_on_the_page() -> None:
    """The statuses, and the rows that producers alone get."""
    for name, status in STATUSES.items():
        assert re.search(rf"^\| {status}\b.*\| .*`{name}`", PAGE, re.MULTILINE), name
    for row in PRODUCER_REFUSALS.values():
        assert f"| {row.code} | `{row.name}` | {row.text} |" in PAGE
