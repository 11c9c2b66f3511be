"""Snapshots: an engine's state at one position of the log, in a file, so that a start need not fold the log before it.

The log always takes precedence over a snapshot. A snapshot counts only if its bytes are undamaged, the state made of
them has the hash that stands beside them, and this very code made it from this log. And the log itself must know it:
when the engine has written a snapshot, it appends the file's hash (`SnapshotWritten`). Whoever can write to the folder
but not to the log cannot forge one. The event stands soon after the snapshot's position, so an engine that starts meets
it in the part of the log that it folds anyway, and decides nothing before.

A snapshot that does not count is thrown away, and the engine folds the log from an older one or from the beginning. If
its checkpoint is not in the log, the log has lost events: then the engine stops, and the snapshot stays, because it may
be the last copy of the state.

The code's version is a hash of the sources that fold, not a number that somebody must remember to raise: a state that
an old rule made must never go on under a new one. The price is one long replay after a change of the domain.

Taking a snapshot must not hold up orders. So the engine forks; the child has the state as it was at that moment and
writes the file with low priority. The child has only the forking thread, touches nothing but that file, closes whatever
else was open (a lock or a connection must not outlive its owner), and exits without any clean-up of the interpreter.
"""

import contextlib
import errno
import fcntl
import gc
import os
import warnings
from functools import cache
from hashlib import blake2b
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import msgspec
import structlog

import domain
import messages
from consumers.engine.log import Checkpoint
from consumers.process_tuning import run_anywhere
from domain.account import Account
from domain.assignments import Assignments
from domain.book import Book, RestingOrder
from domain.due import Due
from domain.exchange import Exchange
from domain.invitations import Invitation
from domain.market_state import Market
from domain.money import Credits, Time
from domain.names import Names
from domain.partition import SnapshotWritten
from domain.story import Story
from domain.transfers import Channels, Transfer
from messages.replies import Reply

_log: Final = structlog.get_logger()

KEPT: Final = 2
"""The number of snapshots that are kept: the last one may be damaged."""

CHILD_FAILED: Final = 255
"""The exit code of a child that failed for another reason than an OSError, whose numbers are lower."""

HASH_BYTES: Final = 32
"""The length of the hashes of a file."""

NICE: Final = 10
"""The priority of the child that writes a snapshot: higher numbers give way to lower ones."""


class Snapshot(msgspec.Struct):
    """An engine's state: the exchange, how far its sources are read, and the replies that it may have to send again."""

    exchange: Exchange
    checkpoint: Checkpoint
    next_offsets: dict[str, int]
    """Name of a command source -> the offset up to which it is read."""
    replies: list[Reply]
    """The last ones, which may not have reached anybody."""
    checkpoints: list[Checkpoint]
    """Checkpoints by which the log finds old events quickly."""
    proof: SnapshotWritten | None = None
    """The event that the log must have, for a snapshot that was loaded from a file."""


class _Content(msgspec.Struct, omit_defaults=True):
    """A snapshot as it stands in the file. What has to do with other partitions is only there where there are any."""

    partition: int
    time: Time
    stories: dict[str, Story]
    markets: dict[str, Market]
    accounts: dict[str, Account]
    invitations: dict[str, Invitation]
    holders: dict[str, list[str]]
    balances: dict[str, Credits]
    versions: dict[str, int]
    unfinished: dict[str, str]
    due: list[Due]
    due_most: int
    checkpoint: Checkpoint
    next_offsets: dict[str, int]
    replies: list[Reply]
    checkpoints: list[Checkpoint]
    sent: dict[int, int] = msgspec.field(default_factory=dict)
    received: dict[int, int] = msgspec.field(default_factory=dict)
    outgoing: dict[int, list[Transfer]] = msgspec.field(default_factory=dict)
    assigned_stories: dict[str, int] = msgspec.field(default_factory=dict)
    assigned_accounts: dict[str, int] = msgspec.field(default_factory=dict)


class _Head(msgspec.Struct):
    """The first line of the file. Its hash stands in the log, so the log vouches for the content too."""

    code: str
    log: str
    """The log's identity."""
    position: int
    state_hash: str
    content_hash: str


class _BookContent(msgspec.Struct, array_like=True):
    outcomes: int
    ages: int
    orders: list[RestingOrder]
    """Oldest first."""


def _book_to_content(book: Any) -> _BookContent:
    if not isinstance(book, Book):
        raise NotImplementedError(f"{type(book).__name__} has no form in a snapshot")
    return _BookContent(2 if book.paired else len(book.lines), book.ages, list(book.orders.values()))


