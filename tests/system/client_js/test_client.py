"""The browser's client, run by Node, at a real server: one that is cut off, restarted, slow, or refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest
import trio

import actors
from actors import limits
from actors.testing import fault_proxy
from tests.support.served import Served, served
from tests.support.stores import state_of
from tests.system.client_js.node import Node, Threw, open_node

pytestmark = pytest.mark.slow


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """A Node process."""
    async with open_node() as opened:
        yield opened


async def allow(user_id: str, thread_id: str) -> bool:
    return True


def port(server: Served) -> tuple[str, int]:
    assert isinstance(server.address, tuple)
    return server.address


def url(server: Served) -> str:
    return f"ws://127.0.0.1:{port(server)[1]}/ws"


async def stored(server: Served) -> None:
    """Until the server has taken a message."""
    while state_of(server.runtime.tree.store).bounds("alice").head == 0:
        await trio.lowlevel.checkpoint()


async def acked(receipts: list[actors.Receipt]) -> None:
    for receipt in receipts:
        await receipt.reached(actors.Stage.ACKED)


# --- the stream ---------------------------------------------------------------


async def test_events_come_once_in_order_and_are_acknowledged(node: Node) -> None:
    """Events that were there and events that come then are one stream; all of it becomes ACKED."""
    async with served() as server:
        first = await server.emit(3)
        await node.collect(url(server))
        second = await server.emit(300)
        await node.until_events(303)
        assert [item["offset"] for item in await node.items("a", "event")] == list(range(1, 304))
        await acked(first + second)
        cursor = await node.run("return it.sessions.a.session.cursor")
        assert cursor["offset"] == 303


async def test_a_cut_is_resumed_from(node: Node) -> None:
    """Events emitted while the network was gone come when it is back: each once, none of them missing."""
    async with served() as server, fault_proxy(*port(server)) as network:
        await node.collect(network.url)
        await server.emit(5)
        await node.until_events(5)
        network.sever()
        await node.until_state("waiting")
        receipts = await server.emit(20)
        network.mend()
        await node.until_events(25)
        assert await node.numbers() == [*range(5), *range(20)]
        assert await node.items("a", "gap", "reset") == []
        await acked(receipts)


async def test_cuts_at_any_moment_lose_and_double_nothing(node: Node) -> None:
    """The connection drops again and again while events come."""
    async with served() as server, fault_proxy(*port(server)) as network:
        await node.collect(network.url)
        thread = server.runtime.thread("thread-of-alice")
        for n in range(200):
            await thread.emit("tick", {"n": n}, user_id="alice")
            if n % 20 == 0:
                network.cut()
            await trio.sleep(0.002)
        await node.until_events(200)
        assert await node.numbers() == list(range(200))


async def test_what_was_not_taken_is_not_acknowledged(node: Node) -> None:
    """An item is taken when the loop comes back for the next one, and not before."""
    async with served() as server:
        script = """
            it.session = connect(url, {token: "alice"});
            it.loop = it.session[Symbol.asyncIterator]();
            return (await it.loop.next()).value.kind;
        """
        assert await node.run(script, url=url(server)) == "caught_up"
        first, second = await server.emit(2)
        assert (await node.run("return (await it.loop.next()).value.payload.n")) == 0
        await trio.sleep(1.2)  # longer than an ack waits
        assert first.stage == actors.Stage.WRITTEN
        await node.run("await it.loop.next()")
        await first.reached(actors.Stage.ACKED)
        assert second.stage == actors.Stage.WRITTEN


async def test_listeners_are_consumers(node: Node) -> None:
    """Without a loop, what the listeners have seen is taken."""
    async with served() as server:
        script = """
            it.session = connect(url, {token: "alice"});
            it.seen = [];
            await sleep(100);
            it.session.addEventListener("event", ({detail}) => it.seen.push(detail.payload.n));
        """
        receipts = await server.emit(3)
        await node.run(script, url=url(server))
        receipts += await server.emit(200)
        await acked(receipts)
        assert await node.run("return it.seen") == [*range(3), *range(200)]


async def test_what_left_the_log_is_a_gap(node: Node) -> None:
    """A client that was away for too long is told which offsets are gone."""
    bounds = limits.Limits(retained_events=10)
    async with served(limits=bounds) as server, fault_proxy(*port(server)) as network:
        await node.collect(network.url)
        await server.emit(5)
        await node.until_events(5)
        network.sever()
        await node.until_state("waiting")
        await server.emit(30)
        network.mend()
        await node.until_events(15)
        assert await node.items("a", "gap") == [{"kind": "gap", "from": 6, "to": 25, "cause": "retention"}]
        assert [item["offset"] for item in await node.items("a", "event")] == [*range(1, 6), *range(26, 36)]


@pytest.mark.parametrize("end", ["least", "most"])
async def test_whatever_a_server_may_ask(node: Node, end: str) -> None:
    """At both ends of what a server's limits may be the client takes what comes, and acks it when asked to."""
    names = ("ping_seconds", "ack_seconds", "ack_events", "requests", "inbound_messages_per_second")
    asked = {name: getattr(getattr(attrs.fields(limits.Limits), name).validator, end) for name in names}
    asked |= {"inbound_messages_per_second": 100.0} if end == "least" else {}  # of every 10 ms there is a ping
    async with served(limits=limits.Limits(**asked)) as server:
        await node.collect(url(server))
        receipts = await server.emit(3)
        await node.until_events(3)
        if end == "least":
            await acked(receipts)
        await trio.sleep(0.3)
        assert server.runtime.devices("alice") == 1
        assert {receipt.stage for receipt in receipts} == {
            actors.Stage.ACKED if end == "least" else actors.Stage.WRITTEN
        }
        assert next(server.runtime.tree.server._labels) == 2


