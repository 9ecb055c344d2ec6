"""Pages beside the API: they are shown as they are, to anyone, and only as what they are."""

from __future__ import annotations

import pytest

from actors.http import Keys
from actors.wire.http import Page
from tests.http.serving import KEYS, door

PAGES = {"/": Page(b"<!doctype html>", "text/html"), "/app/page.js": Page(b"export {};", "text/javascript")}


@pytest.mark.parametrize("keys", [None, KEYS], ids=["open", "keys"])
@pytest.mark.parametrize("path", PAGES)
async def test_a_page_is_shown_without_a_key(keys: Keys | None, path: str) -> None:
    """It comes as it is, with headers that keep it from loading or being framed elsewhere; HEAD tells the same."""
    async with door(keys=keys, pages=PAGES) as api:
        came = await api.client.get(path)
        assert (came.status_code, came.content) == (200, PAGES[path].content)
        assert came.headers["content-type"] == PAGES[path].content_type
        assert "default-src 'self'" in came.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in came.headers["content-security-policy"]
        assert came.headers["x-content-type-options"] == "nosniff"
        assert (await api.client.head(path)).status_code == 200


async def test_what_is_no_page() -> None:
    """No other path leads to one, and a page takes nothing."""
    async with door(pages=PAGES) as api:
        for path in ("/index.html", "/app/", "/app/page.js/", "/app/../", "/app/page%2ejs"):
            assert (await api.raw("GET", path))[0] == 404
        came = await api.client.post("/")
        assert (came.status_code, came.headers["allow"]) == (405, "GET, HEAD")


async def test_the_document_has_no_page() -> None:
    """A program's author finds there what programs ask for."""
    async with door(pages=PAGES) as api:
        _, told = await api.ask("GET", "/v1/openapi.json")
        assert not set(PAGES) & set(told["paths"])


async def test_a_page_of_this_server_may_ask() -> None:
    """Without keys, what a browser sends for a page of this address is carried out, and of another port it is not."""
    async with door(pages=PAGES) as api:
        own = f"http://127.0.0.1:{api.address[1]}"
        path, body = "/v1/threads/t1/events", {"type": "x", "user_id": "alice"}
        assert (await api.ask("POST", path, body, headers={"origin": own}))[0] == 200
        for other in (
            f"https://127.0.0.1:{api.address[1]}",
            "http://127.0.0.1:1",
            own.replace("127.0.0.1", "localhost"),
        ):
            assert await api.refusal("POST", path, body, headers={"origin": other}) == (403, "forbidden")
