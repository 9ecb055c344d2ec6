"""A package whose extra is not installed says which one it needs, and how to get it."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import pytest

from tests.support.pages import ROOT

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.mark.parametrize(
    ("package", "extra", "missing"),
    [
        ("actors.metrics", "metrics", "prometheus_client"),
        ("actors.otel", "otel", "opentelemetry"),
        ("actors.http", "http", "starlette"),
    ],
)
def test_a_package_names_the_extra_that_it_needs(package: str, extra: str, missing: str) -> None:
    """Imported where the library is missing, it fails with the command that installs it, in its last line."""
    words = f"import sys; sys.modules[{missing!r}] = None; import {package}"
    done = subprocess.run([sys.executable, "-c", words], cwd=ROOT, capture_output=True, check=False, text=True)
    expected = f"{package} needs the extra [{extra}]: {missing}"
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"ModuleNotFoundError: {expected}"), last
    assert last.endswith(f" is not installed; in the checkout: pip install '.[{extra}]'"), last
    assert extra in EXTRAS
