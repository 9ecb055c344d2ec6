"""Look at a runtime from outside: what it does, why an event has not arrived, and the way out of a quarantine.

    async with trio.open_nursery() as nursery:
        await nursery.start(actors.control.serve, runtime)

Then the commands of this machine's account find it: ``actors why alice``.
"""

from actors.control.socket import serve

__all__ = ["serve"]
