"""Why requests are not carried out: one table.

As with close codes (:mod:`actors.protocol.codes`), below 4500 means that the same
request may succeed later, from 4500 on that it will not. A thread or run of
another user's and one that does not exist are one row: who asks learns nothing.
So are a run or question that was never there and one that ended so long ago that
it is forgotten, and the row says so: what is forgotten is not said never to have been.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class Refusal:
    """One reason for a request to be refused."""

    code: int
    name: str
    text: str

    @property
    def temporary(self) -> bool:
        """Whether the same request may succeed later."""
        return self.code < 4500


TABLE: dict[str, Refusal] = {
    row.name: row
    for row in (
        Refusal(4100, "busy", "as many runs are active as may be; try again when one has ended"),
        Refusal(4101, "too_many_requests", "too many requests of this connection wait for their answers"),
        Refusal(4102, "shutting_down", "the server is going away and takes nothing new"),
        Refusal(4103, "unavailable", "whether this is allowed could not be checked"),
        Refusal(4104, "quarantined", "this thread or user was taken out of service after repeated failures"),
        Refusal(4105, "failed", "the server failed in carrying this out"),
        Refusal(4106, "dropped", "the message left the log, or was lost, before it could be confirmed here"),
        Refusal(4600, "unknown_op", "this server does not have this op"),
        Refusal(4601, "bad_request", "the request was not one of the protocol's"),
        Refusal(4602, "unknown_thread", "there is no such thread"),
        Refusal(4603, "unknown_run", "no such run is known: there was none, or it ended long ago"),
        Refusal(4604, "conflict", "this id was used for another message"),
        Refusal(4605, "unknown_ask", "no such question is known: there was none, or it was closed long ago"),
        Refusal(4606, "ask_closed", "the question was answered, has expired, or was withdrawn"),
    )
}
