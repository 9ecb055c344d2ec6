"""A Sphinx extension: pages of the checkout are pages of the site, and links between its files lead there.

A package's README is included by a page of the site, and is not told twice. Its links are relative to where it stands:
one to a page that the site includes becomes a link to that page, one to another file a link to that file, which the
site shows below ``source/``.
"""

from __future__ import annotations

import html
import os
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

HERE = Path(__file__).parent
ROOT = HERE.parent

_GIVEN = "package-"
"""The beginning of the names of pages that are written here, and are not in git; the menu has them by this name."""

_WHOLE = re.compile(r"^```\{include\} (\S+)\n```$", re.MULTILINE)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!https?:|source:|#)([^)\s]+)\)")
_CODE = re.compile(r"^```[\s\S]*?^```$|^(?: {4}.*\n)+", re.MULTILINE)


def _give_pages(app: Sphinx, config: Any) -> None:
    """Write a page for each README of the package that no page includes: it is on the site without being asked for."""
    for page in HERE.glob(f"{_GIVEN}*.md"):
        page.unlink()
    shown = pages()
    for readme in sorted((ROOT / "actors").rglob("README.md")):
        if readme not in shown:
            name = "-".join(readme.parent.relative_to(ROOT / "actors").parts)
            (HERE / f"{_GIVEN}{name}.md").write_text(f"```{{include}} {os.path.relpath(readme, HERE)}\n```\n")


def pages() -> dict[Path, str]:
    """The page of the site that shows a file of the checkout whole, by file."""
    found = {page.resolve(): page.name for page in HERE.glob("*.md")}
    for page in sorted(HERE.glob("*.md")):
        found |= {(HERE / included).resolve(): page.name for included in _WHOLE.findall(page.read_text())}
    return found


def linked(text: str, folder: Path, shown: dict[Path, str]) -> str:
    """The text of a page with its relative links made those of the site; code is left as it is."""

    def lead(match: re.Match[str]) -> str:
        picture, words, target = match.groups()
        path, _, heading = target.partition("#")
        file = (folder / path).resolve()
        if not file.exists() or not file.is_relative_to(ROOT):
            return match[0]
        if picture:
            return f"![{words}]({os.path.relpath(file, HERE)})"
        if file in shown:
            return f"[{words}]({shown[file]}{'#' * bool(heading)}{heading})"
        return f"[{words}](source:{file.relative_to(ROOT).as_posix()})"

    parts, end = [], 0
    for code in _CODE.finditer(text):
        parts += [_LINK.sub(lead, text[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, _LINK.sub(lead, text[end:])])


def _on_page(app: Sphinx, docname: str, content: list[str]) -> None:
    content[0] = linked(content[0], HERE, pages())


def _on_include(app: Sphinx, path: Path, parent: str, content: list[str]) -> None:
    file = (HERE / path).resolve()
    if file.suffix == ".md":
        content[0] = linked(content[0], file.parent, pages())


# --- the files that pages point to ----------------------------------------------


def _show_sources(app: Sphinx, failure: Exception | None) -> None:
    """Write a page for each file and folder of the checkout that a page points to."""
    if failure is not None or app.builder.format != "html":
        return
    for name in _pointed_to(app):
        page = app.outdir / "source" / f"{name}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        up = "../" * (name.count("/") + 1)
        body = _listing(ROOT / name) if (ROOT / name).is_dir() else _text(ROOT / name)
        page.write_text(_PAGE.format(up=up, name=html.escape(name), body=body))


_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{name}</title>
<link rel="stylesheet" href="{up}_static/source.css"></head>
<body><p><a href="{up}index.html">trio-actors</a> / {name}</p>{body}</body>
</html>
"""
"""Without the theme's menu and without colours, because there are hundreds of these and both take half a minute."""


def _pointed_to(app: Sphinx) -> set[str]:
    """The files that pages name, and those in folders that they name."""
    named = {
        node["refuri"].removeprefix("source/").removesuffix(".html")
        for docname in app.env.found_docs
        for node in app.env.get_doctree(docname).findall(lambda one: "refuri" in getattr(one, "attributes", ()))
        if node["refuri"].startswith("source/")
    }
    folders = {name for name in named if (ROOT / name).is_dir()}
    return named | {f"{folder}/{file.name}" for folder in folders for file in _files(ROOT / folder)}


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file() and file.suffix != ".pyc")


def _listing(folder: Path) -> str:
    rows = [
        f'<li><a href="{folder.name}/{file.name}.html">{html.escape(file.name)}</a></li>' for file in _files(folder)
    ]
    return f"<ul>{''.join(rows)}</ul>"


def _text(file: Path) -> str:
    return f"<pre>{html.escape(file.read_text())}</pre>"


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to what Sphinx tells of pages."""
    app.connect("config-inited", _give_pages)
    app.connect("source-read", _on_page)
    app.connect("include-read", _on_include)
    app.connect("build-finished", _show_sources)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
