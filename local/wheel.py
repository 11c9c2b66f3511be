"""Adds the compiled modules to a wheel, if `python -m local.compile` has made them.

pyproject.toml names this file. Hatchling loads the class when it builds a wheel; no program of ours imports it.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompiledRules(BuildHookInterface[BuilderConfig]):
    """Adds the compiled modules and the library that they share, and names their platform in the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add them to the build. An editable build needs nothing, because they stand beside their sources."""
        # By its path, because `import local` may find another, installed copy of the project.
        files: list[Path] = runpy.run_path(str(Path(self.root, "local", "compile.py")))["compiled"]()
        if version == "editable" or not files:
            return
        build_data["force_include"] |= {str(file): file.relative_to(self.root).as_posix() for file in files}
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
