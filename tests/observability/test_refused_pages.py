"""Refused pages: the newest are known, with their origins and times."""

from __future__ import annotations

from itertools import count

from actors.observability.refused_pages import KEPT, RefusedPages


def test_the_newest_are_known() -> None:
    """Of a flood the newest are remembered, oldest first, and found by time."""
    times = count()
    pages = RefusedPages(lambda: float(next(times)))
    for number in range(KEPT + 10):
        pages.handshake_refused(403, "origin", f"https://{number}.example")
    assert [page.origin for page in pages.since(KEPT + 8.0)] == ["https://264.example", "https://265.example"]
    assert repr(pages) == "<RefusedPages 256>"


def test_other_refusals_are_of_no_page() -> None:
    """What was refused for another reason, or says no origin, is not one of a page that could be allowed."""
    pages = RefusedPages(lambda: 0.0)
    pages.handshake_refused(401, "unauthenticated", "https://app.example")
    pages.handshake_refused(403, "origin", None)
    assert pages.since(0.0) == []
