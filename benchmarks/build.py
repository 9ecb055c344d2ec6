"""The build of the package that is measured: interpreted, or compiled."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from actors.delivery import ledger


def build_name() -> str:
    """Return ``pure`` or ``compiled``, by what the module of the books was loaded from."""
    return "pure" if Path(ledger.__file__).suffix == ".py" else "compiled"


def is_compiled(folder: Path | None) -> bool:
    """Return whether a folder has a compiled build of the package."""
    return folder is not None and any((folder / "actors" / "delivery").glob("ledger.*.so"))


def machine() -> dict[str, str]:
    """Return what the figures depend on besides the code."""
    return {
        "build": build_name(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "compiler": " ".join(sys.version.split("[", 1)[-1].rstrip("]").split()),
    }


def _processor() -> str:
    """Return the processor's name and the number of cores."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.processor() or platform.machine()
