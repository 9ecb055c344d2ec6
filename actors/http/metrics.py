"""The metrics of a runtime, for a scrape by Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.responses import Response

from actors.http.calls import Call
from actors.http.problems import Problem


async def metrics(call: Call) -> Response:
    """Show the metrics, in the format that the scrape accepts. They have no name of a user or a thread, so that no key
    is asked for, as for the health."""
    try:
        from prometheus_client import CollectorRegistry  # noqa: PLC0415 - an extra, needed here alone

        from actors.metrics.collector import Collector  # noqa: PLC0415 - the same
    except ImportError:
        text = "expected prometheus-client to be installed: pip install '.[metrics]'"
        raise Problem("unknown_op", text) from None
    registry = CollectorRegistry()
    registry.register(Collector(call.runtime))
    encode, content_type = _encoder(call.request.headers.get("accept", ""))
    return Response(encode(registry), headers={"content-type": content_type, "cache-control": "no-store"})


def _encoder(accept: str) -> tuple[Callable[[Any], bytes], str]:
    """Choose a format; the plain one for a version that is none, which the library fails over, because it comes
    without a key."""
    from prometheus_client import exposition  # noqa: PLC0415 - an extra, needed here alone

    try:
        return exposition.choose_encoder(accept)
    except (TypeError, ValueError):
        return exposition.choose_encoder("")
