"""What is said once in a while."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.delivery.reminders import Reminders


@given(
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 6)), max_size=60),
)
def test_agrees_with_its_definition(most: int, steps: list[tuple[str, int]]) -> None:
    """A key is spoken of when it was not within the period, and fewer than so many others were; the rest is counted."""
    reminders, said, unsaid, now = Reminders(most, 10.0), dict[str, int](), 0, 0
    for key, pause in steps:
        now += pause
        recent = {one for one, at in said.items() if at > now - 10}
        expected: int | None = None
        if key not in recent and len(recent) < most:
            expected, unsaid, said[key] = unsaid, 0, now
        elif key not in recent:
            unsaid += 1
        assert reminders.take(key, float(now)) == expected


def test_memory_is_bounded() -> None:
    """Of however many keys, no more are kept than may be spoken of."""
    reminders = Reminders(100, 60.0)
    answers = [reminders.take(f"t{number}", number / 1_000) for number in range(10_000)]
    assert answers.count(0) == 100
    assert len(reminders._said) == 100
    assert reminders.take("later", 1_000.0) == 9_900
