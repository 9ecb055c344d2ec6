"""The inspector: a real runtime with its API, a real browser, and what an operator does with them."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio

import actors
import actors.client
from actors.web import inspector_pages
from tests.http.serving import KEYS, OPERATOR, PRODUCER, Door, door
from tests.support.crashing import crash
from tests.support.pages import examples
from tests.support.raw import connected
from tests.system.web.browser import ENTER, ESCAPE, Browser, Programs, start

pytestmark = pytest.mark.slow

TAB = "\ue004"
CONTROLS = "button, input:not([type=hidden]), summary, a, [tabindex]"
REGIONS = "nav, form, section, dialog[open], [role=group], [role=img], table"
ROWS = "[...document.querySelectorAll('.fold')].map((one) => one.textContent)"
NOTE = "document.querySelector('#list-note').textContent"
SENTENCE = "document.querySelector('.sentence')?.textContent ?? ''"


@pytest.fixture(scope="module")
def window(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One window for all tests: each has a server of its own, so the page of one knows nothing of another's."""
    driver = start(programs, tmp_path_factory.mktemp("profile"))
    yield Browser(driver)
    driver.quit()


@pytest.fixture
async def browser(window: Browser) -> Browser:
    """The window, 1280 by 900, light; the page of the test before is left, and what it complained of forgotten."""
    await window.look_at("about:blank")
    await window.resize(1280, 900)
    await window.prefer(color_scheme="light", reduced_motion="reduce")
    await window.complaints()
    return window


@asynccontextmanager
async def inspected(**options: Any) -> AsyncIterator[tuple[Door, str]]:
    """A runtime whose API shows the inspector, and the address of the page."""
    async with door(pages=inspector_pages(), **options) as api:
        yield api, f"http://127.0.0.1:{api.address[1]}/"


async def emit(api: Door, user_id: str, count: int = 1, *, thread_id: str | None = None) -> list[actors.Receipt]:
    """Emit events for a user."""
    thread = api.runtime.thread(thread_id or f"chat-{user_id}")
    return [await thread.emit("note", {"n": n}, user_id=user_id) for n in range(count)]


