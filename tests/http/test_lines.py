"""Lines over HTTP: in and out at the same time, in order, bounded on both sides."""

from __future__ import annotations

import msgspec
import trio

import actors
from actors.http.calls import Bounds
from actors.http.lines import Outbox
from tests.http.serving import KEYS, LINES, PRODUCER, SUPPORT, answer_of, door, head, until
from tests.support.raw import connected

EVENT = b'{"type":"x","thread_id":"t1","user_id":"alice","payload":{"n":%d}}\n'
HEAD = head("POST", "/v1/events", f"Content-Type: {LINES}", "Transfer-Encoding: chunked", "Connection: close")


def chunk(text: bytes) -> bytes:
    """A chunk of a body."""
    return b"%x\r\n%b\r\n" % (len(text), text)


async def test_a_line_for_each_line() -> None:
    """Receipts and refusals come in the order of the lines; an empty line is none, and the last needs no newline."""
    text = EVENT % 1 + b"bad\n\n" + EVENT.replace(b"alice", b"bob") % 2 + b"\xff\n" + (EVENT % 3).strip()
    async with door() as api:
        told = await api.lines(text)
    assert [one["line"] for one in told] == [1, 2, 4, 5, 6]
    assert [one.get("stage") for one in told] == ["stored", None, None, None, "stored"]
    assert [one.get("seq") for one in told] == [1, None, None, None, 2]
    assert [one["error"]["name"] for one in told if "error" in one] == ["bad_request", "not_the_owner", "bad_request"]


async def test_ids_may_be_in_the_payload() -> None:
    """A line is what ``actors serve --stdin`` takes: products emit everything in the payload."""
    async with door() as api:
        (told,) = await api.lines(b'{"type":"x","extra":1,"payload":{"thread_id":"t9","user_id":"eve","run_id":"r"}}')
        assert (told["thread_id"], api.runtime.owner("t9")) == ("t9", "eve")


async def test_a_line_may_belong_to_a_trace() -> None:
    """Its event carries it; one that is malformed refuses its line alone."""
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    fields = [b'"traceparent":"%b",' % trace.encode(), b'"traceparent":"00-1",', b'"traceparent":7,', b""]
    async with door() as api:
        told = await api.lines(b"".join(EVENT.replace(b"{", b"{" + field, 1) % 1 for field in fields))
        assert [one.get("error", {}).get("name") for one in told] == [None, "bad_request", "bad_request", None]
        assert [event.traceparent for event in (await api.runtime.read("t1")).events] == [trace, None]


async def test_receipts_while_the_upload_goes_on() -> None:
    """Each line is answered before the next one is sent, on one request."""
    async with door() as api, await api.stream() as stream:
        await stream.send_all(HEAD)
        came = b""
        for number in range(5):
            await stream.send_all(chunk(EVENT % number))
            while b'"line":%d,' % (number + 1) not in came:
                came += await stream.receive_some()
        await stream.send_all(b"0\r\n\r\n")
        came += await answer_of(stream)
        assert came.count(b'"stage":"stored"') == 5


async def test_a_line_may_come_in_any_pieces() -> None:
    """Cut anywhere, a character included, the lines are the same."""
    text = '{"type":"x","thread_id":"t1","user_id":"alice","payload":{"text":"é"}}\n'.encode()
    async with door() as api, await api.stream() as stream:
        await stream.send_all(HEAD)
        for at in range(len(text)):
            await stream.send_all(chunk(text[at : at + 1]))
        await stream.send_all(b"0\r\n\r\n")
        assert (await answer_of(stream)).count(b'"stage":"stored"') == 1


