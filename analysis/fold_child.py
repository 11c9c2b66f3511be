"""The process that folds a world: it is told batches on its stdin, and answers at the end, or when it fails.

The first frame says where the read models stand, an empty one ends the world. It ends with its stdin, so also when the
comparison is killed; then nothing more is written.
"""

from __future__ import annotations

import sys
import traceback
from typing import Final

import msgspec
import psycopg

from analysis.world_fold import FoldBatch, FoldedWorld, WorldFold
from messages.frames import read_frame, write_frame

_world: Final = msgspec.msgpack.Decoder(FoldedWorld).decode
_batch: Final = msgspec.msgpack.Decoder(FoldBatch).decode


def main() -> None:
    """Fold until the end; answer with an empty frame, or with what went wrong."""
    steps = sys.stdin.buffer
    if (first := read_frame(steps)) is None:
        return
    try:
        with WorldFold(_world(first)) as fold:
            while content := read_frame(steps):
                fold.fold(_batch(content))
            if content is None:
                return
            fold.finish()
    except psycopg.OperationalError as error:  # no fault of ours
        problem = " ".join(str(error).split())
        write_frame(sys.stdout.buffer, f"the process that folds a world has lost the database: {problem}".encode())
    except Exception:  # noqa: BLE001  told to the process that waits
        write_frame(sys.stdout.buffer, traceback.format_exc().encode())
    else:
        write_frame(sys.stdout.buffer)


if __name__ == "__main__":
    main()
