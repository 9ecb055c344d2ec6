"""Events over HTTP: emitted once, told truthfully, read again."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
import trio

import actors
from tests.http.serving import KEYS, MAIL, SUPPORT, door, until
from tests.support.raw import connected

EVENT = {"type": "report", "payload": {"n": 1}, "user_id": "alice"}


async def test_an_event_is_emitted() -> None:
    """It is in its owner's log when the answer comes, and the answer says where."""
    async with door() as api:
        status, told = await api.ask("POST", "/v1/threads/t1/events", EVENT)
        receipt = api.runtime.explain(told["event_id"]).receipt
        assert receipt is not None
        position = receipt.position
        assert position is not None
        assert (status, told) == (
            200,
            {"event_id": receipt.event_id, "thread_id": "t1", "stage": "stored", "seq": 1, "offset": 1}
            | {"epoch": position.epoch},
        )
        assert position.user_id == "alice"


async def test_the_payload_arrives_as_it_was() -> None:
    """Not a byte of it is another."""
    odd = '{ "b":1.50, "a" : 9007199254740991, "z":1E3, "text":"\\u00e9é" }'
    async with door() as api, connected(await api.runtime_address()) as peer:
        await peer.attach("alice")
        body = f'{{"type":"x","user_id":"alice","payload":{odd}}}'
        await api.client.post(
            "/v1/threads/t/events", content=body.encode(), headers={"content-type": "application/json"}
        )
        await peer.next_event()
        assert f'"payload":{odd},'.encode() in peer.frames[-1].payload


@pytest.mark.parametrize("within", ["header", "body", "both"])
async def test_the_same_id_again_is_the_same_event(within: str) -> None:
    """A retry gets the first receipt; another event under the id is a conflict; in another thread it is another."""
    headers = {} if within == "body" else {"Idempotency-Key": "e1"}
    body = EVENT | ({} if within == "header" else {"event_id": "e1"})
    async with door() as api:
        answers = [await api.ask("POST", "/v1/threads/t1/events", body, headers=headers) for _ in range(3)]
        assert answers == [answers[0]] * 3
        assert (answers[0][0], answers[0][1]["seq"], answers[0][1]["event_id"]) == (200, 1, "e1")
        other = body | {"payload": {"n": 2}}
        assert await api.refusal("POST", "/v1/threads/t1/events", other, headers=headers) == (409, "conflict")
        status, told = await api.ask("POST", "/v1/threads/t2/events", other, headers=headers)
        assert (status, told["offset"]) == (200, 2)
        assert api.runtime.audit().total.retained == 2


async def test_two_ids_are_one_too_many() -> None:
    """A header and a body that disagree are refused; so is a header that is empty, or there twice."""
    path = "/v1/threads/t1/events"
    async with door() as api:
        body = EVENT | {"event_id": "e2"}
        assert await api.refusal("POST", path, body, headers={"Idempotency-Key": "e1"}) == (400, "bad_request")
        assert await api.refusal("POST", path, EVENT, headers={"Idempotency-Key": ""}) == (400, "bad_request")
        twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
        assert await api.refusal("POST", path, EVENT, headers=twice) == (400, "bad_request")
        latin = {"Idempotency-Key": b"\xe9"}
        assert await api.refusal("POST", path, EVENT, headers=latin) == (400, "bad_request")
        assert api.runtime.audit().total.accepted == 0


async def test_an_answer_waits_for_the_stage() -> None:
    """With ``wait=acked`` it comes when a device has acked: 200. In time, or 202 with the stage so far."""
    async with door() as api, connected(await api.runtime_address()) as peer:
        await peer.attach("alice")
        path = "/v1/threads/t1/events?wait=acked"
        answers: list[tuple[int, str]] = []

        async def emit() -> None:
            status, told = await api.ask("POST", path, EVENT)
            answers.append((status, told["stage"]))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(emit)
            event = await peer.next_event()
            assert answers == []
            await peer.ack(event["offset"])
        assert answers == [(200, "acked")]
        status, told = await api.ask("POST", f"{path}&timeout_s=0", EVENT)
        assert (status, told["stage"]) in {(202, "stored"), (202, "written")}
        await peer.next_event()
        status, told = await api.ask("GET", f"/v1/events/{told['event_id']}?wait=written&timeout_s=5")
        assert (status, told["stage"]) == (200, "written")


