"""The words of the contract of a store: its refusals, and its trouble."""

from __future__ import annotations

from actors.stores.store import StaleGeneration, Trouble


def test_a_stale_generation_says_which_is_the_present_one() -> None:
    """The refusal of an event for a former owner says what was expected and what came, to people and to the actor."""
    refusal = StaleGeneration("t", "2", came="1")
    assert (refusal.generation, str(refusal)) == ("2", "thread t: expected generation 2, got 1")


def test_trouble_is_its_reason() -> None:
    """As a text, trouble is the reason for it."""
    assert str(Trouble("the disk is full", 5.0)) == "the disk is full"