async def test_another_server_is_a_reset(node: Node) -> None:
    """A server that was started anew has another log: the client says so, and shows what is in it."""
    async with fault_proxy("127.0.0.1", 0) as network:
        async with served() as server:
            network.target = port(server)
            await node.collect(network.url)
            await server.emit(5)
            await node.until_events(5)
        await node.until_state("waiting")
        async with served() as server:
            await server.emit(2)
            network.target = port(server)
            await node.until_events(7)
            kinds = [item["kind"] for item in await node.items()]
            assert kinds == ["event"] * 5 + ["reset"] + ["event"] * 2
            (reset,) = await node.items("a", "reset")
            assert (reset["low"], reset["cause"]) == (1, "")


async def test_a_cursor_that_was_kept_goes_on(node: Node) -> None:
    """An application that keeps its state begins behind what it has."""
    async with served() as server:
        await node.collect(url(server))
        await server.emit(5)
        await node.until_events(5)
        await node.until("it.sessions.a.session.cursor.offset === 5")
        cursor = await node.run("const {session} = it.sessions.a; session.close(); return session.cursor")
        await server.emit(3)
        await node.collect(url(server), "b", cursor=cursor)
        assert await node.numbers("b") == [0, 1, 2]


async def test_a_reader_who_stops_gives_up_its_connection(node: Node) -> None:
    """Memory is bounded: with too much unread the session waits without a connection, and then reads on."""
    bounds = limits.Limits(retained_events=10_000)
    async with served(limits=bounds) as server:
        script = """
            it.session = connect(url, {token: "alice"});
            it.loop = it.session[Symbol.asyncIterator]();
            await it.loop.next();
        """
        await node.run(script, url=url(server))
        await server.emit(3_000)
        await node.until("it.session.state.name === 'waiting'")
        assert await node.run("return it.session.state.until === Infinity")
        seen = "let n = []; while (n.length < 3000) { const {value} = await it.loop.next();"
        seen += "if (value.kind === 'event') n.push(value.offset); } return n;"
        assert await node.run(seen) == list(range(1, 3_001))


MUCH = limits.Limits(retained_events=10_000)
"""A log that holds more than a client keeps unread."""


