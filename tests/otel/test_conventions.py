"""The conventions' names are those that OpenTelemetry's own package has."""

from __future__ import annotations

import pytest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, messaging_attributes
from opentelemetry.semconv.attributes import error_attributes

from actors.otel import conventions
from actors.otel.conventions import Attributes

KNOWN = {
    value
    for module in (gen_ai_attributes, messaging_attributes, error_attributes)
    for name, value in vars(module).items()
    if name.isupper() and isinstance(value, str)
}
SPANS = {
    "run": conventions.run("t1", "r1", "assistant"),
    "tool": conventions.tool("t1", "search", "call_1"),
    "emit": conventions.emit("t1", "report_ready"),
    "settle": conventions.settle("t1", "report_ready", "e1"),
}


@pytest.mark.parametrize("span", SPANS.values(), ids=SPANS)
def test_names_are_the_conventions(span: tuple[str, Attributes]) -> None:
    """Each attribute is one of theirs, or says that it is ours."""
    ours = {name for name in span[1] if name.startswith("trio_actors.")}
    assert set(span[1]) - ours <= KNOWN
    assert {conventions.ERROR_TYPE, conventions.MESSAGE_ID} <= KNOWN
    assert conventions.OUTCOME.startswith("trio_actors.")


def test_operations_are_the_conventions() -> None:
    """Operations have the words that back ends group by, and spans begin with them."""
    genai = {one.value for one in gen_ai_attributes.GenAiOperationNameValues}
    messaging = {one.value for one in messaging_attributes.MessagingOperationTypeValues}
    for name, attributes in SPANS.values():
        operation = attributes.get("gen_ai.operation.name") or attributes["messaging.operation.type"]
        assert name.split()[0] == operation
        assert operation in genai | messaging


def test_few_names_of_many_threads() -> None:
    """No span's name, and no destination, is as many as there are conversations."""
    for name, attributes in SPANS.values():
        assert "t1" not in name
        assert attributes.get("messaging.destination.name", "thread") == "thread"