async def test_an_event_without_an_owner_is_held() -> None:
    """It is answered at once, with 200 as buffered; one that waits for more, with 202."""
    async with door() as api:
        event = {"type": "x"}
        status, told = await api.ask("POST", "/v1/threads/t1/events", event)
        assert (status, told["stage"], told["seq"], told["offset"]) == (200, "buffered", 1, None)
        status, told = await api.ask("POST", "/v1/threads/t1/events?wait=stored&timeout_s=0.01", event)
        assert (status, told["stage"], told["seq"]) == (202, "buffered", 2)
        assert (await api.ask("PUT", "/v1/threads/t1/owner", {"user_id": "bob"}))[0] == 200
        status, told = await api.ask("GET", f"/v1/threads/t1/events/{told['event_id']}?wait=stored")
        assert (status, told["stage"], told["offset"]) == (200, "stored", 2)


async def test_a_stage_that_never_comes_is_told_at_once() -> None:
    """An event that left the log unread is answered as it is, without the wait."""
    async with door(limits=actors.Limits(retained_events=1)) as api:
        _, first = await api.ask("POST", "/v1/threads/t1/events", EVENT)
        await api.ask("POST", "/v1/threads/t1/events", EVENT)
        status, told = await api.ask("GET", f"/v1/events/{first['event_id']}?wait=acked&timeout_s=60")
        assert (status, told["stage"], told["cause"]) == (202, "dropped", "retention")


async def test_another_users_thread() -> None:
    """A producer is told so."""
    async with door() as api:
        await api.ask("POST", "/v1/threads/t1/events", EVENT)
        bobs = EVENT | {"user_id": "bob"}
        assert await api.refusal("POST", "/v1/threads/t1/events", bobs) == (409, "not_the_owner")
        assert api.runtime.owner("t1") == "alice"


WRONG = [
    ({}, "missing required field `type`"),
    ([], "Expected `object`, got `array`"),
    ({"type": ""}, "length >= 1"),
    ({"type": "x" * 257}, "length <= 256"),
    ({"type": 1}, "Expected `str`, got `int`"),
    ({"type": "x", "payload": [1]}, "payload: expected a JSON object"),
    ({"type": "x", "payload": None}, "payload: expected a JSON object"),
    ({"type": "x", "payload": {"n": 2**60}}, "payload.n: expected"),
    ({"type": "dropped"}, "type: expected any type but 'dropped'"),
    ({"type": "x", "event_ID": "e1"}, "unknown field `event_ID`"),
    ({"type": "x", "user_id": ""}, "length >= 1"),
    ({"type": "x", "payload": {"x": "y" * 300_000}}, "at most 262144 bytes"),
]


@pytest.mark.parametrize(("body", "complaint"), WRONG, ids=[text for _, text in WRONG])
async def test_a_wrong_event(body: object, complaint: str) -> None:
    """It is refused with what was expected, and nothing is accepted."""
    async with door() as api:
        status, told = await api.ask("POST", "/v1/threads/t1/events", body)
        assert (status, told["error"]["name"]) == (400, "bad_request")
        assert complaint in told["error"]["message"]
        assert api.runtime.audit().total.accepted == 0


@pytest.mark.parametrize("thread_id", ["a/b", "ü", "a b", "%2F", "..", "a?b#c", "x" * 256])
async def test_any_id_may_stand_in_the_path(thread_id: str) -> None:
    """Quoted, each id is the thread's; a slash in one is no other path."""
    async with door() as api:
        path = f"/v1/threads/{quote(thread_id, safe='')}/events"
        assert (await api.raw("POST", path, b'{"type":"x","user_id":"alice"}'))[0] == 200
        assert api.runtime.owner(thread_id) == "alice"


