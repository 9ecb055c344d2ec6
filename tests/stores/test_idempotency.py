"""The first appends that are still remembered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.stores.idempotency import IdempotencyWindow
from actors.stores.records import FirstAppend

CAPACITY, SECONDS = 4, 10

operations = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("ab"), st.sampled_from("xyz")),
        st.tuples(st.just("expire"), st.none(), st.none()),
        st.tuples(st.just("wait"), st.integers(1, 6), st.none()),
    ),
    max_size=60,
)


@given(operations)
def test_window_agrees_with_a_list(steps: list[tuple[str, str | int | None, str | None]]) -> None:
    """The newest ids are remembered, up to a number and for a time, each with its newest append."""
    window, model, now = IdempotencyWindow(CAPACITY, SECONDS), list[tuple[str, str, FirstAppend]](), 0
    for name, first, second in steps:
        if name == "put":
            thread_id, event_id = str(first), str(second)
            append = FirstAppend(b"f", now, float(now))
            window.put(thread_id, event_id, append)
            model = [entry for entry in model if entry[:2] != (thread_id, event_id)]
            model = [*model, (thread_id, event_id, append)][-CAPACITY:]
        elif name == "expire":
            window.expire(now)
            model = [entry for entry in model if entry[2].at >= now - SECONDS]
        else:
            now += int(first or 0)
        assert len(window) == len(model)
        fresh = {entry[:2]: entry[2] for entry in model if entry[2].at >= now - SECONDS}
        for key in ((thread_id, event_id) for thread_id in "ab" for event_id in "xyz"):
            assert window.get(*key, now) is fresh.get(key)


def test_the_edge_of_the_window() -> None:
    """An id is remembered at the very end of its time, and not after it, swept or not."""
    window = IdempotencyWindow(10, 10.0)
    window.put("t", "e", FirstAppend(b"f", 1, 0.0))
    assert not window.expire(10.0)
    assert window.get("t", "e", 10.0) is not None
    assert window.get("t", "e", 10.1) is None
    assert window.expire(10.1)
    assert len(window) == 0


def test_an_id_given_anew_is_new() -> None:
    """An id that is given again after its time is remembered from then on, and does not go with its older self."""
    window = IdempotencyWindow(2, 10.0)
    for event_id, at in (("x", 0.0), ("y", 1.0), ("x", 11.0), ("z", 12.0)):
        window.put("t", event_id, FirstAppend(b"f", 1, at))
    assert window.get("t", "x", 12.0) is not None
    assert window.get("t", "y", 12.0) is None
