"""The types of the agents, checked with those of the client that they are for."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

USE = """
import { AbstractAgent, HttpAgent } from "@ag-ui/client";
import { connect } from "trio-actors";
import { ActorsHttpAgent, WsAgent } from "trio-actors/ag-ui";

const session = connect("wss://chat.example/ws", { token: "alice" });
const agent: AbstractAgent = new WsAgent({ session, threadId: "t1", initialMessages: [] });
const copy: WsAgent = new WsAgent({ session }).clone();
const http: HttpAgent = new ActorsHttpAgent({ url: "https://chat.example/agui" });
agent.runAgent({ runId: "r" }).then(({ newMessages }) => newMessages.length);
copy.getCapabilities().then(({ transport }) => transport?.resumable);
http.abortRun();
// @ts-expect-error - a session is needed
new WsAgent({ threadId: "t1" });
"""


def test_they_are_those_of_an_agent(project: Path) -> None:
    """An application in TypeScript, as strict as can be, takes both agents for agents of its client."""
    tsc = shutil.which("tsc")
    if tsc is None:
        pytest.skip("TypeScript checks the types: no tsc on the PATH")
    (project / "use.ts").write_text(USE)
    (project / "package.json").write_text('{"type": "module"}')
    options = ["--strict", "--noEmit", "--target", "es2022", "--module", "nodenext", "--skipLibCheck"]
    none = project / "none"
    none.mkdir()
    where = ["--lib", "es2022,dom", "--typeRoots", str(none)]
    checked = subprocess.run(
        [tsc, *options, *where, "use.ts"], check=False, cwd=project, capture_output=True, text=True
    )
    assert checked.stdout == ""
    assert checked.returncode == 0
