"""Bugs of the runtime that are known and not mended yet: what would bring them about is not done.

Each entry is a sentence. Take it out when the bug is mended, and the simulation
looks for it from then on.
"""

from __future__ import annotations

BIND_UNANSWERED = "a bind whose answer was lost is asked again, and what it placed stays in the books as held"
SHED_UNANSWERED = (
    "what a hold or a log let go of for an event whose answer was lost is not booked: a repetition's placement names "
    "neither; receipts of the hold then name wrong offsets, those of the log stay open until something else is placed"
)
LATE_PLACEMENT = (
    "an answer about an epoch that has ended meanwhile (the user was quarantined) puts the books back into that epoch"
)
BIND_CRASHED = (
    "a change of owner whose handler crashed after the store had carried it out is answered with 'was not changed'"
)
DOUBTFUL_BURIED = (
    "an event that the store took without an answer counts as dropped when its thread's actor crashes before it has "
    "asked again; it is delivered all the same, or the thread's books break at the next held event"
)

FORGOTTEN_SESSION = (
    "a device whose session was forgotten resumes at its cursor, and what it had without having confirmed it stays "
    "unconfirmed: it is not sent again, and resuming confirms only what the session remembers"
)

KNOWN: set[str] = {
    FORGOTTEN_SESSION,
    BIND_UNANSWERED,
    SHED_UNANSWERED,
    LATE_PLACEMENT,
    BIND_CRASHED,
    DOUBTFUL_BURIED,
}
"""What is not looked for; ``--known`` empties it, and so finds all of them."""
