"""The blocks of a page of the site, as they are printed."""

from __future__ import annotations

import re

from tests.support.pages import ROOT

SITE = ROOT / ".docs"


def printed(page: str, language: str) -> list[str]:
    """The blocks of a page that are marked with a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", (SITE / page).read_text(), re.MULTILINE | re.DOTALL)


def replaced(text: str, *changes: tuple[str, str]) -> str:
    """A block with ports and paths of the test in place of its own, each of which must be there."""
    for theirs, ours in changes:
        assert theirs in text, theirs
        text = text.replace(theirs, ours)
    return text
