"""The inspector without a page: its rates, its link to the server, its places and its sentences, in Node."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.system.client_js.node import CLIENT, Node, open_node

MODULES = ("history", "link", "place", "plots", "rows", "state", "words")
BEGIN = "".join(
    f'const {name} = await import("{(CLIENT.parent / "inspector" / f"{name}.js").as_uri()}");' for name in MODULES
)
DEVICE: dict[str, Any] = {
    "label": "c1", "user_id": "alice", "kind": "v1", "state": "live", "text": "", "epoch": "e1", "cursor": 9,
    "written": 9, "head": 9, "lag_events": 0, "backlog_bytes": 0, "pending_bytes": 0,
}  # fmt: skip
USER: dict[str, Any] = {
    "user_id": "alice", "low": 1, "head": 9, "unacked": 0, "unwritten": 0, "devices": [DEVICE], "devices_total": 1,
    "threads": [], "threads_total": 0, "runs": [], "runs_total": 0, "away": None, "quarantined": None,
}  # fmt: skip
LETTER: dict[str, Any] = {
    "cause": "retention", "count": 1, "at": 10, "user_id": "alice", "thread_id": "t1", "event_id": None, "first": 1,
    "last": 1,
}  # fmt: skip


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """A Node process."""
    async with open_node() as opened:
        yield opened


async def told(node: Node, script: str, **names: Any) -> Any:
    """Return the value of a script that has the modules at hand."""
    return await node.run(BEGIN + script, **names)


# --- rates ------------------------------------------------------------------------

SAMPLES = """
    const all = new history.History();
    const sample = (at, accepted, life = "1") =>
        all.add({at, life, counters: {accepted, "closed.left": accepted}, gauges: {connections: accepted}});
