"""Chance: streams that follow from their names alone."""

from __future__ import annotations

from actors.testing.chance import Chance


def test_a_stream_follows_from_its_name() -> None:
    """The same name is the same stream; a part's stream is untouched by how much others drew."""
    first, second = Chance("plan 1"), Chance("plan 1")
    first.between(0, 1)
    assert first.of("a").bytes(16) == second.of("a").bytes(16)
    assert Chance("plan 1").bytes(16) != Chance("plan 2").bytes(16)
    assert Chance("x").count(0, 1_000_000_000) == 677_303_156, "on every machine, for every hash seed"


def test_what_is_drawn() -> None:
    """Numbers keep to both bounds, and what has no weight is never drawn."""
    chance = Chance("draws")
    assert {chance.count(1, 3) for _ in range(100)} == {1, 2, 3}
    assert all(2 <= chance.between(2, 3) <= 3 for _ in range(100))
    assert {chance.one("ab") for _ in range(100)} == {"a", "b"}
    assert set(chance.weighted("abc", (1, 0, 1), 100)) == {"a", "c"}
    assert not any(chance.happens(0.0) for _ in range(100))
