"""The page when its connection goes, in every way it can: each event is shown once, and the page says what happened."""

from __future__ import annotations

import signal
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio

import actors
from actors.testing import FaultProxy, fault_proxy
from actors.tools.serving import listening
from actors.web import pages
from tests.system.web.browser import ENTER, Browser
from tests.system.web.demo import conversation, demo, events, joined, page, until_runs
from tests.tools.command import Running

pytestmark = pytest.mark.slow

QUESTION = "What is the weather in Oslo?"
ENDLESS_WAITS = "(Math.random = () => 10_000, true)"
"""A page that waits for its turn does not come back while a test lasts."""
HEALED = "document.querySelector('#recovery').dataset.cuts > 0 && document.querySelector('#recovery').dataset.away"
HEALED += " === 'false'"


@pytest.fixture
async def network(server: Running) -> AsyncIterator[FaultProxy]:
    """The proxy between the page and the server."""
    address = urlsplit(server.url)
    async with fault_proxy(address.hostname or "", address.port or 0) as opened:
        yield opened


def through(network: FaultProxy) -> str:
    """The address of the page, through a proxy."""
    return f"http://127.0.0.1:{network.port}/"


async def until_answering(browser: Browser) -> None:
    """Wait until the answer has begun."""
    await browser.until("document.querySelector('.answer')")


async def recovery(browser: Browser) -> dict[str, int]:
    """The page's counts since the connection was lost."""
    counts = await browser.ask("({...document.querySelector('#recovery').dataset})")
    return {name: int(value) for name, value in counts.items() if name != "away"}


async def assert_complete(browser: Browser, url: str) -> None:
    """The page shows the same as one that is opened now and reads everything from the log."""
    shown = await conversation(browser), joined(await events(browser))
    offsets = [offset for offset, _, _ in await events(browser)]
    assert offsets == sorted(set(offsets)), "no event is shown twice"
    await browser.open_tab(url)
    await until_runs(browser, "completed")
    assert (await conversation(browser), joined(await events(browser))) == shown
    answer = shown[0][1]
    assert answer.startswith("The sky over Oslo is clear")
    assert answer.endswith("stands in the south. ")


# --- ways to be cut off -----------------------------------------------------------


async def test_a_reload_in_the_middle_of_a_run_shows_every_event_once(server: Running, browser: Browser) -> None:
    """The page is rebuilt from the log, and goes on with what comes."""
    await browser.open(page(server))
    await browser.say(QUESTION)
    await until_answering(browser)
    await browser.reload()
    await until_runs(browser, "completed")
    await assert_complete(browser, page(server))


async def test_a_long_cut_in_the_middle_of_a_run_loses_no_word(
    network: FaultProxy, browser: Browser, *, at_length: bool
) -> None:
    """The page says that the server is gone, comes back by itself, and says what was replayed."""
    await browser.open(through(network))
    await browser.say(QUESTION)
    await until_answering(browser)
    network.sever()
    await browser.until_state("gone")
    await trio.sleep(10 if at_length else 3)
    assert await browser.data("[data-run]", "state") == ["running"]
    network.mend()
    await until_runs(browser, "completed")
    counts = await recovery(browser)
    assert counts.pop("replayed") > 0
    assert counts == {"cuts": 1, "gaps": 0, "resets": 0}
    assert "replayed" in (await browser.texts("#recovery"))[0]
    await assert_complete(browser, through(network))


async def test_offline_and_online_again(network: FaultProxy, browser: Browser) -> None:
    """Coming online, the page does not wait: what it missed is there at once."""
    await browser.open(through(network))
    await browser.say(QUESTION)
    await until_answering(browser)
    await browser.go_offline()
    network.cut()
    await browser.until_state("gone")
    await browser.ask(ENDLESS_WAITS)
    await trio.sleep(4)
    assert await browser.ask("navigator.onLine") is False
    with trio.fail_after(60):
        await browser.go_offline(offline=False)
        await browser.until_state("live")
    await until_runs(browser, "completed")
    await assert_complete(browser, through(network))


async def test_a_thawed_tab_comes_back_at_once(network: FaultProxy, browser: Browser) -> None:
    """Chromium ends the connections of a tab that it freezes; thawed, the page does not wait for its turn.

    Its driver freezes a tab that is looked at, which a browser does not, and so says nothing of it; what a tab out of
    sight is told is said here.
    """
    await browser.open(through(network))
    await browser.say(QUESTION)
    await until_answering(browser)
    await browser.ask(ENDLESS_WAITS)
    await browser.freeze()
    await trio.sleep(3)
    await browser.freeze(frozen=False)
    await browser.ask("document.dispatchEvent(new Event('resume'))")
    await browser.until(HEALED)
    await until_runs(browser, "completed")
    await assert_complete(browser, through(network))


