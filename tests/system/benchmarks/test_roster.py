"""The peers and the claims are what their tables and pages say."""

from __future__ import annotations

import argparse
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import attrs
import pytest

import benchmarks
from benchmarks.__main__ import CLAIMS, module_of, parser
from benchmarks.load.protocols import PROTOCOLS
from benchmarks.peers.roster import PEERS, Peer

FOLDER = Path(benchmarks.__file__).parent
PAGE = (FOLDER / "README.md").read_text()


@pytest.mark.parametrize("peer", PEERS.values(), ids=lambda peer: peer.name)
def test_a_peer_has_a_module_and_a_protocol(peer: Peer) -> None:
    """Its process can be started, and the load client speaks its protocol."""
    assert find_spec(peer.module) is not None
    assert peer.protocol in PROTOCOLS


def test_the_page_says_what_each_promises() -> None:
    """The page's table of servers is the roster, in its order."""
    section = PAGE.split("## The servers")[1].split("## The claims")[0]
    assert re.findall(r"^\| ([\w-]+) \|", section, re.MULTILINE)[1:] == list(PEERS)


def test_every_module_of_a_peer_is_in_the_roster() -> None:
    """A module that serves is a peer; the others have no process to start."""
    serving = {path.stem for path in (FOLDER / "peers").glob("*.py") if '__name__ == "__main__"' in path.read_text()}
    assert serving == {peer.module.rpartition(".")[2] for peer in PEERS.values()}


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ({"packages": ("no-such-package",)}, "no-such-package is not installed; the extra [bench] has it"),
        ({"program": "no-such-program"}, "the program no-such-program is not installed"),
        ({"node_package": "no-such-package"}, "npm's no-such-package is not in "),
    ],
)
def test_a_peer_that_cannot_run_says_why(missing: dict[str, Any], reason: str) -> None:
    """It is skipped with the reason, because a table without a row would be read as if all were there."""
    told = attrs.evolve(PEERS["limit"], **missing).unavailable()
    assert told is not None
    assert told.startswith(reason)


def test_the_page_has_every_claim() -> None:
    """The page's table of claims is the command's, in its order."""
    section = PAGE.split("## The claims")[1].split("The figures below")[0]
    assert re.findall(r"^\| `([\w-]+)` \|", section, re.MULTILINE) == list(CLAIMS)


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_is_a_module_with_a_look(claim: str) -> None:
    """Each has a head that says what it claims, its options, and ``--quick``."""
    module = module_of(claim)
    assert module.__doc__ is not None
    assert module.__doc__.startswith("The claim: ")
    assert parser().parse_args([claim, "--quick"]).quick
    assert not parser().parse_args([claim]).quick
    module.options_into(argparse.ArgumentParser())


def test_the_option_before_the_claim_counts_too() -> None:
    """``--quick`` and ``--out`` mean the same on either side of the claim's name."""
    for told in (["--quick", "--out", "f", "mailbox"], ["mailbox", "--quick", "--out", "f"]):
        options = parser().parse_args(told)
        assert options.quick
        assert options.out == Path("f")
