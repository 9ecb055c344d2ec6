"""The place of a server's control socket, as an option: where the commands find it, a path, or none."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from actors.tools.arguments import text

ControlPlace = Path | Literal["auto", "none"]

AUTO: Literal["auto"] = "auto"
"""The place where the commands look."""

NONE: Literal["none"] = "none"


def control_place(words: str) -> ControlPlace:
    """Read the place of a control socket: a path, ``none``, or ``auto``, which is the default."""
    found = text(words)
    if found == AUTO:
        return AUTO
    return NONE if found == NONE else Path(found)
