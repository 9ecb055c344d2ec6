"""The protocols that the load client speaks, by name."""

from __future__ import annotations

from benchmarks.load.connection import Connection
from benchmarks.load.mqtt import Mqtt
from benchmarks.load.nats import Nats
from benchmarks.load.socketio import SocketIO
from benchmarks.load.websocket import Actors, Plain

PROTOCOLS: dict[str, type[Connection]] = {one.name: one for one in (Actors, Plain, SocketIO, Mqtt, Nats)}
