"""Pages: files that are shown beside the API, so that a person can look at what programs can ask for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from starlette.responses import Response

from actors.http.calls import Call
from actors.http.operations import Operation
from actors.wire.http import Page


def showing(pages: Mapping[str, Page]) -> list[Operation]:
    """Return an operation for each page, by the path at which it is shown.

    A page needs no key, because it has nothing in it that is this server's;
    what it shows it asks for, with the key of the person who looks.
    """
    return [
        Operation(method="GET", path=path, act=partial(_show, page), summary="Show a page", open=True)
        for path, page in pages.items()
    ]


async def _show(page: Page, call: Call) -> Response:
    return Response(page.content, headers=dict(page.headers))
