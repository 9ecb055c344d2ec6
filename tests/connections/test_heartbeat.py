"""The peers that are pinged, and those that are dead."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.connections.heartbeat import Heartbeat

PING, PONG = 15, 10

steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["hear", "forget"]), st.sampled_from("abcd")),
        st.tuples(st.just("wait"), st.integers(0, 12)),
        st.tuples(st.just("look"), st.none()),
    ),
    max_size=60,
)


@given(steps)
def test_heartbeat_agrees_with_a_dictionary(steps: list[tuple[str, str | int | None]]) -> None:
    """Silent for ``ping_seconds``: pinged once. Silent for ``pong_seconds`` after that: dead, and forgotten."""
    heartbeat, heard, pinged, now = Heartbeat[str](PING, PONG), dict[str, int](), dict[str, int](), 0
    for name, value in steps:
        peer = str(value)
        if name == "wait":
            now += int(value or 0)
        elif name == "look":
            silent, dead = heartbeat.silent(now)
            assert sorted(dead) == sorted(peer for peer, at in pinged.items() if now - at >= PONG)
            pinged = {peer: at for peer, at in pinged.items() if now - at < PONG}
            assert sorted(silent) == sorted(peer for peer, at in heard.items() if now - at >= PING)
            pinged |= dict.fromkeys(silent, now)
            heard = {peer: at for peer, at in heard.items() if peer not in silent}
        else:
            heard.pop(peer, None)
            pinged.pop(peer, None)
            if name == "hear":
                heartbeat.hear(peer, now)
                heard[peer] = now
            else:
                heartbeat.forget(peer)


def test_a_silent_peer_is_found_in_time() -> None:
    """A peer that says nothing is pinged at ``ping_seconds`` and dead ``pong_seconds`` later; each is said once."""
    heartbeat = Heartbeat[str](15.0, 10.0)
    heartbeat.hear("a", 0.0)
    looks = {now: heartbeat.silent(now) for now in (14.9, 15.0, 16.0, 24.9, 25.0, 26.0)}
    assert looks == {
        14.9: ([], []), 15.0: (["a"], []), 16.0: ([], []), 24.9: ([], []), 25.0: ([], ["a"]), 26.0: ([], []),
    }  # fmt: skip


def test_an_answer_is_a_sign_of_life() -> None:
    """A peer that answers is not dead, and is pinged again after as long a silence."""
    heartbeat = Heartbeat[str](15.0, 10.0)
    heartbeat.hear("a", 0.0)
    heartbeat.silent(15.0)
    heartbeat.hear("a", 20.0)
    assert heartbeat.silent(34.9) == ([], [])
    assert heartbeat.silent(35.0) == (["a"], [])


def test_a_late_look_gives_time_to_answer() -> None:
    """A peer is not dead before it was pinged, however late somebody looks."""
    heartbeat = Heartbeat[str](15.0, 10.0)
    heartbeat.hear("a", 0.0)
    assert heartbeat.silent(1_000.0) == (["a"], [])
    assert heartbeat.silent(1_009.9) == ([], [])
    assert heartbeat.silent(1_010.0) == ([], ["a"])


def test_looking_costs_what_it_finds() -> None:
    """Among ten thousand peers that were heard, a look stops at the first one that is not silent."""

    class Counted:
        compared = 0

        def __init__(self, at: float) -> None:
            self.at = at

        def __gt__(self, limit: float) -> bool:
            Counted.compared += 1
            return self.at > limit

    heartbeat = Heartbeat[int](15.0, 10.0)
    for peer in range(10_000):
        heartbeat.hear(peer, Counted(float(peer)))  # type: ignore[arg-type] # counts how often it is looked at
    assert heartbeat.silent(17.0) == ([0, 1, 2], [])
    assert Counted.compared == 4


def test_who_has_not_got_the_question_yet() -> None:
    """A peer that the question has not reached has as long again for its answer, and is not pinged twice."""
    heartbeat = Heartbeat[str](15.0, 10.0)
    heartbeat.hear("a", 0.0)
    assert heartbeat.silent(15.0) == (["a"], [])
    assert heartbeat.silent(25.0) == ([], ["a"])
    heartbeat.wait("a", 25.0)
    assert heartbeat.silent(34.9) == ([], [])
    assert heartbeat.silent(35.0) == ([], ["a"])


def test_when_a_peer_was_heard() -> None:
    """The last sign of life is known while a peer is pinged, and while the ping is waited for anew; a forgotten one has
    none."""
    heartbeat = Heartbeat[str](15.0, 10.0)
    assert (heartbeat.heard_at("a"), heartbeat.pinged_at("a")) == (None, None)
    heartbeat.hear("a", 1.0)
    assert (heartbeat.heard_at("a"), heartbeat.pinged_at("a")) == (1.0, None)
    heartbeat.silent(16.0)
    assert (heartbeat.heard_at("a"), heartbeat.pinged_at("a")) == (1.0, 16.0)
    heartbeat.silent(26.0)
    heartbeat.wait("a", 26.0)
    assert heartbeat.pinged_at("a") == 26.0
    heartbeat.hear("a", 30.0)
    assert (heartbeat.heard_at("a"), heartbeat.pinged_at("a")) == (30.0, None)
    heartbeat.forget("a")
    assert (heartbeat.heard_at("a"), heartbeat.pinged_at("a")) == (None, None)
