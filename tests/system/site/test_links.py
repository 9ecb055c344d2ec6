"""The check of the built site's links finds what leads nowhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.site.page import SITE


def check(folder: Path, *words: str) -> tuple[int, list[str]]:
    """Run the check on a folder; its exit status, and what it says."""
    done = subprocess.run(
        [sys.executable, str(SITE / "links.py"), *words, str(folder)], capture_output=True, check=False, text=True
    )
    assert not done.stderr
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize(
    ("link", "problem"),
    [
        ("b.html", None),
        ("folder/c.html#here", None),
        ("#own", None),
        ("https://trio.readthedocs.io", None),
        ("http://127.0.0.1:8765/", None),
        ("gone.html", "expected a file of the site"),
        ("folder", "expected a file of the site"),
        ("../outside.html", "expected a file of the site"),
        ("b.html#gone", "expected an id of that page"),
        ("#gone", "expected an id of that page"),
        ("http://trio.readthedocs.io", "expected https, and a host"),
        ("https://", "expected https, and a host"),
        ("source:actors/limits.py", "expected a link to a page, or https"),
    ],
)
def test_a_link_leads_somewhere_or_is_named(link: str, problem: str | None, tmp_path: Path) -> None:
    """A page or an id that is not there is a problem, and so is an address that no browser can have meant."""
    site = tmp_path / "site"
    (site / "folder").mkdir(parents=True)
    (tmp_path / "outside.html").write_text("")
    (site / "b.html").write_text("")
    (site / "folder" / "c.html").write_text('<p id="here">')
    (site / "a.html").write_text(f'<h1 id="own"><a href="{link}">x</a></h1>')
    status, said = check(site)
    assert (status, said) == (
        (0, ["3 pages, every link leads somewhere"]) if problem is None else (1, [f"a.html: {link}: {problem}"])
    )


def test_addresses_elsewhere_are_listed(tmp_path: Path) -> None:
    """What a check without a network cannot fetch is listed, once each."""
    (tmp_path / "a.html").write_text('<a href="https://b.example/x">x</a><img src="https://a.example"><a href="#"></a>')
    (tmp_path / "b.html").write_text('<a href="https://b.example/x">x</a>')
    assert check(tmp_path, "--outside") == (0, ["https://a.example", "https://b.example/x"])
