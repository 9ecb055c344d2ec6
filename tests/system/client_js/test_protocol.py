"""The browser's client against a socket that says what the test wants: what a correct server never says, or rarely."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from actors.events import numbers
from actors.protocol.codes import CLOSINGS
from tests.client.test_address import DIALLED, NONE, SECRET
from tests.system.client_js.node import Node, open_node

CONNECT = "collect('a', 'ws://test/ws', {WebSocket: Fake}); const a = it.sessions.a;"
WELCOMED = f"{CONNECT} let [socket] = Fake.sockets; await socket.welcome();"
AGAIN = "socket = Fake.sockets.at(-1);"
HIGHEST = "Math.random = () => 1;"
"""Makes every wait as long as it may be."""
CLOCK = "let now = 0; performance.now = () => now;"
"""Makes time stand still, for everything that measures it."""
VIRTUAL = """
    let [now, made] = [0, 0];
    const timers = new Map();
    performance.now = () => now;
    globalThis.setTimeout = (action, ms) => (timers.set((made += 1), {at: now + ms, action}), made);
    globalThis.clearTimeout = (id) => timers.delete(id);
    const pass = async (ms) => {
        for (const end = now + ms; ; await turn()) {
            const [id, next] = [...timers].sort(([, a], [, b]) => a.at - b.at)[0] ?? [];
            now = Math.max(now, Math.min(end, next?.at ?? end));
            if (!(next?.at <= now)) return;
            timers.delete(id);
            next.action();
        }
    };
    const asked = (socket, op) => socket.heard.filter((message) => message.op === op).length;
"""
"""Makes time go by when a test lets it: ``await pass(ms)``."""
PAGE = """
    const page = new EventTarget();
    globalThis.addEventListener = page.addEventListener.bind(page);
    const happens = (type) => page.dispatchEvent(new Event(type));
"""
"""The properties of a page that a browser tells."""
QUICK = "const real = setTimeout; globalThis.setTimeout = (action, ms) => real(action, ms / 100);"
"""Makes time pass a hundred times as fast."""


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """A Node process."""
    async with open_node() as opened:
        yield opened


async def kinds(node: Node, script: str) -> list[Any]:
    """Return the items of a session after a script: the offset of an event, the kind of anything else."""
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
    assert hello == {"op": "hello", "v": 1, "session": "s", "renames": True, "from": "low"}
    assert cause == "expected offset 2, got 3"


async def test_a_reset_in_the_middle_begins_anew(node: Node) -> None:
    """Also when it is the same epoch, whose log was rewound; nothing of the old log is acked any more."""
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


async def test_a_question_without_a_deadline(node: Node) -> None:
    """It can be answered for ever: its deadline is later than any moment."""
    script = """
        const ask = (id, time) => ({op: "ask", event: event(undefined, {event_id: id}), ...time});
        socket.say({op: "caught_up", offset: 0});
        socket.say(ask("q1", {}), ask("q2", {timeout_s: null}), ask("q3", {timeout_s: 60}));
        await sleep(10);
        const asked = a.items.filter(({kind}) => kind === "ask");
        return asked.map(({deadline}) => [deadline === Infinity, deadline > Date.now()]);
    """
    assert await node.run(WELCOMED + script) == [[True, True], [True, True], [False, True]]


async def test_a_run_is_told_once(node: Node) -> None:
    """A run that comes twice, or that was seen to begin, is one run; one that waited is told again when it does not."""
    script = f"""
        const began = (id) => ({{type: "agent_started", payload: {{}}, thread_id: "t1", run_id: id}});
        const active = (id, waiting) => ({{op: "active", event: began(id), waiting}});
        socket.say({{op: "caught_up", offset: 0}}, active("r1"), active("r2", true), active("r1"), {{op: "pong"}});
        socket.say(event(1, {{type: "agent_started", run_id: "r3"}}));
        await sleep(10);
        a.session.connect();
        {AGAIN}
        await socket.welcome({{resume: "replayed", start: 2}});
        socket.say({{op: "caught_up", offset: 1}}, active("r2"), active("r3"), {{op: "pong"}});
        socket.say({{op: "inactive", run_id: "r9", reason: "gone"}});
    """
    assert await kinds(node, script) == ["caught_up", "active", "active", 1, "caught_up", "active", "inactive"]
    told = await node.run("return it.sessions.a.items.filter(({run_id, kind}) => run_id && kind !== 'event')")
    assert [(one["run_id"], one.get("waiting"), one.get("reason")) for one in told] == [
        ("r1", False, None),
        ("r2", True, None),
        ("r2", False, None),
        ("r1", None, "gone"),
    ]


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


@pytest.mark.parametrize("code", [*(row.code for row in CLOSINGS.values() if not row.temporary), 1008])
async def test_codes_that_say_stay_away(node: Node, code: int) -> None:
    """The state says the code, and the server's words."""
    script = "socket.say({op: 'error', error: {message: 'why'}}); socket.onclose({code, reason: 'short'});"
    state = await node.run(f"{WELCOMED} {script} return a.session.state", code=code)
    assert state == {"name": "refused", "code": code, "reason": "why"}