async def test_where_an_event_is() -> None:
    """By its id, or in its thread, with the steps; an id that two threads have needs the thread."""
    async with door() as api:
        for thread_id in ("t1", "t2"):
            await api.ask("POST", f"/v1/threads/{thread_id}/events", EVENT | {"event_id": "e1"})
        assert await api.refusal("GET", "/v1/events/e1") == (409, "conflict")
        for path in ("/v1/events/e1?thread_id=t2", "/v1/threads/t2/events/e1"):
            status, told = await api.ask("GET", path)
            assert (status, told["thread_id"], told["stage"]) == (200, "t2", "stored")
            assert told["steps"][1:3] == ["thread t2, seq 1", "owner alice"]
        for path in ("/v1/events/e2", "/v1/threads/t3/events/e1", "/v1/events/e1?thread_id=t3"):
            assert await api.refusal("GET", path) == (404, "unknown_event")


async def test_the_history_of_a_thread() -> None:
    """Events after a number, as many as asked for, and what is gone; a thread without an owner is unknown."""
    async with door(limits=actors.Limits(retained_events=4)) as api:
        for n in range(6):
            await api.ask("POST", "/v1/threads/t1/events", EVENT | {"payload": {"n": n}})
        status, told = await api.ask("GET", "/v1/threads/t1/events?after_seq=1&limit=2")
        assert status == 200
        assert [event["payload"]["n"] for event in told["events"]] == [2, 3]
        assert (told["gone"], told["head_seq"], told["more"]) == ([[2, 2]], 6, True)
        await api.ask("POST", "/v1/threads/t2/events", {"type": "x"})
        for thread_id in ("t2", "t3"):
            assert await api.refusal("GET", f"/v1/threads/{thread_id}/events") == (404, "unknown_thread")


@pytest.mark.parametrize(
    "query", ["after_seq=-1", "after_seq=x", "limit=0", "limit=1&limit=2", "wait=stored", "limit=%ff", "=", "limit"]
)
async def test_wrong_parameters(query: str) -> None:
    """A parameter that is unknown, wrong or there twice is refused."""
    async with door() as api:
        assert await api.refusal("GET", f"/v1/threads/t1/events?{query}") == (400, "bad_request")


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "61", "x", ""])
async def test_wrong_times(seconds: str) -> None:
    """A time to wait is a number of seconds, at most a minute."""
    async with door() as api:
        assert await api.refusal("GET", f"/v1/events/e?timeout_s={seconds}") == (400, "bad_request")


async def test_a_key_of_some_threads() -> None:
    """It emits into those, and sees the events of those; of others it learns nothing."""
    async with door(keys=KEYS, key=SUPPORT) as api:
        status, told = await api.ask("POST", "/v1/threads/support-1/events", EVENT)
        assert status == 200
        assert await api.refusal("POST", "/v1/threads/t1/events", EVENT) == (403, "forbidden")
        assert await api.refusal("GET", "/v1/threads/t1/events") == (403, "forbidden")
        assert await api.refusal("GET", "/v1/threads/t1/events/e1") == (403, "forbidden")
        assert (await api.ask("GET", f"/v1/events/{told['event_id']}"))[0] == 200
        other = await api.runtime.thread("t1").emit("x", {}, user_id="alice")
        assert await api.refusal("GET", f"/v1/events/{other.event_id}") == (404, "unknown_event")


async def test_a_key_of_some_users() -> None:
    """It emits for those alone, and into no thread of others, nor into one that could become another's."""
    async with door(keys=KEYS, key=MAIL) as api:
        ours, theirs = {"type": "x", "user_id": "team-a/eve"}, {"type": "x", "user_id": "bob"}
        assert (await api.ask("POST", "/v1/threads/t1/events", ours))[0] == 200
        assert (await api.ask("POST", "/v1/threads/t1/events", {"type": "x"}))[0] == 200
        assert await api.refusal("POST", "/v1/threads/t2/events", theirs) == (403, "forbidden")
        assert await api.refusal("POST", "/v1/threads/t2/events", {"type": "x"}) == (403, "forbidden")
        receipt = await api.runtime.thread("t3").emit("x", {}, user_id="bob")
        assert await api.refusal("POST", "/v1/threads/t3/events", {"type": "x"}) == (403, "forbidden")
        assert await api.refusal("POST", "/v1/threads/t3/events", ours) == (409, "not_the_owner")
        assert await api.refusal("GET", "/v1/threads/t3/events") == (403, "forbidden")
        assert await api.refusal("GET", f"/v1/events/{receipt.event_id}") == (404, "unknown_event")


