"""What the fuzzer has to know beside the document: how lines are sent, and that no request of its waits for long."""

from __future__ import annotations

from typing import Any

import schemathesis

from actors.runs.asks import LONGEST_SECONDS

_MOST_SECONDS = 0.01


@schemathesis.serializer("application/x-ndjson")
def lines(context: Any, value: Any) -> Any:
    """Send what was made as it is."""
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Wait a moment, where a wait is meant that is none of the wrong ones."""
    if "timeout_s" in {one.name for one in case.operation.query}:
        case.query = dict(case.query or {})
        if _is_long(case.query.get("timeout_s", 10.0)):
            case.query["timeout_s"] = _MOST_SECONDS
    if isinstance(case.body, dict) and _is_long(case.body.get("timeout_s"), LONGEST_SECONDS):
        case.body["timeout_s"] = _MOST_SECONDS


def _is_long(seconds: Any, most: float = 3_600) -> bool:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float | str):
        return False
    try:
        return _MOST_SECONDS < float(seconds) <= most
    except ValueError:
        return False