@pytest.mark.parametrize("code", [*(row.code for row in CLOSINGS.values() if row.temporary), 1001, 1005, 4499])
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
    """One that was live for less than ten seconds does not: a server that ends each at once is asked ever more
    rarely."""
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
    """Times are measured on a clock that no person sets; only times for people are of that one."""
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
        {VIRTUAL} {HIGHEST} {CONNECT} let [socket] = Fake.sockets; await socket.welcome({{ping_s: 5}});
        socket.say({{op: "caught_up", offset: 0}});
        const stands = async (ms) => (await pass(ms), a.session.state.name);
        const seen = [await stands(14_999), await stands(1), a.session.state.reason];
        await pass(500);
        return [...seen, Fake.sockets.length, await stands(9_999), await stands(1)];
    """
    assert await node.run(script) == ["live", "waiting", "the server was silent", 2, "connecting", "waiting"]


LIVE = f"{VIRTUAL} {PAGE} {HIGHEST} {WELCOMED} socket.say({{op: 'caught_up', offset: 0}});"
LOOKED_AT = ["online", "pageshow", "resume", "visibilitychange"]


@pytest.mark.parametrize("type_", LOOKED_AT)
async def test_waking_up_ends_a_wait(node: Node, type_: str) -> None:
    """A page that is looked at again, or comes online, does not wait."""
    script = f"{LIVE} socket.onclose({{code: 1006}}); happens(type); return Fake.sockets.length;"
    assert await node.run(script, type=type_) == 2


@pytest.mark.parametrize("type_", LOOKED_AT)
async def test_waking_up_doubts_a_live_connection(node: Node, type_: str) -> None:
    """It is asked once, however often the page is looked at, and has 3 s to answer; without an answer the next
    connection is made at once. One that answers is live, and waits are not shorter for it."""
    script = f"""
        {LIVE}
        for (let n = 0; n < 5; n += 1) {{ happens(type); await pass(100); }}
        const pings = asked(socket, "ping");
        await pass(2_500);
        const dialled = Fake.sockets.length;
        {AGAIN}
        await socket.welcome({{resume: "replayed"}});
        socket.say({{op: "caught_up", offset: 0}});
        happens(type);
        socket.say({{op: "pong"}});
        await pass(4_000);
        const {{name}} = a.session.state;
        socket.onclose({{code: 1006}});
        return [pings, dialled, name, a.session.state.waitMs];
    """
    assert await node.run(script, type=type_) == [2, 2, "live", 4000]


@pytest.mark.parametrize("type_", LOOKED_AT)
async def test_waking_up_leaves_a_connection_that_is_being_made_its_time(node: Node, type_: str) -> None:
    """A page tells that it is shown at each load, and a token may take a while: it has its ten seconds."""
    script = f"""
        {VIRTUAL} {PAGE}
        let calls = 0;
        const token = () => new Promise((resolve) => (setTimeout(() => resolve("t"), 9_000), (calls += 1)));
        const session = connect("ws://test/ws", {{WebSocket: Fake, token}});
        const [socket] = Fake.sockets;
        socket.onopen();
        happens(type); await pass(9_000);
        await turn();
        return [Fake.sockets.length, calls, asked(socket, "hello")];
    """
    assert await node.run(script, type=type_) == [1, 1, 1]


@pytest.mark.parametrize("type_", LOOKED_AT)
async def test_waking_up_again_and_again_is_no_storm(node: Node, type_: str) -> None:
    """While a server is away, of two waits in a row at most one is cut short, and none begins anew."""
    script = f"""
        {LIVE}
        socket.onclose({{code: 1006}});
        for (let n = 0; n < 1_000; n += 1) {{
            happens(type);
            await pass(10);
            if (a.session.state.name === "connecting") Fake.sockets.at(-1).onclose({{code: 1006}});
        }}
        return Fake.sockets.length;
    """
    assert 5 <= await node.run(script, type=type_) <= 15, "in ten seconds: the waits are 0.5 s, 0.5 s, 1 s, 2 s, 4 s"


async def test_a_page_that_is_left_is_not_looked_at(node: Node) -> None:
    """``visibilitychange`` comes when it is hidden, too."""
    script = f"{LIVE} globalThis.document = {{visibilityState: 'hidden'}}; socket.onclose({{code: 1006}});"
    assert await node.run(f"{script} happens('visibilitychange'); return Fake.sockets.length") == 1


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


# --- consumers -------------------------------------------------------------------

LISTENED = """
    const session = connect("ws://test/ws", {WebSocket: Fake});
    const [socket] = Fake.sockets;
    await socket.welcome();
    const seen = [];
    const hear = ({detail}) => seen.push(detail.offset ?? detail.kind);
    const acks = () => socket.heard.filter(({op}) => op === "ack").map(({offset}) => offset);
    const lasts = (ms = 100) => sleep(ms);