"""


async def test_a_rate_is_what_a_counter_grew_by_in_a_second(node: Node) -> None:
    """However far apart the server was asked; the last value and the largest are said."""
    script = (
        SAMPLES
        + """
        for (const [at, accepted] of [[0, 100], [1, 110], [3, 130], [4, 131]]) sample(at, accepted);
        const points = all.rate("accepted");
        return [points.map(({value}) => value), history.summary(points), all.grown("accepted"), all.end];
    """
    )
    assert await told(node, script) == [[10, 10, 1], {"last": 1, "most": 10}, 31, 4]


async def test_what_was_not_seen_is_a_hole(node: Node) -> None:
    """A tab that was hidden, a server that began anew and a clock that went back are no rates, and draw no line."""
    script = (
        SAMPLES
        + """
        for (const at of [0, 1, 60, 61]) sample(at, at);
        sample(62, 5, "2");
        sample(62, 6, "2");
        sample(63, 8, "2");
        const points = all.rate("accepted");
        const pieces = plots.pathOf(points, 63, 10).split("M").length;
        return [points.map(({value}) => value), all.grown("closed.left"), pieces];
    """
    )
    assert await told(node, script) == [[1, None, 1, None, None, 2], 61 + 5 + 1 + 2, 4]


async def test_three_minutes_are_kept(node: Node) -> None:
    """A page that is open for a day has no more of them than one that is open for an hour."""
    script = (
        SAMPLES
        + """
        for (let at = 0; at < 4000; at += 1) sample(at, at);
        return [all.samples.length, all.gauge("connections").at(-1)];
    """
    )
    length, last = await told(node, script)
    assert 180 <= length <= 190
    assert last == {"at": 3999, "value": 3999}


async def test_what_is_not_counted_has_no_rate(node: Node) -> None:
    """A counter that a server does not have is shown as none, and not as nothing."""
    script = SAMPLES + "sample(0, 1); sample(1, 2); return history.summary(all.rate('written'));"
    assert await told(node, script) == {"last": None, "most": None}


async def test_a_plot_is_drawn_to_scale(node: Node) -> None:
    """Now is at the right, the oldest at the left, and the top of the scale at the top."""
    script = """
        const points = [{at: 0, value: 0}, {at: 90, value: 5}, {at: 180, value: 10}];
        return [plots.pathOf(points, 180, 10), plots.areaOf(points, 180, 10),
            [0, 0.3, 1, 1.2, 7, 70, 99].map(history.roundUp)];
    """
    line, area, tops = await told(node, script)
    assert line == "M0 64L180 33L360 2"
    assert area == "M0 64L0 64L180 33L360 2L360 64Z"
    assert tops == [1, 1, 1, 2, 10, 100, 100]


# --- the link ---------------------------------------------------------------------


async def test_a_server_that_is_gone_is_tried_again_less_and_less(node: Node) -> None:
    """The waits grow to ten seconds and stay there; one answer, and the next failure begins anew."""
    script = """
        const waits = (one) => {
            const found = [];
            for (let n = 0; n < 9; n += 1) {
                one = link.failed(one, {message: "no answer"}, {now: 0, hasKey: true, chance: 0.5});
                found.push(one.again);
            }
            return [found, one];
        };
        const [first, gone] = waits(link.newLink());
        const back = link.answered(gone, 50_000);
        return [first, gone.name, back.name, waits(back)[0], link.bannerOf(gone, 4_000, 0)];
    """
    first, gone, back, second, banner = await told(node, script)
    assert first == second == [1_000, 1_000, 2_000, 3_000, 5_000, 8_000, 10_000, 10_000, 10_000]
    assert (gone, back) == ("gone", "live")
    assert banner == "The server is gone. Trying again in 6 s."


async def test_it_says_when_the_server_was_last_there(node: Node) -> None:
    """How long ago, and at what time of the day."""
    script = """
        const seen = link.answered(link.newLink(), 1_000);
        const gone = link.failed(seen, {message: "no answer"}, {now: 5_000, hasKey: false, chance: 0.5});
        const busy = link.failed(seen, {status: 503, message: "busy"}, {now: 5_000, hasKey: false, chance: 0.5});
        const noon = new Date(2026, 0, 1, 12, 0, 4).getTime();
        return [gone, busy].map((one) => link.bannerOf(one, 5_000, noon));
    """
    gone, busy = await told(node, script)
    assert gone == "The server is gone. It last answered 4 s ago, at 12:00:00. Trying again in 1 s."
    assert busy.startswith("The server does not answer as it should (busy). It last answered")


async def test_what_is_the_matter_with_a_key(node: Node) -> None:
    """None, a wrong one, and one of a producer are three things; the last two say what to do."""
    script = """
        const locked = (status, hasKey) =>
            link.failed(link.newLink(), {status, message: "no page"}, {now: 0, hasKey, chance: 0});
        return [locked(401, false), locked(401, true), locked(403, true), locked(403, false)]
            .map(({name, text}) => [name, text]);
    """
    needed, wrong, producer, refused = await told(node, script)
    assert {needed[0], wrong[0], producer[0], refused[0]} == {"locked"}
    assert needed[1].startswith("This server asks for a key")
    assert wrong[1] == "The server does not know this key."
    assert "lacks admin = true" in producer[1]
    assert refused[1] == "The server refuses: no page."


# --- places -----------------------------------------------------------------------


async def test_a_thing_can_be_linked_to(node: Node) -> None:
    """Whatever is in its name, its fragment leads back to it."""
    ids = ["alice", "a/b", "50%", "é ü", "#x?y&z", "\U0001f600"]
    script = """
        return ids.flatMap((id) =>
            ["user", "thread", "event"].map((kind) => place.placeOf(place.subjectAt(kind, id, "t/1")).subject));
    """
    kinds = ("user", "thread", "event")
    assert await told(node, script, ids=ids) == [
        {"kind": kind, "id": id_, "thread": "t/1"} for id_ in ids for kind in kinds
    ]


async def test_a_fragment_that_says_nothing(node: Node) -> None:
    """It shows the users, and asks nothing."""
    script = "return ['', '#', '#x', '#user', '#user/', '#%', '#failures', '#users/x'].map(place.placeOf);"
    found = await told(node, script)
    assert [one["list"] for one in found] == ["users"] * 6 + ["failures", "users"]
    assert {one["subject"] for one in found} == {None}


# --- rows and sentences -----------------------------------------------------------


async def test_a_user_is_as_well_as_the_worst_device(node: Node) -> None:
    """One that lags is seen without a look below; so is a user whose events wait and who is away."""
    lagging = DEVICE | {"label": "c2", "state": "lagging", "lag_events": 30}
    users = [
        USER,
        USER | {"devices": [DEVICE, lagging], "devices_total": 2},
        USER | {"devices": [], "devices_total": 0, "unacked": 3, "away": "c1 left"},
        USER | {"devices": [], "devices_total": 0},
        USER | {"quarantined": "ValueError: a bug"},
    ]
    found = await told(node, "return users.map(rows.userOf);", users=users)
    assert [one["state"] for one in found] == ["live", "lagging", "away", "no device", "quarantined"]
    assert [dict(one["figures"])["Lag"] for one in found] == ["0", "30", "0", "0", "0"]
    assert found[2]["notes"] == ["c1 left"]
    assert found[4]["mood"] == "bad"


async def test_dead_letters_by_cause_the_newest_first(node: Node) -> None:
    """The cause with the newest is the first; two that look the same are two."""
    letters = [
        LETTER,
        LETTER | {"cause": "unbound_expired", "at": 20, "user_id": None, "first": None, "last": None, "event_id": "e1"},
        LETTER | {"at": 30, "first": 2, "last": 5, "count": 4},
        LETTER | {"at": 30, "first": 2, "last": 5, "count": 4},
    ]
    script = "return rows.letterGroups(letters, {retention: 900, unbound_expired: 1});"
    retention, expired = await told(node, script, letters=letters)
    assert (retention["title"], expired["title"]) == ("retention", "unbound expired")
    assert retention["note"].endswith("900 events in all.")
    rows = retention["table"]["rows"]
    assert [row["cells"][0]["at"] for row in rows] == [30, 30, 10]
    assert len({row["key"] for row in rows}) == 3
    assert rows[0]["cells"][4]["text"] == "2 to 5"
    assert expired["table"]["rows"][0]["cells"][4] == {
        "text": "e1", "href": "#event/e1/t1", "mono": True, "note": "before it had a number",
    }  # fmt: skip


async def test_rows_keep_their_keys_while_others_come(node: Node) -> None:
    """What is looked at stays where it is: a failure that is open does not close when there is a new one."""
    failures = [{"path": "users/a", "error": "E", "at": at, "handling": "", "traceback": ""} for at in (1, 1, 2)]
    script = "return [failures.slice(0, 2), failures].map((some) => rows.failureRows(some).map(({key}) => key));"
    before, after = await told(node, script, failures=failures)
    assert after[1:] == before
    assert len(set(after)) == 3


async def test_paths_lead_to_what_they_are_of(node: Node) -> None:
    """A user or a thread, of whose names a slash may be a part; of other actors nothing is asked."""
    script = "return ['users/a', 'threads/a/b', 'runtime', 'server/c1'].map(rows.subjectOfPath);"
    assert await told(node, script) == ["#user/a", "#thread/a%2Fb", None, None]


async def test_numbers_are_read_at_a_glance(node: Node) -> None:
    """Times have two units at most, sizes three digits, and what is to come is now."""
    script = """
        return [[0.0021, 0.4, 59, 61, 3600, 90061].map(words.duration), words.ago(10, 9), words.ago(10, 75),
            [0, 999, 1234567].map(words.bytes), [0.04, 12.34, 1234].map(words.short)];
    """
    assert await told(node, script) == [
        ["2.1 ms", "0.4 s", "59 s", "1 min 1 s", "1 h", "1 d 1 h"],
        "now",
        "1 min 5 s ago",
        ["0 B", "999 B", "1.23 MB"],
        ["0.04", "12.3", "1.23K"],
    ]


# --- the state --------------------------------------------------------------------

WELL: dict[str, Any] = {
    "state": "open", "trouble": None, "trouble_since": None, "balanced": True, "books_balanced": None, "at": 100,
    "opened_at": 10, "loop_lag_seconds": 0.001, "standstill": None, "quarantined_now": 0, "connections": 2,
    "handshakes": 0, "connections_behind": 0, "lag_events_max": 0, "backlog_bytes": 0, "users": 1, "runs": 0,
    "asks_open": 0, "failures": 0,
}  # fmt: skip


ILL: list[tuple[str, dict[str, Any]]] = [
    ("state", {"state": "draining"}),
    ("store", {"trouble": "the disk is full", "trouble_since": 40}),
    ("books", {"balanced": False}),
    ("books", {"books_balanced": False}),
    ("quarantine", {"quarantined_now": 1}),
    ("loop", {"loop_lag_seconds": 0.6}),
]


async def test_what_happened_lately_is_shown(node: Node) -> None:
    """The sentence about the state goes on with what was refused or dropped lately."""
    given = [WELL | {"text": "open", "notes": []}, WELL | {"text": "open", "notes": ["a page was refused"]}]
    assert await told(node, "return given.map(state.matterOf);", given=given) == ["open", "open; a page was refused"]


async def test_a_sign_of_trouble_stands_out(node: Node) -> None:
    """That one and no other is marked, and the sentence about the state is, too."""
    script = """
        const bad = (status) => state.vitals(status).filter(({mood}) => mood === "bad").map(({key}) => key);
        return [well, ...ill].map((status) => [bad(status), state.isWell(status)]);
    """
    found = await told(node, script, well=WELL, ill=[WELL | what for _, what in ILL])
    assert found == [[[], True], *([[sign], False] for sign, _ in ILL)]
