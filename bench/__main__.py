"""Measures the claims about speed: `python -m bench [PART ...]`, or `make bench ARGS="PART ..."`. Without a name, all parts.

    make bench ARGS=engine
    make bench ARGS="engine --seconds 2 --windows 1,64"

Parts run one after the other, each in its own process. Options belong to a part, so give them with one part only;
`python -m bench.PART --help` lists them. The last line of the output is one JSON object: the figures of the part, or with
several parts the figures of each one by its name. bench/README.md explains the keys.
"""

import json
import subprocess
import sys
from typing import Any

from bench.parts import PARTS


def run(part: str, options: list[str]) -> Any:
    """Run one part, print its output, and return the figures in its last line."""
    command = [sys.executable, "-u", "-m", f"bench.{part}", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  # our own module
        assert process.stdout is not None, "it is a pipe"
        line = ""
        for line in process.stdout:
            print(line, end="", flush=True)
    if process.returncode:
        sys.exit(process.returncode)
    return json.loads(line)


def main(arguments: list[str]) -> None:
    """Run the named parts, or all of them."""
    if {"-h", "--help"} & set(arguments[:1]):
        print(__doc__)
        print("\n".join(f"{name:12} {claim}" for name, claim in PARTS.items()))
        return
    count = next((i for i, word in enumerate(arguments) if word.startswith("-")), len(arguments))
    parts, options = arguments[:count] or list(PARTS), arguments[count:]
    if unknown := [part for part in parts if part not in PARTS]:
        sys.exit(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if options and len(parts) > 1:
        sys.exit(f"options go with one part only, expected none: {' '.join(options)}")
    figures = {}
    for part in parts:
        print(f"== {part}: {PARTS[part]}", flush=True)
        figures[part] = run(part, options)
    if len(parts) > 1:  # a single part has printed its figures already
        print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1:])
