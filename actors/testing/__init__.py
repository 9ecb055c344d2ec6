"""A seeded simulation of the whole runtime, to test your own agents with; and how the runtime itself is tested.

    async def scenario(world: World) -> None:
        device = world.device("alice")
        device.ask("send", payload={"text": "hello"})
        await world.settle()
        assert device.seen[-1]["type"] == "agent_completed"

    run_seeds(scenario, range(100), on_message=my_agent)

Real actors, real session code and the real protocol engine run under one
integer: scheduling, time, ids and every misfortune follow from it. The same
seed is the same run, event for event. It is the idea of FoundationDB's
simulation and of TigerBeetle's VOPR; what is allowed to go wrong is drawn anew
for each seed (swarm testing), and an independent oracle has the last word.

    python -m actors.testing --seeds 10000      many seeds, with everything going wrong
    python -m actors.testing --seed 42          one of them; a failing plan is made as short as it fails
    python -m actors.testing --seed 42 --trace  all that happened

From the ground up: what is pure (``plan``, ``shrinking``, ``owners``,
``records``, ``frames``, and the ``oracle`` with a check for each kind of claim:
``protocol_check``, ``placement_check``, ``receipt_check``), what is seeded
(``chance``, ``determinism``), the parts of a world (``network``, ``wire_tap``,
``store``, ``crashes``, ``device``, ``troubles``), the ``world`` and its
``verdict`` on the ten ``invariants``, and what is done in it (``agents``,
``actions``, ``performance``, ``scenarios``). With pytest:
:mod:`actors.testing.fixtures`.

Real sockets have no seed. For a real server and real clients there is a TCP
proxy that delays, slices, stalls, resets and forgets their connections:

    async with fault_proxy("127.0.0.1", 8765, lambda: Faults(down=Way(limit_bytes=500), harm="reset")) as proxy:
        ...

The proxy is ``proxy``, one of its connections ``link``, and the pure part ``network_faults``.
"""

from actors.testing.chance import Chance
from actors.testing.determinism import TrioChanged, run
from actors.testing.device import Device
from actors.testing.network_faults import Faults, Way
from actors.testing.proxy import FaultProxy, fault_proxy
from actors.testing.records import Mismatch
from actors.testing.scenarios import cancel_at_every_step, fail_every_store_call, run_seeds
from actors.testing.world import Mismatched, World, simulate

__all__ = [
    "Chance",
    "Device",
    "FaultProxy",
    "Faults",
    "Mismatch",
    "Mismatched",
    "TrioChanged",
    "Way",
    "World",
    "cancel_at_every_step",
    "fail_every_store_call",
    "fault_proxy",
    "run",
    "run_seeds",
    "simulate",
]
