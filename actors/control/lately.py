"""News of the last minutes for an operator who does not know yet which user or thread to ask for.

Each is one sentence, with the command or the option that goes on from there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from actors.control.causes import LOSS_SECONDS, events
from actors.delivery.dead_letters import DeadLetter
from actors.kernel.failures import cut_words
from actors.observability.explain import CAUSES, clock
from actors.observability.refusals import host_of
from actors.observability.refused_pages import KEPT
from actors.runtime import Runtime
from actors.stages import Cause

LATELY_SECONDS = LOSS_SECONDS
"""The age up to which something is news: the time for which a loss is a cause."""

LAG_EVENTS = 100
"""Events that a device lacks and that are worth a look; of fewer it is mostly about to be sent them."""


def lately(runtime: Runtime) -> list[str]:
    """Return the sentences, of each kind one at most."""
    since = runtime.environment.wall_clock() - LATELY_SECONDS
    return [sentence for look in _LOOKS for sentence in look(runtime, since)]


def _pages(runtime: Runtime, since: float) -> Iterator[str]:
    """Say which page was refused most."""
    pages = runtime.tree.refused_pages.since(since)
    if not pages:
        return
    counts = Counter(page.origin for page in pages)
    (origin, count), *others = counts.most_common()
    last = max(page.at for page in pages if page.origin == origin)
    shown = cut_words(origin)
    yield (
        f"pages of {shown} were refused {_times(count)} (origin), the last at {clock(last)}: if they are yours, list"
        f" {shown} in origins= of open_runtime (actors serve --origin), or let the proxy pass on Host as it came"
        + (f"; so were pages of {len(others)} more" if others else "")
    )


def _credentials(runtime: Runtime, since: float) -> Iterator[str]:
    """Say how many clients' credentials were refused, and whose the last were."""
    refusals = runtime.tree.server.authentication.refusals.since(since)
    if refusals:
        last = refusals[-1]
        if last.user_id is None:
            whose = f"from {host_of(last.peer)}, of a user who is not known"
        else:
            whose = f"of {last.user_id}; `actors why {last.user_id}` says more"
        yield f"credentials were refused {_times(len(refusals))}, the last at {clock(last.at)} ({last.reason}), {whose}"


def _drops(runtime: Runtime, since: float) -> Iterator[str]:
    """Say what was dropped, by cause; what leaves the log of a user who is away does so all the time."""
    last: dict[Cause, DeadLetter] = {}
    for letter in runtime.dead_letters:
        if letter.at >= since and _matters(runtime, letter):
            last[letter.cause] = letter
    for cause, letter in last.items():
        if letter.user_id is not None:
            where = f"of {letter.user_id}; `actors why {letter.user_id}` says more"
        else:
            where = f"of thread {letter.thread_id}; `actors why --thread {letter.thread_id}` says more"
        yield f"events were dropped ({cause}: {CAUSES[cause]}), the last at {clock(letter.at)}, {where}"


def _matters(runtime: Runtime, letter: DeadLetter) -> bool:
    if letter.cause is Cause.RETENTION:
        return letter.user_id is not None and runtime.tree.registry.devices(letter.user_id) > 0
    return letter.cause is not Cause.SHUTDOWN


def _behind(runtime: Runtime, since: float) -> Iterator[str]:
    """Say how many devices lack much of what their logs have."""
    survey = runtime.tree.pulse.survey
    if survey.lag_events >= LAG_EVENTS:
        which = "1 device is" if survey.behind == 1 else f"{survey.behind:,} devices are"
        yield f"{which} behind, by {events(survey.lag_events)} at most; `actors connections --behind` lists them"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times{' at least' if count >= KEPT else ''}"


_LOOKS: tuple[Callable[[Runtime, float], Iterator[str]], ...] = (_pages, _credentials, _drops, _behind)
