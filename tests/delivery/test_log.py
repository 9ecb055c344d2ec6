"""The events that a user's log retains, and those of them that a read returns."""

from __future__ import annotations

import gc
from array import array
from itertools import dropwhile, takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.delivery.bounds import Chunk
from actors.delivery.frames import text_frame
from actors.delivery.lineage import MOST_FORKS, Fork
from actors.delivery.log import Log, NotAtHand
from actors.events.event import placed

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


@given(st.lists(st.integers(0, 70_000) | st.integers(90, 130) | st.integers(65_500, 65_540), max_size=6))
def test_a_body_is_placed_as_its_frame(sizes: list[int]) -> None:
    """An event that a log numbers and frames itself is there as its text, framed, would be."""
    one, other = Log("e"), Log("e")
    for seq, size in enumerate(sizes, 3):
        body = b"x" * size
        assert one.place(body, seq, 1.0) == other.append(text_frame(placed(body, seq, other.head + 1)), 1.0)
    assert (one.low, one.head, one.shown, one.size_bytes) == (other.low, other.head, other.shown, other.size_bytes)
    assert one.read(1, 1 << 30) == other.read(1, 1 << 30)
    assert list(one.texts()) == list(other.texts())


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
    for number, (count, kept, offset) in enumerate(forks, 1):
        for _ in range(count):
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


# --- what is not shown, and what is not at hand -------------------------------------------


class LogMachine(RuleBasedStateMachine):
    """A log whose events are on their way to a disk, or on it alone, against lists of what it was given."""

    @initialize(restored=st.integers(0, 5), low=st.integers(1, 4))
    def open(self, restored: int, low: int) -> None:
        """Begin with what an earlier life left."""
        self.texts: dict[int, bytes | None] = {low + n: b"x" * (n + 1) for n in range(restored)}
        times, sizes = array("d", [0.0] * restored), array("I", range(1, restored + 1))
        self.log = Log.restore("e0", (), low=low, times=times, sizes=sizes)
        self.times = dict.fromkeys(self.texts, 0.0)
        self.low, self.head = low, low + restored - 1
        self.shown, self.at_hand = self.head, self.head + 1
        self.now, self.forks = 0.0, dict[str, int]()

    @rule(size=st.integers(1, 200), ahead=st.booleans())
    def append(self, size: int, ahead: bool) -> None:
        """An event, on its way to the disk or not."""
        self.now += 1.0
        self.head += 1
        self.texts[self.head], self.times[self.head] = b"%d" % (self.head % 10) * size, self.now
        frame = text_frame(self.texts[self.head] or b"")
        assert (self.log.append_ahead if ahead else self.log.append)(frame, self.now) == self.head
        self.shown = self.shown if ahead else self.head

    @rule(more=st.integers(0, 5))
    def show(self, more: int) -> None:
        """Some of what was ahead has arrived."""
        self.log.shown = self.shown = min(self.shown + more, self.head)

    @rule(keep=st.integers(1, 6))
    def trim(self, keep: int) -> None:
        """So many are kept, of those that are shown."""
        self.log.trim(keep, 1 << 30)
        self.cut(self.shown - keep + 1)

    @rule(age=st.integers(0, 6))
    def expire(self, age: int) -> None:
        """What is shown, and older, goes."""
        self.log.expire(self.now - age)
        old = [offset for offset in range(self.low, self.shown + 1) if self.times[offset] < self.now - age]
        self.cut(max(old, default=0) + 1)

    @rule(count=st.integers(1, 4), damaged=st.booleans())
    def load(self, count: int, damaged: bool) -> None:
        """Events are brought to hand, down from the first that is."""
        first = max(self.at_hand - count, self.low)
        texts = [self.texts[offset] for offset in range(first, self.at_hand)]
        if damaged and texts:
            texts[0] = self.texts[first] = None
        self.log.load(first, texts)
        self.at_hand = first

    @rule()
    def load_what_is_there(self) -> None:
        """What another task has loaded meanwhile stays as it is."""
        self.log.load(self.low, [b"another"] * max(self.at_hand - self.low + 1, 0))

    @precondition(lambda self: self.shown == self.head)
    @rule()
    def unload(self) -> None:
        """All is let go of, but for its numbers."""
        self.log.unload()
        self.at_hand = self.head + 1

    @rule(back=st.integers(0, 5))
    def fork(self, back: int) -> None:
        """The newest are lost."""
        offset = max(min(self.head - back, self.shown), 0)
        self.forks = {epoch: min(last, offset) for epoch, last in self.forks.items()} | {self.log.epoch: offset}
        self.log.fork(f"e{len(self.forks)}", self.head - back)
        self.head = self.shown = offset
        self.low = min(self.low, offset + 1)
        self.at_hand = min(self.at_hand, offset + 1)

    def cut(self, low: int) -> None:
        """The model's events below an offset are gone."""
        self.low = max(self.low, low)
        self.at_hand = max(self.at_hand, self.low)

    @invariant()
    def it_reads_as_the_lists(self) -> None:
        """From any offset on, what is shown and at hand is read, and holes are stepped over."""
        log = self.log
        assert (log.low, log.head, log.shown, log.at_hand) == (self.low, self.head, self.shown, self.at_hand)
        assert [(one.epoch, one.offset) for one in log.lineage] == list(self.forks.items())[-MOST_FORKS:]
        for first in range(self.low, self.shown + 1):
            if first < self.at_hand:
                with pytest.raises(NotAtHand):
                    log.read(first, 1 << 30)
                continue
            offsets = dropwhile(lambda offset: self.texts[offset] is None, range(first, self.shown + 1))
            run = list(takewhile(lambda offset: self.texts[offset] is not None, offsets))
            chunk = log.read(first, 1 << 30)
            assert chunk.frames == b"".join(text_frame(self.texts[offset] or b"") for offset in run)
            assert [*range(chunk.first, chunk.last + 1)] == run

    @invariant()
    def it_knows_its_size(self) -> None:
        """The size is that of the frames at hand, and about that of the others."""
        at_hand = [text_frame(self.texts[o] or b"") for o in range(self.at_hand, self.head + 1) if self.texts[o]]
        away = [len(self.texts[offset] or b"") + 4 for offset in range(self.low, self.at_hand)]
        assert abs(self.log.size_bytes - sum(map(len, at_hand)) - sum(away)) <= 4 * len(away)


TestLogMachine = LogMachine.TestCase
TestLogMachine.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)


def test_texts_are_those_at_hand() -> None:
    """All texts that are shown are given, or none while some are not at hand; damaged ones are left out."""
    log = Log.restore("e", (), low=1, times=array("d", [0.0, 0.0]), sizes=array("I", [1, 1]))
    with pytest.raises(NotAtHand):
        log.texts()
    log.load(1, [None, b"2"])
    log.append_ahead(text_frame(b"3"), 1.0)
    assert list(log.texts()) == [b"2"]
    assert list(Log("e").texts()) == []
