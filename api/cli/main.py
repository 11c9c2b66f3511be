"""The command line `tidings`.

    0    done; for `verify`: everything agrees
    1    the answer is no: the server refused, `verify` found a difference, `simulate` a broken rule, a demo's check failed
    2    wrong use: an unknown option, an invalid setting, a file without stories
    3    something needed is missing: a server, a broker, a database (of a version this program knows), a free port, a
         permission
    130  interrupted

Each group of commands has a file of its own: it declares its commands and runs them; `api.cli.commands` puts them together.
A command imports what it needs when it runs, so `tidings --help` stays quick.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from api.cli.command import INTERRUPTED, NO
from api.terminal import harmless_output

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Files that it makes are for their owner alone."""
    os.umask(0o077)
    with harmless_output():
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        from api.cli.commands import run_command  # here, so that Ctrl-C is handled from the first moment

        code = run_command(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough, as in `tidings settings | head`
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it ends
        return NO
    return code


if __name__ == "__main__":
    sys.exit(main())
