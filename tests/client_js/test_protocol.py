"""The browser's client against a socket that says what the test wants: what a correct server never says, or rarely."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from actors.wire import closing
from tests.client_js.node import Node, open_node

CONNECT = "collect('a', 'ws://test/ws', {WebSocket: Fake}); const a = it.sessions.a;"
WELCOMED = f"{CONNECT} let [socket] = Fake.sockets; await socket.welcome();"
AGAIN = "socket = Fake.sockets.at(-1);"
HIGHEST = "Math.random = () => 1;"
"""Makes every wait as long as it may be."""
CLOCK = "let now = 0; performance.now = () => now;"
"""Makes time stand still, for whoever measures it."""
QUICK = "const real = setTimeout; globalThis.setTimeout = (action, ms) => real(action, ms / 100);"
"""Makes time pass a hundred times as fast."""


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """A Node process."""
    async with open_node() as opened:
        yield opened


async def kinds(node: Node, script: str) -> list[Any]:
    """What the session gave after a script: the offset of an event, the kind of anything else."""
    given = "a.items.map((item) => (item.kind === 'event' ? item.offset : item.kind))"
    found: list[Any] = await node.run(f"{WELCOMED} {script} await sleep(20); return {given};")
    return found


async def test_what_was_seen_is_dropped(node: Node) -> None:
    """Events and ranges that end at or before the last offset are not shown again."""
    batch = "{op: 'batch', from: 2, to: 4, events: [event(2), event(4)]}"
    script = f"socket.say(event(1), {batch}, event(3), {batch}, {{op: 'gap', from: 1, to: 4}}, event(5));"
    assert await kinds(node, script) == [1, 2, 4, 5]


async def test_a_hole_is_a_defect(node: Node) -> None:
    """It is said, and the client begins anew, without its cursor and with its session."""
    script = f"""
        {QUICK}
        socket.say(event(1), event(3));
        await sleep(2000);
        {AGAIN}
        await socket.welcome({{epoch: "ep", start: 1}});
        socket.say(event(1), event(2));
    """
    assert await kinds(node, script) == [1, "reset", 1, 2]
    hello, cause = await node.run(
        "return [Fake.sockets.at(-1).heard[0], it.sessions.a.items.find((item) => item.kind === 'reset').cause]"
    )
    assert hello == {"op": "hello", "v": 1, "session": "s", "from": "low"}
    assert cause == "expected offset 2, got 3"


async def test_a_reset_in_the_middle_begins_anew(node: Node) -> None:
    """Also when it is the same epoch, whose log was rewound; nothing of the old log is confirmed any more."""
    script = """
        socket.say(event(1), event(2), event(3));
        await sleep(20);
        socket.say({op: "reset", epoch: "ep", low: 1}, event(1));
        await sleep(100);
    """
    assert await kinds(node, script) == [1, 2, 3, "reset", 1]
    heard = await node.run("return Fake.sockets[0].heard.filter(({op}) => op === 'ack')")
    assert [ack["offset"] for ack in heard] == [3, 1]


async def test_acks_are_sent_in_batches(node: Node) -> None:
    """After so many events, or so long, as the welcome says; and at once when a run has ended."""
    script = """
        socket.say(event(1), event(2), event(3));
        await sleep(10);
        const full = socket.heard.at(-1).offset;
        socket.say(event(4));
        await sleep(10);
        const early = socket.heard.at(-1).offset;
        await sleep(100);
        const late = socket.heard.at(-1).offset;
        socket.say(event(5, {type: "agent_completed"}));
        await sleep(10);
        return [full, early, late, socket.heard.at(-1).offset];
    """
    assert await node.run(WELCOMED + script) == [3, 3, 4, 5]


async def test_a_question_is_one_question(node: Node) -> None:
    """It comes once however often it is said; one that was closed meanwhile is closed when the others have come."""
    script = f"""
        const ask = (id) => ({{op: "ask", event: event(undefined, {{event_id: id}}), timeout_s: 60}});
        socket.say({{op: "caught_up", offset: 0}}, ask("q1"), ask("q2"), ask("q3"), ask("q1"), {{op: "pong"}});
        socket.say({{op: "ask_closed", ask: "q3", reason: "answered"}}, {{op: "ask_closed", ask: "q3"}});
        await sleep(10);
        a.session.connect();
        {AGAIN}
        await socket.welcome({{resume: "replayed"}});
        socket.say({{op: "caught_up", offset: 0}}, ask("q1"), {{op: "pong"}});
    """
    seen = ["caught_up", "ask", "ask", "ask", "ask_closed", "caught_up", "ask_closed"]
    assert await kinds(node, script) == seen
    closed = await node.run("return it.sessions.a.items.filter(({kind}) => kind === 'ask_closed')")
    assert [(item["id"], item["reason"]) for item in closed] == [("q3", "answered"), ("q2", "gone")]


async def test_what_was_not_handed_out_comes_again(node: Node) -> None:
    """A cut between arrival and reading: the resume point is what was taken, and what comes again comes once."""
    script = f"""
        const session = connect("ws://test/ws", {{WebSocket: Fake}});
        let [socket] = Fake.sockets;
        await socket.welcome();
        const loop = session[Symbol.asyncIterator]();
        socket.say(event(1), event(2), event(3));
        const first = (await loop.next()).value.offset;
        session.connect();
        {AGAIN}
        await socket.welcome({{resume: "replayed"}});
        socket.say(event(1), {{op: "batch", from: 2, to: 4, events: [event(2), event(3), event(4)]}});
        const rest = [];
        while (rest.length < 3) rest.push((await loop.next()).value.offset);
        return [first, socket.heard[0].resume, rest];
    """
    assert await node.run(script) == [1, {"epoch": "ep", "offset": 0}, [2, 3, 4]]


@pytest.mark.parametrize("code", [*(row.code for row in closing.TABLE.values() if not row.temporary), 1008])
async def test_codes_that_say_stay_away(node: Node, code: int) -> None:
    """The state says the code, and the server's words."""
    script = "socket.say({op: 'error', error: {message: 'why'}}); socket.onclose({code, reason: 'short'});"
    state = await node.run(f"{WELCOMED} {script} return a.session.state", code=code)
    assert state == {"name": "refused", "code": code, "reason": "why"}


