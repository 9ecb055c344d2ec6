"""Check the links of a built site: ``python .docs/links.py FOLDER``.

Each relative link, picture and script must be a file of the site, each fragment an id in it. Addresses elsewhere are
not fetched, because this has to run where there is no network: their form is checked, and ``--outside`` lists them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

OUTSIDE = {"http", "https"}
LOOPBACK = ("127.0.0.1", "localhost")


class Page(HTMLParser):
    """What a page points to, and what can be pointed to in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the links and the ids of a tag."""
        for name, value in attrs:
            if name in {"href", "src"} and value:
                self.targets.append(value)
            if name in {"id", "name"} and value:
                self.ids.add(value)


def problems(site: Path) -> Iterator[str]:
    """Each link that leads nowhere, and why."""
    pages = {path: Page(path.read_text()) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        for target in page.targets:
            problem = _problem(target, path, site, pages)
            if problem is not None:
                yield f"{path.relative_to(site)}: {target}: {problem}"


def outside(site: Path) -> set[str]:
    """The addresses elsewhere to which the site points."""
    targets = {target for path in site.rglob("*.html") for target in Page(path.read_text()).targets}
    return {target for target in targets if urlsplit(target).scheme in OUTSIDE and not _is_loopback(target)}


def _problem(target: str, path: Path, site: Path, pages: dict[Path, Page]) -> str | None:
    parts = urlsplit(target)
    if parts.scheme in OUTSIDE:
        is_meant = parts.scheme == "https" or _is_loopback(target)
        return None if is_meant and parts.hostname else "expected https, and a host"
    if parts.scheme:
        return None if parts.scheme == "data" else "expected a link to a page, or https"
    file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not file.is_relative_to(site) or not file.is_file():
        return "expected a file of the site"
    if parts.fragment and file in pages and unquote(parts.fragment) not in pages[file].ids:
        return "expected an id of that page"
    return None


def _is_loopback(target: str) -> bool:
    return urlsplit(target).hostname in LOOPBACK


def main(words: list[str]) -> int:
    """Print what is wrong, or with ``--outside`` the addresses elsewhere; returns the exit status."""
    site = Path(words[-1]).resolve()
    if "--outside" in words:
        print("\n".join(sorted(outside(site))))
        return 0
    found = list(problems(site))
    print("\n".join(found) or f"{sum(1 for _ in site.rglob('*.html'))} pages, every link leads somewhere")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