async def test_what_is_unread_is_bounded_and_nothing_is_lost_by_it(node: Node) -> None:
    """Paused, asked for something, paused again: the reader gets every event, once and in order, and acks it."""
    async with served(limits=MUCH, authorize=allow) as server:
        receipts = await server.emit(2_500)
        await node.run("it.session = connect(url, {token: 'alice'})", url=url(server))
        await node.until("it.session.state.until === Infinity")
        for _ in range(2):
            await node.run("await it.session.send({text: 'hi'}, {threadId: 'open'})")
            await node.until("it.session.state.until === Infinity")
        seen = "const n = []; for await (const {kind, offset} of it.session) { if (kind === 'event') n.push(offset);"
        seen += "if (n.length === 2502) break; } return n;"
        assert await node.run(seen) == list(range(1, 2_503))
        await acked(receipts)


@pytest.mark.parametrize("act", ["send({})", "read('thread-of-alice')", "cancel('run')", "answer('ask', {})"])
async def test_a_request_is_answered_however_much_is_unread(node: Node, act: str) -> None:
    """Nothing is read, and there is more than is kept: a request is answered all the same, at once and while paused."""
    async with served(limits=MUCH) as server:
        await server.emit(1_200)
        await node.run("it.session = connect(url, {token: 'alice'})", url=url(server))
        asked = f"await it.session.{act}.catch(({{name}}) => {{ if (!/^unknown/.test(name)) throw name; }})"
        await node.run(asked)
        await node.until("it.session.state.until === Infinity")
        await node.run(asked)


async def test_a_loop_may_ask_and_wait_for_the_answer(node: Node) -> None:
    """While it waits for a reply, it does not read; the reply comes although the log is full of what is unread."""
    async with served(limits=MUCH) as server:
        await server.emit(2_100)
        script = """
            it.session = connect(url, {token: "alice"});
            const n = [];
            for await (const {kind, offset} of it.session) {
                if (kind !== "event") continue;
                n.push(offset);
                if (offset % 700 === 1) await it.session.read("thread-of-alice", {limit: 1});
                if (offset === 2100) return n;
            }
        """
        assert await node.run(script, url=url(server)) == list(range(1, 2_101))


async def test_a_loop_that_was_left_strands_no_request(node: Node) -> None:
    """Broken off, thrown out of, returned to, or read by hand and let be."""
    async with served(limits=MUCH) as server:
        await server.emit(1_500)
        script = """
            const session = connect(url, {token: "alice"});
            for await (const item of session) break;
            try { for await (const item of session) throw new Error(); } catch {}
            const loop = session[Symbol.asyncIterator]();
            await loop.next();
            await loop.return();
            const idle = session[Symbol.asyncIterator]();
            const {value} = await idle.next();
            await session.send({});
            return [value.offset, session.state.name];
        """
        assert (await node.run(script, url=url(server)))[0] == 4


async def test_a_client_comes_back_from_its_own_former_connection(node: Node) -> None:
    """A hello that was given up reaches the server late, and supersedes the next connection: that one comes back."""
    calls, release = [], trio.Event()

    async def authenticate(credentials: Any) -> str:
        calls.append(credentials)
        if len(calls) == 2:
            await release.wait()
        return "alice"

    async with served(authenticate=authenticate) as server:
        await node.collect(url(server))
        await node.run("it.sessions.a.session.connect()")
        while len(calls) < 2:  # noqa: ASYNC110 - Node is waited for
            await trio.sleep(0.01)
        await node.run("it.sessions.a.session.connect()")
        await node.until_state("live")
        release.set()
        await trio.sleep(0.5)
        await node.until_state("live")
        await server.emit(3)
        await node.until_events(3)
        assert await node.run("return it.sessions.a.states.filter(({name}) => name === 'refused')") == []


