"""The events that a user's log retains, and those of them that a read returns."""

from __future__ import annotations

import gc

from hypothesis import given
from hypothesis import strategies as st

from actors.delivery.lineage import Fork
from actors.delivery.log import Chunk, Log

steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 30), st.integers(0, 3)),
        st.tuples(st.just("burst"), st.integers(1, 150), st.just(0)),
        st.tuples(st.just("trim"), st.integers(0, 40), st.integers(0, 200)),
        st.tuples(st.just("expire"), st.integers(-2, 12), st.just(0)),
        st.tuples(st.just("read"), st.integers(-5, 40), st.integers(0, 200)),
    ),
    max_size=40,
)


@given(steps)
def test_log_agrees_with_a_list(steps: list[tuple[str, int, int]]) -> None:
    """A log is the list of everything it was given, cut off at its beginning."""
    log, model, low, now = Log("e"), list[tuple[bytes, int]](), 1, 0
    for name, first, second in steps:
        if name == "append":
            now += second
            model.append((b"%d" % len(model) * first, now))
            assert log.append(model[-1][0], now) == len(model)
        elif name == "burst":
            for _ in range(first):
                model.append((b"%d" % len(model), now))
                log.append(model[-1][0], now)
        elif name == "trim":
            log.trim(first, second)
            while low < len(model) and (
                len(model) - low + 1 > first or sum(len(frame) for frame, _ in model[low - 1 :]) > second
            ):
                low += 1
        elif name == "expire":
            log.expire(now - first)
            while low <= len(model) and model[low - 1][1] < now - first:
                low += 1
        else:
            assert log.read(low + first, second) == expected_chunk(model, low, low + first, second)
        assert (log.low, log.head, len(log)) == (low, len(model), len(model) - low + 1)
        assert log.size_bytes == sum(len(frame) for frame, _ in model[low - 1 :])
        assert low > len(model) or log.oldest_at == model[low - 1][1]


def expected_chunk(model: list[tuple[bytes, int]], low: int, first: int, most_bytes: int) -> Chunk:
    first = max(first, low)
    taken: list[bytes] = []
    for frame, _ in model[first - 1 :]:
        if taken and len(b"".join(taken)) + len(frame) > most_bytes:
            break
        taken.append(frame)
    return Chunk(first, first + len(taken) - 1, b"".join(taken), "e")


def test_a_new_log_is_empty() -> None:
    """A log begins at offset 1, with nothing in it."""
    log = Log("e")
    assert (log.epoch, log.low, log.head, len(log), log.size_bytes) == ("e", 1, 0, 0, 0)
    assert log.read(1, 100) == Chunk(1, 0, b"", "e")
    log.trim(10, 10)
    log.expire(1.0)
    assert (log.low, log.head) == (1, 0)


def test_the_newest_event_stays() -> None:
    """Neither count nor size takes the newest event away; age does."""
    log = Log("e")
    log.append(b"x" * 1_000, 5.0)
    log.trim(0, 0)
    assert (log.low, log.head) == (1, 1)
    log.expire(5.0)
    assert log.low == 1
    log.expire(5.1)
    assert (log.low, log.head, log.size_bytes) == (2, 1, 0)


def test_a_chunk_stays_what_it_was() -> None:
    """A chunk does not change when the log moves on."""
    log = Log("e")
    log.append(b"one", 0.0)
    log.append(b"two", 0.0)
    chunk = log.read(1, 100)
    log.append(b"three", 0.0)
    log.trim(1, 100)
    assert chunk == Chunk(1, 2, b"onetwo", "e")


def test_memory_returns() -> None:
    """A log that let go of what it retained is small again, whatever went through it."""
    log = Log("e")
    for _ in range(20_000):
        log.append(b"x" * 50, 0.0)
        log.trim(100, 1_000_000)
    parts = [part for part in gc.get_referents(log) if not isinstance(part, type)]
    assert sum(part.__sizeof__() for part in parts) < 3 * 100 * (50 + 16)


@given(st.lists(st.tuples(st.integers(0, 90), st.integers(1, 90), st.integers(0, 120)), max_size=8))
def test_a_fork_cuts_the_end_off(forks: list[tuple[int, int, int]]) -> None:
    """After a fork the log has what it had up to there, goes on behind it, and knows its former names."""
    log, model, low = Log("e0"), list[bytes](), 1
    for number, (placed, kept, offset) in enumerate(forks, 1):
        for _ in range(placed):
            model.append(b"%d.%d" % (number, len(model)))
            log.append(model[-1], 0.0)
        log.trim(kept, 1 << 20)
        low = max(low, len(model) - kept + 1)
        log.fork(f"e{number}", offset)
        del model[offset:]
        low = min(low, len(model) + 1)
        assert (log.epoch, log.low, log.head, len(log)) == (f"e{number}", low, len(model), len(model) - low + 1)
        assert log.size_bytes == sum(map(len, model[low - 1 :]))
        assert log.read(low, 1 << 20) == Chunk(low, len(model), b"".join(model[low - 1 :]), log.epoch)
        assert log.lineage[-1] == Fork(f"e{number - 1}", len(model))