"""
"""A session without a consumer, with ``hear`` as a listener that fills ``seen``; acks wait for 50 ms."""

NOBODY = {
    "removed": "session.addEventListener('event', hear); session.removeEventListener('event', hear);",
    "added_twice_and_removed": "for (const _ of [1, 2]) session.addEventListener('event', hear);"
    "session.removeEventListener('event', hear);",
    "added_for_both_phases_and_removed": "session.addEventListener('event', hear, {capture: true});"
    "session.addEventListener('event', hear); session.removeEventListener('event', hear, true);"
    "session.removeEventListener('event', hear);",
    "object_removed": "const o = {handleEvent: hear}; session.addEventListener('event', o);"
    "session.removeEventListener('event', o);",
    "aborted": "const stop = new AbortController(); session.addEventListener('event', hear, {signal: stop.signal});"
    "stop.abort();",
    "aborted_before": "session.addEventListener('event', hear, {signal: AbortSignal.abort()});",
    "nothing": "session.addEventListener('event', null); session.addEventListener('event', undefined);",
    "of_the_connection": "session.addEventListener('state', () => 0); session.addEventListener('acked', () => 0);",
    "of_other_items": "session.addEventListener('gap', () => 0); session.addEventListener('reset', () => 0);",
    "one_of_two_kinds_removed": "session.addEventListener('event', hear); session.addEventListener('gap', () => 0);"
    "session.removeEventListener('event', hear);",
    "a_loop_that_returned": "const loop = session[Symbol.asyncIterator](); await loop.return();",
    "a_loop_that_broke": "socket.say({op: 'caught_up', offset: 0}); for await (const item of session) break;",
}
"""Ways in which there is no consumer that would take an event."""


@pytest.mark.parametrize("way", NOBODY)
async def test_what_nobody_takes_is_not_acked(node: Node, way: str) -> None:
    """It waits, unconfirmed, for the next listener, and is handed to no other."""
    script = f"""
        {LISTENED} {NOBODY[way]}
        await sleep(0);
        socket.say(event(1));
        await lasts();
        const before = [[...seen], acks()];
        session.addEventListener("event", hear);
        await lasts();
        return [before, [seen, acks()]];
    """
    assert await node.run(script) == [[[], []], [[1], [1]]]


SOMEBODY = {
    "twice_is_once": "for (const _ of [1, 2]) session.addEventListener('event', hear);",
    "removed_for_another_phase": "session.addEventListener('event', hear);"
    "session.removeEventListener('event', hear, true);",
    "another_removed": "session.addEventListener('event', hear); session.removeEventListener('event', () => 0);",
    "once_beside_always": "session.addEventListener('event', hear);"
    "session.addEventListener('event', () => 0, {once: true});",
    "once_is_not_added_to_always": "session.addEventListener('event', hear);"
    "session.addEventListener('event', hear, {once: true});",
    "an_object": "session.addEventListener('event', {handleEvent: hear});",
    "removed_and_added": "session.addEventListener('event', hear); session.removeEventListener('event', hear);"
    "session.addEventListener('event', hear);",
    "aborted_and_added": "const stop = new AbortController();"
    "session.addEventListener('event', hear, {signal: stop.signal}); stop.abort();"
    "session.addEventListener('event', hear);",
}
"""Ways in which there is still a listener."""


@pytest.mark.parametrize("way", SOMEBODY)
async def test_what_a_listener_has_seen_is_acked(node: Node, way: str) -> None:
    """However it was added, and whatever was removed: each event once, and acked."""
    script = f"{LISTENED} {SOMEBODY[way]} await sleep(0); socket.say(event(1), event(2)); await lasts();"
    assert await node.run(f"{script} return [seen, acks()];") == [[1, 2], [2]]


async def test_a_listener_for_one_event_takes_one(node: Node) -> None:
    """``{once: true}``: that one is acked, and what follows waits."""
    script = f"{LISTENED} session.addEventListener('event', hear, {{once: true}}); await sleep(0);"
    script += "socket.say(event(1), event(2)); await lasts(); return [seen, acks()];"
    assert await node.run(script) == [[1], [1]]


async def test_a_listener_that_removes_itself_has_had_its_event(node: Node) -> None:
    """An event that was seen is taken when the loop returns, although it listens no more; what follows waits."""
    script = f"{LISTENED} const last = (e) => {{ hear(e); session.removeEventListener('event', last); }};"
    script += "session.addEventListener('event', last); await sleep(0);"
    script += "socket.say(event(1), event(2)); await lasts(); return [seen, acks()];"
    assert await node.run(script) == [[1], [1]]


async def test_questions_go_past_events_that_nobody_takes(node: Node) -> None:
    """A listener to what stands outside of the log gets it, and acks nothing."""
    script = f"""
        {LISTENED}
        for (const kind of ["caught_up", "ask", "ask_closed"]) session.addEventListener(kind, hear);
        socket.say(event(1), {{op: "caught_up", offset: 1}});
        socket.say({{op: "ask", event: event(undefined, {{event_id: "q"}})}});
        socket.say({{op: "ask_closed", ask: "q", reason: "answered"}});
        await lasts();
        return [seen, acks()];
    """
    assert await node.run(script) == [[1, "ask", "ask_closed"], []]


async def test_all_listeners_see_an_event_before_the_next(node: Node) -> None:
    """Also when one of them makes a request, whose reply could wait for nothing."""
    script = f"""
        {LISTENED}
        session.addEventListener("event", ({{detail}}) => {{ seen.push(`a${{detail.offset}}`); session.read("t"); }});
        session.addEventListener("event", ({{detail}}) => seen.push(`b${{detail.offset}}`));
        await sleep(0);
        socket.say(event(1), event(2));
        return seen;
    """
    assert await node.run(script) == ["a1", "b1", "a2", "b2"]


async def test_a_listener_that_throws_has_had_its_event(node: Node) -> None:
    """The platform reports the error; the others see the event, and the session goes on."""
    script = f"""
        {LISTENED}
        const reported = [];
        process.on("uncaughtException", (error) => reported.push(error.message));
        session.addEventListener("event", () => {{ throw new Error("mine"); }});
        session.addEventListener("event", hear);
        await sleep(0);
        socket.say(event(1), event(2));
        await lasts();
        process.removeAllListeners("uncaughtException");
        return [seen, acks(), reported];
    """
    assert await node.run(script) == [[1, 2], [2], ["mine", "mine"]]


async def test_two_loops_are_told_so(node: Node) -> None:
    """The second that waits is refused; the first goes on, and what comes is its."""
    script = f"""
        {LISTENED}
        const [one, two] = [session[Symbol.asyncIterator](), session[Symbol.asyncIterator]()];
        const first = one.next();
        const error = await two.next().catch((error) => error.message);
        socket.say(event(1));
        return [error, (await first).value.offset, (await two.next()).done];
    """
    assert await node.run(script) == ["expected one loop over a session, got another while it waits", 1, True]


LEFT = {
    "return": "const left = loop.return();",
    "throw": "const left = loop.throw(new Error('mine')).catch((error) => error.message);",
    "signal": "const stop = new AbortController(); let left;"
    "stop.signal.addEventListener('abort', () => (left = loop.return())); stop.abort();",
}
"""Ways to leave a loop whose ``next`` waits."""


@pytest.mark.parametrize("way", LEFT)
@pytest.mark.parametrize("count", [1, 3])
async def test_leaving_ends_what_waits_and_takes_nothing(node: Node, way: str, count: int) -> None:
    """Each ``next`` that waits is done; what comes goes to the next loop, from the first event on."""
    script = f"""
        {LISTENED}
        const loop = session[Symbol.asyncIterator]();
        const waits = Array.from({{length: count}}, () => loop.next());
        await Promise.race([waits[0], sleep(5)]);
        {LEFT[way]}
        socket.say(event(1), event(2));
        const ends = await Promise.all([...waits, loop.next()]);
        await lasts();
        const before = acks();
        for await (const {{offset}} of session) if (seen.push(offset) === 2) break;
        await lasts();
        return [ends.every(({{value, done}}) => done && value === undefined), await left, before, seen, acks()];
    """
    ended, left, *rest = await node.run(script, count=count)
    assert (ended, rest) == (True, [[], [1, 2], [1]])
    assert left == ("mine" if way == "throw" else {"done": True})


async def test_a_loop_that_was_left_leaves_what_comes_to_listeners(node: Node) -> None:
    """They get what the waiting ``next`` would have had."""
    script = f"""
        {LISTENED}
        const loop = session[Symbol.asyncIterator]();
        const next = loop.next();
        session.addEventListener("event", hear);
        loop.return();
        socket.say(event(1));
        await lasts();
        return [(await next).done, seen, acks()];
    """
    assert await node.run(script) == [True, [1], [1]]


async def test_a_loop_that_never_waited_is_left_alike(node: Node) -> None:
    """``return`` hands back its value; the second loop, which waits, goes on."""
    script = f"""
        {LISTENED}
        const [one, two] = [session[Symbol.asyncIterator](), session[Symbol.asyncIterator]()];
        const next = two.next();
        const ends = [await one.return(7), await one.next()];
        socket.say(event(1));
        return [...ends, (await next).value.offset];
    """
    assert await node.run(script) == [{"value": 7, "done": True}, {"done": True}, 1]


async def test_what_is_asked_at_once_comes_in_order(node: Node) -> None:
    """Several ``next`` stand in a line; each but the last is taken by the one behind it."""
    script = f"""
        {LISTENED}
        const loop = session[Symbol.asyncIterator]();
        const waits = Array.from({{length: 3}}, () => loop.next());
        socket.say(event(1), event(2), event(3));
        const items = await Promise.all(waits);
        await lasts();
        return [items.map(({{value}}) => value.offset), acks()];
    """
    assert await node.run(script) == [[1, 2, 3], [2]]


async def test_what_is_in_hand_is_not_taken_by_leaving(node: Node) -> None:
    """A loop that breaks, throws or closes the session has not come back: its item is not acked."""
    script = f"""
        {LISTENED}
        socket.say(event(1), event(2), event(3));
        for await (const {{offset}} of session) if (offset === 2) break;
        try {{ for await (const item of session) throw new Error(); }} catch {{}}
        const {{cursor}} = session;
        session.close();
        return [acks(), cursor];
    """
    assert await node.run(script) == [[2], {"epoch": "ep", "offset": 3}]


async def test_text_in_hand_comes_again_joined(node: Node) -> None:
    """A piece of a text is in hand, and comes again as one with more: the rest waits for another connection."""
    delta = "{type: 'agent_delta', run_id: 'r'}"
    script = f"""
        {LISTENED}
        socket.say(event(1, {delta}));
        const loop = session[Symbol.asyncIterator]();
        seen.push((await loop.next()).value.offset);
        session.connect();
        await Fake.sockets[1].welcome({{resume: "replayed"}});
        const joined = event(3, {{...{delta}, seq0: 1}});
        Fake.sockets[1].say({{op: "batch", from: 1, to: 3, events: [joined]}}, {{op: "caught_up", offset: 3}});
        const {{name, until}} = session.state;
        const next = loop.next();
        await sleep(0);
        await Fake.sockets[2].welcome({{resume: "replayed", start: 2}});
        Fake.sockets[2].say({{op: "batch", from: 2, to: 3, events: [event(3, {{...{delta}, seq0: 2}})]}});
        const {{offset, seq0}} = (await next).value;
        return [name, until === Infinity, Fake.sockets[2].heard[0].resume.offset, offset, seq0];
    """
    assert await node.run(script) == ["waiting", True, 1, 3, 2]


# --- what no server should say ------------------------------------------------------

GARBAGE = [
    "",
    "{",
    "null",
    "7",
    '"text"',
    "[]",
    "[1]",
    "{}",
    '{"type":"tick"}',
    '{"type":"tick","payload":{},"thread_id":"t","seq":1}',
    '{"type":"tick","payload":null,"thread_id":"t","seq":1,"offset":1}',
    '{"type":"tick","payload":"x","thread_id":"t","seq":1,"offset":1}',
    '{"type":7,"payload":{},"thread_id":"t","seq":1,"offset":1}',
    '{"type":"tick","payload":{},"thread_id":"t","seq":1,"offset":"1"}',
    '{"op":"batch"}',
    '{"op":"batch","from":1,"to":2,"events":null}',
    '{"op":"batch","from":1,"to":1,"events":{}}',
    '{"op":"batch","from":1,"to":1,"events":[null]}',
    '{"op":"gap","from":"1","to":"2"}',
    '{"op":"reset"}',
    '{"op":"reset","epoch":7,"low":1}',
    '{"op":"caught_up"}',
    '{"op":"ask"}',
    '{"op":"ask","event":7}',
    '{"op":"ask","event":{"payload":{}}}',
    '{"op":"ask_closed"}',
    '{"op":"reply"}',
    '{"op":"active"}',
    '{"op":"active","event":null}',
    '{"op":"active","event":{"thread_id":"t","payload":{}}}',
    '{"op":"inactive"}',
    '{"op":"reply","id":null}',
    '{"op":"error"}',
    '{"op":"error","error":null}',
    '{"op":"welcome"}',
    '{"op":"welcome","session":"s","epoch":"ep","head":0,"low":1,"start":1,"resume":"fresh"}',
]


@pytest.mark.parametrize("text", GARBAGE)
async def test_garbage_costs_the_connection(node: Node, text: str) -> None:
    """It is a fault of the server's: the connection is ended, the state says why, and the next one goes on."""
    script = f"""
        {HIGHEST} {WELCOMED}
        const asked = a.session.read("t");
        socket.onmessage({{data: text}});
        const {{name, reason}} = a.session.state;
        a.session.connect();
        {AGAIN}
        await socket.welcome({{resume: "replayed"}});
        socket.say({{op: "reply", id: "c1", ok: true}}, event(1));
        await asked;
        await sleep(0);
        return [name, reason, socket.heard[0].resume.offset, a.items.map(({{offset}}) => offset)];
    """
    name, reason, offset, items = await node.run(script, text=text)
    assert (name, offset, items) == ("waiting", 0, [1])
    assert reason


