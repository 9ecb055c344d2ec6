"""The peer NATS JetStream: one stream in memory, a durable push consumer for each device, over WebSocket.

The consumers ack cumulatively (``ack_policy: all``), which its page on consumers has for throughput, and which is what
our devices do. The publisher does not wait for one confirmation before the next event, as its page on publishing
advises, and counts all of them.
"""

from __future__ import annotations

from pathlib import Path

import attrs

from benchmarks import process
from benchmarks.framing import nats
from benchmarks.peers.events import ready_texts
from benchmarks.peers.publisher import RECEIVE_BYTES, Publisher, broker, free_port, leave_the_server_core
from benchmarks.peers.roster import program
from benchmarks.schedule import Schedule

RETAINED_EVENTS = 1_000
ANSWERS = "_INBOX.publisher"

CONFIG = """
listen: "127.0.0.1:{port}"
max_connections: 100000
websocket {{ listen: "127.0.0.1:{websocket_port}", no_tls: true, compression: false }}
jetstream {{ store_dir: "{folder}", max_memory_store: 8GB }}
"""


@attrs.define
class Confirmations:
    """Counts the answers to the publisher's events, wherever the network cuts them.

    A refusal is one as well, because the load client sees for itself which events do not come.
    """

    rest: bytes = b""

    def __call__(self, data: bytes) -> int:
        """Count."""
        if not data:
            raise ConnectionError("expected confirmations, got the end of the stream")
        data = self.rest + data
        found = data.rfind(nats.STORED)
        counted = found + len(nats.STORED) if found >= 0 else 0
        self.rest = data[max(counted, len(data) - len(nats.STORED) + 1) :]
        return data.count(nats.STORED)


def packets(schedule: Schedule) -> list[bytes]:
    """Build all packets of a schedule, a turn each."""
    return [
        b"".join(nats.publish(nats.subject_of(user), ANSWERS, text) for user, text in texts)
        for texts in ready_texts(schedule)
    ]


def main() -> None:
    """Start the broker, create the stream, and publish from the parent's START on."""
    options = process.parser(__doc__).parse_args()
    schedule, port, websocket_port = process.begin(options), free_port(), free_port()

    def config(folder: Path) -> str:
        return CONFIG.format(port=port, websocket_port=websocket_port, folder=folder)

    with broker([program("nats-server") or "nats-server", "-c"], config, port) as (running, stream):
        leave_the_server_core(options.feeder_cpu)
        stream.sendall(nats.CONNECT + nats.subscribe(ANSWERS, 1) + nats.create_stream(ANSWERS, RETAINED_EVENTS))
        answer = b""
        while b'"config":' not in answer:
            answer += stream.recv(RECEIVE_BYTES)
            if b'"error"' in answer or b"-ERR" in answer:
                raise ConnectionError(f"expected a stream, got {answer!r}")
        Publisher(stream, packets(schedule), Confirmations()).play(schedule, websocket_port, running.pid)


if __name__ == "__main__":
    main()
