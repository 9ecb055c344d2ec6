"""Pressure: what is waited for at every look for long enough is told, and nothing else."""

from __future__ import annotations

from actors.observability.pressure import Pressure


def test_what_is_waited_for_at_every_look() -> None:
    """A wait is told once it was there at every look for so long, and from then on with how long; a pause ends it."""
    pressure: Pressure[str] = Pressure(5.0)
    assert list(pressure.look({"t1": 2}, 0.0)) == []
    assert list(pressure.look({"t1": 3, "t2": 1}, 4.0)) == []
    assert list(pressure.look({"t1": 4, "t2": 1}, 5.0)) == [("t1", 4, 5.0)]
    assert list(pressure.look({"t2": 1}, 9.0)) == [("t2", 1, 5.0)]
    assert list(pressure.look({"t1": 1}, 10.0)) == []
    assert repr(pressure) == "<Pressure on 1>"
    assert list(pressure.look({}, 99.0)) == []
    assert repr(pressure) == "<Pressure on 0>"
