"""One release: Python's package, npm's and the changelog say the same, and so does whichever copy runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import actors
from tests.system.distribution.conftest import ROOT, Built

PACKAGE = Path(actors.__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_it_is_a_release_by_semantic_versioning() -> None:
    """Three numbers, which pip and npm both read."""
    assert re.fullmatch(r"\d+\.\d+\.\d+", actors.__version__)


def test_every_package_is_of_this_release(built: Built) -> None:
    """``actors.__version__`` is what pyproject.toml, the wheel and npm's package say."""
    web = json.loads((PACKAGE / "web" / "package.json").read_text())
    assert {PROJECT["version"], built.metadata()["Version"], web["version"]} == {actors.__version__}
    assert (web["name"], web["license"]) == (PROJECT["name"], PROJECT["license"])


def test_the_changelog_has_it() -> None:
    """The newest release of the changelog, which is installed with the package, is this one."""
    releases = re.findall(r"^## \[(\d[^\]]*)\]", (PACKAGE / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert releases[0] == actors.__version__


def test_a_folder_on_the_path_tells_of_itself(tmp_path: Path) -> None:
    """A tree that is not installed says its own release, also where another one is installed."""
    other = tmp_path / "trio_actors-9.9.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: trio-actors\nVersion: 9.9\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(PACKAGE.parent), str(tmp_path)))}
    look = "import importlib.metadata as m, actors; print(m.version('trio-actors'), actors.__version__)"
    looked = subprocess.run(
        [sys.executable, "-c", look], check=True, cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert looked.stdout.split()[-1] == actors.__version__
