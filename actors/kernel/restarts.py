"""OTP's supervision as arithmetic: the children that are restarted, how often, and how soon.

The words and the rules are those of Erlang's ``supervisor`` behaviour
(https://www.erlang.org/doc/system/sup_princ.html). The pause before a restart
is not: OTP restarts at once, which suits processes that fail on their own
state; ours mostly fail on something outside, which needs a moment.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

import attrs
from attrs.validators import ge, gt


class Strategy(enum.Enum):
    """The children that a restart concerns."""

    ONE_FOR_ONE = enum.auto()
    """The child that exited."""
    ONE_FOR_ALL = enum.auto()
    """Every child."""
    REST_FOR_ONE = enum.auto()
    """The child that exited, and those started after it."""


class Restart(enum.Enum):
    """The exits after which a child is restarted."""

    PERMANENT = enum.auto()
    """After each exit."""
    TRANSIENT = enum.auto()
    """After a crash."""
    TEMPORARY = enum.auto()
    """Never, not even with its siblings."""


@attrs.frozen
class Plan:
    """The consequences of one exit, as indexes in the order of start. Both empty: none."""

    stop: tuple[int, ...] = ()
    """Children to stop, the latest first; those that do not run need no stopping."""
    start: tuple[int, ...] = ()
    """Children to start, in this order."""


def plan(strategy: Strategy, children: Sequence[Restart], exited: int, *, crashed: bool) -> Plan:
    """Plan for the exit of the child at index ``exited``, which has crashed or else returned.

    As in OTP, a transient sibling that had returned is started again along with the others.
    """
    kind = children[exited]
    if kind is Restart.TEMPORARY or (kind is Restart.TRANSIENT and not crashed):
        return Plan()
    first = 0 if strategy is Strategy.ONE_FOR_ALL else exited
    end = exited + 1 if strategy is Strategy.ONE_FOR_ONE else len(children)
    return Plan(
        stop=tuple(index for index in reversed(range(first, end)) if index != exited),
        start=tuple(index for index in range(first, end) if children[index] is not Restart.TEMPORARY),
    )


@attrs.frozen
class Intensity:
    """The restarts allowed within a period; one more spends the budget."""

    restarts: int = attrs.field(validator=ge(0))
    period_seconds: float = attrs.field(validator=gt(0))


class RestartWindow:
    """The restarts of the last period; their number is its length.

    A few hundred bytes in any case, because it keeps one time more than are allowed.
    """

    __slots__ = ("_intensity", "_times")

    def __init__(self, intensity: Intensity) -> None:
        self._intensity = intensity
        self._times: tuple[float, ...] = ()

    def spent(self, now: float) -> bool:
        """Record a restart at ``now``, monotonic seconds; True when it is one too many.

        A restart exactly one period ago still counts (OTP's ``add_restart``).
        """
        oldest = now - self._intensity.period_seconds
        times = (*(time for time in self._times if time >= oldest), now)
        self._times = times[-(self._intensity.restarts + 1) :]
        return len(self._times) > self._intensity.restarts

    def __len__(self) -> int:
        """Restarts within the period that ended with the latest one, which is included."""
        return len(self._times)

    def __repr__(self) -> str:
        return f"<RestartWindow {len(self._times)} of {self._intensity.restarts}>"


@attrs.frozen(kw_only=True)
class Backoff:
    """The pause before a restart: exponential, bounded, with jitter. Seconds.

    Pauses stretch a crash loop. Their sum over all restarts that an :class:`Intensity`
    allows must stay well within its period, or the loop never spends it.
    """

    first_seconds: float = attrs.field(validator=ge(0))
    factor: float = attrs.field(validator=ge(1))
    longest_seconds: float = attrs.field(validator=ge(0))

    def delay(self, attempt: int, jitter: float) -> float:
        """Seconds before the ``attempt``-th restart (from 1), for a random ``jitter`` in [0, 1).

        Between half and whole, "equal jitter" in Brooker's *Exponential Backoff And Jitter*
        (AWS, 2015). Full jitter spreads a crowd of clients better, but may also wait not at
        all; here few restart together, and their dependencies always get some time.
        """
        try:
            whole = min(self.first_seconds * self.factor ** (attempt - 1), self.longest_seconds)
        except OverflowError:
            whole = self.longest_seconds
        return whole * (1 + jitter) / 2


@attrs.frozen(kw_only=True)
class Budget:
    """The restarts that one actor gets, the pauses before them, and its time to stop.

    The default intensity is that of Elixir's ``DynamicSupervisor``, and the
    default time to stop is OTP's for workers.
    """

    intensity: Intensity = attrs.field(default=Intensity(restarts=3, period_seconds=5.0))
    backoff: Backoff = attrs.field(default=Backoff(first_seconds=0.05, factor=2.0, longest_seconds=1.0))
    shutdown_seconds: float = 5.0
    """Time for a cancelled actor to end before it is reported as shielding itself."""
    remembered: int = 1_000
    """Actors of which restarts are remembered at once."""
