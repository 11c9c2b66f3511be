"""Tests `eventsourcing_kafka` with the oldest and the newest versions of what it needs: `make library`.

Each round has a virtual environment of its own, made from the bounds in the package's pyproject.toml. Downloads them.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = ("lowest-direct", "highest")
TESTS = "tests/eventsourcing_kafka"


def main(arguments: list[str]) -> None:
    """Run both rounds; the arguments are pytest's. Exits with 1 as soon as a test has failed."""
    for versions in ROUNDS:
        with tempfile.TemporaryDirectory(prefix="tidings-library-") as folder:
            python = Path(folder) / "bin" / "python"
            uv = [sys.executable, "-m", "uv"]
            install = [*uv, "pip", "install", "--quiet", "--python", str(python)]
            subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
            package = ROOT / "eventsourcing_kafka"
            # First what the tests need, in any version; then the package with the versions of this round.
            subprocess.run([*install, "--group", f"{package / 'pyproject.toml'}:test"], check=True)
            subprocess.run([*install, "--resolution", versions, "--reinstall", str(package)], check=True)
            listed = subprocess.run(
                [*uv, "pip", "freeze", "--python", str(python)], check=True, capture_output=True, text=True
            )
            needed = ("confluent-kafka", "crc32c", "eventsourcing==", "msgspec")
            print(  # noqa: T201  the versions of this round
                versions, *(line for line in listed.stdout.split() if line.startswith(needed)), flush=True
            )
            sources = Path(folder) / "sources"
            build = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(sources)]
            subprocess.run(build, cwd=package, check=True, capture_output=True)
            (archive,) = sources.glob("*.tar.gz")
            subprocess.run(["tar", "-xzf", archive, "--strip-components", "1", "-C", sources], check=True)
            pytest = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *(arguments or [TESTS])]
            variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            if subprocess.run(pytest, cwd=sources, env=variables, check=False).returncode:
                sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
