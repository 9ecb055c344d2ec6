"""What the package says of itself, to installers and to indexes."""

from __future__ import annotations

import re
import tomllib

from trove_classifiers import classifiers as known

from tests.system.distribution.conftest import ROOT, Built

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
_PYTHON = re.compile(r"Programming Language :: Python :: 3\.(\d+)")


def test_who_what_and_under_which_terms(built: Built) -> None:
    """An author, a licence and its text, a summary, keywords: what somebody asks before they depend on it."""
    metadata = built.metadata()
    assert metadata["Author"] == "trio-actors contributors"
    assert (metadata["License-Expression"], metadata.get_all("License-File")) == ("MIT", ["LICENSE"])
    assert len(metadata["Summary"]) < 200
    assert metadata["Keywords"]


def test_classifiers_are_known_and_in_order(built: Built) -> None:
    """Indexes refuse a classifier that they do not know."""
    found = built.metadata().get_all("Classifier") or []
    assert set(found) <= known
    assert len(set(found)) == len(found)
    assert {"Framework :: Trio", "Framework :: AsyncIO", "Typing :: Typed"} <= set(found)


def test_the_oldest_python_is_one_fact(built: Built) -> None:
    """pip, ruff and the classifiers begin with the same Python, and no release of it is left out after that."""
    metadata = built.metadata()
    found = [int(match[1]) for one in metadata.get_all("Classifier") or [] if (match := _PYTHON.fullmatch(one))]
    assert metadata["Requires-Python"] == f">=3.{found[0]}"
    assert PYPROJECT["tool"]["ruff"]["target-version"] == f"py3{found[0]}"
    assert found == list(range(found[0], found[-1] + 1))


def test_an_extra_names_what_the_tests_have(built: Built) -> None:
    """What an extra installs for a user, the tests run with, in the same bounds; but for the agent frameworks."""
    extras = PYPROJECT["project"]["optional-dependencies"]
    users = set(extras) - {"test", "lint", "bench", "docs", "frameworks"}
    assert users <= set(built.metadata().get_all("Provides-Extra") or [])
    assert [one for name in sorted(users) for one in extras[name] if one not in extras["test"]] == []
