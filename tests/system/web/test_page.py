"""The demonstration's page: a real server, a real browser, and what a person does with them."""

from __future__ import annotations

import os
import signal
from itertools import groupby
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio

from tests.system.web.browser import ENTER, ESCAPE, SHIFT, Browser
from tests.system.web.demo import conversation, demo, events, joined, page, until_runs
from tests.tools.command import Running

pytestmark = pytest.mark.slow

LIFECYCLE = [
    "agent_started",
    "agent_thinking",
    "tool_executing",
    "tool_completed",
    "agent_delta",
    "agent_completed",
]
"""A run as the assistant goes through it; its deltas count as one."""

CONTROLS = "button, select, textarea, summary, [tabindex]"
REGIONS = "nav, form, aside, [role=log], [role=region]"

WATCH_BANNER = """
(window.said = [], new MutationObserver(() => window.said.push(document.querySelector('#banner').textContent))
    .observe(document.querySelector('#banner'), {subtree: true, childList: true}))
"""


# --- a conversation -----------------------------------------------------------


async def test_a_message_is_answered_by_a_run_event_by_event(server: Running, browser: Browser) -> None:
    """All lifecycle events of a run come in order, without a hole, each with seq and offset, and all are ACKED."""
    await browser.open(page(server))
    await browser.say("What is the weather in Oslo?")
    await until_runs(browser, "completed")
    seen = await events(browser)
    assert [type_ for type_, _ in groupby(type_ for _, _, type_ in seen)] == ["user_message", *LIFECYCLE]
    assert [(offset, seq) for offset, seq, _ in seen] == [(number, number) for number in range(1, len(seen) + 1)]
    assert await browser.data(".user-message", "stage") == ["ACKED"]
    message, answer = await conversation(browser)
    assert message == "What is the weather in Oslo?"
    assert answer, "the tokens of the answer are joined into its text"
    assert await browser.texts(".tool-name, .thinking"), "the tool and the thought are shown"


async def test_its_words_are_explained(server: Running, browser: Browser) -> None:
    """Offset, seq, epoch and each stage say what they mean, to a pointer and to a screen reader, as the README does."""
    await browser.open(page(server))
    await browser.say("What is the weather in Oslo?")
    await until_runs(browser, "completed")
    told = """[...document.querySelectorAll(%r)].map((node) => [node.textContent, node.title,
        node.getAttribute("aria-describedby").split(" ").map((id) => document.getElementById(id).textContent)])"""
    for words, title, described in await browser.ask(told % "th[data-words], .meta span, #place"):
        assert words
        assert title.splitlines() == described
        assert all(described)
    written = await browser.ask("document.querySelector('#about-WRITTEN').textContent")
    assert "handed to a socket" in written
    place = await browser.ask("document.querySelector('#place').title")
    assert "Epoch" in place
    assert "Offset" in place


async def test_stop_cancels_the_run(server: Running, browser: Browser) -> None:
    """Stop is there while a run is active; it ends the run as cancelled, and goes."""
    await browser.open(page(server))
    assert not await browser.ask("document.querySelector('#stop').checkVisibility()")
    await browser.say("What is the weather in Oslo?")
    await browser.until("document.querySelector('#stop').checkVisibility()")
    await browser.click("#stop")
    await until_runs(browser, "cancelled")
    assert (await events(browser))[-1][2] == "agent_cancelled"
    assert not await browser.ask("document.querySelector('#stop').checkVisibility()")


async def test_a_second_tab_shows_the_same_conversation(server: Running, browser: Browser) -> None:
    """A tab opened later shows the conversation from its start; then what one says, both show."""
    await browser.open(page(server))
    await browser.say("first")
    await until_runs(browser, "completed")
    told = joined(await events(browser))
    await browser.open_tab(page(server))
    await until_runs(browser, "completed")
    assert joined(await events(browser)) == told
    await browser.say("second")
    await until_runs(browser, "completed", "completed")
    here = await conversation(browser), joined(await events(browser))
    await browser.turn_to_tab(0)
    await until_runs(browser, "completed", "completed")
    assert (await conversation(browser), joined(await events(browser))) == here
    assert [text for text in here[0] if text in {"first", "second"}] == ["first", "second"]


async def test_a_new_conversation_leaves_the_old_one_as_it_was(server: Running, browser: Browser) -> None:
    """New conversation begins an empty one, with an address of its own; the old one can be turned to again."""
    await browser.open(page(server))
    await browser.say("first")
    await until_runs(browser, "completed")
    old = await browser.ask("location.hash"), await conversation(browser)
    await browser.click("#new")
    assert await conversation(browser) == []
    await browser.say("second")
    await until_runs(browser, "completed")
    assert await browser.ask("location.hash") != old[0]
    await browser.ask("(document.querySelector('#threads').focus(), true)")
    await browser.press("first")
    await browser.until("location.hash === arguments[0]", old[0])
    assert (await browser.ask("location.hash"), await conversation(browser)) == old


async def test_text_that_looks_like_html_is_text(server: Running, browser: Browser) -> None:
    """Text that a person writes is shown as it was written, and nothing in it happens."""
    text = '<img src=x onerror="document.title = 1"><b>bold</b> &amp; <script>document.title = 2</script>'
    await browser.open(page(server))
    title = await browser.ask("document.title")
    await browser.say(text)
    await until_runs(browser, "completed")
    assert (await conversation(browser))[0] == text
    assert await browser.ask("document.querySelectorAll('#conversation :is(b, img, script)').length") == 0
    assert await browser.ask("document.title") == title


