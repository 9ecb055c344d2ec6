"""Operations: which request is which."""

from __future__ import annotations

from typing import Any

import pytest

from actors.http.operations import Operation, Table, WrongMethod
from actors.http.problems import Problem


async def show(call: Any) -> None:
    """Show a thing."""


async def change(call: Any) -> None:
    """Change a thing."""


TABLE = Table(
    Operation(method="GET", path="/v1/things/{thing_id}", act=show, summary="Show"),
    Operation(method="PUT", path="/v1/things/{thing_id}", act=change, summary="Change"),
    Operation(method="GET", path="/v1/things/{thing_id}/parts/{part_id}", act=show, summary="Show a part"),
)


def test_a_path_and_a_method() -> None:
    """They name one operation; the ids in the path are decoded after it was found."""
    operation, ids = TABLE.find("PUT", b"/v1/things/a%2Fb%C3%A9")
    assert (operation.name, ids) == ("change", {"thing_id": "a/bé"})
    operation, ids = TABLE.find("HEAD", b"/v1/things/%252F/parts/..")
    assert (operation.name, ids) == ("show", {"thing_id": "%2F", "part_id": ".."})


@pytest.mark.parametrize("path", [b"/", b"", b"/v1/things", b"/v1/things/", b"/v1/things/a/", b"/v1/things/a/b", b"//"])
def test_nothing_is_there(path: bytes) -> None:
    """A path that no operation has is refused."""
    with pytest.raises(Problem) as caught:
        TABLE.find("GET", path)
    assert (caught.value.status, caught.value.row.name) == (404, "unknown_op")


def test_another_method() -> None:
    """It is told which there are."""
    with pytest.raises(WrongMethod) as caught:
        TABLE.find("POST", b"/v1/things/a")
    assert (caught.value.status, caught.value.allow) == (405, "GET, HEAD, PUT")


def test_bytes_that_are_no_text() -> None:
    """An id in a path is UTF-8."""
    with pytest.raises(Problem, match="thing_id: expected UTF-8"):
        TABLE.find("GET", b"/v1/things/%ff")
