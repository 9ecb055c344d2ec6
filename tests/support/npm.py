"""Packages of npm's that tests hold ours to, in a folder outside of the tree that stays for the next time."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

import actors

PACKAGES = ("@ag-ui/client@1.0.0", "rxjs@7.8.1")
FOLDER = Path(os.environ.get("TRIO_ACTORS_NPM", Path.home() / ".cache" / "trio-actors-npm"))
_PATIENCE_SECONDS = 120.0


def agui_project(folder: Path) -> Path:
    """Install this project's package, and what it works with, as a page's build has them; skips without npm."""
    installed = _installed()
    modules = folder / "node_modules"
    modules.mkdir()
    for name in ("@ag-ui", "rxjs", "zod"):
        (modules / name).symlink_to(installed / name)
    shutil.copytree(Path(actors.__file__).parent / "web", modules / "trio-actors")
    return folder


@cache
def _installed() -> Path:
    """The folder of the packages. Installed beside its place and moved there, because other tests may do the same."""
    modules = FOLDER / "node_modules"
    if modules.is_dir():
        return modules
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm installs @ag-ui/client: no npm on the PATH")
    beside = FOLDER.with_name(f"{FOLDER.name}-{os.getpid()}")
    beside.mkdir(parents=True)
    (beside / "package.json").write_text("{}")
    install = [npm, "install", "--no-audit", "--no-fund", "--no-update-notifier", *PACKAGES]
    try:
        subprocess.run(install, check=True, cwd=beside, capture_output=True, timeout=_PATIENCE_SECONDS)
    except (subprocess.SubprocessError, OSError) as error:
        shutil.rmtree(beside)
        pytest.skip(f"npm installs @ag-ui/client: {error}")
    try:
        beside.rename(FOLDER)
    except OSError:
        shutil.rmtree(beside)
    return modules
