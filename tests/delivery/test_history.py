"""One thread's events out of a log: against a naive model, whatever the log holds and whoever asks for how much."""

from __future__ import annotations

from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.delivery.history import Excerpt, excerpt

PLENTY = 1 << 40
THREADS = ["t", "t1", 't"', "\\", "é", ',"thread_id":"t"']


@attrs.frozen
class Entry:
    """An event in a log, or a notice that begins at ``seq0``."""

    thread_id: str
    seq: int
    seq0: int | None
    text: bytes


def entry(thread_id: str, seq: int, seq0: int | None = None, payload: object = None) -> Entry:
    fields: dict[str, Any] = {"type": "tick", "payload": payload or {}, "thread_id": thread_id, "timestamp": 0.5}
    fields |= {} if seq0 is None else {"seq0": seq0}
    return Entry(thread_id, seq, seq0, msgspec.json.encode({**fields, "seq": seq, "offset": 1}))


def ask(
    entries: list[Entry],
    thread_id: str = "t",
    *,
    after_seq: int = 0,
    head_seq: int = 0,
    settled_seq: int | None = None,
    most_events: int = 1_000,
    most_bytes: int = PLENTY,
) -> Excerpt:
    return excerpt(
        (one.text for one in entries),
        thread_id,
        after_seq=after_seq,
        settled_seq=head_seq if settled_seq is None else settled_seq,
        head_seq=head_seq,
        most_events=most_events,
        most_bytes=most_bytes,
    )


payloads = st.dictionaries(
    st.sampled_from(["thread_id", "seq", '"thread_id":"t"', "x"]), st.sampled_from([*THREADS, 1, None]), max_size=3
)


@st.composite
def logs(draw: st.DrawFn) -> tuple[list[Entry], dict[str, int]]:
    """A log in which several threads go on, each with holes and notices; and each thread's newest number."""
    heads = dict.fromkeys(THREADS, 0)
    entries = []
    for thread_id in draw(st.lists(st.sampled_from(THREADS), max_size=12)):
        first = heads[thread_id] + draw(st.integers(1, 3))
        seq = first + draw(st.integers(0, 2))
        entries.append(entry(thread_id, seq, first if seq > first else None, draw(payloads)))
        heads[thread_id] = seq
    for thread_id in THREADS:
        heads[thread_id] += draw(st.integers(0, 2))
    return entries, heads


def ranges(numbers: set[int]) -> tuple[tuple[int, int], ...]:
    """Numbers as ranges."""
    first = [number for number in sorted(numbers) if number - 1 not in numbers]
    last = [number for number in sorted(numbers) if number + 1 not in numbers]
    return tuple(zip(first, last, strict=True))


@given(logs(), st.sampled_from(THREADS), st.integers(0, 12), st.integers(1, 5), st.integers(0, 400), st.integers(0, 2))
def test_against_a_model(
    log: tuple[list[Entry], dict[str, int]], thread_id: str, after: int, most: int, most_bytes: int, held: int
) -> None:
    """The events, the gaps and whether there is more are those of a naive reading of the log."""
    entries, heads = log
    mine = [one for one in entries if one.thread_id == thread_id and one.seq > after]
    taken = 0
    while taken < min(most, len(mine)) and (not taken or sum(len(one.text) for one in mine[: taken + 1]) <= most_bytes):
        taken += 1
    settled = heads[thread_id]
    shown = {number for one in mine[:taken] for number in range(one.seq0 or one.seq, one.seq + 1)}
    end = mine[taken - 1].seq if taken < len(mine) else settled
    gone = set(range(after + 1, end + 1)) - shown
    found = ask(
        entries,
        thread_id,
        after_seq=after,
        settled_seq=settled,
        head_seq=settled + held,
        most_events=most,
        most_bytes=most_bytes,
    )
    assert found.events == tuple(one.text for one in mine[:taken])
    assert (found.more, found.head_seq) == (taken < len(mine), settled + held)
    assert found.gone == ranges(gone)


@given(logs(), st.sampled_from(THREADS), st.integers(1, 3))
def test_page_by_page(log: tuple[list[Entry], dict[str, int]], thread_id: str, most: int) -> None:
    """A reader that asks on from the last number it got gets every event once, and hears of every hole."""
    entries, heads = log
    pages = [ask(entries, thread_id, head_seq=heads[thread_id], most_events=most)]
    while pages[-1].more:
        last = msgspec.json.decode(pages[-1].events[-1])["seq"]
        pages.append(ask(entries, thread_id, after_seq=last, head_seq=heads[thread_id], most_events=most))
    whole = ask(entries, thread_id, head_seq=heads[thread_id])
    assert tuple(text for page in pages for text in page.events) == whole.events
    assert tuple(one for page in pages for one in page.gone) == whole.gone


def test_a_name_within_a_name() -> None:
    """A thread whose name begins another's, and one that is named in another's payload, keep to themselves."""
    entries = [entry("t1", 1), entry("t", 1, payload={"thread_id": "t1", "seq": 9})]
    entries.append(entry("other", 1, payload={"a": {"thread_id": "t"}}))
    assert ask(entries, "t", head_seq=1).events == (entries[1].text,)
    assert ask(entries, "t1", head_seq=1).events == (entries[0].text,)


def test_the_first_event_whatever_its_size() -> None:
    """A bound on bytes never keeps everything back: one event is given, so that whoever asks on comes to an end."""
    entries = [entry("t", seq) for seq in (1, 2)]
    found = ask(entries, head_seq=2, most_bytes=0)
    assert (found.events, found.more) == ((entries[0].text,), True)
    exactly = ask(entries, head_seq=2, most_bytes=sum(len(one.text) for one in entries))
    assert (len(exactly.events), exactly.more) == (2, False)


@pytest.mark.parametrize("after_seq", [0, 1, 2])
def test_a_notice_is_shown_to_whoever_missed_its_end(after_seq: int) -> None:
    """A notice is shown until the last number that it stands for is behind the reader."""
    notice = entry("t", 3, 1)
    assert ask([notice], after_seq=after_seq, head_seq=3).events == (notice.text,)
    assert ask([notice], after_seq=3, head_seq=3).events == ()


def test_what_is_on_its_way_is_not_gone() -> None:
    """A number that was given and may still come into the log is neither shown nor gone."""
    found = ask([entry("t", 2)], settled_seq=3, head_seq=5)
    assert (found.gone, found.head_seq) == (((1, 1), (3, 3)), 5)


def test_nothing() -> None:
    """Of a thread that has nothing there is nothing."""
    assert ask([]) == Excerpt(events=(), gone=(), head_seq=0, more=False)
    assert ask([], after_seq=7, head_seq=5) == Excerpt(events=(), gone=(), head_seq=5, more=False)
