"""The API's document: OpenAPI 3.1, made from the table of operations and from the structs that are read and written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from actors.http.lines import CONTENT
from actors.http.operations import Operation
from actors.http.problems import RETRY_AFTER, STATUSES
from actors.http.schemas import Id, LineCounts, LineRefusal, Refusal

_REFERENCE = "#/components/schemas/{name}"
_ANY = ("bad_request", "too_many_requests", "failed")
"""The rows that any request may get."""
_OF_BODIES = {400: "bad_request", 408: "too_slow", 413: "too_big", 415: "bad_request"}
"""The rows that any request with a body may get, by status."""
_SUMMARY = "Events of agents, to the devices of their users"
_EVENTS = "text/event-stream"


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """Return the document of these operations."""
    rows = list(operations)
    types: set[type[msgspec.Struct]] = {Refusal, LineRefusal, LineCounts}
    for row in rows:
        types |= {row.query, *row.answers.values(), *([] if row.body is None else [row.body])}
    every = sorted(types, key=lambda kind: kind.__name__)
    _, schemas = msgspec.json.schema_components(every, ref_template=_REFERENCE)
    paths: dict[str, Any] = {}
    for row in rows:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row, schemas)
    queries = {row.query.__name__ for row in rows} - {row.body.__name__ for row in rows if row.body is not None}
    return {
        "openapi": "3.1.0",
        "info": {"title": "trio-actors", "summary": _SUMMARY, "version": _version()},
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": {name: schema for name, schema in schemas.items() if name not in queries},
        },
    }  # fmt: skip


def _operation(row: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": row.name,
        "summary": row.summary,
        "parameters": [*_path_parameters(row), *_query_parameters(row, schemas), *_header_parameters(row)],
        "responses": _responses(row),
    }
    if row.body is not None:
        required = not row.lines and bool(schemas[row.body.__name__].get("required"))
        told["requestBody"] = {"required": required, "content": _content(row, row.body)}
    if row.open:
        told["security"] = []
    return told


def _path_parameters(row: Operation) -> list[dict[str, Any]]:
    schema = msgspec.json.schema(Id)
    names = re.findall(r"{(\w+)}", row.path)
    return [{"name": name, "in": "path", "required": True, "schema": schema} for name in names]


def _query_parameters(row: Operation, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    properties: dict[str, Any] = schemas[row.query.__name__]["properties"]
    return [{"name": name, "in": "query", "schema": _not_null(schema)} for name, schema in properties.items()]


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter, which is left out rather than null."""
    variants = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    return variants[0] if len(variants) == 1 else schema


def _header_parameters(row: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "header", "description": text, "schema": msgspec.json.schema(kind)}
        for name, (kind, text) in row.headers.items()
    ]


def _content(row: Operation, kind: type[msgspec.Struct], *others: type[msgspec.Struct]) -> dict[str, Any]:
    kinds = [{"$ref": _REFERENCE.format(name=one.__name__)} for one in (kind, *others)]
    if not row.lines:
        return {"application/json": {"schema": kinds[0]}}
    return {CONTENT: {"x-line-schema": kinds[0] if len(kinds) == 1 else {"anyOf": kinds}}}


def _responses(row: Operation) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for status, kind in row.answers.items():
        content = _content(row, kind, *((LineRefusal, LineCounts) if row.lines and row.body is not None else ()))
        if row.stream:
            content[_EVENTS] = {"schema": {"type": "string"}}
        answers[str(status)] = {"description": HTTPStatus(status).phrase, "content": content}
    for status, names in sorted(_refusals(row).items()):
        if str(status) not in answers:
            answers[str(status)] = _refused(status, sorted(names))
    return answers


def _refusals(row: Operation) -> dict[int, set[str]]:
    """Return the rows that may come, by status."""
    names = {*_ANY, *row.refusals, "forbidden"}
    if not row.open:
        names.add("unauthenticated")
    found: dict[int, set[str]] = {}
    for name in names:
        found.setdefault(STATUSES[name], set()).add(name)
    if row.body is not None:
        for status, name in _OF_BODIES.items():
            found.setdefault(status, set()).add(name)
    return found


def _refused(status: int, names: list[str]) -> dict[str, Any]:
    schema = {"$ref": _REFERENCE.format(name=Refusal.__name__)}
    told: dict[str, Any] = {"description": ", ".join(names), "content": {"application/json": {"schema": schema}}}
    if RETRY_AFTER & set(names):
        told["headers"] = {"Retry-After": {"description": "seconds", "schema": {"type": "integer", "minimum": 1}}}
    return told


def _version() -> str:
    try:
        return version("trio-actors")
    except PackageNotFoundError:
        return "0"