async def assert_sound(browser: Browser) -> None:
    """Every control and every region has a name, headings do not leap, and nothing hangs over the edge."""
    names = await browser.accessible_names(f"{CONTROLS}, {REGIONS}")
    assert len(names) > 15
    assert all(names), [name for name in names if not name]
    levels = await browser.ask("[...document.querySelectorAll('h1, h2, h3, h4')].filter((one) => one.checkVisibility())"
                               ".map((one) => Number(one.localName[1]))")  # fmt: skip
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels)), levels
    assert await browser.ask("document.documentElement.scrollWidth <= innerWidth")
    assert await browser.ask("[...document.querySelectorAll('thead th')].every((one) => one.scope === 'col')")
    ids = await browser.ask("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len(set(ids))


async def test_an_incident_is_explained(browser: Browser) -> None:
    """A device that acks nothing: its user, asked for by keyboard, leads to the sentence, the event and the thread."""
    async with inspected() as (api, url), connected(await api.runtime_address()) as peer:
        await peer.attach("alice")
        receipt, *_ = await emit(api, "alice", 3)
        await receipt.reached(actors.Stage.WRITTEN)
        await browser.open(url)
        await browser.click("#subject")
        await browser.press(f"alice{ENTER}")
        await browser.until(SENTENCE)
        assert await browser.ask("location.hash") == "#any/alice"
        assert await browser.texts(".reason h3") == ["User alice"]
        assert (await browser.texts("#announcer")) == [f"User alice: {await browser.ask(SENTENCE)}"]
        await browser.click(f".reason a[href*='event/{receipt.event_id}']")
        await browser.until(f"document.querySelector('.reason h3')?.textContent === 'Event {receipt.event_id}'")
        assert len(await browser.texts(".steps li")) >= 2
        assert await browser.texts(".reason .links a") == ["thread chat-alice", "user alice"]
        await browser.go_back()
        await browser.until("document.querySelector('.reason h3')?.textContent === 'User alice'")
        await browser.ask("(document.querySelector('#subject').value = '', document.querySelector('#subject').focus())")
        await browser.press(f"nothing of this{ENTER}")
        await browser.until("document.querySelector('#answers').textContent.startsWith('No event, user or thread')")
        await browser.look_at(f"{url}#thread/chat-alice")
        await browser.until(f"({SENTENCE}).startsWith('thread chat-alice is bound to alice')")
        await assert_sound(browser)
        assert await browser.complaints() == []


async def test_many_users_are_shown_by_page(browser: Browser) -> None:
    """Fifty of 120 at once, and those of a prefix; what is open stays open and keeps the focus while numbers change."""
    async with inspected() as (api, url), connected(await api.runtime_address()) as peer:
        for number in range(120):
            await emit(api, f"user-{number:03}")
        await peer.attach("user-003")
        await browser.open(url)
        await browser.until(f"{ROWS}.length === 50 && {NOTE} === '1 to 50 of 120 users'")
        await browser.click("#next")
        await browser.click("#next")
        await browser.until(f"{ROWS}[0] === 'user-100' && {NOTE} === '101 to 120 of 120 users'")
        assert await browser.ask("document.querySelector('#next').disabled")
        await browser.click("#previous")
        await browser.until(f"{ROWS}[0] === 'user-050' && {ROWS}.length === 50")
        await browser.click("#prefix")
        await browser.press("user-00")
        await browser.until(f"{ROWS}.length === 10 && {NOTE} === '10 users'")
        await browser.ask("(window.fold = document.querySelectorAll('.fold')[3]).focus()")
        await browser.press(ENTER)
        await browser.until("document.querySelector('.below .links a')?.textContent === 'chat-user-003'")
        assert (await browser.texts(".below tbody td:nth-child(2) > span")) == ["live"]
        await emit(api, "user-003", 4)
        await browser.until("document.querySelector('.below .log').textContent.includes('1 to 5')")
        assert await browser.ask("document.activeElement === window.fold && window.fold.isConnected")
        await browser.resize(400, 800)
        await assert_sound(browser)
        await browser.prefer(color_scheme="dark", reduced_motion="reduce")
        dark = await browser.ask("getComputedStyle(document.documentElement).backgroundColor")
        assert sum(map(int, dark.removeprefix("rgb(").removesuffix(")").split(","))) < 150
        assert await browser.complaints() == []


async def test_a_quarantined_actor_is_released(browser: Browser) -> None:
    """It is asked for first; not answered, nothing is done; answered, the actor is back, and the page says so."""
    async with inspected(limits=actors.Limits(retained_events=2)) as (api, url):
        users = api.runtime.tree.users
        await emit(api, "alice", 5)
        while users.quarantined("alice") is None:
            if users.is_idle("alice"):
                users.mailbox("alice").tell(crash())
            await trio.sleep(0.01)
        await browser.open(f"{url}#quarantine")
        await browser.until("document.querySelector('[data-release]')")
        assert "users/alice" in (await browser.texts("#matter"))[0]
        await browser.click("[data-release]")
        assert await browser.ask("document.querySelector('#confirm').open")
        assert await browser.texts("#confirm-path") == ["users/alice"]
        await browser.press(ESCAPE)
        await browser.until("!document.querySelector('#confirm').open")
        assert users.quarantined("alice") is not None
        await browser.click("[data-release]")
        await browser.click("#confirm .chief")
        await browser.until("document.querySelector('#list').innerText.trim() === 'Every actor is in service.'")
        assert users.quarantined("alice") is None
        await browser.look_at(f"{url}#failures")
        await browser.until("document.querySelectorAll('.failures li').length > 2")
        await browser.click(".failures summary")
        assert "Traceback" in (await browser.texts(".failures pre"))[0]
        await browser.look_at(f"{url}#dead_letters")
        await browser.until("document.querySelector('#list h3')?.textContent === 'retention'")
        assert await browser.texts("#list td:nth-child(2)") == ["3"]
        await assert_sound(browser)
        assert await browser.complaints() == []


async def test_a_key_is_asked_for(browser: Browser) -> None:
    """None, a wrong one and a producer's are told apart; an operator's is kept in the tab until it is forgotten."""
    text = "document.querySelector('#gate-text').textContent"
    async with inspected(keys=KEYS) as (_, url):
        await browser.look_at(url)
        await browser.until_state("locked")
        assert not await browser.ask("document.querySelector('#inside').checkVisibility()")
        assert "asks for a key" in await browser.ask(text)
        for key, told in (("no-key-of-this-server", "does not know this key"), (PRODUCER, "not an operator's")):
            await browser.press(f"{key}{ENTER}")
            await browser.until(f"{text}.includes(arguments[0])", told)
        await browser.press(f"{OPERATOR}{ENTER}")
        await browser.until_state("live")
        await browser.reload()
        await browser.until("document.querySelector('#vitals > div')?.checkVisibility()")
        assert await browser.ask("[localStorage.length, document.cookie, location.href]") == [0, "", url]
        await browser.click("#forget")
        await browser.until_state("locked")
        assert await browser.ask("document.querySelector('#key').value + sessionStorage.length") == "0"


async def test_a_server_that_goes_and_comes_back(browser: Browser) -> None:
    """The page says that it is gone and since when, shows what it knew, and goes on by itself."""
    async with inspected() as (api, url):
        await emit(api, "alice")
        await browser.open(url)
        await browser.until(f"{ROWS}.length === 1")
        await browser.go_offline()
        await browser.until_state("gone")
        said = (await browser.texts("#banner p"))[0]
        assert said.startswith("The server is gone. It last answered")
        assert await browser.ask(ROWS) == ["alice"]
        await browser.go_offline(offline=False)
        await browser.until_state("live")
        assert not await browser.ask("document.querySelector('#banner').checkVisibility()")
        await emit(api, "bob")
        await browser.until(f"{ROWS}.join() === 'alice,bob'")
        assert await browser.ask("document.querySelectorAll('.plot svg[role=img]').length") == 4
        told = await browser.ask("document.querySelector('.plot svg').getAttribute('aria-label')")
        assert told.startswith("Accepted, the last 3 min:")


async def test_nothing_is_asked_while_the_page_is_not_looked_at(browser: Browser) -> None:
    """A hidden tab costs the server nothing, and what it missed is no rate."""
    async with inspected() as (_, url):
        await browser.open(url)
        # Counted as they are asked, because an answer may come long after the page is hidden.
        await browser.ask("((fetched) => { window.asked = 0; window.fetch = (url, options) => {"
                          " if (`${url}`.endsWith('status')) window.asked += 1;"
                          " return fetched(url, options); }; })(window.fetch)")  # fmt: skip
        await browser.until("asked > 0")
        before = await browser.ask("(Object.defineProperty(document, 'visibilityState',"
                                   " {value: 'hidden', configurable: true}),"
                                   " document.dispatchEvent(new Event('visibilitychange')), asked)")  # fmt: skip
        await trio.sleep(1.2)
        assert await browser.ask("asked") == before
        await browser.ask("(delete document.visibilityState, document.dispatchEvent(new Event('visibilitychange')))")
        await browser.until("asked > arguments[0]", before)


def test_the_embedding_runs_as_printed() -> None:
    """The example of the page's README, on a free port, says where the page is, and the page is there."""
    (example,) = examples("actors/web/inspector/README.md")
    words = [sys.executable, "-u", "-c", example.replace("8766", "0")]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        url = process.stdout.readline().decode().rpartition(" ")[2].strip()
        with urllib.request.urlopen(url) as response:  # noqa: S310 - our own server
            assert b"<title>trio-actors inspector</title>" in response.read()
        process.terminate()


async def follow(address: tuple[str, int], user_id: str) -> None:
    """A device that acks what comes, until the runtime ends."""
    async with actors.client.connect(f"ws://{address[0]}:{address[1]}/ws", token=user_id) as session:
        async for _ in session:
            pass


async def talk(api: Door, users: Sequence[str], seconds: float) -> None:
    """Emit for some users, now more and now less."""
    began = trio.current_time()
    while (passed := trio.current_time() - began) < seconds:
        for number, user_id in enumerate(users):
            await emit(api, user_id, 1 + int(4 + 3 * math.sin(passed / 9 + number)))
        await trio.sleep(0.1)


async def test_a_picture_for_the_readme(browser: Browser, tmp_path: Path) -> None:
    """A device that stopped to ack is found while others go on, 1280 by 900.

    Written to the path in ACTORS_SCREENSHOT when that is set, and then there is something on the plots.
    """
    asked = os.environ.get("ACTORS_SCREENSHOT")
    path = trio.Path(asked or tmp_path / "inspector.png")
    users = ("bob", "carol", "dave", "erin")
    async with inspected() as (api, url), trio.open_nursery() as nursery:
        address = await api.runtime_address()
        for user_id in users:
            nursery.start_soon(follow, address, user_id)
        async with connected(address) as peer:
            await peer.attach("alice")
            receipt, *_ = await emit(api, "alice", 3)
            await receipt.reached(actors.Stage.WRITTEN)
            await browser.open(f"{url}#user/alice")
            await talk(api, users, 40 if asked else 0.5)
            await browser.click("#ask button")
            await browser.until(SENTENCE)
            await browser.ask("document.activeElement.blur()")
            content = await browser.picture()
        nursery.cancel_scope.cancel()
    await path.write_bytes(content)
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert 20_000 < len(content) < 150_000