# --- a server that goes -------------------------------------------------------


async def test_a_killed_server_is_said_to_be_gone_and_is_come_back_to(server: Running, browser: Browser) -> None:
    """Nothing can be sent, and what was written stays; when there is a server again, the page goes on by itself.

    The new server has another log: the page says so, and does not show what is not in it.
    """
    await browser.open(page(server))
    await browser.say("first")
    await until_runs(browser, "completed")
    await browser.press("half a thought")
    server.signal(signal.SIGKILL)
    await browser.until_state("gone")
    assert await browser.ask("document.querySelector('#banner').checkVisibility()")
    assert "gone" in (await browser.texts("#hint"))[0]
    await browser.press(ENTER)
    assert await browser.ask("document.querySelector('#send').disabled")
    assert await browser.ask("document.querySelector('#message').value") == "half a thought"
    async with demo(urlsplit(server.url).port or 0):
        await browser.until_state("live")
        assert not await browser.ask("document.querySelector('#banner').checkVisibility()")
        assert await browser.texts(".notice") == ["The server was restarted; the earlier conversation is gone"]
        assert await conversation(browser) == []
        await browser.press(ENTER)
        await until_runs(browser, "completed")
        assert (await conversation(browser))[0] == "half a thought"


async def test_a_server_that_leaves_says_so_before(server: Running, browser: Browser) -> None:
    """On SIGTERM the page tells that the server is about to leave, shows the run to its end, then that it is gone."""
    await browser.open(page(server))
    await browser.say("first")
    await browser.until("document.querySelector('[data-run]')")
    await browser.ask(f"({WATCH_BANNER}, true)")
    server.signal(signal.SIGTERM)
    await browser.until_state("gone")
    assert "about to leave" in await browser.ask("window.said[0]")
    assert await browser.data("[data-run]", "state") == ["completed"]


# --- everybody's page ---------------------------------------------------------


async def test_the_keyboard_is_enough(server: Running, browser: Browser) -> None:
    """The page opens with the focus in the message; Enter sends, Shift+Enter does not, Escape stops."""
    await browser.open(page(server))
    await browser.press("two")
    await browser.press(f"{SHIFT}{ENTER}{SHIFT}lines")
    await browser.press(ENTER)
    await browser.until("document.querySelector('#stop').checkVisibility()")
    await browser.press(ESCAPE)
    await until_runs(browser, "cancelled")
    assert (await conversation(browser))[0] == "two\nlines"
    assert await browser.ask("document.activeElement.id") == "message"


async def test_a_screen_reader_finds_its_way(server: Running, browser: Browser) -> None:
    """Every control and every region has a name, the answer is announced whole, and the console is silent."""
    await browser.open(page(server))
    await browser.say("What is the weather in Oslo?")
    await until_runs(browser, "completed")
    names = await browser.accessible_names(f"{CONTROLS}, {REGIONS}")
    assert len(names) > 10
    assert all(names), names
    answer = (await conversation(browser))[1]
    assert answer in (await browser.texts("#announcer"))[0]
    assert await browser.complaints() == []


async def test_light_and_dark_are_both_made(server: Running, browser: Browser) -> None:
    """The page follows the person's scheme: dark text on light ground, light text on dark ground."""
    await browser.open(page(server))
    brightness = {}
    for scheme in ("light", "dark"):
        await browser.prefer(color_scheme=scheme)
        for what in ("color", "backgroundColor"):
            value = await browser.ask("getComputedStyle(document.documentElement)[arguments[0]]", what)
            brightness[scheme, what] = sum(map(int, value.removeprefix("rgb(").removesuffix(")").split(",")))
    assert brightness["light", "backgroundColor"] > brightness["light", "color"] + 500
    assert brightness["dark", "color"] > brightness["dark", "backgroundColor"] + 500


@pytest.mark.parametrize("width", [360, 768, 1600])
async def test_it_fits(server: Running, browser: Browser, width: int) -> None:
    """Nothing hangs over the edge of a phone, a tablet or a desk, with a run and with the events shown."""
    await browser.resize(width, 700)
    await browser.open(page(server))
    await browser.say("w" * 200)
    await until_runs(browser, "completed")
    for _ in range(2):
        assert await browser.ask("document.documentElement.scrollWidth") <= width
        await browser.click("#toggle")


async def test_a_picture_for_the_readme(server: Running, browser: Browser, tmp_path: Path) -> None:
    """A finished run, 1200 by 800, light; written to the path in ACTORS_SCREENSHOT when that is set."""
    path = trio.Path(os.environ.get("ACTORS_SCREENSHOT") or tmp_path / "page.png")
    await browser.open(page(server))
    await browser.say("What is the weather in Oslo?")
    await until_runs(browser, "completed")
    await browser.ask("(document.activeElement.blur(), true)")
    await path.write_bytes(await browser.picture())
    content = await path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert (int.from_bytes(content[16:20]), int.from_bytes(content[20:24])) == (1200, 800)
    assert len(content) > 20_000, "it shows something"
