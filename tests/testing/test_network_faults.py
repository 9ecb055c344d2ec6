"""The shaping of bytes: no fault of a direction loses, doubles or reorders what passes."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.testing import Way
from actors.testing.chance import Chance
from actors.testing.network_faults import Shaper, Step

ways = st.builds(
    Way,
    latency_seconds=st.floats(0, 1),
    jitter_seconds=st.floats(0, 2),
    bytes_per_second=st.sampled_from([1.0, 300.0, 16_384.0, math.inf]),
    slice_bytes=st.sampled_from([None, (1, 1), (1, 7), (100, 5_000)]),
    limit_bytes=st.integers(0, 300) | st.just(math.inf),
)
chunks = st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=200)), max_size=10)


def walk(way: Way, said: list[tuple[float, bytes]]) -> tuple[list[Step], list[float]]:
    """The steps of all chunks, each some seconds after the one before; and for each step, when it was said."""
    shaper, now = Shaper(way, Chance("walk")), 0.0
    steps = shaper.take(b"", now)
    times = [now] * len(steps)
    for pause, data in said:
        now += pause
        steps += shaper.take(data, now)
        times += [now] * (len(steps) - len(times))
    return steps, times


@given(ways, chunks)
def test_all_bytes_arrive_whole_and_in_order(way: Way, said: list[tuple[float, bytes]]) -> None:
    """Whatever the faults of a direction, no byte is lost, doubled or overtaken, and none comes before it was said."""
    steps, times = walk(way, said)
    assert b"".join(what for _, what in steps if isinstance(what, bytes)) == b"".join(data for _, data in said)
    assert all(earlier[0] <= later[0] for earlier, later in itertools.pairwise(steps))
    assert all(due >= time for (due, _), time in zip(steps, times, strict=True))


@given(ways, chunks)
def test_the_limit_is_where_it_was_said_to_be(way: Way, said: list[tuple[float, bytes]]) -> None:
    """The harm comes once, after exactly that many bytes, and not at all when there are fewer."""
    what = [what for _, what in walk(way, said)[0]]
    total = sum(len(data) for _, data in said)
    assert what.count("harm") == (way.limit_bytes <= total)
    if "harm" in what:
        assert sum(map(len, what[: what.index("harm")])) == way.limit_bytes


@given(chunks, st.sampled_from([1.0, 300.0, 16_384.0]))
def test_a_bandwidth_is_not_exceeded(said: list[tuple[float, bytes]], rate: float) -> None:
    """Each piece is due as long after the one before it as the line needs for its bytes, or longer."""
    steps, _ = walk(Way(bytes_per_second=rate), said)
    for (earlier, _), (due, what) in itertools.pairwise(steps):
        assert due - earlier >= len(what) / rate - 1e-9


@given(chunks)
def test_latency_keeps_to_its_bounds(said: list[tuple[float, bytes]]) -> None:
    """200 ± 100 ms is 100 to 300 ms for each piece, or as late as the one before it."""
    before = 0.0
    steps, times = walk(Way(latency_seconds=0.2, jitter_seconds=0.1), said)
    for (due, _), time in zip(steps, times, strict=True):
        assert time + 0.1 - 1e-9 <= due <= max(before, time + 0.3 + 1e-9)
        before = due


@pytest.mark.parametrize(
    ("slice_bytes", "bytes_per_second"), [((0, 5), 1.0), ((3, 2), 1.0), (None, 0.0), (None, -1.0), (None, math.nan)]
)
def test_a_way_that_lets_nothing_pass_is_refused(slice_bytes: tuple[int, int] | None, bytes_per_second: float) -> None:
    """An empty slice or no bandwidth is a mistake; a stall is asked for as one."""
    with pytest.raises(ValueError, match="expected slices of at least one byte"):
        Way(slice_bytes=slice_bytes, bytes_per_second=bytes_per_second)


@pytest.mark.parametrize("limit_bytes", [0.5, -1, math.nan, -math.inf])
def test_a_limit_that_is_no_number_of_bytes_is_refused(limit_bytes: float) -> None:
    """Bytes come whole, or there is no limit."""
    with pytest.raises(ValueError, match="expected a limit of whole bytes"):
        Way(limit_bytes=limit_bytes)
