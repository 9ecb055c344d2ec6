"""The ids of sessions: known in a later life, to one user, and made by nobody else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.environment import Environment
from actors.users.sessions import first_offset_of, new_session_id

SECRET = b"s" * 32
ENVIRONMENT = Environment()


@given(user_id=st.text(min_size=1, max_size=40), first_offset=st.integers(0, 2**53))
def test_a_session_says_where_it_began(user_id: str, first_offset: int) -> None:
    """Of the id alone, and the secret, it is known that it was made for this user, and at which offset it began."""
    session_id = new_session_id(SECRET, user_id, first_offset, ENVIRONMENT)
    assert first_offset_of(SECRET, user_id, session_id) == first_offset
    assert first_offset_of(SECRET, user_id + "x", session_id) is None
    assert first_offset_of(b"another" * 4, user_id, session_id) is None


def test_sessions_differ() -> None:
    """Two sessions that begin at one offset have two ids, which fit into a message as they are."""
    session_ids = {new_session_id(SECRET, "alice", 1, ENVIRONMENT) for _ in range(100)}
    assert len(session_ids) == 100
    assert all(session_id.isascii() and len(session_id) < 80 for session_id in session_ids)


@given(st.text(max_size=60))
def test_no_text_is_a_session_by_chance(text: str) -> None:
    """Whatever a client sends as its session is none, unless it was made here, and nothing breaks."""
    assert first_offset_of(SECRET, "alice", text) is None


@given(at=st.integers(0, 100), character=st.sampled_from("0123456789abcdefs_\u00e9"))
def test_a_session_that_was_changed_is_none(at: int, character: str) -> None:
    """One character changed, and an id says nothing any more."""
    session_id = new_session_id(SECRET, "alice", 7, ENVIRONMENT)
    changed = session_id[: at % len(session_id)] + character + session_id[at % len(session_id) + 1 :]
    assert first_offset_of(SECRET, "alice", changed) == (7 if changed == session_id else None)


@pytest.mark.parametrize("cut", [1, 24, 30])
def test_a_session_that_was_cut_is_none(cut: int) -> None:
    """A part of an id is no id."""
    assert first_offset_of(SECRET, "alice", new_session_id(SECRET, "alice", 7, ENVIRONMENT)[:-cut]) is None
