"""The beginning of a run: its ``agent_started``, and the message ``active`` for devices while the run is active."""

from __future__ import annotations

import msgspec

from actors.events.event import Lifecycle
from actors.protocol import server_messages
from actors.runs.output import Output
from actors.threads.messages import Emission


class Beginning:
    """The first event of one run, emitted or to come."""

    __slots__ = ("_about", "_emission", "_run_id", "_thread_id", "waiting")

    def __init__(self, thread_id: str, run_id: str, *, about: dict[str, str]) -> None:
        self._thread_id = thread_id
        self._run_id = run_id
        self._about = about
        self._emission: Emission | None = None
        self.waiting: bool = False
        """True while the run waits for its turn."""

    def __repr__(self) -> str:
        state = "waiting for its turn" if self.waiting else "emitted" if self.emitted else "to come"
        return f"<Beginning of {self._run_id}: {state}>"

    def compose(self, output: Output, traceparent: str | None) -> Emission:
        """Encode ``agent_started``, without emitting it; raises as the output's ``compose`` does.

        Of a run's events it alone has the ``traceparent``, because it stands for all.
        """
        return output.compose(Lifecycle.AGENT_STARTED, self._about, traceparent=traceparent)

    def begin(self, output: Output, traceparent: str | None = None) -> Emission:
        """Encode it as the event with which the run begins, once it is emitted."""
        self._emission = self.compose(output, traceparent)
        return self._emission

    @property
    def emitted(self) -> bool:
        """True if ``agent_started`` was emitted."""
        return self._emission is not None and self._emission.returned

    @property
    def first_owner(self) -> str | None:
        """The user in whose log the run began; ``None`` where it is in none yet."""
        position = None if self._emission is None else self._emission.receipt.position
        return None if position is None else position.user_id

    @property
    def standing(self) -> bytes | None:
        """The message ``active`` for the run; ``None`` where the log has yet to say that it begins."""
        if self.waiting:
            about = {"type": Lifecycle.AGENT_STARTED, "payload": self._about}
            event = {**about, "thread_id": self._thread_id, "run_id": self._run_id}
            return _active(msgspec.json.encode(event), waiting=True)
        if self._emission is None or not self.emitted:
            return None
        return _active(self._emission.body + b"}")


def _active(event: bytes, *, waiting: bool = False) -> bytes:
    return server_messages.encode(server_messages.Active(msgspec.Raw(event), waiting))
