"""The operators' part: what it shows, and who may look."""

from __future__ import annotations

import pytest
import trio
import trio.lowlevel

import actors
from actors.http.keys import Key, Keys
from tests.http.serving import KEYS, OPERATOR, PRODUCER, door
from tests.support.raw import connected

PARTS = [
    ("GET", "/v1/audit"),
    ("GET", "/v1/failures"),
    ("GET", "/v1/dead_letters"),
    ("GET", "/v1/connections"),
    ("GET", "/v1/status"),
    ("GET", "/v1/tree"),
    ("GET", "/v1/users/alice/why"),
    ("GET", "/v1/threads/t1/why"),
    ("POST", "/v1/users/alice/revoke"),
    ("POST", "/v1/drain"),
]


@pytest.mark.parametrize(("method", "path"), PARTS)
async def test_who_may(method: str, path: str) -> None:
    """A key without ``admin`` is refused, and so is none; one with it is not."""
    async with door(keys=KEYS) as api:
        assert await api.refusal(method, path) == (401, "unauthenticated")
        producer = {"authorization": f"Bearer {PRODUCER}"}
        assert await api.refusal(method, path, headers=producer) == (403, "forbidden")
        assert (await api.ask(method, path, headers={"authorization": f"Bearer {OPERATOR}"}))[0] == 200


@pytest.mark.parametrize("reach", [{"threads": ("support-",)}, {"users": ("team-a/",)}])
async def test_an_operator_of_some(reach: dict[str, tuple[str, ...]]) -> None:
    """A key with ``admin`` and prefixes is told of no event beyond them, nor where it is."""
    keys = Keys({OPERATOR: Key(name="some", admin=True, **reach)})
    async with door(keys=keys, key=OPERATOR) as api:
        await api.runtime.thread("support-1").emit("x", {}, event_id="ours", user_id="team-a/ann")
        await api.runtime.thread("secret").emit("x", {}, event_id="theirs", user_id="bob")
        assert (await api.ask("GET", "/v1/events/ours/why"))[1]["known"] is True
        assert (await api.ask("GET", "/v1/events/none/why"))[1]["known"] is False
        status, told = await api.ask("GET", "/v1/events/theirs/why")
        assert (status, told["error"]["name"]) == (403, "forbidden")
        assert "secret" not in str(told)


async def test_the_books_and_what_went_wrong() -> None:
    """The books balance; a drop and a failure are listed."""

    async def fails(run: actors.Run, message: actors.Message) -> None:
        raise ValueError("a bug")

    async with door(limits=actors.Limits(retained_events=1), on_message=fails) as api:
        for _ in range(2):
            await api.ask("POST", "/v1/threads/t1/events", {"type": "x", "user_id": "alice"})
        _, audit = await api.ask("GET", "/v1/audit")
        assert (audit["balanced"], audit["users"]) == (True, 1)
        assert (audit["total"]["accepted"], audit["total"]["dropped"], audit["total"]["retained"]) == (2, 1, 1)
        _, letters = await api.ask("GET", "/v1/dead_letters")
        (letter,) = letters["dead_letters"]
        assert (letter["cause"], letter["count"], letter["user_id"], letter["first"]) == ("retention", 1, "alice", 1)
        await api.ask("POST", "/v1/threads/t1/messages", {"user_id": "alice", "id": "m", "payload": {}})
        while not api.runtime.failures.total:
            await trio.lowlevel.checkpoint()
        _, failures = await api.ask("GET", "/v1/failures")
        assert failures["total"] == 1
        assert failures["failures"][0]["error"] == "ValueError: a bug"


async def test_the_newest_are_enough() -> None:
    """As many drops as are asked for, the newest, so that to look often costs little."""
    async with door(limits=actors.Limits(retained_events=1)) as api:
        for number in range(4):
            await api.ask("POST", f"/v1/threads/t{number % 2}/events", {"type": "x", "user_id": "alice"})
        _, letters = await api.ask("GET", "/v1/dead_letters")
        _, newest = await api.ask("GET", "/v1/dead_letters?limit=1")
        assert newest["dead_letters"] == letters["dead_letters"][-1:]
        _, told = await api.ask("GET", "/v1/failures?limit=1")
        assert told == {"failures": [], "total": 0}
        assert await api.refusal("GET", "/v1/failures?limit=0") == (400, "bad_request")


async def test_sockets_are_shown_and_ended() -> None:
    """A user whose credentials are revoked has no connection any more."""
    async with door() as api, connected(await api.runtime_address()) as peer:
        await peer.attach("alice")
        _, told = await api.ask("GET", "/v1/connections")
        assert [(one["user_id"], one["kind"], one["state"]) for one in told["connections"]] == [("alice", "v1", "live")]
        assert await api.ask("POST", "/v1/users/alice/revoke") == (200, {"user_id": "alice", "connections": 1})
        assert await peer.farewell() == (4504, "the user's credentials were revoked")


