"""Command lines, right and wrong."""

from __future__ import annotations

import re
import shlex
import sys

import pytest
import trio

import actors
from actors.tools.build import build
from actors.tools.cli import _parser
from tests.tools.command import run


async def test_which_release_and_build_it_is() -> None:
    """``--version`` says both, on standard output."""
    finished = await run("--version")
    assert (finished.status, finished.err) == (0, "")
    assert finished.out == f"trio-actors {actors.__version__} ({build()})\n"


async def test_what_serves_is_not_imported_to_ask() -> None:
    """Commands that ask a server start without the code of those that are one, so that an operator waits less."""
    code = "import sys, actors.tools.cli; print(*(name for name in sys.modules if name.startswith('actors.tools.')))"
    done = await trio.run_process([sys.executable, "-c", code], capture_stdout=True)
    loaded = set(done.stdout.decode().split())
    assert "actors.tools.control" in loaded
    assert loaded.isdisjoint(f"actors.tools.{name}" for name in ("serve", "demo", "journal", "programs", "top"))


@pytest.mark.parametrize(
    "words",
    [
        ("serve", "--receipts"),
        ("serve", "--user", "alice"),
        ("serve", "--stdin", "--user", ""),
        ("serve", "--port", "65536"),
        ("serve", "--stdin", "--linger", "-1"),
        ("serve", "--stdin", "--linger", "nan"),
        ("serve", "--stdin", "--drain", "3"),
        ("serve", "--linger", "3"),
        ("serve", "--port", "http"),
        ("serve", "--port", "-1"),
        ("serve", "--host", ""),
        ("serve", "--store", "events.db"),
        ("serve", "--store", "sqlite:"),
        ("demo", "--store", "redis://localhost"),
        ("serve", "--stdin", "--user", "\udcff"),
        ("demo", "--once", "--drain", "3"),
        ("demo", "--agent", "nobody"),
        ("nonsense",),
        ("demo", "--json"),
        (),
    ],
)
async def test_a_wrong_command_line_is_explained(words: tuple[str, ...]) -> None:
    """A command line that cannot be meant is refused with the usage."""
    finished = await run(*words)
    assert finished.status == 2
    assert "usage: actors" in finished.err


def test_help_fits_a_terminal_and_its_examples_are_command_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is wider than 80 columns, and what stands below *examples* is understood."""
    monkeypatch.setenv("COLUMNS", "80")
    parser = _parser()[0]
    (commands,) = (action.choices for action in parser._actions if action.dest == "command")
    assert isinstance(commands, dict)
    for asked in (parser, *commands.values()):
        text = asked.format_help()
        assert [line for line in text.splitlines() if len(line) > 80] == []
        for example in re.findall(r"^  actors (.*?)(?:  .*)?$", text.partition("\nexamples:\n")[2], re.MULTILINE):
            words = shlex.split(example)
            assert "--help" in words or parser.parse_args(words).command == words[0]
