"""The kernel's page is true: the counter at its head runs as printed."""

from __future__ import annotations

import ast
import sys

import trio

from tests.support.pages import examples

PAGE = "actors/kernel/README.md"


async def test_the_counter_runs_as_printed() -> None:
    """It counts, crashes once without a word to its sender, is restarted, and handles what was queued."""
    (example,) = examples(PAGE)
    ran = await trio.run_process([sys.executable, "-c", example], capture_stdout=True, capture_stderr=True)
    assert ran.stdout.split() == [b"1", b"4", b"4"]
    said = ran.stderr.decode()
    assert said.count("counters/apples failed handling int: ZeroDivisionError") == 1
    assert said.count("Traceback") == 1


def test_it_is_fifteen_lines() -> None:
    """An actor, its kind and its supervisor, with what they are told: fifteen lines of code, imports apart."""
    (example,) = examples(PAGE)
    program = [node for node in ast.parse(example).body if isinstance(node, ast.ClassDef | ast.AsyncFunctionDef)]
    lines = [node for part in program for node in ast.walk(part) if isinstance(node, ast.stmt)]
    assert len(lines) == 15
