"""README as an index of packages shows it, where none of the files beside it is."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from readme_renderer import markdown

from tests.system.distribution.conftest import ROOT, Built

README = (ROOT / "README.md").read_text()


class Page(HTMLParser):
    """The elements of a page that lead somewhere, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.places: set[str] = set()
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, _: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element links to or shows, and the name under which it is linked to."""
        self.places |= {f"#{value}" for name, value in attrs if name == "id"}
        self.targets += [value or "" for name, value in attrs if name in {"href", "src"}]

    def handle_data(self, data: str) -> None:
        """Note a piece of text."""
        self.words.append(data)


@pytest.fixture
def description(built: Built) -> str:
    """The description in the wheel's metadata."""
    metadata = built.metadata()
    assert metadata["Description-Content-Type"] == "text/markdown"
    return metadata["Description"]


@pytest.fixture
def page(description: str) -> Page:
    """The description as it is shown."""
    html = markdown.render(description)
    assert html is not None, "expected a description that an index of packages can show"
    return Page(html)


def test_no_link_needs_the_tree(page: Page) -> None:
    """Everything that is linked or shown is somewhere on the web, because nothing of this tree is beside the page."""
    assert page.targets
    elsewhere = [target for target in page.targets if target not in page.places]
    assert [target for target in elsewhere if not target.startswith("https://")] == [LOCAL]


LOCAL = "http://127.0.0.1:8765/"
"""The demo's own page, which the reader has just started."""


def test_the_files_are_still_named(page: Page) -> None:
    """A link to a file has become its name, which the wheel or the sdist has; a picture has become its caption."""
    text = "".join(page.words)
    linked = re.findall(r"(!?)\[([^\]]+)\]\((?!https?:)([^)#]+)[^)]*\)", README)
    assert len(linked) > 20
    for picture, words, target in linked:
        assert words.rstrip("/") in text
        assert picture or target in text or target.removeprefix("actors/").startswith(words) or words in target, target


def test_nothing_else_is_changed(description: str) -> None:
    """Code and prose are those of README: only links differ."""
    blocks = re.findall(r"```.*?```", README, re.DOTALL)
    assert blocks
    assert [block for block in blocks if block not in description] == []
    lines = [line for line in README.splitlines() if "](" not in line]
    assert [line for line in lines if line not in description.splitlines()] == []