async def test_the_stages_that_follow() -> None:
    """With ``receipts=all`` a line is told again when a device acks, and the answer ends when all is final."""
    async with door() as api, connected(await api.runtime_address()) as peer:
        await peer.attach("alice")
        found: list[object] = []

        async def feed() -> None:
            found.extend(await api.lines(EVENT % 1 + EVENT % 2, "?receipts=all&timeout_s=60"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed)
            for _ in range(2):
                await peer.ack((await peer.next_event())["offset"])
    stages = [(one["line"], one["stage"]) for one in found if isinstance(one, dict)]
    for line in (1, 2):
        assert [stage for number, stage in stages if number == line] == ["stored", "written", "acked"]


async def test_only_errors() -> None:
    """With ``receipts=errors`` a client that reads nothing before its end gets the refusals, and the counts."""
    async with door() as api:
        told = await api.lines(EVENT % 1 + b"bad\n" + EVENT % 2, "?receipts=errors")
    assert told[0]["line"] == 2
    assert told[1:] == [{"lines": 3, "errors": 1}]


async def test_a_repeated_line_is_one_event() -> None:
    """An event_id that comes again gets the first receipt; with other content it is a conflict."""
    line = b'{"type":"x","thread_id":"t1","event_id":"e1","payload":{"n":%d}}\n'
    async with door() as api:
        first, again, other = await api.lines(line % 1 + line % 1 + line % 2)
        assert (first["seq"], again["seq"], other["error"]["name"]) == (1, 1, "conflict")


async def test_a_line_that_is_too_long() -> None:
    """Ten megabytes without a newline are refused as one line, kept nowhere, and what follows is taken."""
    async with door() as api:
        told = await api.lines(b"x" * (10 << 20) + b"\n" + EVENT % 1)
    assert [(one["line"], one.get("error", {}).get("name")) for one in told] == [(1, "too_big"), (2, None)]


async def test_a_client_that_is_cut_in_a_line() -> None:
    """Half of a line is no event; those before it are."""
    async with door() as api:
        async with await api.stream() as stream:
            await stream.send_all(HEAD + chunk(EVENT % 1 + EVENT[:30]))
            await until(lambda: api.runtime.audit().total.accepted)
        await until(lambda: "0 requests" in repr(api.api))
        assert api.runtime.audit().total.accepted == 1
        assert list(api.runtime.failures) == []


async def test_a_client_that_reads_nothing() -> None:
    """It is not read from when its answers fill the socket, and is cut off; nothing grows, and others are served."""
    bounds = Bounds(waiting_bytes=1_000, write_seconds=0.5)
    async with door(bounds=bounds) as api, await api.stream() as stream:
        with trio.move_on_after(10):
            try:
                await stream.send_all(HEAD)
                while True:
                    await stream.send_all(chunk((EVENT % 1) * 1_000))
            except trio.BrokenResourceError:
                pass
        assert (await api.ask("GET", "/healthz"))[0] == 200
        await until(lambda: "0 requests" in repr(api.api))


async def test_it_ends_when_the_runtime_takes_no_more() -> None:
    """What was taken is told, and the answer is ended whole, so that the client goes elsewhere."""
    async with door() as api, await api.stream() as stream:
        await stream.send_all(HEAD + chunk(EVENT % 1))
        await until(lambda: api.runtime.audit().total.accepted)
        await api.runtime.drain(0)
        came = await answer_of(stream)
        assert b'"line":1,"event_id"' in came
        assert came.endswith(b"0\r\n\r\n")
        more = {"content": EVENT % 2, "headers": {"content-type": LINES}}
        assert await api.refusal("POST", "/v1/events", **more) == (503, "shutting_down")


async def test_what_is_no_stream_of_lines() -> None:
    """Another content type is refused, and so are parameters that do not exist."""
    async with door() as api:
        assert await api.refusal("POST", "/v1/events", {"type": "x"}) == (415, "bad_request")
        wrong = {"content": b"x\n", "headers": {"content-type": LINES}}
        assert await api.refusal("POST", "/v1/events?receipts=some", **wrong) == (400, "bad_request")
        assert await api.refusal("POST", "/v1/events?timeout_s=1e9", **wrong) == (400, "bad_request")


async def test_the_reach_of_a_key_is_that_of_each_line() -> None:
    """A line for a thread that the key does not reach is refused alone."""
    async with door(keys=KEYS, key=SUPPORT) as api:
        first, second = await api.lines(EVENT % 1 + EVENT.replace(b"t1", b"support-1") % 2)
        assert (first["error"]["name"], second["stage"]) == ("forbidden", "stored")
    async with door(keys=KEYS) as api:
        refused = await api.client.post("/v1/events", content=EVENT % 1, headers={"content-type": LINES})
        assert refused.status_code == 401
    async with door(keys=KEYS, key=PRODUCER) as api:
        assert (await api.lines(EVENT % 1))[0]["stage"] == "stored"


async def test_a_store_that_has_to_be_waited_for(tmp_path: object) -> None:
    """Lines are handed to it while earlier ones wait for their commit; each answer comes after it, in order."""
    async with door(store=actors.SQLiteStore(f"{tmp_path}/events.db")) as api:
        told = await api.lines(b"".join(EVENT % n for n in range(500)))
        assert [one["seq"] for one in told] == list(range(1, 501))
        assert {one["stage"] for one in told} == {"stored"}


async def test_lines_that_wait_for_devices() -> None:
    """With ``ahead`` the upload waits for a device that is slow, and no event is lost to retention."""
    async with (
        door(limits=actors.Limits(retained_events=20)) as api,
        connected(await api.runtime_address()) as peer,
        trio.open_nursery() as nursery,
    ):
        await peer.attach("alice")

        async def feed() -> None:
            await api.lines(b"".join(EVENT % n for n in range(200)), "?ahead=5&receipts=errors")
            nursery.cancel_scope.cancel()

        nursery.start_soon(feed)
        offset = 0
        while offset < 200:
            offset = (await peer.next_event())["offset"]
            await peer.ack(offset)
        assert api.runtime.audit().total.dropped == 0
    refused = {"content": b"", "headers": {"content-type": LINES}}
    async with door(limits=actors.Limits(retained_events=20)) as api:
        assert await api.refusal("POST", "/v1/events?ahead=0", **refused) == (400, "bad_request")
        assert await api.refusal("POST", "/v1/events?ahead=21", **refused) == (400, "bad_request")


async def test_an_outbox_joins_what_waits() -> None:
    """What is put while a write goes on leaves with the next one, and only so much may wait."""
    sent: list[bytes] = []
    gate = trio.Event()

    async def send(message: object) -> None:
        assert isinstance(message, dict)
        sent.append(message["body"])
        await gate.wait()

    class Word(msgspec.Struct):
        w: int

    outbox = Outbox(Bounds(waiting_bytes=20))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.run, send)
        outbox.put(Word(1))
        await until(lambda: sent)
        outbox.put(Word(2))
        outbox.put(Word(3))
        with trio.move_on_after(0.01) as patience:
            await outbox.room()
        assert patience.cancelled_caught
        gate.set()
        await outbox.room()
        await outbox.close()
        nursery.cancel_scope.cancel()
    assert sent == [b'{"w":1}\n', b'{"w":2}\n{"w":3}\n']
