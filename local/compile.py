"""Compiles the modules that every order passes to machine code, with mypyc. They do the same in about half the time.

    python -m local.compile             compile if something has changed; `make` does so before it runs anything
    python -m local.compile --required  the same, and fail if they cannot be compiled
    python -m local.compile --remove    return to plain Python

The sources stay plain Python to read, test and run. Without a working C compiler the program runs them as they are.
Python imports a compiled module instead of the source beside it. A compiled module must not run after its source has
changed, nor after a module that it imports has changed: mypyc copies the constants of imported modules into the code. So
this module records the hashes of all these sources, and each program calls `refuse_outdated` when it starts.

**What may be compiled:** a module whose annotations nobody reads at run time. mypyc drops the annotations of structs,
dataclasses and named tuples; msgspec and our own codecs read those of commands, events and state. So the rules of markets,
orders and accounts stand in other modules than their data, and the codecs in other modules than the types they convert.
A compiled module may define a dataclass if its fields are only used by name. `tests/test_house_rules.py` lists each one.
See docs/decisions/0014-compiled-rules.md.
"""

from __future__ import annotations

import ast
import hashlib
import json
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]

MODULES: Final = (
    "consumers/engine/batch.py",
    "consumers/engine/command_index.py",
    "consumers/engine/command_table.py",
    "consumers/engine/decider.py",
    "consumers/engine/engine.py",
    "consumers/engine/replay.py",
    "consumers/engine/recorded_replies.py",
    "consumers/engine/runner.py",
    "domain/account_rules.py",
    "domain/decided.py",
    "domain/event_kinds.py",
    "domain/exchange.py",
    "domain/exchange_state.py",
    "domain/executions.py",
    "domain/ledger.py",
    "domain/lmsr.py",
    "domain/market_decisions.py",
    "domain/market_evolution.py",
    "domain/matching.py",
    "domain/money.py",
    "domain/openings.py",
    "domain/order_checks.py",
    "domain/order_decisions.py",
    "domain/order_evolution.py",
    "domain/placement.py",
    "domain/reservations.py",
    "domain/settlement.py",
    "domain/sweeping.py",
    "domain/transfer_rules.py",
    "messages/commands.py",
    "messages/ids.py",
    "messages/order.py",
    "messages/results.py",
    "messages/stored.py",
)
"""The compiled modules, by path."""

_GROUP: Final = "tidings"
_SUFFIX: Final = str(sysconfig.get_config_var("EXT_SUFFIX"))
_RECORD: Final = ROOT / "build" / "compiled.json"


def outdated() -> list[str]:
    """Return the sources that changed or vanished since they were compiled; none if nothing is compiled."""
    return [name for name, digest in _recorded().get("sources", {}).items() if _digest(name) != digest]


def compiled() -> list[Path]:
    """Return the compiled files, or none if they do not fit this Python and the sources as they are."""
    if _recorded().get("python") != sys.version or outdated():
        return []
    return [_group(), *map(_binary, MODULES)]


def refuse_outdated() -> None:
    """End the program with a message if its compiled modules do not match the sources."""
    if names := outdated():
        sys.exit(f"tidings: {names[0]} has changed since it was compiled: run `make compile`")


def has_compiler() -> bool:
    """Return whether this machine has the C compiler that its Python was built with."""
    return shutil.which((sysconfig.get_config_var("CC") or "cc").split()[0]) is not None


def remove() -> None:
    """Remove all compiled modules."""
    for name in {*MODULES, *_recorded().get("sources", ())}:
        _binary(name).unlink(missing_ok=True)
    _group().unlink(missing_ok=True)
    _RECORD.unlink(missing_ok=True)


def main() -> None:
    """Do what the command line asks for."""
    if sys.argv[1:] == ["--remove"]:
        remove()
        return
    _compile()
    if sys.argv[1:] == ["--required"] and not compiled():
        sys.exit("tidings: the rules are not compiled; is there a C compiler?")


def _compile() -> None:
    """Compile all modules if a source has changed; say so if that fails."""
    record = {"python": sys.version, "sources": {name: _digest(name) for name in sorted(_sources())}}
    if _recorded() == record:
        return
    remove()
    if not has_compiler():
        return
    print("Compiling the rules because they have changed: about half a minute", file=sys.stderr)  # noqa: T201
    with tempfile.TemporaryDirectory(prefix="tidings-compile-") as folder:
        done = subprocess.run(  # noqa: S603  this very file
            [sys.executable, "-c", f"from local.compile import build; build({folder!r})"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        remove()
        print(done.stdout[-2_000:], done.stderr[-2_000:], file=sys.stderr)  # noqa: T201
        print("The rules could not be compiled. The program runs as plain Python.", file=sys.stderr)  # noqa: T201
        return
    _RECORD.parent.mkdir(exist_ok=True)
    _RECORD.write_text(json.dumps(record))


def build(folder: str) -> None:
    """Compile all modules, with `folder` for temporary files, and put the results beside their sources."""
    from mypyc.build import mypycify  # noqa: PLC0415  only needed to compile
    from setuptools import setup  # noqa: PLC0415  likewise

    extensions = mypycify(list(MODULES), group_name=_GROUP, target_dir=folder, opt_level="2", debug_level="0")
    for extension in extensions:
        # A newer compiler may warn of more.
        extension.extra_compile_args = [each for each in extension.extra_compile_args if each != "-Werror"]
    setup(
        name=_GROUP,
        packages=[],
        ext_modules=extensions,
        script_args=["--quiet", "build_ext", "--inplace", "--build-temp", folder, "--build-lib", folder],
    )


def _recorded() -> dict[str, Any]:
    """Return the record of the last compilation; empty if nothing is compiled."""
    record: dict[str, Any] = json.loads(_RECORD.read_text()) if _RECORD.exists() else {}
    return record


def _sources() -> set[str]:
    """Return the compiled modules and every module of ours that they import, directly or through others."""
    found: set[str] = set()
    waiting = [*MODULES]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for node in ast.walk(ast.parse((ROOT / name).read_text())):
            match node:
                case ast.Import(names=aliases):
                    modules = [alias.name for alias in aliases]
                case ast.ImportFrom(module=str(module), names=aliases):
                    modules = [module, *(f"{module}.{alias.name}" for alias in aliases)]
                case _:
                    continue
            paths = [module.replace(".", "/") for module in modules]
            files = [f"{path}{end}" for path in paths for end in (".py", "/__init__.py")]
            waiting += [file for file in files if (ROOT / file).is_file()]
    return found


def _digest(name: str) -> str:
    path = ROOT / name
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def _binary(name: str) -> Path:
    return (ROOT / name).with_suffix(_SUFFIX)


def _group() -> Path:
    return ROOT / f"{_GROUP}__mypyc{_SUFFIX}"


if __name__ == "__main__":
    main()
