"""Chromium at a page, driven: what a person does, and what a person sees.

Selenium blocks, so each of its calls runs in a thread. Whatever is waited for
is asked for again until it is so; nothing here is timed.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from tests.tools.command import PATIENCE_SECONDS

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

_LOOK_SECONDS = 0.05

ENTER, SHIFT, ESCAPE = "\ue007", "\ue008", "\ue00c"
"""Keys, as WebDriver writes them; SHIFT is held until it comes again."""

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    "--window-size=1200,800",
)


@attrs.frozen
class Programs:
    """The programs that drive the page."""

    chromium: str
    chromedriver: str


def find_programs() -> Programs:
    """The programs; skips the test when one of them is missing, or what speaks to them."""
    reason = "the page is tested in chromium by selenium: no selenium here"
    pytest.importorskip("selenium.webdriver", reason=reason, exc_type=ImportError)
    names = {"chromium": ("chromium", "chromium-browser", "google-chrome"), "chromedriver": ("chromedriver",)}
    found = {name: next(filter(None, map(shutil.which, known)), None) for name, known in names.items()}
    if missing := [name for name, path in found.items() if path is None]:
        pytest.skip(f"the page is tested in chromium by chromedriver: no {' and no '.join(missing)} on the PATH")
    return Programs(**{name: str(path) for name, path in found.items()})


class Browser:
    """One window of Chromium, and the page in it."""

    def __init__(self, driver: Chrome) -> None:
        self._driver = driver

    # --- going ----------------------------------------------------------------

    async def open(self, url: str) -> None:
        """Go to the page of a server, and be live."""
        await trio.to_thread.run_sync(self._driver.get, url)
        await self.until_state("live")

    async def open_tab(self, url: str) -> None:
        """Open a second tab at a page, and stay in it."""
        await trio.to_thread.run_sync(self._driver.switch_to.new_window, "tab")
        await self.open(url)

    async def duplicate_tab(self) -> None:
        """Open the page again as the browser's own "duplicate tab" does, with a copy of what the tab has stored."""
        known = set(self._driver.window_handles)
        await self.ask("(window.open(location.href, '_blank'), true)")
        (handle,) = set(self._driver.window_handles) - known
        await trio.to_thread.run_sync(self._driver.switch_to.window, handle)
        await self.until_state("live")

    async def reload(self) -> None:
        """Load the page anew, and be live."""
        await trio.to_thread.run_sync(self._driver.refresh)
        await self.until_state("live")

    async def go_back(self) -> None:
        """Go to the page before."""
        await trio.to_thread.run_sync(self._driver.back)

    async def look_at(self, url: str) -> None:
        """Go to a page, whatever becomes of it."""
        await trio.to_thread.run_sync(self._driver.get, url)

    async def turn_to_tab(self, number: int) -> None:
        """Go on in another tab; the first is 0."""
        handle = self._driver.window_handles[number]
        await trio.to_thread.run_sync(self._driver.switch_to.window, handle)

    # --- doing ----------------------------------------------------------------

    async def say(self, text: str) -> None:
        """Write a message and send it, by keyboard alone."""
        await self.press(text)
        await self.press(ENTER)

    async def press(self, keys: str) -> None:
        """Press keys, wherever the focus is."""

        def press() -> None:
            self._driver.switch_to.active_element.send_keys(keys)

        await trio.to_thread.run_sync(press)

    async def click(self, selector: str) -> None:
        """Click on an element, which must be there to be clicked on."""

        def click() -> None:
            self._driver.find_element("css selector", selector).click()

        await trio.to_thread.run_sync(click)

    async def prefer(self, **features: str) -> None:
        """Set what the person prefers; ``color_scheme="dark"`` is ``prefers-color-scheme: dark``."""
        media = [{"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in features.items()]
        await self._command("Emulation.setEmulatedMedia", {"features": media})

    async def go_offline(self, *, offline: bool = True) -> None:
        """Take the network away from the page, or give it back."""
        speed = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        await self._command("Network.enable", {})
        await self._command("Network.emulateNetworkConditions", {"offline": offline, **speed})

    async def freeze(self, *, frozen: bool = True) -> None:
        """Freeze the tab, as browsers do with hidden ones, or thaw it. A frozen one answers nothing."""
        await self._command("Page.setWebLifecycleState", {"state": "frozen" if frozen else "active"})

    async def block(self, *patterns: str) -> None:
        """Let requests for some URLs fail."""
        await self._command("Network.enable", {})
        await self._command("Network.setBlockedURLs", {"urls": list(patterns)})

    async def resize(self, width: int, height: int) -> None:
        """Give the page another size."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self._command("Emulation.setDeviceMetricsOverride", size)

    # --- seeing ---------------------------------------------------------------

    async def ask(self, script: str, *arguments: Any) -> Any:
        """The value of an expression in the page; ``arguments`` are its ``arguments``."""
        return await trio.to_thread.run_sync(self._driver.execute_script, f"return {script}", *arguments)

    async def until(self, script: str, *arguments: Any) -> None:
        """Wait for an expression in the page to be true."""
        with trio.move_on_after(PATIENCE_SECONDS):
            while not await self.ask(script, *arguments):  # noqa: ASYNC110 - it is the browser that is waited for
                await trio.sleep(_LOOK_SECONDS)
            return
        text = await self.ask("document.body.innerText")
        pytest.fail(f"expected {script} {arguments or ''} within {PATIENCE_SECONDS:g} s; the page says:\n{text}")

    async def until_state(self, state: str) -> None:
        """Wait for a state of the connection."""
        await self.until("document.querySelector('#connection').dataset.state === arguments[0]", state)

    async def texts(self, selector: str) -> list[str]:
        """The texts of all elements that a selector finds."""
        found = await self.ask("[...document.querySelectorAll(arguments[0])].map(e => e.textContent)", selector)
        return [str(text) for text in found]

    async def data(self, selector: str, name: str) -> list[str]:
        """One data attribute of all elements that a selector finds."""
        script = "[...document.querySelectorAll(arguments[0])].map(e => e.dataset[arguments[1]])"
        return [str(value) for value in await self.ask(script, selector, name)]

    async def accessible_names(self, selector: str) -> list[str]:
        """Return the names, to a screen reader, of the shown elements that a selector finds."""

        def names() -> list[str]:
            found = self._driver.find_elements("css selector", selector)
            return [element.accessible_name for element in found if element.is_displayed()]

        return await trio.to_thread.run_sync(names)

    async def complaints(self) -> list[str]:
        """Return the complaints of the browser's console about the page."""

        def complaints() -> list[str]:
            log = self._driver.get_log("browser")  # type: ignore[no-untyped-call]
            return [f"{entry['level']}: {entry['message']}" for entry in log]

        return await trio.to_thread.run_sync(complaints)

    async def picture(self) -> bytes:
        """Return a picture of the page, as PNG."""
        return await trio.to_thread.run_sync(self._driver.get_screenshot_as_png)

    async def _command(self, name: str, parameters: dict[str, Any]) -> None:
        await trio.to_thread.run_sync(self._driver.execute_cdp_cmd, name, parameters)


@asynccontextmanager
async def open_browser(programs: Programs, profile: Path) -> AsyncIterator[Browser]:
    """A browser of its own, with a profile that is empty."""
    driver = await trio.to_thread.run_sync(start, programs, profile)
    try:
        yield Browser(driver)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(driver.quit)


def start(programs: Programs, profile: Path) -> Chrome:
    """Start a browser, to be driven and to be told to quit."""
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService  # noqa: PLC0415 - it may not be installed

    options = ChromeOptions()
    options.binary_location = programs.chromium
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=ChromeService(executable_path=programs.chromedriver))
    driver.set_page_load_timeout(PATIENCE_SECONDS)
    driver.set_script_timeout(PATIENCE_SECONDS)
    return driver
