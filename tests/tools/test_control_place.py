"""The place of a control socket, as an argument."""

from __future__ import annotations

from pathlib import Path

from actors.tools.control_place import AUTO, NONE, control_place


def test_a_place() -> None:
    """A path, none, or where the commands look; a file of such a name has a slash."""
    assert control_place("/run/x.sock") == Path("/run/x.sock")
    assert [control_place(word) for word in ("none", "auto", "./none")] == [NONE, AUTO, Path("none")]
