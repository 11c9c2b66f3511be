"""The modules that every order passes, compiled to machine code by mypyc. They do the same, in about half the time.

    python -m local.compile             compile what has changed; `make` does so before it runs anything
    python -m local.compile --required  the same, and fail where they cannot be compiled
    python -m local.compile --remove    go on with plain Python

What is compiled stays plain Python to read, test and run: where there is no C compiler, or none that works, the program
runs as it is. A compiled module stands beside its source and is imported instead of it, so one that is older than its source
must never run; nor when a module that it imports has changed, for mypyc writes the constants of those into the code. So the
hashes of all these sources are kept, and whoever starts the program asks `outdated` first.

mypyc drops the annotations of dataclasses and structs, and msgspec and our own code read those; so only modules without any
can be compiled. That is why the rules of markets, orders and accounts are in other modules than their commands, events and
state, and the reading of commands and events in others than their shapes. See docs/decisions/0014-compiled-rules.md.
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
    "consumers/engine/command_index.py",
    "consumers/engine/engine.py",
    "consumers/engine/replay.py",
    "consumers/engine/recorded_replies.py",
    "domain/account_rules.py",
    "domain/event_kinds.py",
    "domain/exchange.py",
    "domain/ledger.py",
    "domain/lmsr.py",
    "domain/market_rules.py",
    "domain/matching.py",
    "domain/money.py",
    "domain/order_rules.py",
    "domain/settlement.py",
    "domain/sweeping.py",
    "domain/trading.py",
    "messages/commands.py",
    "messages/results.py",
    "messages/stored.py",
)
"""What is compiled."""

_GROUP: Final = "tidings"
_SUFFIX: Final = str(sysconfig.get_config_var("EXT_SUFFIX"))
_RECORD: Final = ROOT / "build" / "compiled.json"


def outdated() -> list[str]:
    """Return the sources that have changed, or are gone, since what is compiled was made of them; none where nothing is."""
    return [name for name, digest in _recorded().get("sources", {}).items() if _digest(name) != digest]


def compiled() -> list[Path]:
    """Return the files that are compiled for this Python from the sources as they are; none where there are no such files."""
    if _recorded().get("python") != sys.version or outdated():
        return []
    return [_group(), *map(_binary, MODULES)]


def refuse_outdated() -> None:
    """End the program, with a message for people, where it would run other code than its sources say."""
    if names := outdated():
        sys.exit(f"tidings: {names[0]} has changed since it was compiled: run `make compile`")


def has_compiler() -> bool:
    """Return whether the C compiler that this Python was built with is on this machine."""
    return shutil.which((sysconfig.get_config_var("CC") or "cc").split()[0]) is not None


def remove() -> None:
    """Remove everything that is compiled."""
    for name in {*MODULES, *_recorded().get("sources", ())}:
        _binary(name).unlink(missing_ok=True)
    _group().unlink(missing_ok=True)
    _RECORD.unlink(missing_ok=True)


def main() -> None:
    """Compile what has changed, or say why that cannot be."""
    if sys.argv[1:] == ["--remove"]:
        remove()
        return
    _compile()
    if sys.argv[1:] == ["--required"] and not compiled():
        sys.exit("tidings: the rules are not compiled; is there a C compiler?")


def _compile() -> None:
    record = {"python": sys.version, "sources": {name: _digest(name) for name in sorted(_sources())}}
    if _recorded() == record:
        return
    remove()
    if not has_compiler():
        return
    print("Compiling the rules, after each change of them: half a minute or so", file=sys.stderr)  # noqa: T201
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
        print("The rules could not be compiled; the program runs without that.", file=sys.stderr)  # noqa: T201
        return
    _RECORD.parent.mkdir(exist_ok=True)
    _RECORD.write_text(json.dumps(record))


def build(folder: str) -> None:
    """Build all modules in this folder, which is for its own files, and put the results beside their sources."""
    from mypyc.build import mypycify  # noqa: PLC0415  only who compiles needs it
    from setuptools import setup  # noqa: PLC0415  likewise

    extensions = mypycify(list(MODULES), group_name=_GROUP, target_dir=folder, opt_level="2", debug_level="0")
    for extension in extensions:
        # A compiler of tomorrow may warn of more than that of today.
        extension.extra_compile_args = [each for each in extension.extra_compile_args if each != "-Werror"]
    setup(
        name=_GROUP,
        packages=[],
        ext_modules=extensions,
        script_args=["--quiet", "build_ext", "--inplace", "--build-temp", folder, "--build-lib", folder],
    )


def _recorded() -> dict[str, Any]:
    """Return what is compiled, and of what; nothing where nothing is."""
    record: dict[str, Any] = json.loads(_RECORD.read_text()) if _RECORD.exists() else {}
    return record


def _sources() -> set[str]:
    """Return the modules that are compiled, and all of ours that they import, directly or not."""
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