@pytest.mark.parametrize("code", [*(row.code for row in closing.TABLE.values() if row.temporary), 1001, 1005, 4499])
async def test_codes_that_say_come_back(node: Node, code: int) -> None:
    """It waits, and says until when."""
    state = await node.run(f"{WELCOMED} socket.onclose({{code, reason: ''}}); return a.session.state", code=code)
    assert (state["name"], state["code"]) == ("waiting", code)


LOSE = """
    const lose = (after, code = 1006) => {
        now += after;
        Fake.sockets.at(-1).onclose({code});
        const {waitMs} = a.session.state;
        now += waitMs;
        a.session.connect();
        return waitMs / 1000;
    };
"""
"""Loses a connection after some milliseconds, and comes back at the end of the wait; how long it was."""


async def test_waits_grow_with_the_time_since_the_loss(node: Node) -> None:
    """The ceilings are min(10 s, max(0.5 s, time since the loss)), and each wait is a random part of its ceiling."""
    script = f"{CLOCK} {HIGHEST} {CONNECT} {LOSE} return Array.from({{length: 8}}, () => lose(0));"
    assert await node.run(script) == [0.5, 0.5, 1, 2, 4, 8, 10, 10]


async def test_after_an_outage_a_client_is_away_about_as_long_again(node: Node) -> None:
    """A server that was gone for 3 s is asked again within another 3, however many attempts have failed meanwhile."""
    script = f"{CLOCK} Math.random = () => 0.25; {CONNECT} {LOSE} const waits = [];"
    script += "while (now < 3000) waits.push(lose(50)); return waits;"
    assert max(await node.run(script)) <= 3