@pytest.mark.parametrize(
    "message",
    [
        {"op": "batch", "from": 1, "to": 2, "events": []},
        {"op": "batch", "from": 2, "to": 1, "events": []},
        {"op": "gap", "from": 1, "to": 2**53 + 2, "cause": "?"},
        {"op": "gap", "from": 1.5, "to": 2},
        {"op": "caught_up", "offset": 7},
    ],
)
async def test_what_breaks_the_order_ends_the_cursor(node: Node, message: dict[str, Any]) -> None:
    """Ranges that cannot be, offsets beyond what a number holds: the client begins anew, and says why."""
    script = f"""
        {WELCOMED}
        socket.say(message);
        const {{name}} = a.session.state;
        a.session.connect();
        {AGAIN}
        await socket.welcome();
        await sleep(0);
        return [name, socket.heard[0].resume, socket.heard[0].from, a.items.map(({{kind}}) => kind)];
    """
    assert await node.run(script, message=message) == ["waiting", None, "low", ["reset"]]


@pytest.mark.parametrize("op", ["toString", "constructor", "__proto__", "hasOwnProperty", "event", "question", "", 7])
async def test_ops_that_are_not_known_are_ignored(node: Node, op: object) -> None:
    """Whatever they are called, before the welcome as well."""
    script = f'{CONNECT} let [socket] = Fake.sockets; const said = `{{"op":${{JSON.stringify(op)}}}}`;'
    script += "socket.onmessage({data: said}); await socket.welcome(); socket.onmessage({data: said});"
    assert await node.run(f"{script} return Fake.sockets.length + a.session.state.name", op=op) == "1connecting"


