"""The build hook behind ``ACTORS_COMPILED=1``: a wheel with the modules that pyproject.toml lists compiled by mypyc.

Without the switch this asks for nothing and does nothing, so that the package
is built pure wherever Python is. With it the build needs a C compiler, mypyc,
and what the package imports, of which mypyc reads the types. The sources stay
as they are, and are in the wheel beside what was compiled from them: Python
prefers the extension module.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SWITCH = "ACTORS_COMPILED"

REQUIREMENTS = ["mypy[mypyc]>=2.0", "setuptools>=77"]

SETUP = """\
import sys
from mypyc.build import mypycify
from setuptools import setup
options = ["--config-file=", "--ignore-missing-imports", "--strict"]
extensions = mypycify([*options, *sys.argv[1:]], group_name="actors", debug_level="0")
setup(name="actors", packages=[], ext_modules=extensions, script_args=["build_ext", "--inplace"])
"""


class CompileHook(BuildHookInterface[Any]):
    """Compiles the modules listed as ``modules`` into a wheel for this platform, if the switch is on."""

    def dependencies(self) -> list[str]:
        """Return what a build needs beyond hatchling."""
        return [*REQUIREMENTS, *self.metadata.core.dependencies] if _is_on() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile in a copy, so that no extension is left in the source tree, and add the extensions to the wheel."""
        if not _is_on():
            return
        if version == "editable":
            self.app.display_warning(f"{SWITCH}: an editable install stays pure, because it runs what is edited")
            return
        self._copy = copy = Path(tempfile.mkdtemp(prefix="actors-compiled-"))
        shutil.copytree(Path(self.root, "actors"), copy / "actors")
        subprocess.run([sys.executable, "-c", SETUP, *self.config["modules"]], cwd=copy, check=True)  # noqa: S603 - ours
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        extensions = [*copy.glob(f"*{suffix}"), *copy.glob(f"actors/**/*{suffix}")]
        build_data["force_include"].update({str(path): str(path.relative_to(copy)) for path in extensions})
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the copy, once the wheel is written."""
        if build_data["force_include"]:
            shutil.rmtree(self._copy)


def _is_on() -> bool:
    return os.environ.get(SWITCH, "0") not in {"", "0"}
