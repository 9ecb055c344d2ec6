"""The page of the afternoon, which a reader of the site has typed: it is chat.html and chat.js as they are printed."""

from __future__ import annotations

import signal
from pathlib import Path

import trio

from tests.system.asgi.servers import free_port
from tests.system.site.chat import chat
from tests.system.web.browser import Browser
from tests.tools.command import PATIENCE_SECONDS

STATE = "document.querySelector('#state').textContent === arguments[0]"
PARAGRAPHS = "[...document.querySelectorAll('#log p')].map(one => one.textContent)"
ANSWERED = f"{PARAGRAPHS}.length === arguments[0] && {PARAGRAPHS}.at(-1).endsWith('Jupiter stands in the south. ')"


async def say(browser: Browser, text: str) -> None:
    """Type a message, and send it."""
    await browser.click("[name=text]")
    await browser.say(text)


async def test_the_page_survives_the_server(browser: Browser, tmp_path: Path) -> None:
    """It shows a message and its answer, anew after a reload, and goes on after the server was killed and started."""
    port = free_port()
    page = f"http://127.0.0.1:{port}/#token-of-alice"
    with trio.fail_after(PATIENCE_SECONDS):
        async with chat(tmp_path, port) as process:
            await browser.look_at(page)
            await browser.until(STATE, "live")
            await say(browser, "What is the weather in Oslo?")
            await browser.until(ANSWERED, 2)
            await browser.look_at("about:blank")
            await browser.look_at(page)
            await browser.until(ANSWERED, 2)
            process.send_signal(signal.SIGKILL)
            await browser.until(STATE, "waiting")
        async with chat(tmp_path, port):
            await browser.until(STATE, "live")
            await say(browser, "And in Rome?")
            await browser.until(ANSWERED, 4)
            assert await browser.ask(f"{PARAGRAPHS}[0]") == "You: What is the weather in Oslo?"


async def test_a_wrong_token_is_refused(browser: Browser, tmp_path: Path) -> None:
    """The page of somebody without a token says so, and does not try again."""
    port = free_port()
    with trio.fail_after(PATIENCE_SECONDS):
        async with chat(tmp_path, port):
            await browser.look_at(f"http://127.0.0.1:{port}/#guess")
            await browser.until(STATE, "refused")
