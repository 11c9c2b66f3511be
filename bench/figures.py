"""The page that explains the figures: `python -m bench.figures > bench/README.md`."""

import importlib

from bench import __main__ as runner
from bench.parts import PARTS


def keys_of(part: str) -> dict[str, str]:
    """Return the meaning of each key of a part's figures."""
    keys: dict[str, str] = importlib.import_module(f"bench.{part}").KEYS
    return keys


def page() -> str:
    """Return the text of bench/README.md."""
    sections = [
        f"## {part}: {claim}\n\n" + "".join(f"- `{key}`: {meaning}\n" for key, meaning in keys_of(part).items())
        for part, claim in PARTS.items()
    ]
    head = f"# Measurements\n\n{runner.__doc__}\n`python -m bench.figures` writes this page; a test compares it.\n\n"
    return head + "\n".join(sections)


if __name__ == "__main__":
    print(page(), end="")
