"""The browser's client, ``actors.js``, the demonstration's page on it, and the inspector: plain files; no build."""

from __future__ import annotations

from pathlib import Path

from actors.wire.http import Page

_FOLDER = Path(__file__).parent
_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


def pages() -> dict[str, Page]:
    """Return the files of the page by the paths at which they are served; ``index.html`` is ``/``.

    Raises OSError when the package was installed without its files.
    """
    files = (path for path in _FOLDER.iterdir() if path.suffix.removeprefix(".") in _TYPES)
    return {_route_of(path): Page(path.read_bytes(), _TYPES[path.suffix.removeprefix(".")]) for path in files}


def agui_pages() -> dict[str, Page]:
    """Return the files of the page that is a client of AG-UI, which is ``/``, and of those that it needs.

    Raises OSError when the package was installed without its files.
    """
    return _of_folder("agui_demo", "actors.js", "icon.svg", "agui/mapper.js", "agui/streams.js")


def inspector_pages() -> dict[str, Page]:
    """Return the files of the page by which a person looks into a runtime, which is ``/``, and of those that it needs.

    It asks the API beside it, so ``open_api(pages=inspector_pages())`` shows it.
    Raises OSError when the package was installed without its files.
    """
    return _of_folder("inspector", "base.css", "dom.js", "icon.svg")


def _of_folder(name: str, *shared: str) -> dict[str, Page]:
    own = [path for path in (_FOLDER / name).iterdir() if path.suffix.removeprefix(".") in _TYPES]
    found = {f"/{path.relative_to(_FOLDER).as_posix()}": path for path in (*own, *map(_FOLDER.joinpath, shared))}
    routes = {"/" if route.endswith("/index.html") else route: path for route, path in found.items()}
    return {route: Page(path.read_bytes(), _TYPES[path.suffix.removeprefix(".")]) for route, path in routes.items()}


def _route_of(path: Path) -> str:
    return "/" if path.name == "index.html" else f"/{path.name}"
