"""What becomes of a user's messages and devices that the actor could not finish."""

from __future__ import annotations

from typing import Any, cast

import pytest

import actors
from actors import Stage
from actors.delivery.balance import Balance
from actors.errors import PeerError
from actors.kernel.failures import Failure
from actors.kernel.mailbox import Ended
from actors.kernel.signals import Reply
from actors.protocol.codes import CLOSINGS
from actors.users.dead_letters import UserKind
from actors.users.presence import Acked, Attach, Departure, Detach, Session, Subscriber


class Device:
    """A device of alice, and how it was ended."""

    label, user_id, subscription = "c1", "alice", None

    def __init__(self) -> None:
        self.ended: tuple[str, str] | None = None

    def end(self, name: str, text: str) -> None:
        """End it."""
        self.ended = name, text


def kind_of(runtime: actors.Runtime) -> UserKind:
    return cast(UserKind, runtime.tree.users._kind)


@pytest.mark.parametrize("ended", Ended)
async def test_a_device_is_told_why_it_has_no_place(ended: Ended) -> None:
    """An attach is refused with a row of the closing table, whatever ended the actor."""
    async with actors.open_runtime() as runtime:
        reply: Reply[Session] = Reply()
        kind_of(runtime).dead_letter(Attach(cast(Subscriber, Device()), None, None, "low", reply), ended)
        with pytest.raises(PeerError) as refused:
            await reply.wait()
        assert refused.value.name in CLOSINGS


async def test_acks_and_departures_are_not_lost() -> None:
    """No device sends them again."""
    async with actors.open_runtime() as runtime:
        kind, device = kind_of(runtime), cast(Any, Device())
        receipt = await runtime.thread("t").emit("x", {}, user_id="alice")
        ledger = runtime.tree.accounts.users["alice"].ledger
        ledger.write(1, 1)
        kind.dead_letter(Acked(ledger, [(1, 1)]), Ended.CRASHED)
        assert receipt.stage is Stage.ACKED
        presence = runtime.tree.registry.presence("alice")
        presence.devices.append(device)
        kind.dead_letter(Detach(device, Departure(label="c1", name="left", text="", at=0.0)), Ended.CRASHED)
        assert (presence.devices, [one.label for one in presence.departures]) == ([], ["c1"])


async def test_a_quarantine_ends_devices_and_no_events() -> None:
    """The user's sockets are closed, and explain knows why they are gone; events stay in the log, and the log in its
    epoch, for the devices' return."""
    async with actors.open_runtime() as runtime:
        device = Device()
        receipt = await runtime.thread("t").emit("x", {}, user_id="alice")
        bounds = runtime.tree.store.known_bounds("alice")
        runtime.tree.registry.presence("alice").devices.append(cast(Subscriber, device))
        failure = Failure(path="users/alice", handling="Ring", error="", traceback="", at=0.0)
        kind_of(runtime).quarantined("alice", failure)
        assert device.ended == ("quarantined", "")
        assert runtime.tree.registry.devices("alice") == 0
        assert "no device is here; the last, c1, went at " in str(runtime.explain(receipt))
        assert "(quarantined: this user was taken out of service" in str(runtime.explain(receipt))
        assert receipt.stage is Stage.STORED
        assert runtime.tree.store.known_bounds("alice") == bounds
        assert runtime.audit().total == Balance(accepted=1, retained=1)