async def test_retries_of_a_client_that_loses_answers() -> None:
    """Each event is sent until an answer comes, and every third answer is lost: none is doubled, none is missing."""
    async with door() as api:
        for number in range(30):
            lost = number % 3 == 0
            while True:
                status, told = await api.ask(
                    "POST", "/v1/threads/t1/events", EVENT | {"payload": {"n": number}},
                    headers={"Idempotency-Key": f"e{number}"},
                )  # fmt: skip
                assert (status, told["seq"]) == (200, number + 1)
                if not lost:
                    break
                lost = False
        history = await api.runtime.read("t1")
        assert [event.payload["n"] for event in history.events] == list(range(30))


async def test_the_same_request_at_the_same_time(tmp_path: Path) -> None:
    """Over a store that has to be waited for: of many at once one is placed, the same get its receipt, others a
    conflict."""
    async with door(store=actors.SQLiteStore(tmp_path / "events.db")) as api, trio.open_nursery() as nursery:
        answers: list[tuple[int, int, int | None]] = []

        async def post(number: int) -> None:
            body = EVENT | {"payload": {"n": number}, "event_id": "e1"}
            status, told = await api.ask("POST", "/v1/threads/t1/events", body)
            answers.append((number, status, told.get("seq")))

        for number in (1, 2) * 10:
            nursery.start_soon(post, number)
        await until(lambda: len(answers) == 20)
        placed = next(number for number, status, _ in answers if status == 200)
        assert {(status, seq) for number, status, seq in answers if number == placed} == {(200, 1)}
        assert {status for number, status, _ in answers if number != placed} == {409}


async def test_a_client_that_goes_leaves_no_task() -> None:
    """One that waits for a stage and is gone does not wait any more."""
    async with door() as api:
        stream = await api.stream()
        await stream.send_all(
            b"POST /v1/threads/t1/events?wait=acked&timeout_s=60 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Content-Type: application/json\r\nContent-Length: 30\r\n\r\n"
            b'{"type":"x","user_id":"alice"}'
        )
        await until(lambda: api.runtime.audit().total.retained == 1)
        await stream.aclose()
        await until(lambda: "0 requests" in repr(api.api))
        assert list(api.runtime.failures) == []


async def test_it_says_when_it_goes_away() -> None:
    """After a drain events are refused with 503, and the same may be asked again elsewhere."""
    async with door() as api:
        await api.runtime.drain(1)
        assert await api.refusal("POST", "/v1/threads/t1/events", EVENT) == (503, "shutting_down")
        assert (await api.ask("GET", "/readyz"))[0] == 503
        assert (await api.ask("GET", "/healthz"))[0] == 200


async def test_the_trace_of_a_request() -> None:
    """An event carries the trace of its request, and a repetition may come with another one; what is malformed, or
    there twice, is ignored, as W3C demands; and so is the trace beside a run's events and tokens."""
    trace, other = (f"00-{digit * 32}-{digit * 16}-01" for digit in "ab")
    async with door() as api:
        event = {"type": "step", "user_id": "alice"}
        for given in (trace, other):
            headers = {"traceparent": given, "Idempotency-Key": "e1"}
            assert (await api.ask("POST", "/v1/threads/t1/events", event, headers=headers))[0] == 200
        for headers in ({}, {"traceparent": trace.upper()}, {"traceparent": "00-1"}, {"traceparent": f"{trace}-x"}):
            assert (await api.ask("POST", "/v1/threads/t1/events", event, headers=headers))[0] == 200
        twice = [("traceparent", trace), ("traceparent", other)]
        assert (await api.ask("POST", "/v1/threads/t1/events", event, headers=twice))[0] == 200
        for extra in ({"run_id": "r1"}, {"type": "agent_delta", "payload": {"text": "x"}}):
            body, headers = {**event, **extra}, {"traceparent": trace}
            assert (await api.ask("POST", "/v1/threads/t1/events", body, headers=headers))[0] == 200
        history = await api.runtime.read("t1")
        assert [one.traceparent for one in history.events] == [trace, *[None] * 7]
        _, told = await api.ask("GET", "/v1/threads/t1/events")
        assert told["events"][0]["traceparent"] == trace
        assert "traceparent" not in told["events"][1]
