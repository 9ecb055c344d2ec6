"""The metrics over HTTP: what a scrape gets, with a key and without, and where the library is not installed."""

from __future__ import annotations

import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.http.serving import KEYS, door


async def test_a_scrape() -> None:
    """Prometheus reads it without a key, because it has no name of a user or a thread in it."""
    async with door(keys=KEYS) as api:
        await api.runtime.thread("secret-thread").emit("step", {}, user_id="secret-user")
        answer = await api.client.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=")
        families = {family.name: family for family in text_string_to_metric_families(answer.text)}
        assert families["trio_actors_events_accepted"].samples[0].value == 1
        assert "secret" not in answer.text


async def test_open_metrics() -> None:
    """A scrape that asks for OpenMetrics gets it, as newer Prometheus does."""
    async with door() as api:
        answer = await api.client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        assert answer.text.endswith("# EOF\n")


@pytest.mark.parametrize("version", ["x", "", "1.0.0.x", "=", "9" * 5_000])
@pytest.mark.parametrize("kind", ["text/plain", "application/openmetrics-text"])
async def test_a_version_that_is_none(kind: str, version: str) -> None:
    """It comes without a key, in any words: it is answered, and is no failure of the server's."""
    async with door(keys=KEYS) as api:
        answer = await api.client.get("/metrics", headers={"accept": f"{kind};version={version}"})
        assert answer.status_code == 200
        assert api.runtime.failures.total == 0


async def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the extra is not installed, the path says what to install, and nothing else is missing."""
    for name in [name for name in sys.modules if name.startswith(("prometheus_client", "actors.metrics"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    async with door() as api:
        answer = await api.client.get("/metrics")
        assert answer.status_code == 404
        assert "pip install '.[metrics]'" in answer.json()["error"]["message"]
        assert (await api.client.get("/healthz")).status_code == 200
