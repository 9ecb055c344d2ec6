"""Any bytes, any frames, any messages: the server answers or closes, never fails, and no other device notices."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.protocol.reading import ALL
from tests.support.raw import TEXT, frame, upgrade_request
from tests.system.abuse.hostile_bytes import HELLO, UPGRADE, corpus, withstands

HEADS, FRAMES, MESSAGES = corpus("heads"), corpus("frames"), corpus("messages")
ATTACHED = UPGRADE + HELLO

SAID = sorted({json.dumps(message) for scenario in ALL for message in scenario.messages("says")})
"""Every message that a client of the transcripts says, ``$session`` and the like as they stand there."""

several = settings(max_examples=50, deadline=None)


# --- the corpus, as it is ---------------------------------------------------------------


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_heads_that_are_kept(head: bytes) -> None:
    """Each request of the corpus is withstood, whole, cut short, and with something behind it."""
    withstands(head, head[: len(head) // 2], head + HELLO, head + b"\xff" * 40)


@pytest.mark.parametrize("frames", FRAMES.values(), ids=FRAMES)
def test_frames_that_are_kept(frames: bytes) -> None:
    """Each piece of the corpus is withstood before the hello, after it, and from a plain client."""
    plain = upgrade_request(cookie="actors_token=mallory")
    withstands(UPGRADE + frames, ATTACHED + frames, plain + frames, ATTACHED + frames[: len(frames) // 2])


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_messages_that_are_kept(message: bytes) -> None:
    """Each message of the corpus is withstood, as the first, after a hello, and twice."""
    said = frame(TEXT, message)
    withstands(UPGRADE + said, ATTACHED + said, ATTACHED + said * 2, UPGRADE + said + HELLO)


# --- mutations ----------------------------------------------------------------------------


@st.composite
def mutated(draw: st.DrawFn, originals: st.SearchStrategy[bytes]) -> bytes:
    """Bytes of the corpus, of which some were changed, left out, repeated, or put in."""
    data = bytearray(draw(originals))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        size = draw(st.integers(0, 40))
        part = data[at : at + size]
        data[at : at + size] = draw(
            st.one_of(
                st.just(b""), st.just(part * 3), st.binary(max_size=20), st.just(bytes(one ^ 0x80 for one in part))
            )
        )
    return bytes(data)


@several
@given(mutated(st.sampled_from([*HEADS.values(), UPGRADE])), st.binary(max_size=60))
def test_any_head(head: bytes, rest: bytes) -> None:
    """Whatever comes instead of a request is answered, or its connection ends."""
    withstands(head, head + b"\r\n\r\n" + rest)


@several
@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    """Bytes of no kind at all, in each state of a connection."""
    withstands(data, UPGRADE + data, ATTACHED + data)


frames = st.builds(
    frame,
    st.integers(0, 15),
    st.one_of(st.binary(max_size=130), st.sampled_from([*MESSAGES.values(), b""])),
    fin=st.booleans(),
    reserved=st.sampled_from([0, 0, 0, 0, 1, 4]),
    masked=st.sampled_from([True, True, True, False]),
    declared=st.sampled_from([None, None, None, None, 0, 125, 126, 65_536, 2**63 - 1, 2**63, 2**64 - 1]),
)
"""Frames of every kind, mostly possible ones."""


@several
@given(st.lists(st.one_of(frames, mutated(st.sampled_from(list(FRAMES.values())))), max_size=12))
def test_any_frames(parts: list[bytes]) -> None:
    """Frames of any kind in any order, before the hello and after it."""
    withstands(UPGRADE + b"".join(parts), ATTACHED + b"".join(parts))


json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([-1, 0, 2**31, 2**53, 2**64, 10**400]),
        st.floats(),
        st.text(max_size=20),
        st.sampled_from(["", "\0", "x" * 5_000, "agent_completed", "alice", "t1", "s_1"]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A message of the transcripts with fields left out, renamed, of other types, huge, doubled, or nested deeply."""
    message: dict[str, Any] = json.loads(draw(st.sampled_from(SAID)))
    fields = [(key, value) for key, value in message.items() if draw(st.integers(0, 5))]
    fields += [(key, draw(json_values)) for key, _ in fields if not draw(st.integers(0, 3))]
    fields += draw(st.lists(st.tuples(st.sampled_from(list(message)), json_values), max_size=1))
    text = ",".join(f"{json.dumps(key)}:{json.dumps(value)}" for key, value in fields)
    depth = draw(st.sampled_from([0, 0, 0, 70, 2_000]))
    nested = f',"payload":{"[" * depth}{"]" * depth}' if depth and text else ""
    return f"{{{text}{nested}}}".encode(errors="surrogatepass")


@several
@given(st.lists(messages(), min_size=1, max_size=10))
def test_any_messages(said: list[bytes]) -> None:
    """Messages that were valid once: each is answered, ignored, or ends its connection."""
    spoken = b"".join(frame(TEXT, one) for one in said)
    withstands(UPGRADE + spoken, ATTACHED + spoken)


@several
@given(mutated(st.sampled_from([*MESSAGES.values(), *map(str.encode, SAID)])))
def test_any_text(text: bytes) -> None:
    """Messages with bytes changed, which need not be JSON any more, or text."""
    withstands(ATTACHED + frame(TEXT, text) + frame(TEXT, b'{"op":"ping"}'))