@pytest.mark.parametrize("value", [None, -1, 0, "x", {}, 2**31, 1e300, float("inf"), 1e-9])
async def test_limits_that_no_client_can_take(node: Node, value: object) -> None:
    """Huge, negative, or not there: the client neither spins nor stops, asks, acks, and pauses as it was told."""
    script = f"""
        const timers = [];
        const real = setTimeout;
        globalThis.setTimeout = (action, ms) => (timers.push(ms), real(action, ms));
        {CONNECT}
        const [socket] = Fake.sockets;
        const given = eval(value);
        const names = ["message_bytes", "messages_per_s", "ack_events", "ack_s", "requests"];
        const limits = Object.fromEntries(names.map((name) => [name, given]));
        if (!(given > 1000)) delete limits.message_bytes;
        await socket.welcome({{ping_s: given, limits}});
        socket.say(event(1, {{type: "agent_completed"}}), {{op: "ask", event: event(undefined, {{event_id: "q"}}),
            timeout_s: given}}, {{op: "going_away", retry_ms: given}});
        await sleep(50);
        a.session.read("t").catch(() => 0);
        socket.onclose({{code: 1012}});
        const {{waitMs}} = a.session.state;
        const {{deadline}} = a.items.find(({{kind}}) => kind === "ask");
        globalThis.setTimeout = real;
        a.session.close();
        const ops = socket.heard.map(({{op}}) => op);
        const sane = deadline === Infinity || !Number.isNaN(new Date(deadline).getTime());
        return [timers.length < 20, Math.max(...timers) < 2 ** 31, waitMs >= 250 && waitMs <= 60000, sane, ops[1]];
    """
    said = "1e999" if value == float("inf") else "({})" if value == {} else repr(value).replace("None", "null")
    assert await node.run(script, value=said) == [True, True, True, True, "ack"]


async def test_a_question_without_a_timeout_is_open(node: Node) -> None:
    """It can be answered as long as it is there, and has not expired when it comes."""
    script = f"{WELCOMED} socket.say({{op: 'ask', event: event(undefined, {{event_id: 'q'}}), timeout_s: null}});"
    script += "await sleep(0); const {deadline, timeout_s} = a.items[0];"
    assert await node.run(f"{script} return deadline === Infinity && timeout_s === Infinity")


async def test_limits_and_times_are_kept_below_what_a_timer_holds(node: Node) -> None:
    """A token that never comes, and a server that pings once in 35 days: nothing fires at once."""
    script = f"{WELCOMED} socket.say({{op: 'caught_up', offset: 0}}); await sleep(100); return a.session.state.name;"
    assert await node.run(script.replace("welcome()", "welcome({ping_s: 3000000})")) == "live"


