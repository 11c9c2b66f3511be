"""The local PostgreSQL server: starting, sharing, and the recovery after a kill."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import LiteralString

import psutil
import psycopg
import pytest

from local.folders import let_through
from local.postgres import Postgres, _lives, create_database, drop_database
from local.processes import StartError, free_port, polls

FAST = {"fsync": "off"}
REPOSITORY = Path(__file__).parents[2]

# Starts a server, prints its process id, and waits until it is killed or its input is closed.
USER = """
import sys
from pathlib import Path
from local.postgres import Postgres
with Postgres.start(
    Path(sys.argv[1]), settings={"fsync": "off"}, end_with_process=sys.argv[2:] == ["end"]
) as server:
    print(server.pid, flush=True)
    sys.stdin.read()
"""


def another_user(folder: Path, *arguments: str) -> tuple[subprocess.Popen[str], int]:
    """Start a process that uses the server of `folder`. Return it and the server's process id."""
    process = subprocess.Popen(
        [sys.executable, "-c", USER, str(folder), *arguments],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    return process, int(process.stdout.readline())


def runs(pid: int) -> bool:
    """Whether the process exists and has not ended."""
    return psutil.pid_exists(pid) and _lives(psutil.Process(pid))


def one(dsn: str, query: LiteralString) -> object:
    """Return the single value of a query."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query).fetchone()
        return row and row[0]


def test_is_reached_by_its_socket_only(own_postgres: Postgres) -> None:
    """The server listens on no address, and its folder is closed to other users."""
    assert one(own_postgres.dsn(), "SELECT current_setting('listen_addresses')") == ""
    assert own_postgres.folder.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO) == 0


def test_keeps_what_was_committed_when_killed(own_postgres: Postgres) -> None:
    """After kill -9, a restart restores every committed row at the same address."""
    dsn = own_postgres.database("kept")
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE t AS SELECT 41 + 1 AS answer")

    own_postgres.kill()
    assert own_postgres.pid is None
    own_postgres.restart()

    assert one(dsn, "SELECT answer FROM t") == 42


def test_no_commit_waits_for_a_file_of_zeros(own_postgres: Postgres) -> None:
    """A new file of the write-ahead log has its size at once, and takes its place on the disk as it is written."""
    with psycopg.connect(own_postgres.dsn(), autocommit=True) as connection:
        connection.execute("CREATE TABLE filled AS SELECT 1 AS n")
        connection.execute("SELECT pg_switch_wal()")
        connection.execute("INSERT INTO filled VALUES (2)")
        row = connection.execute("SELECT pg_walfile_name(pg_current_wal_insert_lsn())").fetchone()
    assert row is not None
    file = (own_postgres.folder / "data" / "pg_wal" / row[0]).stat()

    assert file.st_size == 16 * 2**20
    assert file.st_blocks * 512 < file.st_size / 2


def test_ignores_a_process_id_that_means_another_program_now(own_postgres: Postgres) -> None:
    """The server starts although a stale postmaster.pid names a process that runs."""
    own_postgres.kill()
    pid_file = own_postgres.folder / "data" / "postmaster.pid"
    lines = pid_file.read_text().split("\n")
    pid_file.write_text("\n".join(["1", *lines[1:]]))

    own_postgres.restart()

    assert one(own_postgres.dsn(), "SELECT 1") == 1


def test_is_found_again_when_its_starter_was_killed(server_folder: Path) -> None:
    """If the process that started a server is killed, the server runs on. The next start uses it, and stops it."""
    starter, pid = another_user(server_folder)
    starter.kill()
    starter.communicate()

    with Postgres.start(server_folder, settings=FAST) as server:
        assert pid == server.pid

    assert not runs(pid)


def test_ends_with_its_starter_when_asked_to(server_folder: Path) -> None:
    """With `end_with_process` the server ends even if its starter is killed."""
    starter, pid = another_user(server_folder, "end")
    starter.kill()
    starter.communicate()

    assert any(not runs(pid) for _ in polls(20))


def test_is_stopped_by_the_last_to_leave(server_folder: Path) -> None:
    """A server that two processes share runs as long as one of them uses it."""
    first, pid = another_user(server_folder)
    second, second_pid = another_user(server_folder)

    assert pid == second_pid
    first.communicate(timeout=20)  # closes its input, so that it exits
    assert runs(pid)
    second.communicate(timeout=20)
    assert not runs(pid)


def test_works_in_a_folder_with_a_long_and_odd_name(server_folder: Path) -> None:
    """If the path is too long for a socket or has special characters, the socket is in another folder."""
    folder = server_folder / ('it\'s a long, "odd" name % ' * 5)

    with Postgres.start(folder, settings=FAST, own=server_folder) as server:
        assert one(server.database("über"), "SELECT 1") == 1
        sockets = server._socket_folder()
        assert sockets != folder
        assert sockets.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO) == 0

    assert not sockets.exists()


def test_starts_anew_after_a_kill_half_way_through_making_its_data(server_folder: Path) -> None:
    """An incomplete data folder does not count as data."""
    (server_folder / "data.new" / "base").mkdir(parents=True)
    (server_folder / "data.new" / "PG_VERSION").write_text("18\n")

    with Postgres.start(server_folder, settings=FAST) as server:
        assert one(server.dsn(), "SELECT 1") == 1


def test_opens_parent_folders_for_passing_only(tmp_path: Path) -> None:
    """Folders on the way of PostgreSQL's user can be passed but not listed. Open folders do not change."""
    closed, open_ = tmp_path / "closed", tmp_path / "open"
    closed.mkdir(mode=0o700)
    open_.mkdir()
    open_.chmod(0o755)  # whatever the mask of this process

    let_through([closed, open_])

    assert [stat.S_IMODE(path.stat().st_mode) for path in (closed, open_)] == [0o701, 0o755]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts the server as another user")
def test_root_changes_no_folder_above_its_own(server_folder: Path) -> None:
    """A closed folder above is named with what to do, and stays closed; below the own one, the server's user may pass."""
    server_folder.chmod(0o700)
    home = server_folder / "home"
    with pytest.raises(StartError, match=re.escape(f"may not enter {server_folder}:")):
        Postgres.start(home / "postgres", settings=FAST, own=home)
    assert stat.S_IMODE(server_folder.stat().st_mode) == 0o700

    server_folder.chmod(0o711)
    home.chmod(0o700)
    with Postgres.start(home / "postgres", settings=FAST, own=home) as server:
        assert one(server.dsn(), "SELECT 1") == 1
    assert [stat.S_IMODE(each.stat().st_mode) for each in (server_folder, home)] == [0o711, 0o701]
    assert stat.S_IMODE((home / "postgres").stat().st_mode) == 0o700


def test_asks_for_a_password_over_tcp(server_folder: Path) -> None:
    """With a port, a role with its password gets in, nobody without one, and the superuser never; without a port, nobody."""
    port = free_port()
    with Postgres.start(server_folder, settings=FAST, port=port) as server:
        dsn = server.database("exchange")
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("CREATE ROLE ann LOGIN PASSWORD 'a long secret'; CREATE ROLE bob LOGIN")
            connection.execute("ALTER ROLE postgres PASSWORD 'a long secret'")
        tcp = f"host=127.0.0.1 port={port} dbname=exchange password='a long secret'"
        assert one(psycopg.conninfo.make_conninfo(tcp, user="ann"), "SELECT 1") == 1
        for user, wrong in (("ann", {"password": "x"}), ("bob", {}), ("postgres", {}), ("ann", {"dbname": "postgres"})):
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(psycopg.conninfo.make_conninfo(tcp, user=user, **wrong))
        with pytest.raises(StartError, match="does not listen on port"):
            Postgres.start(server_folder, settings=FAST, port=port - 1)
        again = Postgres.start(server_folder)
        assert one(again.dsn("exchange"), "SELECT 1") == 1
        again.stop()


def test_databases_are_made_once_and_dropped_whoever_is_connected(postgres_dsn: str) -> None:
    """Creating a database twice or dropping an absent one is not an error."""
    create_database(postgres_dsn, "twice")
    create_database(postgres_dsn, "twice")
    dsn = psycopg.conninfo.make_conninfo(postgres_dsn, dbname="twice")
    connection = psycopg.connect(dsn)
    drop_database(postgres_dsn, "twice")
    drop_database(postgres_dsn, "twice")

    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    connection.close()


def test_sorts_text_by_code_point(database: str) -> None:
    """The order of text is the same on every machine, whatever its locale."""
    assert one(database, "SELECT array_agg(t ORDER BY t) FROM unnest(ARRAY['é', 'a', 'B']) t") == ["B", "a", "é"]


def test_gives_up_with_the_reason(server_folder: Path) -> None:
    """If the server cannot start, `start` raises at once, with the last lines of its log."""
    with pytest.raises(Exception, match="no_such_setting"):
        Postgres.start(server_folder, settings={"no_such_setting": "1"})
