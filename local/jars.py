"""Fetches Kafka's jars once from Maven's public repository and checks them against the hashes in `kafka_jars.txt`.

After a change of `KAFKA`, `python -m local.jars` writes a new `kafka_jars.txt`.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import platformdirs

from local.processes import StartError, locked

KAFKA = "org.apache.kafka:kafka_2.13:4.1.0+org.slf4j:slf4j-simple:1.7.36"
LOCK_FILE = Path(__file__).with_name("kafka_jars.txt")

_DOWNLOADS_AT_ONCE = 8
_TRIES = 3
_ANSWER_SECONDS = 30


class Jar(NamedTuple):
    """One line of `kafka_jars.txt`: the Maven coordinates of a jar and the SHA-256 of its bytes."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """The name of the jar in the cache."""
        return f"{self.artifact}-{self.version}.jar"


def default_folder() -> Path:
    """Return the folder for jars in this user's cache. All copies of the program share it."""
    return platformdirs.user_cache_path("tidings") / "kafka"


def fetch(folder: Path | None = None, *, lock_file: Path = LOCK_FILE) -> list[Path]:
    """Fetch the jars of a lock file that `folder` lacks, and return the paths of all of them.

    Several processes may do so at once.

    Raises:
        StartError: a jar cannot be fetched, or has another hash than the lock file says.
    """
    folder = folder or default_folder()
    jars = [Jar(*line.split()) for line in lock_file.read_text().splitlines() if line and not line.startswith("#")]
    paths = [folder / jar.file_name for jar in jars]
    if not all(path.exists() for path in paths):
        with locked(folder / "lock", timeout_seconds=600):
            missing = [jar for jar, path in zip(jars, paths, strict=True) if not path.exists()]
            with (
                tempfile.TemporaryDirectory(dir=folder, prefix="fetching-") as scratch,
                ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool,
            ):
                for _ in pool.map(lambda jar: _fetch_one(jar, Path(scratch), folder), missing):
                    pass
    return paths


def _fetch_one(jar: Jar, scratch: Path, folder: Path) -> None:
    """Fetch to a scratch folder, check, then move: so every file in the cache is complete and has been checked."""
    from jgo.maven import MavenContext  # noqa: PLC0415  # needed once on a machine

    for attempt in range(_TRIES):
        repository = scratch / f"{jar.artifact}-{attempt}"
        try:
            maven = MavenContext(repo_cache=repository, timeout=_ANSWER_SECONDS)
            path = maven.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
        except (OSError, RuntimeError) as error:  # jgo lets the errors of `requests` through, which are OSErrors
            if attempt + 1 == _TRIES:
                raise StartError(f"Kafka's jar {jar.file_name} cannot be fetched: {error}") from error
            continue
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != jar.sha256:
            raise StartError(f"{jar.file_name}: expected SHA-256 {jar.sha256}, was {found}")
        shutil.move(path, folder / jar.file_name)
        return


def write_lock_file() -> None:
    """Resolve `KAFKA` with all its dependencies, and write their coordinates and hashes to `kafka_jars.txt`."""
    import jgo  # noqa: PLC0415  # as above

    lines = [f"# The jars of {KAFKA}, written by: python -m local.jars"]
    for artifact in sorted(jgo.resolve(KAFKA), key=str):
        sha256 = hashlib.sha256(artifact.resolve().read_bytes()).hexdigest()
        lines.append(f"{artifact.groupId} {artifact.artifactId} {artifact.version} {sha256}")
    LOCK_FILE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    write_lock_file()
