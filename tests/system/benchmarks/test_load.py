"""The load client reads each protocol, counts every event once, and sees what is out of order."""

from __future__ import annotations

import json

import pytest

from benchmarks.framing.rfc6455 import TEXT, client_frame
from benchmarks.load.mqtt import Mqtt
from benchmarks.load.nats import Nats
from benchmarks.load.totals import Totals, quantile
from benchmarks.load.websocket import Actors
from tests.system.benchmarks.streams import STREAMS, Stream, ack_subject, packet_id, wire

EVENTS = 3

every_protocol = pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.kind.name)


@every_protocol
def test_a_connection_is_ready_once_events_can_come(stream: Stream) -> None:
    """Not before the server has said all that it says first: what it takes to connect is measured until then."""
    found = wire(stream.kind)
    found.feed(stream.opening[:-1])
    assert not found.connection.ready
    found.feed(stream.opening[-1:])
    assert found.connection.ready
    assert not found.connection.closed
    assert found.connection.totals.notes == []


@every_protocol
def test_every_cut_counts_the_same(stream: Stream) -> None:
    """Wherever the network cuts the bytes, each event counts once and in order."""
    data = stream.opening + b"".join(map(stream.event, range(1, EVENTS + 1)))
    for cut in range(1, len(data)):
        found = wire(stream.kind)
        found.feed(data[:cut])
        found.feed(data[cut:])
        totals = found.connection.totals
        assert (totals.received, totals.out_of_order, found.connection.n) == (EVENTS, 0, EVENTS)
        assert list(totals.latencies) == [0.5] * EVENTS
        assert totals.notes == []


@every_protocol
def test_a_duplicate_is_seen(stream: Stream) -> None:
    """An event that came before is out of order, and does not count towards those expected."""
    found = wire(stream.kind)
    found.feed(stream.opening + stream.event(1) + stream.event(2) + stream.event(2))
    assert (found.connection.totals.received, found.connection.totals.out_of_order) == (2, 1)


@every_protocol
def test_a_swap_is_seen(stream: Stream) -> None:
    """Two events that changed places are both there, and out of order."""
    found = wire(stream.kind)
    found.feed(stream.opening + stream.event(2) + stream.event(1) + stream.event(3))
    assert (found.connection.totals.received, found.connection.totals.out_of_order) == (3, 1)


@every_protocol
def test_a_hole_is_lost(stream: Stream) -> None:
    """An event that never came is missing in the report."""
    found = wire(stream.kind)
    found.feed(stream.opening + stream.event(1) + stream.event(3))
    report = found.connection.totals.report(3, cpu_seconds=0.0, wall_seconds=1.0)
    assert report.lost == 1
    assert report.broken


def test_an_mqtt_device_acks_each_event() -> None:
    """It owes an ack for each, with the id of that packet, and writes those of one read together."""
    stream = next(one for one in STREAMS if one.kind is Mqtt)
    found = wire(Mqtt)
    found.feed(stream.opening)
    del found.sent[:]
    found.feed(stream.event(1) + stream.event(2))
    assert found.sent == [b"\x40\x02" + packet_id(1) + b"\x40\x02" + packet_id(2)]


def test_a_jetstream_device_acks_its_last_event() -> None:
    """An ack goes to the subject of the last event, which acks all before it."""
    stream = next(one for one in STREAMS if one.kind is Nats)
    found = wire(Nats)
    found.feed(stream.opening + stream.event(1) + stream.event(2))
    del found.sent[:]
    found.connection.ack()
    assert ack_subject(2) + b" 4\r\n+ACK\r\n" in found.sent[0]


def test_a_device_of_ours_acks_its_last_offset_and_resumes_from_it() -> None:
    """The offset of the last event is what it acks, and what it says after a storm, with the epoch and session."""
    stream = next(one for one in STREAMS if one.kind is Actors)
    found = wire(Actors)
    found.feed(stream.opening + stream.event(1) + stream.event(2))
    found.connection.ack()
    assert found.sent[-1] == client_frame(TEXT, b'{"op":"ack","offset":2}')
    before = found.connection
    assert isinstance(before, Actors)
    again = wire(Actors)
    after = again.connection
    assert isinstance(after, Actors)
    after.epoch, after.session, after.offset = before.epoch, before.session, before.offset
    again.feed(stream.opening)
    hello = json.loads(again.sent[0][6:])
    assert hello["session"] == "s"
    assert hello["resume"] == {"epoch": "e", "offset": 2}


def test_quantiles_are_of_what_was_measured() -> None:
    """A quantile is a value that there was, and without any it is infinite, so that no rate holds by silence."""
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.0
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.99) == 4.0
    assert Totals().report(1, 0.0, 1.0).p99_ms == float("inf")
