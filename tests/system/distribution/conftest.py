"""The sdist and the wheel of this tree, built once for the tests that look into them."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from importlib.metadata import PackageMetadata, PathDistribution
from pathlib import Path
from zipfile import Path as ZipPath
from zipfile import ZipFile

import attrs
import pathspec
import pytest

ROOT = Path(__file__).parents[3]

_PATIENCE_SECONDS = 120.0


@attrs.frozen
class Built:
    """What a release is made of."""

    sdist: Path
    wheel: Path

    def metadata(self) -> PackageMetadata:
        """Read the wheel's metadata, as an installer does."""
        with ZipFile(self.wheel) as archive:
            (folder,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
            return PathDistribution(ZipPath(archive, f"{folder}/")).metadata

    def in_the_sdist(self) -> set[str]:
        """The files of the sdist, by their paths from its root."""
        with tarfile.open(self.sdist) as archive:
            return {member.name.partition("/")[2] for member in archive if member.isfile()}


def build(kind: str, source: Path, into: Path) -> Path:
    """Build an sdist or a wheel as an installer does, without the network: what builds is installed with the tests."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(into)]
    environment = {name: value for name, value in os.environ.items() if name != "ACTORS_COMPILED"}
    subprocess.run(command, check=True, cwd=source, env=environment, capture_output=True, timeout=_PATIENCE_SECONDS)
    (built,) = into.iterdir()
    return built


def files_of(folder: Path) -> set[str]:
    """The files below a folder that Git would take, by their paths from the root."""
    ignored = pathspec.GitIgnoreSpec.from_lines((ROOT / ".gitignore").read_text().splitlines())
    found = {path.relative_to(ROOT).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {name for name in found if not ignored.match_file(name)}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """An sdist and a wheel of this tree."""
    into = tmp_path_factory.mktemp("built")
    return Built(build("sdist", ROOT, into / "sdist"), build("wheel", ROOT, into / "wheel"))
