"""The words and the numbers of a stage."""

from __future__ import annotations

import json
import logging

import msgspec
import pytest

from actors import Cause, Lifecycle, Stage


@pytest.mark.parametrize("stage", list(Stage), ids=str)
def test_a_stage_as_text_is_its_name(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Printed, formatted, logged or concatenated, a stage is its name."""
    name = stage.name
    assert (str(stage), f"{stage}", f"{stage!s}", format(stage), f"{stage:>12}") == (name,) * 4 + (name.rjust(12),)
    assert f"{stage}" == "%s" % stage == "{}".format(stage)  # noqa: UP031, UP032 - the older ways, too
    assert repr(stage) == f"<Stage.{name}: {stage.value}>"
    logging.getLogger("test").warning("the stage is %s", stage)
    assert caplog.messages == [f"the stage is {name}"]


def test_a_stage_as_number() -> None:
    """Asked for as a number, and in JSON, a stage is its place on the ladder; stages compare by it."""
    assert (int(Stage.STORED), f"{Stage.STORED:d}", f"{Stage.STORED:02x}") == (3, "3", "03")
    assert json.dumps({"stage": Stage.STORED}) == '{"stage": 3}'
    assert msgspec.json.encode(Stage.STORED) == b"3"
    assert Stage.ACCEPTED < Stage.STORED < Stage.ACKED


@pytest.mark.parametrize("word", [*Cause, *Lifecycle], ids=str)
def test_a_word_is_itself(word: Cause | Lifecycle) -> None:
    """Causes and event types are their words, wherever they are written."""
    assert (str(word), f"{word}", f"{word:>30}", json.dumps(word)) == (
        word.value, word.value, word.value.rjust(30), f'"{word.value}"',
    )  # fmt: skip
