"""The routes: each is served by what its name says, and none of them is open by mistake."""

from __future__ import annotations

from typing import Any

from actors.http.routes import table

NOTHING: Any = None
ROWS = table(NOTHING, NOTHING).operations


def test_what_needs_no_key() -> None:
    """Probes, the metrics and the document; nothing that shows an event or changes one."""
    assert {row.path for row in ROWS if row.open} == {"/healthz", "/readyz", "/metrics", "/v1/openapi.json"}


def test_what_is_the_operators() -> None:
    """The books, the failures and the ends of things."""
    assert {row.path for row in ROWS if row.admin} == {
        "/v1/users/{user_id}/revoke",
        "/v1/drain",
        "/v1/audit",
        "/v1/failures",
        "/v1/dead_letters",
        "/v1/connections",
        "/v1/status",
        "/v1/tree",
        "/v1/users/{user_id}/why",
        "/v1/threads/{thread_id}/why",
        "/v1/events/{event_id}/why",
        "/v1/users/{user_id}/trace",
        "/v1/release",
    }


def test_a_path_has_a_method_once() -> None:
    """No row hides another one."""
    found = [(row.method, row.path) for row in ROWS]
    assert len(set(found)) == len(found)
    for row in ROWS:
        path = row.path.replace("{", "").replace("}", "").encode()
        assert table(NOTHING, NOTHING).find(row.method, path)[0].name == row.name
