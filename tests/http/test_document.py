"""The document: it is OpenAPI, whole, and says what is served."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest

from actors.http.document import document
from actors.http.operations import Operation
from actors.http.problems import STATUSES
from actors.http.routes import table
from tests.http.serving import KEYS, door

NOTHING: Any = None
ROWS = table(NOTHING, NOTHING).operations
DOCUMENT = document(ROWS)


async def test_it_is_served() -> None:
    """Without a key, because a program's author has none yet."""
    async with door(keys=KEYS) as api:
        status, told = await api.ask("GET", "/v1/openapi.json")
        assert status == 200
        assert told["openapi"] == "3.1.0"
        assert set(told["paths"]) == set(DOCUMENT["paths"]) - {"/v1/openapi.json", "/metrics"}


def test_names_are_unique() -> None:
    """A generated client has a method of its own for each operation."""
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z_]+", name) for name in names)


def test_every_reference_leads_somewhere() -> None:
    """Each schema that is referred to is there, and each that is there is referred to."""
    text = json.dumps(DOCUMENT)
    referred = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert referred == set(DOCUMENT["components"]["schemas"])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_an_operation(row: Operation) -> None:
    """It has its parameters, its body, its answers, and a refusal for each status that its rows have."""
    told = DOCUMENT["paths"][row.path][row.method.lower()]
    parameters = {(one["in"], one["name"]) for one in told["parameters"]}
    ids = set(re.findall(r"{(\w+)}", row.path))
    assert {name for where, name in parameters if where == "path"} == ids
    assert {name for where, name in parameters if where == "query"} == set(row.query.__struct_fields__)
    assert ("requestBody" in told) == (row.body is not None)
    assert {str(status) for status in row.answers} <= set(told["responses"])
    assert {str(STATUSES[name]) for name in row.refusals} <= set(told["responses"])
    assert ("401" in told["responses"]) != row.open
    assert told["summary"]


def test_schemas_are_those_of_the_structs() -> None:
    """What is read is refused where it has unknown fields, and what is written says what must be there."""
    schemas = DOCUMENT["components"]["schemas"]
    assert schemas["NewEvent"]["additionalProperties"] is False
    assert schemas["NewEvent"]["required"] == ["type"]
    assert schemas["NewEvent"]["properties"]["payload"] == {"type": "object"}
    assert "dropped" in msgspec.json.encode(schemas["NewEvent"]["properties"]["type"]).decode()
    assert set(schemas["Error"]["required"]) == {"code", "name", "temporary", "message"}
    assert schemas["ReceiptAnswer"]["properties"]["stage"]["enum"][0] == "accepted"
