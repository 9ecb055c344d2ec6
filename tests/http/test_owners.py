"""Owners over HTTP: given, taken and left."""

from __future__ import annotations

from tests.http.serving import KEYS, MAIL, door

PATH = "/v1/threads/t1/owner"


async def test_a_thread_is_given_and_taken() -> None:
    """Once to a user, by force to another, and to none; it may be said again."""
    async with door() as api:
        assert await api.refusal("GET", PATH) == (404, "unknown_thread")
        for _ in range(2):
            assert await api.ask("PUT", PATH, {"user_id": "alice"}) == (200, {"thread_id": "t1", "owner": "alice"})
        assert await api.refusal("PUT", PATH, {"user_id": "bob"}) == (409, "not_the_owner")
        assert await api.ask("PUT", f"{PATH}?force=true", {"user_id": "bob"}) == (
            200, {"thread_id": "t1", "owner": "bob"},
        )  # fmt: skip
        assert await api.ask("GET", PATH) == (200, {"thread_id": "t1", "owner": "bob"})
        for _ in range(2):
            assert await api.ask("DELETE", PATH) == (200, {"thread_id": "t1", "owner": None})
        assert await api.refusal("GET", PATH) == (404, "unknown_thread")


async def test_an_owner_that_cannot_be() -> None:
    """It is refused."""
    async with door() as api:
        for body in ({}, {"user_id": ""}, {"user_id": 1}, {"user_id": None}, {"user_id": "x" * 257}):
            assert await api.refusal("PUT", PATH, body) == (400, "bad_request")
        assert await api.refusal("PUT", f"{PATH}?force=maybe", {"user_id": "x"}) == (400, "bad_request")


async def test_a_key_of_some_users() -> None:
    """It gives threads to those, and takes them from those."""
    async with door(keys=KEYS, key=MAIL) as api:
        assert await api.refusal("PUT", PATH, {"user_id": "bob"}) == (403, "forbidden")
        assert (await api.ask("PUT", PATH, {"user_id": "team-a/eve"}))[0] == 200
        await api.runtime.rebind("t1", "bob")
        assert await api.refusal("PUT", f"{PATH}?force=1", {"user_id": "team-a/eve"}) == (403, "forbidden")
        assert await api.refusal("DELETE", PATH) == (403, "forbidden")
        assert await api.refusal("GET", PATH) == (403, "forbidden")
        assert api.runtime.owner("t1") == "bob"
