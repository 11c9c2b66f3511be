"""The child processes of the tests' own process."""

from contextlib import suppress

import psutil


def children_running(module: str) -> list[psutil.Process]:
    """Return our child processes that run this module; a child that has just ended is none of them."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if any(module in argument for argument in child.cmdline()):
                found.append(child)
    return found