# --- options that are not what they should be ------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", "a URL"),
        ("null", "a URL"),
        ("''", "a URL"),
        ("7", "a URL"),
        ("'/ws'", "a URL"),
        ("'localhost:8765/ws'", "a URL"),
        ("'ftp://host/ws'", "a URL"),
        ("'ws://'", "a URL"),
        ("'ws://host/ws', {token: 7}", "a token or a function that gives one, got a number"),
        ("'ws://host/ws', {token: ['alice']}", "a token or a function that gives one, got a object"),
        ("'ws://host/ws', {from: 'newest'}", 'from unacked, low or head, got "newest"'),
        ("'ws://host/ws', {from: null}", "from unacked, low or head, got null"),
        ("'ws://host/ws', {cursor: 41}", "a cursor with epoch and offset, got 41"),
        ("'ws://host/ws', {cursor: {offset: 41}}", "a cursor with epoch and offset"),
        ("'ws://host/ws', {cursor: {epoch: 'ep', offset: '41'}}", "a cursor with epoch and offset"),
        ("'ws://host/ws', {cursor: {epoch: 'ep', offset: -1}}", "a cursor with epoch and offset"),
        ("'ws://host/ws', {cursor: {epoch: 'ep', offset: 1.5}}", "a cursor with epoch and offset"),
        ("'ws://host/ws', {cursor: {epoch: 'ep', offset: 2 ** 53}}", "a cursor with epoch and offset"),
        ("'ws://host/ws', {WebSocket: 7}", "a WebSocket (run Node 22 or newer"),
        ("'ws://host/ws', {WebSocket: null}", "a WebSocket (run Node 22 or newer"),
        ("'ws://host/ws', 'alice'", "options token, cursor, from, WebSocket, got 0"),
        ("'ws://host/ws', {Token: 'alice'}", "options token, cursor, from, WebSocket, got Token"),
    ],
)
async def test_options_that_are_not_what_they_should_be(node: Node, arguments: str, expected: str) -> None:
    """Refused where they are given, by a text that says what was expected and what came; never with a token in it."""
    script = f"try {{ connect({arguments}); }} catch (error) {{ return [error.name, error.message]; }}"
    name, message = await node.run(script)
    assert name == "TypeError"
    assert message.startswith(f"expected {expected}")


UNENCODABLE = {
    "{a: NaN}": "payload.a: expected a number that JSON can carry, got NaN",
    "{a: [1, -Infinity]}": "payload.a[1]: expected a number that JSON can carry, got -Infinity",
    "{a: new Number(NaN)}": "payload.a: expected a number that JSON can carry, got NaN",
    "{a: {b: 2 ** 53}}": f"payload.a.b: expected {numbers.EXPECTED}, got 9007199254740992",
    "{a: -(2 ** 60)}": f"payload.a: expected {numbers.EXPECTED}, got -1152921504606847000",
    "{a: 1n}": "payload.a: expected a value that JSON can carry, got BigInt",
    "{a: undefined}": "payload.a: expected a value that JSON can carry, got Undefined",
    "{a: [1, , 3]}": "payload.a[1]: expected a value that JSON can carry, got Undefined",
    "{a() {}}": "payload.a: expected a value that JSON can carry, got Function",
    "{a: class {}}": "payload.a: expected a value that JSON can carry, got Function",
    "{a: Symbol('x')}": "payload.a: expected a value that JSON can carry, got Symbol",
    "{a: new Map([[1, 2]])}": "payload.a: expected a value that JSON can carry, got Map",
    "{a: [{b: new Set()}]}": "payload.a[0].b: expected a value that JSON can carry, got Set",
    "{a: Promise.resolve(1)}": "payload.a: expected a value that JSON can carry, got Promise",
    "{a: new Error('x')}": "payload.a: expected a value that JSON can carry, got Error",
    "{a: /x/}": "payload.a: expected a value that JSON can carry, got RegExp",
    "{a: new Uint8Array(2)}": "payload.a: expected a value that JSON can carry, got Uint8Array",
    "{a: new Date(NaN)}": "payload.a: expected a value that JSON can carry, got Null",
    "{a: {toJSON: () => NaN}}": "payload.a: expected a number that JSON can carry, got NaN",
    "{a: {toJSON: () => ({b: undefined})}}": "payload.a.b: expected a value that JSON can carry, got Undefined",
    "{a: 'x' + '😀'[0]}": "payload.a: expected text that UTF-8 can encode, got half of a surrogate pair at index 1",
    "{a: {['😀'[1]]: 1}}": "payload.a: expected text that UTF-8 can encode, got half of a surrogate pair at index 0",
    "[1]": "payload: expected a JSON object, got Array",
    "'hi'": "payload: expected a JSON object, got String",
    "null": "payload: expected a JSON object, got Null",
    "": "payload: expected a JSON object, got Undefined",
    "new Map()": "payload: expected a JSON object, got Map",
    "{}, {type: 'a' + '😀'[0]}": "type: expected text that UTF-8 can encode, got half of a surrogate pair at index 1",
    "{}, {threadId: '😀'[0]}": "thread_id: expected text that UTF-8 can encode, "
    "got half of a surrogate pair at index 0",
}
"""Values that JSON would change, or leave out, without a word."""


@pytest.mark.parametrize("payload", UNENCODABLE)
async def test_what_json_would_change_is_refused_by_its_path(node: Node, payload: str) -> None:
    """As in the Python client: before anything is said; what is asked next is carried out."""
    script = f"{WELCOMED} const {{name, message}} = await a.session.send({payload}).catch((error) => error);"
    script += "a.session.read('t').catch(() => 0); return [name, message, socket.heard.slice(1).map(({op}) => op)];"
    assert await node.run(script) == ["unencodable", UNENCODABLE[payload], ["read"]]