async def test_only_a_connection_that_held_begins_the_waits_anew(node: Node) -> None:
    """One that was live for less than ten seconds does not: a server that ends each at once is asked ever more rarely."""
    script = f"""
        {CLOCK} {HIGHEST} {WELCOMED} {LOSE}
        const live = async (ms) => {{
            await Fake.sockets.at(-1).welcome({{resume: "replayed"}});
            Fake.sockets.at(-1).say({{op: "caught_up", offset: 0}});
            return lose(ms);
        }};
        return [lose(0), lose(0), lose(0), await live(9_000), await live(10_000), lose(0)];
    """
    assert await node.run(script) == [0.5, 0.5, 1, 10, 0.5, 0.5]


@pytest.mark.parametrize("hours", [-24, 24])
async def test_a_clock_that_is_set_changes_no_wait(node: Node, hours: int) -> None:
    """What is measured is measured on a clock that nobody sets; only what people read is of that one."""
    script = f"""
        {HIGHEST} const set = Date.now; {WELCOMED}
        socket.say({{op: "caught_up", offset: 0}});
        Date.now = () => set() + hours * 3_600_000;
        socket.onclose({{code: 1006}});
        const {{waitMs, until}} = a.session.state;
        const left = until - Date.now();
        a.session.close();
        Date.now = set;
        return [waitMs, Math.abs(left - 500) < 100];
    """
    assert await node.run(script, hours=hours) == [500, True]


async def test_a_silent_server_is_dead(node: Node) -> None:
    """Nothing within ping_s and ten seconds, though it answered before; and nothing within ten after the dial."""
    script = f"""
        {QUICK} {CONNECT} let [socket] = Fake.sockets; await socket.welcome({{ping_s: 5}});
        socket.say({{op: "caught_up", offset: 0}});
        const began = Date.now();
        while (a.session.state.name !== "waiting") await sleep(100);
        const reason = a.session.state.reason;
        const after = Math.round((Date.now() - began) / 50);
        while (Fake.sockets.length < 2 || a.session.state.name !== "waiting") await sleep(100);
        return [reason, after];
    """
    assert await node.run(script) == ["the server was silent", 3]


async def test_waking_up_comes_back_at_once_and_doubts_the_link(node: Node) -> None:
    """``online`` ends a wait; on a link that seems to be there it asks for a sign of life."""
    script = f"""
        const page = new EventTarget();
        globalThis.addEventListener = page.addEventListener.bind(page);
        {HIGHEST}
        {WELCOMED}
        socket.onclose({{code: 1006}});
        page.dispatchEvent(new Event("online"));
        const dialled = Fake.sockets.length;
        {AGAIN}
        await socket.welcome({{resume: "replayed"}});
        socket.say({{op: "caught_up", offset: 0}});
        {QUICK}
        page.dispatchEvent(new Event("visibilitychange"));
        const asked = socket.heard.filter(({{op}}) => op === "ping").length;
        await sleep(5000);
        a.session.close();
        page.dispatchEvent(new Event("online"));
        return [dialled, asked, a.states.filter(({{name}}) => name === "waiting").length];
    """
    dialled, asked, waits = await node.run(script)
    assert (dialled, asked) == (2, 2)
    assert waits >= 2, "the link that did not answer was ended"


async def test_a_token_may_be_made_for_each_connection(node: Node) -> None:
    """It is awaited; when there is none, the session tries again."""
    script = (
        HIGHEST
        + """
        let calls = 0;
        const token = async () => { calls += 1; if (calls === 1) throw new Error("offline"); return `t${calls}`; };
        const session = connect("ws://test/ws", {WebSocket: Fake, token});
        Fake.sockets[0].onopen();
        await sleep(10);
        const {name, reason} = session.state;
        session.connect();
        await Fake.sockets.at(-1).welcome();
        return [name, reason, Fake.sockets.at(-1).heard[0].token];
    """
    )
    assert await node.run(script) == ["waiting", "no token: Error: offline", "t2"]