def _book_from_content(kind: type, value: Any) -> Any:
    assert kind is Book, "there is no other"
    content = msgspec.convert(value, _BookContent)
    book = Book(content.outcomes)
    for order in content.orders:
        book.add(order)
    book.ages = content.ages
    return book


_encoder: Final = msgspec.msgpack.Encoder(enc_hook=_book_to_content)
_decoder: Final = msgspec.msgpack.Decoder(_Content, dec_hook=_book_from_content)


@cache
def code_version() -> str:
    """Return a hash of the sources that make events into state, and state into a file."""
    digest = blake2b(digest_size=16)
    folders = [Path(str(package.__file__)).parent for package in (domain, messages)]
    ours = [folders[1] / name for name in ("events.py", "replies.py", "stored.py")]
    for path in [*sorted(folders[0].glob("*.py")), *ours, Path(__file__)]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def dump(snapshot: Snapshot, identity: str) -> bytes:
    """Return the content of a snapshot's file. `identity` is the log's."""
    exchange = snapshot.exchange
    content = _encoder.encode(
        _Content(
            exchange.partition,
            exchange.time,
            exchange.stories,
            exchange.markets,
            exchange.accounts,
            exchange.invitations,
            {market_id: list(holders) for market_id, holders in exchange.holders.items()},
            dict(exchange.ledger.balances),
            exchange.versions,
            exchange.unfinished,
            exchange.due.heap,
            exchange.due.most,
            snapshot.checkpoint,
            snapshot.next_offsets,
            snapshot.replies,
            snapshot.checkpoints,
            exchange.channels.sent,
            exchange.channels.received,
            exchange.channels.outgoing,
            exchange.assigned.stories,
            exchange.assigned.accounts,
        )
    )
    head = _Head(code_version(), identity, snapshot.checkpoint.position, exchange.state_hash(), _hash(content))
    return msgspec.json.encode(head) + b"\n" + content


def load(data: bytes, identity: str) -> Snapshot:
    """Return the snapshot that a file holds; whether the log has its `proof` is for the caller to see.

    Raises ValueError when it is of another log or other code, or is damaged. What somebody has forged may raise anything.
    """
    line, _, content = data.partition(b"\n")
    head = msgspec.json.decode(line, type=_Head)
    if head.code != code_version():
        raise ValueError("another version of the code made it")
    if head.log != identity:
        raise ValueError("it is of another log")
    if head.content_hash != _hash(content):
        raise ValueError("it is damaged")
    read = _decoder.decode(content)
    exchange = Exchange(read.partition)
    exchange.time, exchange.stories, exchange.markets, exchange.accounts = (
        read.time,
        read.stories,
        read.markets,
        read.accounts,
    )
    exchange.invitations = read.invitations
    exchange.names = Names.of(read.stories.values(), read.markets.values(), read.accounts.values())
    exchange.holders = {market_id: dict.fromkeys(holders) for market_id, holders in read.holders.items()}
    exchange.ledger.balances.update(read.balances)
    exchange.versions, exchange.unfinished = read.versions, read.unfinished
    exchange.channels = Channels(read.sent, read.received, read.outgoing)
    exchange.assigned = Assignments(read.assigned_stories, read.assigned_accounts)
    exchange.due.heap, exchange.due.most = read.due, read.due_most
    if (read.checkpoint.position, exchange.state_hash()) != (head.position, head.state_hash):
        raise ValueError("the state is not the one that was written")
    proof = SnapshotWritten(head.position, _hash(line))
    return Snapshot(exchange, read.checkpoint, read.next_offsets, read.replies, read.checkpoints, proof)


def file_hash(data: bytes) -> str:
    """Return the hash of a snapshot's file, as it stands in the log: that of its first line, which has all others."""
    return _hash(data.partition(b"\n")[0])


def _hash(content: bytes) -> str:
    return blake2b(content, digest_size=HASH_BYTES).hexdigest()


class _Child(NamedTuple):
    """A process that writes a snapshot."""

    pid: int
    position: int
    hash_out: int
    """The end of the pipe from which the file's hash comes."""