async def test_a_tab_that_is_looked_at_notices_a_dead_link(network: FaultProxy, browser: Browser) -> None:
    """The link died in silence; that would be found out after 25 s of it, and is within three of being looked at."""
    await browser.open(through(network))
    await browser.say(QUESTION)
    await until_answering(browser)
    network.vanish("down")
    await trio.sleep(1)
    with trio.fail_after(20):  # sooner than silence alone is found out
        await browser.ask("document.dispatchEvent(new Event('visibilitychange'))")
        await browser.until(HEALED)
    await until_runs(browser, "completed")
    await assert_complete(browser, through(network))


async def test_coming_back_to_a_page_that_was_left(server: Running, browser: Browser) -> None:
    """The browser's way back shows the page as it was left, and the page goes on from there."""
    await browser.open(page(server))
    await browser.say(QUESTION)
    await until_answering(browser)
    await browser.look_at(f"{page(server)}icon.svg")
    await trio.sleep(3)
    await browser.go_back()
    await browser.until_state("live")
    await until_runs(browser, "completed")
    await assert_complete(browser, page(server))


async def test_a_person_cuts_the_connection_and_mends_it(server: Running, browser: Browser) -> None:
    """The page says that it is cut off; what another tab said meanwhile is replayed, and counted."""
    await browser.open(page(server))
    await browser.click("#cut")
    await browser.until_state("gone")
    assert await browser.texts("#connection") == ["Cut off"]
    await browser.open_tab(page(server))
    await browser.say(QUESTION)
    await until_runs(browser, "completed")
    seen = (await events(browser))[-1][0]
    await browser.turn_to_tab(0)
    assert await browser.texts("#connection") == ["Cut off"]
    assert await events(browser) == []
    await browser.click("#cut")
    await browser.until_state("live")
    await until_runs(browser, "completed")
    assert await recovery(browser) == {"cuts": 1, "replayed": seen, "gaps": 0, "resets": 0}
    assert f"{seen} events replayed (offsets 1 to {seen}), 0 gaps, 0 resets" in (await browser.texts("#recovery"))[0]


async def test_a_deploy_over_a_file_is_a_pause(tmp_path: Path, browser: Browser) -> None:
    """The run that is under way ends with the old server, and the new one goes on: no gap, no reset, the same page."""
    store = ("--store", f"sqlite:{tmp_path / 'events.db'}")
    async with demo(0, *store) as server:
        url = page(server)
        await browser.open(url)
        await browser.say(QUESTION)
        await until_answering(browser)
        server.signal(signal.SIGTERM)
        assert (await server.ended()).status == 0
    await browser.until_state("gone")
    async with demo(urlsplit(url).port or 0, *store):
        await browser.until_state("live")
        await until_runs(browser, "completed")
        counts = await recovery(browser)
        assert (counts["gaps"], counts["resets"]) == (0, 0)
        await assert_complete(browser, url)
        await browser.say("Bergen?")
        await until_runs(browser, "completed", "completed")


async def test_a_killed_server_with_a_file_keeps_the_conversation(tmp_path: Path, browser: Browser) -> None:
    """What was shown stays, and goes on under another epoch without a word; the run that was lost is said to be."""
    store = ("--store", f"sqlite:{tmp_path / 'events.db'}")
    async with demo(0, *store) as server:
        url = page(server)
        await browser.open(url)
        await browser.say(QUESTION)
        await until_answering(browser)
        server.signal(signal.SIGKILL)
        await browser.until_state("gone")
        seen = await events(browser)
    async with demo(urlsplit(url).port or 0, *store):
        await browser.until_state("live")
        await until_runs(browser, "failed")
        counts = await recovery(browser)
        assert (counts["gaps"], counts["resets"]) == (0, 0)
        assert joined(await events(browser))[: len(joined(seen)) - 1] == joined(seen)[:-1]
        await browser.say("Bergen?")
        await until_runs(browser, "failed", "completed")
        offsets = [offset for offset, _, _ in await events(browser)]
        assert offsets == sorted(set(offsets)), "no event is shown twice"


