"""The pages of the site: what they include and name is there, and nothing in them is without a test."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.support.pages import ROOT
from tests.system.site.page import SITE

TESTED = {"nginx", "caddy", "dockerfile", "yaml", "ini"}
"""Languages of blocks that tests take from the pages: tests/system/site/test_proxies.py and test_deploy.py."""

INCLUDED = {"{include}", "{literalinclude}", "{raw}", "{toctree}", "{eval-rst}"}
"""Blocks that show a file, or are none."""

EXAMPLES = {
    "chat.html": "tests/system/web/test_own_page.py",
    "chat.js": "tests/system/web/test_own_page.py",
    "chat.py": "tests/system/web/test_own_page.py",
    "json_web_token.py": "tests/system/site/test_authenticate.py",
    "session_cookie.py": "tests/system/site/test_authenticate.py",
    "ticket.js": "tests/system/site/test_tickets.py",
    "ticket.py": "tests/system/site/test_authenticate.py",
}
"""The test that runs each example."""


def pages() -> list[Path]:
    """The pages of the site, but for those that a build has written."""
    return sorted(page for page in SITE.glob("*.md") if not page.name.startswith("package-"))


def test_every_example_is_run_by_a_test() -> None:
    """Each file of examples is shown by a page, and named by the test that runs it."""
    shown = {name for page in pages() for name in re.findall(r"\{literalinclude\} examples/(\S+)", page.read_text())}
    assert shown == {path.name for path in (SITE / "examples").iterdir() if path.is_file()} == set(EXAMPLES)
    for test in EXAMPLES.values():
        assert (ROOT / test).exists(), test


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_no_block_is_without_a_test(page: Path) -> None:
    """A block of code on a page of the site's own is taken by a test, or is a file that one runs."""
    opened = re.findall(r"^```(\S+)", page.read_text(), re.MULTILINE)
    assert set(opened) <= TESTED | INCLUDED


def test_every_page_is_in_the_menu() -> None:
    """The menu of the front page leads to each other one."""
    menu = re.findall(r"^(?:.*<([\w-]+)>|([\w-]+))$", (SITE / "index.md").read_text(), re.MULTILINE)
    assert {page.stem for page in pages()} - {"index"} <= {named or bare for named, bare in menu}


def test_the_drawing_of_the_tree_is_the_one_that_runs() -> None:
    """It has the children that the runtime starts, and the actors that README draws."""
    drawn = re.findall(r"<text[^>]*>([^<]+)</text>", (SITE / "drawings" / "tree.html").read_text())
    started = re.findall(r'Child\(name="(\w+)"', (ROOT / "actors" / "tree.py").read_text())
    assert set(started) <= set(drawn)
    assert {"runtime", "UserActor", "ThreadActor", "Run"} <= set(drawn)


@pytest.mark.parametrize("drawing", sorted((SITE / "drawings").iterdir()), ids=lambda path: path.stem)
def test_a_drawing_has_the_colours_of_the_theme(drawing: Path) -> None:
    """It names no colour of its own, so that it can be read in the light and in the dark; and says what it shows."""
    text = drawing.read_text()
    assert re.search(r"#[0-9a-f]{3,6}\b|fill=|stroke=|style=", text) is None
    assert "<title " in text
    assert "<desc " in text


# --- the changelog --------------------------------------------------------------------


def test_the_version_has_its_entry() -> None:
    """The changelog says what is in the version that pyproject.toml names, and keeps a place for what is next."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    entries = re.findall(r"^## \[([^]]+)\]", (ROOT / "actors" / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert entries[:2] == ["Unreleased", version]
    assert len(set(entries)) == len(entries)
