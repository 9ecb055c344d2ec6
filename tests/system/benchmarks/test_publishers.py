"""The publishers of the brokers count what is confirmed, however the bytes come."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.framing import mqtt
from benchmarks.peers import mosquitto, nats_jetstream
from benchmarks.schedule import Schedule

NATS = b'MSG _INBOX.publisher 1 28\r\n{"stream":"events","seq":%d}\r\n'
ANSWERS = {
    "mosquitto": (mosquitto.Pubacks, b"".join(mqtt.puback(bytes([0, number])) for number in range(1, 6))),
    "nats": (nats_jetstream.Confirmations, b"".join(NATS % number for number in range(1, 6))),
}


@pytest.mark.parametrize(("kind", "answers"), ANSWERS.values(), ids=ANSWERS)
def test_every_cut_counts_the_same(kind: Callable[[], Callable[[bytes], int]], answers: bytes) -> None:
    """Five confirmations are five, in one piece, in two, or byte by byte."""
    for cut in range(1, len(answers)):
        count = kind()
        assert count(answers[:cut]) + count(answers[cut:]) == 5
    count = kind()
    assert sum(count(answers[at : at + 1]) for at in range(len(answers))) == 5


@pytest.mark.parametrize("kind", [mosquitto.Pubacks, nats_jetstream.Confirmations])
def test_the_end_of_a_broker_is_an_error(kind: Callable[[], Callable[[bytes], int]]) -> None:
    """A broker that has gone confirms nothing any more, and its run has failed."""
    with pytest.raises(ConnectionError, match="the end of the stream"):
        kind()(b"")


def test_anything_but_an_ack_is_an_error() -> None:
    """A packet that is no ack has another meaning than that the event is stored."""
    with pytest.raises(ConnectionError, match="expected acks"):
        mosquitto.Pubacks()(b"\xe0\x00\xe0\x00")


@pytest.mark.parametrize("packets", [mosquitto.packets, nats_jetstream.packets])
def test_all_packets_are_built_before_the_start(packets: Callable[[Schedule], list[bytes]]) -> None:
    """There is one for each turn, with all events of its burst."""
    schedule = Schedule(connections=3, rate=40, seconds=1.0, burst=4, warmup=0.5)
    built = packets(schedule)
    assert len(built) == schedule.turns
    assert all(one.count(b'"due":') == 4 for one in built)