async def test_what_is_too_deep_is_refused(node: Node) -> None:
    """64 levels are carried, 65 are not; and what has no end is as deep."""
    script = f"""
        {WELCOMED}
        const deep = (levels) => (levels > 1 ? {{a: deep(levels - 1)}} : {{}});
        const round = {{a: [{{}}]}};
        round.a[0].b = round;
        const refused = [];
        for (const payload of [deep(65), round]) refused.push(await a.session.send(payload).catch((error) => error));
        a.session.send(deep(64)).catch(() => 0);
        return [refused.map(({{message}}) => message.split(": ")), socket.heard.length - 1];
    """
    (deep, round_), said = await node.run(script)
    assert deep == [f"payload{'.a' * 64}", "expected at most 64 levels of nesting, got more"]
    assert round_ == [f"payload{'.a[0].b' * 21}.a", deep[1]]
    assert said == 1


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ("{a: [true, null, -0.5, 1e300, 2 ** 53 - 1, '😀', {}], b: {c: []}}", None),
        ("{a: new Date(0), b: Object.create(null), c: new (class { x = 1; })()}", None),
        ("{a: new Number(1), b: new String('x'), c: new Boolean(false)}", {"a": 1, "b": "x", "c": False}),
        ('JSON.parse(\'{"__proto__": {"a": 1}, "constructor": 2}\')', None),
        ("{a: [twice, twice]}", None),
        ("{toJSON: () => ({b: 1})}", {"b": 1}),
    ],
)
async def test_what_json_can_carry_is_carried(node: Node, payload: str, said: Any) -> None:
    """As ``JSON.stringify`` has it, dates and what else has a ``toJSON`` included."""
    script = f"const twice = {{x: 1}}; {WELCOMED} const payload = {payload}; a.session.send(payload).catch(() => 0);"
    heard, stringified = await node.run(f"{script} return [socket.heard[1].payload, JSON.stringify(payload)];")
    assert heard == (json.loads(stringified) if said is None else said)


async def test_a_token_that_json_cannot_carry_is_said_to_be_so(node: Node) -> None:
    """A server refuses such a hello for good: it is not said."""
    script = (
        "const session = connect('ws://test/ws', {WebSocket: Fake, token: '😀'[0]}); const [socket] = Fake.sockets;"
    )
    script += (
        "socket.onopen(); await turn(); const {name, reason} = session.state; return [name, reason, socket.heard];"
    )
    name, reason, heard = await node.run(script)
    assert (name, heard) == ("waiting", [])
    assert reason.endswith("token: expected text that UTF-8 can encode, got half of a surrogate pair at index 0")


@pytest.mark.parametrize("act", ["send({}, {thread_id: 't'})", "send({}, 't')", "read('t', {after: 5})"])
async def test_requests_with_options_that_there_are_not(node: Node, act: str) -> None:
    """Rejected, and nothing is said: a message with its thread left out would open another one."""
    script = f"{WELCOMED} const error = await a.session.{act}.catch((error) => error.message);"
    error, asked = await node.run(f"{script} return [error, socket.heard.filter(({{id}}) => id).length];")
    assert (error.split(" ")[:2], asked) == (["expected", "options"], 0)


async def test_a_place_without_a_websocket_is_told_the_ways_out(node: Node) -> None:
    """As Node 20 is: a newer one, or a WebSocket as an option."""
    script = "delete globalThis.WebSocket; try { connect('ws://host/ws'); } catch (error) { return error.message; }"
    message = await node.run(script)
    assert message == (
        "expected a WebSocket (run Node 22 or newer, or pass one as an option, such as that of the package ws), "
        "got undefined"
    )


NOTING = "class Noting extends Fake { constructor(url) { super(); it.url = url; } }"


async def test_addresses_are_those_of_the_python_client(node: Node) -> None:
    """A page's address leads to its WebSocket, one without a path to ``/ws``; what is behind a ``#`` is no part of it.
    Names of hosts are written small here."""
    script = f"{NOTING} return written.map((url) => (connect(url, {{WebSocket: Noting}}), it.url.toLowerCase()));"
    assert await node.run(script, written=[written for written, _ in DIALLED]) == [url.lower() for _, url in DIALLED]


async def test_what_is_no_address_is_none_in_the_python_client(node: Node) -> None:
    """Refused, with what was expected, and what came: but for a password, which is not repeated."""
    script = (
        "const refused = (url) => { try { connect(url, {WebSocket: Fake}); } catch ({message}) { return message; } };"
    )
    script += "return written.map(refused);"
    like = "expected a URL like wss://host/ws (or /ws, in a page), without a password, got "
    assert await node.run(script, written=NONE) == [f"{like}{json.dumps(url)}" for url in NONE]
    assert await node.run(script, written=SECRET) == [f"{like}one with a password" for _ in SECRET]


@pytest.mark.parametrize(
    ("written", "dialled"),
    [("/", "/ws"), ("/ws", "/ws"), ("ws", "/page/ws"), ("//other", "other/ws"), ("?a=1", "/page/view?a=1")],
)
async def test_addresses_in_a_page_are_its_own(node: Node, written: str, dialled: str) -> None:
    """A path is that of the page's server; without one it is ``/ws``."""
    script = f"{NOTING} globalThis.location = {{href: 'https://host/page/view#top'}};"
    url = await node.run(f"{script} connect(written, {{WebSocket: Noting}}); return it.url", written=written)
    assert url == (f"wss://host{dialled}" if dialled.startswith("/") else f"wss://{dialled}")


async def test_a_url_object_is_an_address(node: Node) -> None:
    """The platform's own."""
    script = f"{NOTING} connect(new URL('http://host/#here'), {{WebSocket: Noting}}); return it.url"
    assert await node.run(script) == "ws://host/ws"


async def test_a_token_function_that_gives_no_string(node: Node) -> None:
    """The state says so; the session tries again."""
    script = f"{CONNECT.replace('Fake}', 'Fake, token: () => 7}')} Fake.sockets[0].onopen(); await sleep(0);"
    name, reason = await node.run(f"{script} const {{name, reason}} = a.session.state; return [name, reason]")
    assert (name, reason) == ("waiting", "no token: TypeError: expected a string, got a number")


