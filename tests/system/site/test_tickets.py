"""The script of the page on tickets, in Node, with an application that gives it one for each connection."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import trio

from actors.testing import fault_proxy
from tests.support.served import Served, served
from tests.system.client_js.node import CLIENT, NO_NODE, node_command
from tests.system.site.chat import EXAMPLES
from tests.system.site.page import replaced
from tests.system.site.test_authenticate import example

APPLICATION = """
const tickets = TICKETS;
globalThis.fetch = async (path, { method }) => {
  if (path !== "/tickets" || method !== "POST") throw new Error(`${method} ${path}`);
  return { text: async () => tickets.shift() };
};
"""
READER = """
for await (const item of session) if (item.kind === "event") break;
session.close();
"""


async def test_each_connection_has_a_ticket_of_its_own(tmp_path: Path) -> None:
    """The client asks for one before each connection, so that it is welcome again after its connection has broken."""
    command = node_command()
    if command is None:
        pytest.skip(NO_NODE)
    module = example("ticket")
    async with (
        served(authenticate=module.who) as server,
        fault_proxy("127.0.0.1", int(server.address[1])) as proxy,
        trio.open_nursery() as nursery,
    ):
        write_page(tmp_path, proxy.url, [module.issue("alice"), module.issue("alice")])
        nursery.start_soon(trio.run_process, [*command, str(tmp_path / "page.mjs")])
        await until_welcomed(server, 1)
        proxy.reset()
        await until_welcomed(server, 2)
        await server.emit(1)
    assert module.tickets == {}


def write_page(folder: Path, url: str, tickets: list[str]) -> None:
    """Write the script as it is printed, but for the address, between an application that has tickets and a reader."""
    first, _, rest = (EXAMPLES / "ticket.js").read_text().partition("\n")
    script = replaced(rest, ("wss://live.chat.example/ws", url))
    shutil.copy(CLIENT, folder / "actors.js")
    (folder / "package.json").write_text('{"type": "module"}')
    application = APPLICATION.replace("TICKETS", json.dumps(tickets))
    (folder / "page.mjs").write_text(f"{first}\n{application}{script}{READER}")


async def until_welcomed(server: Served, count: int) -> None:
    """Wait until so many hellos have been answered with a welcome."""
    while sum(server.runtime.statistics().resumes.values()) < count:  # noqa: ASYNC110 - no event tells a test
        await trio.sleep(0.02)
