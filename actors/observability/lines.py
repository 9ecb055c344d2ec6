"""The table of log lines: each thing that the person who runs this may have to act on, and what to do.

ERROR: something is out of order, and stays so without an act. WARNING: something
was lost, refused or held up. INFO: it mends itself, and is of interest to who
looks for a cause.
"""

from __future__ import annotations

import logging

from actors.kernel.log_lines import LogLine

FAILED = LogLine(
    name="failed",
    level=logging.ERROR,
    text="%(path)s failed handling %(handling)s: %(error)s\n%(traceback)s",
    more="failures, of which runtime.failures keeps the newest,",
)
QUARANTINED = LogLine(
    name="quarantined",
    level=logging.ERROR,
    text="%(path)s is out of service, because it crashed again and again, the last time with %(error)s."
    " Mend that, then put it back: actors release %(path)r, or runtime.release(%(path)r)",
    more="actors that were taken out of service",
)
RELEASED = LogLine(
    name="released",
    level=logging.INFO,
    text="%(path)s is back in service",
    more="actors that are back in service",
)
STORE_TROUBLE = LogLine(
    name="store_trouble",
    level=logging.ERROR,
    text="the store is in trouble: %(error)s. Nothing is stored until that is mended; it tries again by itself",
    more="troubles of the store",
)
STORE_WELL = LogLine(
    name="store_well",
    level=logging.WARNING,
    text="the store stores again, after %(seconds).1f s",
    more="ends of the store's trouble",
)
BOOKS_WRONG = LogLine(
    name="books_wrong",
    level=logging.ERROR,
    text="the books do not add up: %(faults)s. That is a fault of this program: please report it, with this line",
    more="faults of the books",
)
LOOP_BLOCKED = LogLine(
    name="loop_blocked",
    level=logging.WARNING,
    text="the event loop stood still for %(seconds).2f s, and with it every device, %(where)s."
    " Code that blocks belongs in a thread (trio.to_thread.run_sync)",
    more="standstills of the event loop",
)
LOOP_STUCK = LogLine(
    name="loop_stuck",
    level=logging.ERROR,
    text="the event loop stands still for more than %(seconds).0f s, and with it every device, %(where)s",
    more="standstills of the event loop that last",
)
NO_ROOM = LogLine(
    name="no_room",
    level=logging.ERROR,
    text="accept: %(error)s; trying again every %(seconds)g s. The system has no room for another connection:"
    " raise its limits (ulimit -n), or lower Limits(connections)",
    more="refusals of the system to accept a connection",
)
ORIGIN_REFUSED = LogLine(
    name="origin_refused",
    level=logging.WARNING,
    text="a page of %(origin)s was refused (%(status)d). If it is yours, allow it:"
    " open_runtime(origins=[%(origin)r]), or actors serve --origin %(origin)s",
    more="requests of pages that are not allowed",
)
CONNECTIONS_FULL = LogLine(
    name="connections_full",
    level=logging.WARNING,
    text="a device was refused (%(status)d, %(reason)s), because there are as many as may be:"
    " see Limits(connections) and Limits(connections_per_user)",
    more="devices that found no room",
)
REQUEST_REFUSED = LogLine(
    name="request_refused",
    level=logging.INFO,
    text="a request that became no connection was answered with %(status)d (%(reason)s); its page's origin: %(origin)s",
    more="requests that became no connection",
)
CREDENTIALS_REFUSED = LogLine(
    name="credentials_refused",
    level=logging.WARNING,
    text="the client at %(peer)s was refused: %(reason)s (%(source)s)."
    " It comes back when it has others; to learn whose they were, have authenticate raise actors.Refused",
    more="clients whose credentials were refused",
)
USER_REFUSED = LogLine(
    name="user_refused",
    level=logging.WARNING,
    text="a device of user %(user_id)s, at %(peer)s, was refused: %(reason)s (%(source)s). It comes back when it has"
    " other credentials",
    more="devices whose credentials were refused",
)
KEY_REFUSED = LogLine(
    name="key_refused",
    level=logging.WARNING,
    text="the API over HTTP refused a program at %(peer)s (%(reason)s, its key: %(key)s): %(why)s."
    " Its keys are in the file of --keys",
    more="programs that the API refused for their keys",
)
RESET = LogLine(
    name="reset",
    level=logging.WARNING,
    text="%(path)s was told to begin anew (reset): %(why)s",
    more="devices that were told to begin anew (reset)",
)
DEVICE_LOST = LogLine(
    name="device_lost",
    level=logging.INFO,
    text="%(path)s is gone (%(reason)s): %(why)s. It goes on where it was, when it comes back",
    more="devices that are gone without a goodbye",
)
DEVICE_ENDED = LogLine(
    name="device_ended",
    level=logging.WARNING,
    text="%(path)s was ended (%(reason)s): %(why)s. Look at the client that does this",
    more="devices that were ended for what they did",
)
NO_OWNER = LogLine(
    name="no_owner",
    level=logging.WARNING,
    text="thread %(thread_id)s has no owner: its events are held until it is bound to a user (runtime.bind, or user_id="
    " of emit), and dropped if none comes",
    more="events of threads without an owner",
)
NO_DEVICE = LogLine(
    name="no_device",
    level=logging.INFO,
    text="thread %(thread_id)s: its owner %(user_id)s has no device connected; events wait in the log",
    more="events of users without a device",
)
RETENTION = LogLine(
    name="retention",
    level=logging.WARNING,
    text="user %(user_id)s: %(count)d events left the log before a device acked them (retention). They are emitted"
    " faster than its devices take them; emit with ahead= to wait for devices",
    more="users whose devices are too slow",
)
RETENTION_AWAY = LogLine(
    name="retention_away",
    level=logging.INFO,
    text="user %(user_id)s, who has no device: %(count)d events left the log (retention);"
    " on_undelivered= tells the application of each",
    more="users whose logs shed events while they were away",
)
DROPPED = LogLine(
    name="dropped",
    level=logging.WARNING,
    text="%(count)d events were dropped (%(cause)s): %(why)s. The newest: %(newest)s",
    more="causes for which events were dropped",
)
EMITS_HELD = LogLine(
    name="emits_held",
    level=logging.WARNING,
    text="emitters wait for the devices of user %(user_id)s (ahead=), for %(seconds).0f s now: %(devices)s",
    more="users for whose devices emitters wait",
)
MAILBOX_FULL = LogLine(
    name="mailbox_full",
    level=logging.WARNING,
    text="%(path)s has no room for what it is told, for %(seconds).0f s now, and %(count)d senders wait: %(why)s",
    more="actors whose mailboxes are full",
)
CONNECTION_ENDED = LogLine(
    name="connection_ended",
    level=logging.DEBUG,
    text="%(path)s ended: %(reason)s (%(why)s)",
    more="connections that ended",
)

LINES = {
    line.name: line
    for line in (
        FAILED, QUARANTINED, RELEASED, STORE_TROUBLE, STORE_WELL, BOOKS_WRONG, LOOP_BLOCKED, LOOP_STUCK, NO_ROOM,
        ORIGIN_REFUSED, CONNECTIONS_FULL, REQUEST_REFUSED, CREDENTIALS_REFUSED, USER_REFUSED, KEY_REFUSED,
        RESET, DEVICE_LOST, DEVICE_ENDED, CONNECTION_ENDED,
        NO_OWNER, NO_DEVICE, RETENTION, RETENTION_AWAY, DROPPED, EMITS_HELD, MAILBOX_FULL,
    )
}  # fmt: skip
"""All of them, by name, in the order in which the README has them."""

RESETS = {
    "unknown_epoch": "its cursor is of a log that is not here. A store in memory begins anew with each process; with"
    " any other, its file is another one, or the cursor another user's",
    "lost": "it had taken events that the log has lost since, as after an unclean end of the process or a damaged disk",
    "not_renamed": "the log goes on under another name, and its client is too old to be told so; update the client",
}
"""The sentences of the line ``reset``, by the reason."""
