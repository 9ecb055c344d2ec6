"""The browser's client as a package of npm's: packed by npm, installed into a folder, and used as its page says."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import trio

import actors
from actors.web import pages
from tests.support.served import served
from tests.system.client_js.node import CLIENT, NO_NODE, node_command

ROOT = Path(__file__).parents[3]
MEMBERS = {"LICENSE", "README.md", "actors.d.ts", "actors.js", "agui", "package.json"}
EXAMPLE_URL = "wss://chat.example/ws"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder in which the package is installed."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm makes the package: no npm on the PATH")
    pack = [npm, "pack", "--offline", "--pack-destination", str(tmp_path), str(CLIENT.parent)]
    environment = os.environ | {"npm_config_cache": str(tmp_path / "cache"), "npm_config_update_notifier": "false"}
    subprocess.run(pack, check=True, capture_output=True, env=environment)
    (packed,) = tmp_path.glob("*.tgz")
    with tarfile.open(packed) as archive:
        archive.extractall(tmp_path / "node_modules", filter="data")
    (tmp_path / "node_modules" / "package").rename(tmp_path / "node_modules" / "trio-actors")
    return tmp_path


IN_NODE = "globalThis.document = {body: {append: (text) => console.log(text)}}; globalThis.location = {href: %s};"
"""The browser's API that the project's page uses."""


async def assistant(run: actors.Run, message: actors.Message) -> None:
    run.delta("The sky is clear. ")
    run.delta("Take a coat.")


def test_it_is_small() -> None:
    """One module of less than 31 KB as it is written, and of 10 KB packed."""
    assert CLIENT.stat().st_size < 32_000
    assert len(gzip.compress(CLIENT.read_bytes())) < 10_240


def test_it_has_the_project_s_name_version_and_licence() -> None:
    """npm's package is this one."""
    package = json.loads(CLIENT.with_name("package.json").read_text())
    project = (ROOT / "pyproject.toml").read_text()
    assert f'name = "{package["name"]}"\nversion = "{package["version"]}"\n' in project
    assert f'license = "{package["license"]}"\n' in project
    assert {package["types"], package["main"], *package["files"]} <= MEMBERS
    assert CLIENT.with_name("LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_what_is_npm_s_is_no_page() -> None:
    """A server shows the module, and nothing that only a package needs."""
    assert {f"/{name}" for name in MEMBERS} & set(pages()) == {"/actors.js"}


def test_its_files(project: Path) -> None:
    """The module, its types, the agents of AG-UI, its page and its licence; nothing of the demonstration's page."""
    installed = project / "node_modules" / "trio-actors"
    assert {path.name for path in installed.iterdir()} == MEMBERS
    packed = {path.relative_to(installed) for path in installed.rglob("*") if path.is_file()}
    agents = {path.relative_to(CLIENT.parent) for path in (CLIENT.parent / "agui").iterdir()}
    assert packed == agents | {Path(name) for name in MEMBERS - {"agui"}}
    assert (installed / "actors.js").read_bytes() == CLIENT.read_bytes()


USE = """
import { connect, Refusal, type EventItem, type Item, type State } from "trio-actors";
const session = connect("/ws", { token: async () => "x", cursor: null });
const onEvent = (e: CustomEvent<EventItem>): void => { const type: string = e.detail.type; };
session.addEventListener("event", onEvent, { once: true, signal: new AbortController().signal });
session.removeEventListener("event", onEvent, true);
session.addEventListener("state", ({ detail }) => { const state: State = detail; });
session.addEventListener("mine", { handleEvent(e: Event) { e.preventDefault(); } });
session.addEventListener("mine", null);
const target: EventTarget = session;
const loop: AsyncIterator<Item> = session[Symbol.asyncIterator]();
async function use() {
  for await (const item of session) if (item.kind === "ask") await session.answer(item.id, { a: 1 });
  await loop.return?.();
  try { await session.send({ text: "x" }); } catch (e) { if (e instanceof Refusal) { const name: string = e.name; } }
}
"""
"""Return the complaints about a program that is checked strictly."""


@pytest.mark.parametrize("platform", ["browser", "node"])
def test_its_types_are_whole(project: Path, platform: str) -> None:
    """They compile by themselves where there is a page, and where there is none but Node's own types are."""
    tsc = shutil.which("tsc")
    if tsc is None:
        pytest.skip("TypeScript checks the types: no tsc on the PATH")
    types = Path(tsc).resolve().parents[2] / "@types"
    if platform == "node" and not (types / "node").exists():
        pytest.skip("Node's types are a package, @types/node: none is beside TypeScript")
    (project / "use.ts").write_text(USE)
    none = project / "none"
    none.mkdir()
    where = ["--lib", "es2022,dom", "--typeRoots", str(none)]
    if platform == "node":
        where = ["--lib", "es2022", "--types", "node", "--typeRoots", str(types)]
    options = ["--strict", "--noEmit", "--target", "es2022", "--module", "nodenext", "--exactOptionalPropertyTypes"]
    checked = subprocess.run(
        [tsc, *options, *where, "use.ts"], check=False, cwd=project, capture_output=True, text=True
    )
    assert checked.stdout == ""
    assert checked.returncode == 0


def test_tools_may_look_at_its_package(project: Path) -> None:
    """A program that reads ``package.json`` by its name finds it."""
    command = node_command()
    if command is None:
        pytest.skip(NO_NODE)
    look = "import { createRequire } from 'node:module'; const require = createRequire(process.cwd() + '/');"
    look += "console.log(require('trio-actors/package.json').name)"
    run = [*command, "--input-type=module", "--no-warnings", "-e", look]
    looked = subprocess.run(run, check=True, cwd=project, capture_output=True, text=True)
    assert looked.stdout == "trio-actors\n"


async def printed(script: Path, *switches: str) -> str:
    """Return what a script prints, white space apart, run by a Node that has a WebSocket, until it ends by itself."""
    command = node_command()
    if command is None:
        pytest.skip(NO_NODE)
    run = [*command, "--no-warnings", *switches, str(script)]
    ran = await trio.run_process(run, capture_stdout=True, cwd=script.parent)
    return " ".join(ran.stdout.decode().split())


async def test_its_example_runs(project: Path) -> None:
    """Imported by its name, it does what its page says: the example asks a real server, prints the answer, and ends."""
    example = CLIENT.with_name("README.md").read_text().split("```js\n")[1].split("```")[0]
    assert EXAMPLE_URL in example
    async with served(on_message=assistant) as server:
        assert isinstance(server.address, tuple)
        script = project / "example.mjs"
        script.write_text(example.replace(EXAMPLE_URL, f"ws://127.0.0.1:{server.address[1]}/ws"))
        assert await printed(script) == "The sky is clear. Take a coat."


async def test_the_example_for_a_page_runs(tmp_path: Path) -> None:
    """As printed, in a Node that has as much of a browser as it uses: it shows the answer, and ends."""
    example = CLIENT.with_name("README.md").read_text().split("```js\n")[2].split("```")[0]
    script = tmp_path / "example.mjs"
    script.write_text(example.replace('"/actors.js"', json.dumps(CLIENT.as_uri())))
    async with served(on_message=assistant) as server:
        assert isinstance(server.address, tuple)
        before = tmp_path / "before.mjs"
        before.write_text(IN_NODE % json.dumps(f"http://127.0.0.1:{server.address[1]}/"))
        assert await printed(script, "--import", str(before)) == "The sky is clear. Take a coat."


@pytest.mark.parametrize("asked", ["", "await session.send({});", "session.read('t').catch(() => 0);"])
async def test_closed_it_lets_node_end(tmp_path: Path, asked: str) -> None:
    """Whatever was asked, read or waited for: nothing of a session that was closed keeps a process."""
    script = tmp_path / "closing.mjs"
    lines = [
        f"import {{ connect }} from {json.dumps(CLIENT.as_uri())};",
        "const session = connect(process.argv[2], { token: 'alice' });",
        "const loop = session[Symbol.asyncIterator]();",
        "loop.next().then(() => loop.next());",
        "const caught = new Promise((resolve) => session.addEventListener('caught_up', resolve, { once: true }));",
        asked,
        "await caught;",
        "session.close();",
        "const away = connect('ws://127.0.0.1:1/ws');",
        "await new Promise((resolve) => away.addEventListener('state', resolve));",
        "away.close();",
        "console.log('closed');",
    ]
    async with served() as server:
        assert isinstance(server.address, tuple)
        command = node_command()
        if command is None:
            pytest.skip(NO_NODE)
        script.write_text("\n".join(lines))
        url = f"ws://127.0.0.1:{server.address[1]}/ws"
        ran = await trio.run_process([*command, "--no-warnings", str(script), url], capture_stdout=True)
    assert ran.stdout.decode() == "closed\n"
