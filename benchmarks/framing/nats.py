"""NATS client protocol: a durable consumer of JetStream for each device, and publishing that is confirmed."""

from __future__ import annotations

import json

STREAM = "events"
PONG = b"PONG\r\n"
PING = b"PING\r\n"
ACK_PREFIX = b"$JS.ACK."
CREATED = b'"stream_name":'
"""In the answer to the creation of a consumer."""

STORED = b'"stream":"'
"""In the confirmation of an event that the stream has."""

CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"echo":false,"headers":false,"no_responders":false}\r\n'


def subject_of(user: int) -> str:
    """Return the subject of a user's events."""
    return f"user.{user}"


def subscribe(subject: str, subscription: int) -> bytes:
    """Build a SUB."""
    return f"SUB {subject} {subscription}\r\n".encode()


def publish(subject: str, reply: str, payload: bytes) -> bytes:
    """Build a PUB that is answered to ``reply``, or not at all where that is empty."""
    return f"PUB {subject} {reply}{' ' if reply else ''}{len(payload)}\r\n".encode() + payload + b"\r\n"


def ack(reply: bytes) -> bytes:
    """Build the ack of the event with such a reply subject, and of all before it."""
    return b"PUB " + reply + b" 4\r\n+ACK\r\n"


def create_stream(reply: str, retained_events: int) -> bytes:
    """Build the request for a stream in memory, which retains the last events of each user.

    It names how many consumers it may have because a stream that does not has 1,000 since nats-server 2.15.
    """
    config = {
        "name": STREAM,
        "subjects": ["user.*"],
        "storage": "memory",
        "retention": "limits",
        "discard": "old",
        "max_msgs_per_subject": retained_events,
        "max_consumers": 100_000,
    }
    return publish(f"$JS.API.STREAM.CREATE.{STREAM}", reply, json.dumps(config).encode())


def create_consumer(device: str, user: int, deliver: str, reply: str) -> bytes:
    """Build the request for a device's durable consumer, which is pushed to ``deliver`` and acks cumulatively."""
    config = {
        "durable_name": device,
        "filter_subject": subject_of(user),
        "deliver_subject": deliver,
        "deliver_policy": "all",
        "ack_policy": "all",
        "mem_storage": True,
    }
    request = json.dumps({"stream_name": STREAM, "config": config}).encode()
    return publish(f"$JS.API.CONSUMER.DURABLE.CREATE.{STREAM}.{device}", reply, request)
