"""What goes into a wheel besides the sources: the compiled rules, where `python -m local.compile` has made them.

Hatchling, which makes the wheel, takes this class from here; pyproject.toml says so. No program of ours imports it.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompiledRules(BuildHookInterface[BuilderConfig]):
    """Adds the compiled modules and the library that they share, and names the platform that they are for."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add them to the build, unless it is editable: then they are found beside their sources."""
        # By its path: what `import local` finds here may be another copy of the project, installed already.
        files: list[Path] = runpy.run_path(str(Path(self.root, "local", "compile.py")))["compiled"]()
        if version == "editable" or not files:
            return
        build_data["force_include"] |= {str(file): file.relative_to(self.root).as_posix() for file in files}
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
