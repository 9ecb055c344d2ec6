"""The neighbours of a connection: what is told through them."""

from __future__ import annotations

import actors
from actors import Instrument


class Recorder(Instrument):
    """Keeps where devices were told to begin."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def resumed(self, path: str, verdict: str) -> None:
        self.told.append((path, verdict))


async def test_every_device_is_told_of_by_its_path() -> None:
    """An instrument hears where a device begins, of one in the process as of one on a socket; without one nothing
    happens."""
    recorder = Recorder()
    async with actors.open_runtime() as runtime:
        async with runtime.follow("alice"):
            runtime.instruments.add(recorder)
        async with runtime.follow("alice") as followed:
            assert followed.position == (followed.position[0], 0)
    assert recorder.told == [("users/alice/connections/f2", "fresh")]
