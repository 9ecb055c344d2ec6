"""A device as a process of its own, on raw sockets: keeps its cursor, acks each event, answers pings, comes back.

Writes down how each connection began, and every offset it took for the first time.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from pathlib import Path
from typing import Any

from tests.support.raw import ACTORS, TEXT, frame, upgrade_request


class Connection:
    """One connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._buffer = b""
        self._socket.sendall(upgrade_request(ACTORS))
        self._read_until(b"\r\n\r\n")

    def send(self, message: dict[str, Any]) -> None:
        self._socket.sendall(frame(TEXT, json.dumps(message).encode()))

    def receive(self) -> dict[str, Any]:
        """The next message, of those short enough for this device."""
        opcode, size = self._read(2)
        assert opcode == 0x80 | TEXT, "the server said goodbye"
        assert size < 127
        if size == 126:
            size = int.from_bytes(self._read(2))
        message = json.loads(self._read(size))
        assert isinstance(message, dict)
        return message

    def _read_until(self, mark: bytes) -> None:
        while mark not in self._buffer:
            self._fill()
        self._buffer = self._buffer.partition(mark)[2]

    def _read(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._fill()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _fill(self) -> None:
        data = self._socket.recv(65_536)
        assert data, "the server has gone"
        self._buffer += data


class ReconnectingDevice:
    """The state that is kept across connections."""

    def __init__(self, port: int, log: Path) -> None:
        self._port = port
        self._log = log
        self._resume_fields: dict[str, Any] = {}
        self._offset = 0

    def connect(self) -> None:
        """One connection, to its end."""
        connection = Connection(self._port)
        connection.send({"op": "hello", "v": 1, "token": "alice"} | self._resume_fields)
        while True:
            self._take(connection, connection.receive())

    def _take(self, connection: Connection, message: dict[str, Any]) -> None:
        if message.get("op") == "welcome":
            self._write(message["resume"])
            self._keep(message["session"], message["epoch"])
        elif message.get("op") == "ping":
            connection.send({"op": "pong"})
        elif message.get("op") == "gap":
            self._write("gap")
        elif "type" in message:
            self._offset = message["offset"]
            self._write(str(self._offset))
            self._resume_fields["resume"]["offset"] = self._offset
            connection.send({"op": "ack", "offset": self._offset})

    def _keep(self, session: str, epoch: str) -> None:
        self._resume_fields = {"session": session, "resume": {"epoch": epoch, "offset": self._offset}}

    def _write(self, line: str) -> None:
        with self._log.open("a") as log:
            log.write(f"{line}\n")


def main() -> None:
    device = ReconnectingDevice(int(sys.argv[1]), Path(sys.argv[2]))
    while True:
        try:
            device.connect()
        except (OSError, AssertionError):
            time.sleep(0.05)


if __name__ == "__main__":
    main()
