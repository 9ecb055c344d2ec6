"""The load client writes what the protocols say, as other implementations and the standards have it."""

from __future__ import annotations

import pytest
from wsproto.frame_protocol import FrameProtocol

from benchmarks.framing import mqtt, nats
from benchmarks.framing.rfc6455 import TEXT, client_frame, extent, server_frame


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535])
def test_a_client_frame_is_one_to_another_implementation(size: int) -> None:
    """wsproto reads the frame as a server would, which requires a mask."""
    protocol = FrameProtocol(client=False, extensions=[])
    protocol.receive_bytes(client_frame(TEXT, b"x" * size))
    [frame] = protocol.received_frames()
    assert frame.payload == "x" * size
    assert frame.message_finished


@pytest.mark.parametrize("size", [0, 125, 126, 65_535])
def test_a_server_frame_has_its_extent(size: int) -> None:
    """The payload of a frame is where the load client looks for it."""
    data = bytearray(server_frame(b"x" * size) + bytes(16))
    start, stop = extent(data, 0)
    assert data[start:stop] == b"x" * size
    assert stop == len(data) - 16


def test_mqtt_packets_are_those_of_the_standard() -> None:
    """Byte for byte, by MQTT 3.1.1: a CONNECT without a clean session, and a PUBLISH at quality of service 1."""
    assert mqtt.connect("d") == b"\x10\x0d\x00\x04MQTT\x04\x00\x00\x00\x00\x01d"
    assert mqtt.subscribe("t") == b"\x82\x06\x00\x01\x00\x01t\x01"
    assert mqtt.publish("t", 258, b"body") == b"\x32\x09\x00\x01t\x01\x02body"
    assert mqtt.puback(b"\x01\x02") == b"\x40\x02\x01\x02"


@pytest.mark.parametrize(("size", "length"), [(127, b"\x7f"), (128, b"\x80\x01"), (16_384, b"\x80\x80\x01")])
def test_mqtt_lengths_are_those_of_the_standard(size: int, length: bytes) -> None:
    """The remaining length has seven bits a byte, and is read back as it was written."""
    packet = mqtt.publish("t", 1, b"x" * (size - 5))
    assert packet[1 : 1 + len(length)] == length
    assert mqtt.extent(bytearray(packet + bytes(16)), 0) == (1 + len(length), len(packet))


def test_ids_of_mqtt_packets_come_round_without_zero() -> None:
    """A packet's id is 1 to 65,535, because the standard has no packet 0."""
    assert [mqtt.packet_id_of(number) for number in (0, 65_534, 65_535)] == [1, 65_535, 1]


def test_a_nats_publish_says_how_many_bytes_follow() -> None:
    """The count is of the payload alone, with a reply subject and without."""
    assert nats.publish("user.1", "_INBOX.a", b"body") == b"PUB user.1 _INBOX.a 4\r\nbody\r\n"
    assert nats.publish("user.1", "", b"body") == b"PUB user.1 4\r\nbody\r\n"
