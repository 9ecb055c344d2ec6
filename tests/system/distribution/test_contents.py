"""The files of a release: whatever is in the tree is in the sdist, and whatever is in the package is in the wheel."""

from __future__ import annotations

import tarfile
from pathlib import Path
from zipfile import ZipFile

from tests.system.distribution.conftest import ROOT, Built, build, files_of

FOLDERS = (".build", ".ci", ".docs", ".github", "actors", "benchmarks", "tests")
"""What somebody needs who builds, tests or studies it from the sdist; ``.docs`` as soon as it is there."""


def test_the_sdist_is_the_tree(built: Built) -> None:
    """From the sdist alone the package is built and tested, and its documents are made."""
    expected = {name for folder in FOLDERS for name in files_of(ROOT / folder)}
    expected |= {".gitignore", "LICENSE", "README.md", "pyproject.toml", "PKG-INFO"}
    assert built.in_the_sdist() == expected


def test_the_wheel_is_the_package(built: Built) -> None:
    """Every file of the package is installed: types, pages, the browser's client, licences; and nothing beside it."""
    with ZipFile(built.wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert found == files_of(ROOT / "actors")
    assert {
        "actors/CHANGELOG.md",
        "actors/py.typed",
        "actors/web/actors.js",
        "actors/web/LICENSE",
        "actors/server/threats.md",
    } <= found


def test_the_wheel_has_the_licence_and_the_command(built: Built) -> None:
    """The licence is where installers look for it, and ``actors`` is the one command."""
    with ZipFile(built.wheel) as archive:
        beside = {name.partition("/")[2]: name for name in archive.namelist() if ".dist-info/" in name}
        assert archive.read(beside["licenses/LICENSE"]) == (ROOT / "LICENSE").read_bytes()
        assert archive.read(beside["entry_points.txt"]) == b"[console_scripts]\nactors = actors.tools.cli:main\n"


def test_the_sdist_builds_the_same_wheel(built: Built, tmp_path: Path) -> None:
    """A wheel that is built from the sdist is, byte by byte, the one that is built from the tree."""
    with tarfile.open(built.sdist) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    again = build("wheel", source, tmp_path / "wheel")
    assert again.name == built.wheel.name
    assert again.read_bytes() == built.wheel.read_bytes()