class EngineFolder:
    """The files of one engine beside one log: its snapshots and its command index. A lock keeps other engines out.

    Each engine of a machine has a folder of its own, `BASE/LOG/0`, `1`, ...; snapshots are read from all of them.
    """

    def __init__(self, base: Path, identity: str) -> None:
        """Take the first free folder. `identity` is the log's: another log never reads these files."""
        self._identity = identity
        self._parent = base / identity
        for number in count():
            self.path = self._parent / str(number)
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / "lock").open("wb")
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._lock.close()
            else:
                break
        self._child: _Child | None = None
        self._written: SnapshotWritten | None = None
        self._write_code = 0
        self._loaded: Path | None = None
        self._unreadable: set[Path] = set()

    def close(self) -> None:
        """Free the folder. A snapshot that is still being written ends by itself."""
        self.writing()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def newest(self) -> Snapshot | None:
        """Return the newest snapshot that counts, None if there is none. Throws away those that do not count."""
        for path in sorted(self._parent.glob("*/snapshot-*"), key=lambda path: path.name, reverse=True):
            if path.suffix or path in self._unreadable:
                continue
            self._loaded = path
            try:
                return load(path.read_bytes(), self._identity)
            except FileNotFoundError:  # its engine has written a newer one
                continue
            except Exception as error:  # noqa: BLE001  no error of ours: anybody may have written the file
                self.throw_away(str(error) or type(error).__name__)
        return None

    def throw_away(self, reason: str) -> None:
        """Never return the snapshot again that `newest` returned last. Its engine's own folder loses it."""
        path = self._loaded
        assert path is not None, "one was loaded"
        _log.warning("snapshot_thrown_away", file=path.name, reason=reason)
        self._unreadable.add(path)
        if path.parent == self.path:  # other engines delete their own files
            path.unlink(missing_ok=True)

    def take_written(self) -> SnapshotWritten | None:
        """Return what the log must be told of a snapshot that was written since this was asked last."""
        self.writing()
        written, self._written = self._written, None
        return written

    def write(self, snapshot: Snapshot) -> SnapshotWritten:
        """Write a snapshot and delete older ones. A crash at any moment leaves a whole file or none.

        Return what the log must be told, for an engine starts from no snapshot that the log does not know. Raises
        OSError: the disk is full, or fails; the snapshots that were there remain.
        """
        data = dump(snapshot, self._identity)
        path = self.path / f"snapshot-{snapshot.checkpoint.position:020}"
        part = path.with_suffix(".part")
        try:
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            part.unlink(missing_ok=True)
            raise
        part.replace(path)
        descriptor = os.open(self.path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        for old in sorted(self.path.glob("snapshot-*"))[:-KEPT]:
            old.unlink(missing_ok=True)
        return SnapshotWritten(snapshot.checkpoint.position, file_hash(data))

    def write_last(self, snapshot: Snapshot) -> None:
        """Write a snapshot before the process ends. If that fails the log file says so: the log has everything."""
        try:
            self._written = self.write(snapshot)
        except OSError as error:
            self._note_written(error.errno or errno.EIO)
        else:
            self._note_written(0)

    def write_apart(self, snapshot: Snapshot) -> None:
        """Write a snapshot of this moment in a child process; returns at once. Not while another one is being written."""
        assert self._child is None, "one at a time"
        hash_out, hash_in = os.pipe()  # a file could be exchanged before its hash is in the log
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads: see above
            pid = os.fork()
        if pid:
            os.close(hash_in)
            self._child = _Child(pid, snapshot.checkpoint.position, hash_out)
            return
        code = CHILD_FAILED
        try:
            gc.disable()
            os.closerange(3, hash_in)
            os.closerange(hash_in + 1, min(1 << 16, os.sysconf("SC_OPEN_MAX")))
            os.nice(NICE)
            run_anywhere()
            os.write(hash_in, self.write(snapshot).hash.encode())
            code = 0
        except OSError as error:
            code = error.errno or errno.EIO
        finally:
            os._exit(code)

    def writing(self, *, wait: bool = False) -> bool:
        """Return whether a snapshot is still being written; with `wait`, wait for its end."""
        if self._child is None:
            return False
        child = self._child
        with contextlib.suppress(ChildProcessError):
            pid, status = os.waitpid(child.pid, 0 if wait else os.WNOHANG)
            if pid == 0:
                return True
            code = os.waitstatus_to_exitcode(status)
            if code == 0:
                self._written = SnapshotWritten(child.position, os.read(child.hash_out, 2 * HASH_BYTES).decode())
            self._note_written(code)
        os.close(child.hash_out)
        self._child = None
        return False

    def _note_written(self, code: int) -> None:
        """Log the first of several snapshots that cannot be written for one reason, and the first that can be again.

        `code` is 0, the number of an OSError, `CHILD_FAILED`, or a signal that ended the child, as a negative number.
        """
        if code == self._write_code:
            return
        self._write_code = code
        if code == 0:
            _log.info("snapshots_written_again", folder=str(self.path))
            return
        known = code in errno.errorcode
        reason = os.strerror(code) if known else f"the child ended with {code}"
        _log.warning("snapshot_not_written", folder=str(self.path), reason=reason)