async def test_a_restarted_server_is_a_reset(server: Running, browser: Browser) -> None:
    """Its log is another one: the page says so, shows what is in it, and goes on."""
    await browser.open(page(server))
    await browser.say("first")
    await until_runs(browser, "completed")
    server.signal(signal.SIGKILL)
    await browser.until_state("gone")
    async with demo(urlsplit(server.url).port or 0):
        await browser.until_state("live")
        assert (await recovery(browser))["resets"] == 1
        assert await browser.texts(".notice") == ["The server was restarted; the earlier conversation is gone"]
        await browser.say("second")
        await until_runs(browser, "completed")
        assert (await conversation(browser))[0] == "second"


# --- tabs -------------------------------------------------------------------------


async def test_a_duplicated_tab_is_no_fight(server: Running, browser: Browser) -> None:
    """Both tabs stay connected, and show the same."""
    await browser.open(page(server))
    await browser.say(QUESTION)
    await until_answering(browser)
    await browser.duplicate_tab()
    await until_runs(browser, "completed")
    shown = []
    for tab in (0, 1):
        await browser.turn_to_tab(tab)
        await until_runs(browser, "completed")
        await trio.sleep(1)
        assert await browser.data("#connection", "state") == ["live"]
        assert await browser.ask("document.querySelector('#recovery').dataset.cuts ?? 0") == 0
        shown.append((await conversation(browser), joined(await events(browser))))
    assert shown[0] == shown[1]


async def test_a_question_is_answered_in_one_tab_and_goes_in_the_other(browser: Browser) -> None:
    """It is a card with its choices, or a box for text; any tab may answer, and a reload shows what is still open."""
    answers: list[dict[str, Any]] = []

    async def assistant(run: actors.Run, message: actors.Message) -> None:
        questions = {"question": "Shall I?", "choices": ["yes", "no"]}, {"question": "Why?"}
        answers.extend([(await run.ask("question", question, timeout=60)).payload for question in questions])

    async def allow(user_id: str, thread_id: str) -> bool:
        return True

    async with listening("127.0.0.1", 0, on_message=assistant, authorize=allow, pages=pages()) as (_, url, _):
        at = url.replace("ws://", "http://").removesuffix("ws")
        await browser.open(at)
        await browser.say("go")
        await browser.until("document.querySelector('.ask')")
        assert await browser.texts(".ask legend, .ask button") == ["Shall I?", "yes", "no"]
        await browser.open_tab(at)
        await browser.until("document.querySelector('.ask')")
        await browser.reload()
        await browser.until("document.querySelector('.ask')")
        await browser.click(".ask [value=yes]")
        await browser.until("document.querySelector('.ask legend')?.textContent === 'Why?'")
        await browser.turn_to_tab(0)
        await browser.until("document.querySelector('.ask legend')?.textContent === 'Why?'")
        await browser.click(".ask input")
        await browser.press("because")
        await browser.press(ENTER)
        for tab in (0, 1):
            await browser.turn_to_tab(tab)
            await until_runs(browser, "completed")
            assert await browser.texts(".ask") == []
    assert answers == [{"choice": "yes"}, {"text": "because"}]


# --- who may have it ----------------------------------------------------------------


async def test_the_client_is_there_to_be_imported(server: Running, browser: Browser) -> None:
    """Any page of this server may write ``import { connect } from "/actors.js"``."""

    def fetch() -> tuple[str, bytes]:
        with urllib.request.urlopen(f"{page(server)}actors.js") as response:  # noqa: S310 - our own server
            return response.headers["Content-Type"], response.read()

    type_, content = await trio.to_thread.run_sync(fetch)
    assert type_ == "text/javascript; charset=utf-8"
    assert content == pages()["/actors.js"].content
    await browser.open(page(server))
    await browser.ask("(import('/actors.js').then((module) => (window.names = Object.keys(module))), true)")
    await browser.until("window.names")
    assert await browser.ask("window.names") == ["Refusal", "Session", "connect"]


async def test_an_old_browser_is_told(server: Running, browser: Browser) -> None:
    """One that cannot load the page's modules shows why; one without modules or scripts has a text of its own."""
    await browser.block("*/page.js")
    await browser.look_at(page(server))
    await browser.until("document.querySelector('#old').checkVisibility()")
    assert "needs a browser" in (await browser.texts("#old"))[0]
    html = pages()["/"].content.decode()
    assert '<script nomodule defer src="/old.js"></script>' in html
    assert "<noscript>" in html
