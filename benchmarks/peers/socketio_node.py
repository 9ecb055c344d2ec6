"""The peer Socket.IO on Node, with connection state recovery; the server itself is ``socketio_node.mjs``.

    npm install --prefix ~/.cache/trio-actors-node socket.io bufferutil

``BENCHMARKS_NODE`` names another folder than that one. ``bufferutil`` is the add-on for speed that its page on
performance tuning recommends.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import attrs

from benchmarks import process
from benchmarks.peers.roster import NODE_FOLDER, program

SCRIPT = Path(__file__).with_name("socketio_node.mjs")


def main() -> None:
    """Become Node, on the core of the server."""
    options = process.parser(__doc__).parse_args()
    schedule = process.begin(options)
    node = program("node") or "node"
    words = attrs.asdict(schedule) | {"users": schedule.users, "turns": schedule.turns}
    os.execv(node, [node, str(SCRIPT), str(NODE_FOLDER), json.dumps(words)])  # noqa: S606 - the same program


if __name__ == "__main__":
    main()