async def test_why_an_event_has_not_arrived() -> None:
    """The sentence of a user and of a thread is the one of the command line; an unknown name is no error."""
    async with door() as api:
        await api.ask("POST", "/v1/threads/t1/events", {"type": "x", "user_id": "alice"})
        status, told = await api.ask("GET", "/v1/users/alice/why")
        assert (status, told["cause"], told["unacked"]) == (200, "away", 1)
        assert told["text"] == "no device of alice is here, or was lately; 1 event waits in its log"
        _, told = await api.ask("GET", "/v1/threads/t1/why")
        assert told["text"].startswith("thread t1 is bound to alice (since ")
        assert "no device of alice is here" in told["text"]
        status, told = await api.ask("GET", "/v1/users/bob/why")
        assert (status, told["known"], told["cause"]) == (200, False, "unknown")


async def test_what_became_of_an_event() -> None:
    """A sentence and the steps to it; of an id that several threads have, the threads, unless one is named."""
    async with door() as api:
        for thread_id in ("t1", "t2"):
            await api.ask("POST", f"/v1/threads/{thread_id}/events", {"type": "x", "user_id": "alice", "event_id": "e"})
        await api.ask("POST", "/v1/threads/t1/events", {"type": "x", "user_id": "alice", "event_id": "f"})
        status, told = await api.ask("GET", "/v1/events/f/why")
        assert (status, told["stage"], told["user_id"], told["offset"]) == (200, "stored", "alice", 3)
        assert told["text"]
        assert told["steps"]
        _, told = await api.ask("GET", "/v1/events/e/why")
        assert (told["known"], told["threads"]) == (False, ["t1", "t2"])
        _, told = await api.ask("GET", "/v1/events/e/why?thread_id=t2")
        assert (told["thread_id"], told["offset"]) == ("t2", 2)
        status, told = await api.ask("GET", "/v1/events/none/why")
        assert (status, told["known"]) == (200, False)


async def test_a_page_of_the_tree() -> None:
    """Users come in the order of their names, as many as are asked for; the answer says where the next page begins."""
    async with door() as api:
        for name in ("bob", "alice", "carol", "anna"):
            await api.ask("POST", f"/v1/threads/t-{name}/events", {"type": "x", "user_id": name})
        _, told = await api.ask("GET", "/v1/tree?limit=2")
        assert ([one["user_id"] for one in told["users"]], told["total"]) == (["alice", "anna"], 4)
        assert told["users"][0]["threads"] == [{"thread_id": "t-alice", "quarantined": None}]
        _, told = await api.ask("GET", f"/v1/tree?limit=2&after={told['after']}")
        assert ([one["user_id"] for one in told["users"]], told["after"]) == (["bob", "carol"], None)
        _, told = await api.ask("GET", "/v1/tree?prefix=a")
        assert ([one["user_id"] for one in told["users"]], told["total"]) == (["alice", "anna"], 2)
        assert await api.refusal("GET", "/v1/tree?limit=1000") == (400, "bad_request")


async def test_what_is_in_service_is_not_released() -> None:
    """The request says so, and has no effect."""
    async with door() as api:
        assert await api.refusal("POST", "/v1/release", {"path": "users/alice"}) == (404, "unknown_actor")


async def test_it_goes_away_when_it_is_told() -> None:
    """For a ``preStop`` hook: devices are told, and the answer says what was left."""
    async with door() as api, connected(await api.runtime_address()) as peer:
        await api.ask("POST", "/v1/threads/t1/events", {"type": "x", "user_id": "bob"})
        await peer.attach("alice")
        reports = []

        async def drain() -> None:
            reports.append(await api.ask("POST", "/v1/drain", {"timeout_s": 1}))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain)
            assert await peer.farewell() == (1012, "the server is going away")
        status, told = reports[0]
        assert (status, told["goodbyes"], told["aborted"]) == (200, 1, 0)
        assert told["undelivered"] == [{"count": 1, "unwritten": 1, "user_id": "bob", "thread_id": None}]
        assert await api.ask("GET", "/readyz") == (503, {"status": "draining"})


async def test_health_needs_no_key() -> None:
    """A probe has none."""
    async with door(keys=KEYS) as api:
        assert await api.ask("GET", "/healthz") == (200, {"status": "ok"})
        assert await api.ask("GET", "/readyz") == (200, {"status": "ok"})
