"""The page that is a client of AG-UI: a run, its question in two tabs, a reload in its middle, and a cut."""

from __future__ import annotations

import pytest

from tests.system.web.browser import Browser
from tests.system.web.demo import demo, page

pytestmark = pytest.mark.slow

SAID = "[...document.querySelectorAll('#messages li')].map((one) => `${one.dataset.role}: ${one.textContent}`)"
RUN = [
    "user: tidy up",
    "reasoning: This changes something, so I ask first.",
    'call: act({"plan":"tidy up"})',
    "tool: done",
    "assistant: It is done.",
]


async def test_a_conversation(browser: Browser) -> None:
    """What is asked is answered in a second tab, and both show the same; so does the page when it is loaded again."""
    async with demo(0, "--agent", "agui") as server:
        await browser.open(page(server))
        await browser.say("tidy up")
        await browser.until("document.querySelectorAll('[data-choice]').length === 2")
        await browser.duplicate_tab()
        await browser.until("document.querySelectorAll('[data-choice]').length === 2")
        await browser.click("[data-choice=yes]")
        await browser.until(f"{SAID}.at(-1) === 'assistant: It is done.'")
        assert await browser.ask(SAID) == RUN
        await browser.turn_to_tab(0)
        await browser.until(f"{SAID}.at(-1) === 'assistant: It is done.'")
        assert await browser.ask(SAID) == RUN
        await browser.reload()
        await browser.until(f"{SAID}.length === 5")
        assert await browser.ask(SAID) == RUN
        assert await browser.ask("[...document.querySelectorAll('#events li')].map((one) => one.textContent)") == [
            "RUN_STARTED",
            "MESSAGES_SNAPSHOT",
            "RUN_FINISHED",
        ]


async def test_a_run_is_stopped(browser: Browser) -> None:
    """A question that is declined, and a run that is cancelled while it works."""
    async with demo(0, "--agent", "agui") as server:
        await browser.open(page(server))
        await browser.say("tidy up")
        await browser.until("document.querySelector('[data-choice=no]')")
        await browser.click("[data-choice=no]")
        await browser.until(f"{SAID}.at(-1) === 'assistant: Then I leave it as it is.'")
        await browser.say("again")
        await browser.until("document.querySelector('[data-choice=yes]')")
        await browser.click("[data-choice=yes]")
        await browser.until(f"{SAID}.at(-1).startsWith('call: act') && !document.querySelector('#stop').disabled")
        await browser.click("#stop")
        await browser.until("document.querySelector('#stop').disabled")
        assert (await browser.ask(SAID))[-1].startswith("tool: {")
