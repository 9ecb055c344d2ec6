"""The protocol page says what the code does."""

from __future__ import annotations

from pathlib import Path

import actors
from actors.limits import Limits
from actors.protocol.codes import CLOSINGS, REFUSALS

PAGE = (Path(actors.__file__).parent / "protocol" / "README.md").read_text()


def test_every_code_is_on_the_page() -> None:
    """The tables of refusals and of close codes stand on the page, row by row."""
    for refusal in REFUSALS.values():
        assert f"| {refusal.code} | `{refusal.name}` | {refusal.text} |" in PAGE
    for row in CLOSINGS.values():
        assert f"| {row.code} | `{row.name}` | {'yes' if row.temporary else 'no'} | {row.text} |" in PAGE
    assert PAGE.count("| 4") == sum(row.code >= 4000 for row in CLOSINGS.values()) + len(REFUSALS)


def test_the_page_has_the_limits() -> None:
    """The numbers on the page are the default ones."""
    limits = Limits()
    told = f'"ping_s":{limits.ping_seconds:g},\n     "limits":{{"message_bytes":{limits.inbound_bytes}'
    told += f',"messages_per_s":{limits.inbound_messages_per_second:g}'
    told += f',"ack_events":{limits.ack_events},"ack_s":{limits.ack_seconds:g},"requests":{limits.requests}}}'
    assert told in PAGE
    assert f"Within {limits.hello_seconds:g} seconds the client says" in PAGE
    assert f"No answer in {limits.pong_seconds:g} seconds" in PAGE
    assert f"or after {limits.cancel_seconds:g} seconds, and says in `running` whose has not" in PAGE
