"""The peer Mosquitto: quality of service 1 and sessions that stay, over TCP.

Over TCP because Debian's build has MQTT over WebSocket through another library, which is slower. ``set_tcp_nodelay``
is what its manual has for latency. The sessions are in memory, as everything here is, and a device away is kept as
many events as our runtime keeps.
"""

from __future__ import annotations

import getpass
from pathlib import Path

import attrs

from benchmarks import process
from benchmarks.framing import mqtt
from benchmarks.peers.events import ready_texts
from benchmarks.peers.publisher import Publisher, broker, free_port, leave_the_server_core
from benchmarks.peers.roster import program
from benchmarks.schedule import Schedule

RETAINED_EVENTS = 1_000
CONNECTED = b"\x20\x02\x00\x00"

CONFIG = """
listener {port} 127.0.0.1
allow_anonymous true
user {user}
persistence false
set_tcp_nodelay true
max_queued_messages {retained}
sys_interval 0
log_dest none
"""


@attrs.define
class Pubacks:
    """Counts the acks of the publisher's packets, which are four bytes each."""

    rest: bytes = b""

    def __call__(self, data: bytes) -> int:
        """Count."""
        if not data:
            raise ConnectionError("expected acks, got the end of the stream")
        data = self.rest + data
        whole = len(data) // mqtt.PUBACK_BYTES
        self.rest = data[whole * mqtt.PUBACK_BYTES :]
        if any(byte != mqtt.PUBACK for byte in data[: whole * mqtt.PUBACK_BYTES : mqtt.PUBACK_BYTES]):
            raise ConnectionError(f"expected acks, got {data[:40]!r}")
        return whole


def packets(schedule: Schedule) -> list[bytes]:
    """Build all packets of a schedule, a turn each."""
    number, built = 0, []
    for texts in ready_texts(schedule):
        turn = b""
        for user, text in texts:
            turn += mqtt.publish(f"user-{user}", mqtt.packet_id_of(number), text)
            number += 1
        built.append(turn)
    return built


def main() -> None:
    """Start the broker, and publish from the parent's START on."""
    options = process.parser(__doc__).parse_args()
    schedule, port = process.begin(options), free_port()

    def config(folder: Path) -> str:
        return CONFIG.format(port=port, user=getpass.getuser(), retained=RETAINED_EVENTS)

    with broker([program("mosquitto") or "mosquitto", "-c"], config, port) as (running, stream):
        leave_the_server_core(options.feeder_cpu)
        stream.sendall(mqtt.connect("publisher"))
        if (answer := stream.recv(4)) != CONNECTED:
            raise ConnectionError(f"expected to be connected, got {answer!r}")
        Publisher(stream, packets(schedule), Pubacks()).play(schedule, port, running.pid)


if __name__ == "__main__":
    main()
