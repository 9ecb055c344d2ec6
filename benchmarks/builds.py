"""The builds of the package that take turns: this one, a compiled one, and that of an earlier commit."""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from benchmarks.children import ROOT
from benchmarks.peers.roster import OURS_COMPILED, PEERS


@contextmanager
def builds(commit: str | None) -> Iterator[dict[str, Path | None]]:
    """Have the folders of all builds by their names: of ours ``None``, because this process has it already."""
    found: dict[str, Path | None] = {"ours": None}
    compiled = PEERS[OURS_COMPILED]
    if compiled.unavailable() is None:
        found["compiled"] = compiled.package
    with _package_of(commit) if commit else nullcontext() as earlier:
        if commit and earlier is not None:
            found[commit] = earlier
        yield found


@contextmanager
def _package_of(commit: str) -> Iterator[Path]:
    """Have a folder with the package of an earlier commit."""
    command = ["git", "-C", str(ROOT), "archive", commit, "actors"]
    archived = subprocess.run(command, check=False, capture_output=True)  # noqa: S603 - git, and a commit
    if archived.returncode:
        raise SystemExit(f"expected a commit, got {commit!r}: {archived.stderr.decode().strip()}")
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as name,
        tarfile.open(fileobj=io.BytesIO(archived.stdout)) as files,
    ):
        files.extractall(name, filter="data")
        yield Path(name)