async def test_what_no_listener_heard_is_not_acknowledged(node: Node) -> None:
    """A listener that was removed takes nothing any more; what came meanwhile goes to the next one."""
    async with served() as server:
        script = """
            it.session = connect(url, {token: "alice"});
            it.seen = [];
            it.hear = ({detail}) => it.seen.push(detail.payload.n);
            it.session.addEventListener("event", it.hear);
        """
        await node.run(script, url=url(server))
        heard = await server.emit(2)
        await acked(heard)
        await node.run("it.session.removeEventListener('event', it.hear)")
        (unacked,) = await server.emit(1)
        await trio.sleep(1.2)  # longer than an ack waits
        assert unacked.stage == actors.Stage.WRITTEN
        await node.run("it.session.addEventListener('event', it.hear)")
        await acked([unacked])
        assert await node.run("return it.seen") == [0, 1, 0]


async def test_two_clients_do_not_fence_each_other(node: Node) -> None:
    """Two sessions of one user get the same events, and neither ends the other."""
    async with served(authorize=allow) as server:
        await node.collect(url(server))
        await node.collect(url(server), "b")
        await node.run("await it.sessions.a.session.send({n: 1})")
        for name in "ab":
            await node.until_events(1, name)
            assert await node.run("return it.sessions[name].states.length", name=name) == 2
        assert await node.items("a") == await node.items("b")


# --- requests -----------------------------------------------------------------


async def test_a_message_whose_reply_is_lost_is_placed_once(node: Node) -> None:
    """The server took the message, and the cut took the reply: the client asks again, and nothing is doubled."""
    async with served(authorize=allow) as server, fault_proxy(*port(server)) as network:
        await node.collect(network.url)
        network.vanish("down")
        await node.run("it.sent = it.sessions.a.session.send({n: 7}, {threadId: 't'})")
        await stored(server)
        network.sever()
        await node.until_state("waiting")
        network.mend()
        sent = await node.run("return await it.sent")
        assert (sent["thread_id"], sent["offset"], sent["seq"]) == ("t", 1, 1)
        await node.until_events(1)
        await server.emit(1)
        await node.until_events(2)
        assert await node.numbers() == [7, 0]


async def test_what_is_said_without_a_connection_is_sent_later(node: Node) -> None:
    """Many at once, too: no more are asked at a time than a server takes."""
    async with served(authorize=allow) as server, fault_proxy(*port(server)) as network:
        network.sever()
        script = "collect('a', url, {token: 'alice'}); const {session} = it.sessions.a;"
        script += "it.sent = Promise.all(Array.from({length: 100}, (_, n) => session.send({n}, {threadId: 't'})))"
        await node.run(script, url=network.url)
        network.mend()
        assert [sent["seq"] for sent in await node.run("return await it.sent")] == list(range(1, 101))
        await node.until_events(100)
        assert await node.numbers() == list(range(100))


async def test_a_lost_session_rejects_what_may_have_been_done(node: Node) -> None:
    """A server that does not know the session could carry a request out twice: it is not asked."""
    async with fault_proxy("127.0.0.1", 0) as network:
        async with served(authorize=allow) as server:
            network.target = port(server)
            await node.collect(network.url)
            network.vanish("down")
            await node.run("it.sent = it.sessions.a.session.send({n: 1}).catch((error) => ({...error}))")
            await stored(server)
            network.sever()
            await node.until_state("waiting")
        async with served(authorize=allow) as server:
            network.target = port(server)
            network.mend()
            assert (await node.run("return await it.sent"))["name"] == "session_lost"
            assert (await node.run("return await it.sessions.a.session.send({n: 2})"))["offset"] == 1


async def test_requests_have_answers_and_refusals(node: Node) -> None:
    """A thread is read; what is not there is refused, by its name."""
    async with served() as server:
        await server.emit(5)
        await node.collect(url(server))
        script = "return await it.sessions.a.session.read('thread-of-alice', {afterSeq: 2, limit: 2})"
        history = await node.run(script)
        assert [event["seq"] for event in history["events"]] == [3, 4]
        assert history["more"] is True
        for script in ("read('nobody')", "cancel('no run')", f"send({{text: '{'x' * 70_000}'}})"):
            with pytest.raises(Threw) as caught:
                await node.run(f"return await it.sessions.a.session.{script}")
            assert caught.value.error["name"] in {"unknown_thread", "unknown_run", "too_big"}
            assert caught.value.error["temporary"] is False


