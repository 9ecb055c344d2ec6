"""The schedule of a run: what is due when, for which user, and how much of it a connection is to get."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.process import arguments_of, parser, schedule_of
from benchmarks.schedule import Schedule

SCHEDULES = [
    Schedule(connections=7, rate=50, seconds=2.0),
    Schedule(connections=5, rate=80, seconds=1.0, burst=8, warmup=0.3),
    Schedule(connections=6, rate=30, seconds=1.0, devices=3),
    Schedule(connections=3, rate=30, seconds=1.0, threads=4),
]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_user_gets_what_the_load_client_expects(schedule: Schedule) -> None:
    """All turns together have for each user as many events as are expected, numbered from 1 without a hole."""
    numbers: dict[int, list[object]] = {user: [] for user in range(schedule.users)}
    for turn in range(schedule.turns):
        for due in schedule.turn(turn):
            numbers[due.user].append(due.payload["n"])
    for user, found in numbers.items():
        assert found == list(range(1, schedule.events(user) + 1))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_devices_of_all_users_are_the_connections(schedule: Schedule) -> None:
    """Each user has as many of the connections as the schedule says."""
    found = Counter(schedule.user_of(number) for number in range(schedule.connections))
    assert dict(found) == dict.fromkeys(range(schedule.users), schedule.devices)


def test_the_threads_of_a_user_take_turns() -> None:
    """Each thread gets an event before one gets a second."""
    schedule = SCHEDULES[-1]
    threads = [due.thread for turn in range(schedule.turns) for due in schedule.turn(turn) if due.user == 0]
    assert threads[:8] == [0, 1, 2, 3, 0, 1, 2, 3]


def test_events_are_due_at_the_rate() -> None:
    """A burst is due at one moment, and bursts are as far apart as the rate of events asks for."""
    schedule = SCHEDULES[1]
    assert [due.payload["due"] for due in schedule.turn(0)] == [0.0] * 8
    assert [due.payload["due"] for due in schedule.turn(5)] == [0.5] * 8


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_process_has_the_schedule_of_its_parent(schedule: Schedule) -> None:
    """The arguments carry all of it, because server and load client must not differ."""
    assert schedule_of(parser("").parse_args(list(map(str, arguments_of(schedule))))) == schedule
