"""The command: many seeds with how far it is, one with its trace; a failure is one line that repeats it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from actors.kernel.mailbox import Mailbox
from actors.testing.command import main
from actors.testing.invariants import INVARIANTS, name_of
from actors.users.presence import Acked


def test_many(capsys: pytest.CaptureFixture[str]) -> None:
    """Seeds that all hold end with a line that says so, and with 0."""
    assert main(["--seeds", "3", "--first", "5"]) == 0
    said = capsys.readouterr().err
    assert re.fullmatch(r"3 seeds in \d+\.\d s, \d+ a CPU minute: nothing contradicts an invariant \(.*\)\n", said)
    assert all(name_of(number) in said for number in INVARIANTS)


def test_one(capsys: pytest.CaptureFixture[str]) -> None:
    """One seed shows its plan, and with ``--trace`` what happened."""
    assert main(["--seed", "5", "--trace"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("seed 5: Setting(users=")
    assert '"op":"welcome"' in said
    assert said.splitlines()[-1].startswith("seed 5: nothing contradicts an invariant (accounting, order, ")


def test_a_failure(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A seed that fails is one line; repeated, it is as short as it fails."""
    tell = Mailbox.tell

    def deaf(self: Mailbox[Any], message: object) -> None:
        if not isinstance(message, Acked):
            tell(self, message)

    monkeypatch.setattr(Mailbox, "tell", deaf)
    assert main(["--seeds", "2", "--only", "emit,lag"]) == 1
    first, *rest = capsys.readouterr().err.splitlines()
    failed, why = first.split("  # ")
    number = int(why.split()[1].strip(","))
    assert why.startswith(f"invariant {number}, {name_of(number)}: ")
    assert f"  {number:>2}  {INVARIANTS[number]}" in rest, "the verdict quotes it"
    assert failed == "python -m actors.testing --seed 0 --only emit,lag"
    assert main(failed.split()[3:]) == 1
    said = capsys.readouterr().out
    assert len([line for line in said.splitlines() if line.startswith("#")]) == 1
    assert said.endswith("seed 0: failed\n")
    assert INVARIANTS[number] in said


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--only foo", "expected kinds of action, of emit, burst, "),
        ("--only emit,", "got ''"),
        ("--only=", "got ''"),
        ("--seeds 0", "--seeds: expected a whole number, 1 or more, got '0'"),
        ("--seeds -5", "--seeds: expected a whole number, 1 or more, got '-5'"),
        ("--seeds many", "--seeds: expected a whole number, 1 or more, got 'many'"),
        ("--first -1", "--first: expected a whole number, 0 or more, got '-1'"),
        ("--seed -1", "--seed: expected a whole number, 0 or more, got '-1'"),
        ("--seed 1 --width 0", "--width: expected a whole number, 1 or more"),
        ("--trace", "expected --seed with them"),
        ("--width 80", "expected --seed with them"),
        ("--seed 1 --seeds 4", "expected one kind of them"),
        ("--seed 1 --first 0", "expected one kind of them"),
        ("--seed 1 surplus", "unrecognized arguments: surplus"),
    ],
)
def test_what_selects_nothing_is_refused(words: str, complaint: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Arguments that mean nothing, contradict each other or would be ignored: what was expected, and status 2."""
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 2
    assert complaint in capfd.readouterr().err
