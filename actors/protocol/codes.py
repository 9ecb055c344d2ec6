"""The reasons for which connections end and requests are refused: tables of rows.

Of the codes from 4000 on, one below 4500 says *come back* (of a request: *try
again*), and one from 4500 on says *do not, unless something changes*, so that
a client can decide without knowing the rows. The idea is Centrifugo's. Codes
below 4000 are RFC 6455's own. No code is in two tables.
"""

from __future__ import annotations

import attrs

_FINAL_STANDARD_CODES = frozenset({1002, 1003, 1007, 1008, 1009})

_GOODBYES = frozenset({1001, 1005})
"""The codes of a page that is left, and of a Close without a code, which is what a browser's ``close()`` sends."""


def is_temporary(code: int) -> bool:
    """True if the same client may come back after this code, or the same request may succeed later."""
    return code < 4500 and code not in _FINAL_STANDARD_CODES


@attrs.frozen
class Reason:
    """One row: a code for programs, a name for logs and branches, a sentence for people."""

    code: int
    name: str
    text: str

    @property
    def temporary(self) -> bool:
        """True if coming back, or asking again, may help."""
        return is_temporary(self.code)


def _table(*rows: Reason) -> dict[str, Reason]:
    return {row.name: row for row in rows}


CLOSINGS = _table(
    Reason(1000, "left", "the device said goodbye"),
    Reason(1002, "bad_frame", "the frames were not WebSocket frames"),
    Reason(1003, "binary", "a text message was expected, a binary one came"),
    Reason(1006, "vanished", "the device's connection broke"),
    Reason(1007, "bad_text", "the text was not UTF-8"),
    Reason(1009, "too_big", "the message was larger than the limit"),
    Reason(1012, "shutting_down", "the server is going away"),
    Reason(4001, "stalled", "its socket took nothing for the write deadline"),
    Reason(4002, "silent", "it did not answer a ping in time"),
    Reason(4003, "flooding", "it sent faster than the rate limit"),
    Reason(4004, "too_many_devices", "the user has as many connections as are allowed"),
    Reason(4005, "failed", "the server failed in handling this connection"),
    Reason(4006, "no_hello", "no hello came in time"),
    Reason(4007, "unavailable", "who it is could not be checked"),
    Reason(4008, "quarantined", "this user was taken out of service after repeated failures"),
    Reason(4009, "choked", "answers to its pings piled up behind its unread socket"),
    Reason(4500, "superseded", "another connection of the same session took over"),
    Reason(4501, "unauthenticated", "the credentials were refused"),
    Reason(4502, "bad_message", "the message was not one of the protocol's"),
    Reason(4503, "bad_ack", "an acknowledgement was ahead of what was sent"),
    Reason(4504, "revoked", "the user's credentials were revoked"),
)
"""The reasons for which a connection ends, by name.

A connection that is aborted without a Close has its row all the same, because
``explain`` and the logs name it.
"""

REFUSALS = _table(
    Reason(4100, "busy", "as many runs are active as may be; try again when one has ended"),
    Reason(4101, "too_many_requests", "too many requests of this connection wait for their answers"),
    Reason(4102, "shutting_down", "the server is going away and takes nothing new"),
    Reason(4103, "unavailable", "whether this is allowed could not be checked"),
    Reason(4104, "quarantined", "this thread or user was taken out of service after repeated failures"),
    Reason(4105, "failed", "the server failed in carrying this out"),
    Reason(4106, "dropped", "the message left the log, or was lost, before it could be confirmed here"),
    Reason(4600, "unknown_op", "this server does not have this op"),
    Reason(4601, "bad_request", "the request was not one of the protocol's"),
    Reason(4602, "unknown_thread", "there is no such thread"),
    Reason(4603, "unknown_run", "no such run is known: there was none, or it ended long ago"),
    Reason(4604, "conflict", "this id was used for another message"),
    Reason(4605, "unknown_ask", "no such question is known: there was none, or it was closed long ago"),
    Reason(4606, "ask_closed", "the question was answered, has expired, or was withdrawn"),
)
"""The reasons for which a request is not carried out, by name.

A thread or run of another user's has the row of one that does not exist,
because a row of its own would tell a client that it exists. A run or question
that ended so long ago that the server has forgotten it has the row of one that
never was, and the row's text says so.
"""

PRODUCER_REFUSALS = _table(
    Reason(4107, "unanswered", "no device answered the question in time"),
    Reason(4108, "too_slow", "the request did not come in whole in time"),
    Reason(4607, "unknown_event", "no such event is known: there was none, or it was forgotten"),
    Reason(4608, "not_the_owner", "the thread belongs to another user"),
    Reason(4609, "forbidden", "the key does not reach so far"),
    Reason(4610, "run_ended", "the run has had its last event"),
    Reason(4611, "unknown_actor", "no actor of this path is out of service"),
)
"""The reasons beside :data:`REFUSALS` for which a request of a producer is not carried out, by name.

A producer is a program of the application's own, and so may know what a user's device may not: that a thread is
another user's. No device ever gets one of these rows.
"""

CLOSING_BY_CODE = {row.code: row for row in CLOSINGS.values()}


def closing_of(code: int) -> Reason:
    """Return the row for a code that a peer sent; a code without a row is a goodbye if a peer may choose it."""
    row = CLOSING_BY_CODE.get(code)
    if row is not None:
        return row
    return CLOSINGS["left"] if code in _GOODBYES or code >= 3000 else CLOSINGS["vanished"]
