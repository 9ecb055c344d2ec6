"""When a client comes back, and when it does not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.client.backoff import is_final, pause
from actors.client.conversation import Ended
from actors.protocol.codes import CLOSINGS
from tests.client.begun import begun


def test_full_jitter() -> None:
    """Up to as long as the connection is lost already: 0.5 s at least, 10 s at most."""
    assert [pause(lost, 1.0) for lost in (0, 0.5, 0.7, 3, 10, 10_000)] == [0.5, 0.5, 0.7, 3, 10, 10]
    assert pause(3, 0.0) == 0


@given(st.floats(0, 30), st.lists(st.floats(0, 0.999), min_size=400, max_size=400), st.booleans())
def test_away_for_about_as_long_again(outage_seconds: float, dice: list[float], goes_away: bool) -> None:
    """A server that was away for some seconds has its clients back after as many more, half a second at least and ten
    at most; also one that had said that it goes."""
    client, now = begun(), 0.0
    client.take('{"op":"caught_up","offset":0}')
    if goes_away:
        client.take('{"op":"going_away","retry_ms":250}')
    for jitter in dice:
        seconds = client.end(Ended(text="refused"), jitter, now)
        assert seconds is not None
        now += seconds + 0.001
        client.hello()
        if now > outage_seconds:
            break
    assert now <= outage_seconds + min(10, max(0.5, outage_seconds)) + 1 or now < 1


def test_verdicts() -> None:
    """The verdict of a code is that of the server's table; codes that are in no table follow the rule."""
    assert {row.code: is_final(row.code) for row in CLOSINGS.values()} == {
        row.code: not row.temporary for row in CLOSINGS.values()
    }
    assert not is_final(1006, 103)
    assert not is_final(4499)
    assert is_final(4999)
    assert is_final(1008)
