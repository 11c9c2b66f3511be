"""Folders of servers: where they are by default, and who may enter them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

if TYPE_CHECKING:
    import pwd
    from collections.abc import Sequence


def default_home() -> Path:
    """Return the user's data folder. Root's is closed, but PostgreSQL, which does not run as root, must reach its data."""
    if sys.platform == "linux" and os.geteuid() == 0:
        return Path("/var/lib/tidings")
    return platformdirs.user_data_path("tidings")


def make_folder(folder: Path) -> None:
    """Make a folder and its missing parents, for their owner only. As root others may pass through the parents made."""
    missing = [each for each in folder.parents if not each.exists()]
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        each.chmod(0o711 if os.geteuid() == 0 else 0o700)  # whatever the umask says
    folder.mkdir(mode=0o700, exist_ok=True)


def closed_to(user: pwd.struct_passwd, folders: Sequence[Path]) -> Path | None:
    """Return the first of these folders that a user may not enter, None if it may enter all."""
    groups = {user.pw_gid, *os.getgrouplist(user.pw_name, user.pw_gid)}
    for folder in folders:
        found = folder.stat()
        bit = 0o100 if found.st_uid == user.pw_uid else 0o010 if found.st_gid in groups else 0o001
        if not found.st_mode & bit:
            return folder
    return None


def let_through(folders: Sequence[Path]) -> None:
    """Let everybody pass through these folders, without listing them: sets the search bit only."""
    for folder in folders:
        mode = folder.stat().st_mode
        if not mode & 0o001:
            folder.chmod(mode | 0o001)