async def test_requests_keep_to_the_rate_that_the_server_allows(node: Node) -> None:
    """Hundreds at once are said as fast as the welcome allows: no connection is ended for flooding."""
    bounds = limits.Limits(inbound_messages_per_second=100.0, inbound_burst=100)
    async with served(limits=bounds) as server:
        await server.emit(1)
        await node.collect(url(server))
        script = "const reads = Array.from({length: 300}, () => it.sessions.a.session.read('thread-of-alice'));"
        assert await node.run(f"{script} return (await Promise.all(reads)).length") == 300
        assert await node.run("return it.sessions.a.states.map(({name}) => name)") == ["connecting", "live"]


async def test_cancel_ends_a_run(node: Node) -> None:
    """The reply says what was stopped."""

    async def assistant(run: actors.Run, message: actors.Message) -> None:
        await trio.sleep_forever()

    async with served(on_message=assistant, authorize=allow) as server:
        await node.collect(url(server))
        script = "const {session} = it.sessions.a; const {run_id} = await session.send({text: 'hi'});"
        ended = await node.run(f"{script} return await session.cancel(run_id)")
        assert (ended["stopped"], ended["running"]) == ([ended["run_id"]], [])
        await node.until_events(3)
        assert (await node.items())[-1]["payload"] == {"reason": "user"}


# --- coming and going ---------------------------------------------------------


async def test_a_refusal_is_final_until_asked_again(node: Node) -> None:
    """A close code from 4500 on: the loop throws, requests reject, nothing comes back; ``connect`` tries again."""
    welcome = trio.Event()

    async def authenticate(token: str | None) -> str | None:
        return "alice" if welcome.is_set() else None

    async with served(authenticate=authenticate) as server, fault_proxy(*port(server)) as network:
        await node.run("collect('a', url, {token: () => Promise.resolve('x')})", url=network.url)
        refused = await node.until_state("refused")
        assert refused["code"] == 4501
        assert await node.run("return it.sessions.a.ended") == "refused"
        with pytest.raises(Threw, match="refused"):
            await node.run("return await it.sessions.a.session.send({})")
        await trio.sleep(0.7)
        assert network.connections == 1
        welcome.set()
        await node.run("it.sessions.a.session.connect()")
        await node.until_state("live")


async def test_a_server_that_leaves_is_left_alone_as_long_as_it_asks(node: Node) -> None:
    """``going_away`` is in the state, and its ``retry_ms`` is the wait after the close."""
    async with fault_proxy("127.0.0.1", 0) as network:
        async with served(limits=limits.Limits(retry_seconds=1.0)) as server:
            network.target = port(server)
            await node.collect(network.url)
            await server.runtime.drain(0.1)
        await node.until_state("waiting")
        states: list[dict[str, Any]] = await node.run("return it.sessions.a.states")
        (leaving,) = [state["leaving"] for state in states if "leaving" in state]
        assert 500 <= leaving <= 1_500
        left = await node.run("return it.sessions.a.session.state.until - Date.now()")
        assert leaving - 1_000 < left <= leaving


async def test_closed_is_closed(node: Node) -> None:
    """Items taken are acked, the loop ends, requests reject, and the device is gone."""
    async with served() as server:
        await node.collect(url(server))
        receipts = await server.emit(1)
        await node.until_events(1)
        await node.run("it.sessions.a.session.close()")
        assert await node.until("it.sessions.a.ended") == "closed"
        await acked(receipts)
        await server.gone()
        with pytest.raises(Threw, match="closed"):
            await node.run("return await it.sessions.a.session.read('t')")
        await node.run("it.sessions.a.session.connect()")
        assert await node.run("return it.sessions.a.session.state") == {"name": "closed"}