async def test_an_implementation_that_throws_what_no_listener_takes(node: Node) -> None:
    """A socket that is given up keeps a listener for errors: the package ws raises in the process what none takes."""
    script = f"{CONNECT} a.session.connect(); Fake.sockets[0].onerror(new Event('error')); return Fake.sockets.length;"
    assert await node.run(script) == 2


async def test_late_hellos_are_forgiven_once_each(node: Node) -> None:
    """Each connection that was given up between hello and welcome may supersede one; then it is another client."""
    script = f"""
        {WELCOMED}
        for (const _ of [1, 2]) {{
            a.session.connect();
            Fake.sockets.at(-1).onopen();
            await sleep(0);
        }}
        a.session.connect();
        await Fake.sockets.at(-1).welcome({{resume: "replayed"}});
        const states = [];
        for (const _ of [1, 2, 3]) {{
            Fake.sockets.at(-1).onclose({{code: 4500}});
            states.push(a.session.state.name);
            a.session.connect();
            await Fake.sockets.at(-1).welcome({{resume: "replayed"}});
        }}
        return states;
    """
    assert await node.run(script) == ["waiting", "waiting", "refused"]


@pytest.mark.parametrize(("code", "state"), [(1012, "refused"), (4007, "refused"), (1006, "waiting")])
async def test_a_hello_that_a_close_answered_is_not_late(node: Node, code: int, state: str) -> None:
    """A server that closes before its welcome supersedes no other connection by it: the next 4500 is for good. One that
    broke says nothing of what the server does with its hello."""
    script = f"""
        {WELCOMED}
        a.session.connect();
        Fake.sockets.at(-1).onopen();
        await turn();
        Fake.sockets.at(-1).onclose({{code}});
        a.session.connect();
        await Fake.sockets.at(-1).welcome({{resume: "replayed"}});
        Fake.sockets.at(-1).onclose({{code: 4500}});
        return a.session.state.name;
    """
    assert await node.run(script, code=code) == state


async def test_a_pong_to_an_earlier_ping_ends_nothing(node: Node) -> None:
    """Active runs and open questions follow the second ``caught_up``, whatever the pong to the first comes between;
    with the pong to the second, those that have not come are gone. A pong to no ping is nothing."""
    active = "{op: 'active', event: {run_id: 'r', thread_id: 't', payload: {}}}"
    ask = "{op: 'ask', event: event(undefined, {event_id: 'q'})}"
    script = f"""
        socket.say({{op: "pong"}}, {{op: "caught_up", offset: 0}}, {active}, {ask});
        socket.say({{op: "caught_up", offset: 0}}, {{op: "pong"}}, {active}, {ask}, {{op: "pong"}}, {{op: "pong"}});
        socket.say({{op: "caught_up", offset: 0}});
        await sleep(20);
        socket.say({{op: "pong"}});
    """
    assert await kinds(node, script) == [
        *("caught_up", "active", "ask", "caught_up", "caught_up", "inactive", "ask_closed"),
    ]


FORGOTTEN = "expected a reply within ten minutes in one session, got none: it may have been carried out"


@pytest.mark.parametrize("act", ["send({})", "read('t')", "cancel('r')", "answer('q', {})"])
@pytest.mark.parametrize("is_away", [True, False])
async def test_after_ten_minutes_a_request_is_given_up(node: Node, act: str, is_away: bool) -> None:
    """A server remembers it for so long since it was first asked: it is not asked again, and may have been carried
    out."""
    script = f"""
        {VIRTUAL} {WELCOMED}
        let outcome = "";
        a.session.{act}.catch(({{name, message}}) => (outcome = [name, message]));
        const op = socket.heard.at(-1).op;
        const wait = async (ms) => {{
            for (let gone = 0; gone < ms; gone += 1_000) (await pass(1_000), isAway || socket.say({{op: "pong"}}));
        }};
        if (isAway) socket.onclose({{code: 1006}});
        await wait(599_000);
        const early = outcome;
        await wait(1_000);
        await turn();
        const late = outcome;
        a.session.connect();
        {AGAIN}
        await socket.welcome({{resume: "replayed"}});
        return [early, late, asked(socket, op)];
    """
    assert await node.run(script, isAway=is_away) == ["", ["session_lost", FORGOTTEN], 0]


async def test_a_timer_that_is_late_asks_nothing_again(node: Node) -> None:
    """Those of a page in the background are: the time itself decides, when a connection is there first."""
    script = f"""
        {CLOCK} {WELCOMED}
        const outcome = a.session.send({{}}).catch(({{name}}) => name);
        now += 600_000;
        a.session.connect();
        {AGAIN}
        await socket.welcome({{resume: "replayed"}});
        return [await outcome, socket.heard.filter(({{op}}) => op === "send").length];
    """
    assert await node.run(script) == ["session_lost", 0]


async def test_what_was_never_asked_waits_as_long_as_it_takes(node: Node) -> None:
    """A request that no server has seen cannot have been carried out."""
    script = f"""
        {VIRTUAL} {CONNECT}
        const sent = a.session.send({{}});
        await pass(3_600_000);
        a.session.connect();
        const socket = Fake.sockets.at(-1);
        await socket.welcome();
        socket.say({{op: "reply", id: "c1", ok: true, offset: 1}});
        return (await sent).offset;
    """
    assert await node.run(script) == 1


async def test_requests_of_a_closed_session_are_told_that_it_is(node: Node) -> None:
    """The one that waits, and those that come."""
    script = f"""
        {WELCOMED}
        const waits = a.session.send({{}});
        a.session.close();
        const outcomes = await Promise.allSettled([waits, a.session.send({{}}), a.session.read("t")]);
        return outcomes.map(({{reason: {{name, message}}}}) => `${{name}}: ${{message}}`);
    """
    assert await node.run(script) == ["closed: the session is closed"] * 3
