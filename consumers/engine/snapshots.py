"""Snapshots: what an engine knows at one position of the log, in a file, so that a start need not fold all before it.

A snapshot is never trusted over the log. It counts only if its bytes are whole, if the state made of them has the hash
that is written beside them, if it was made by this very code, and if its place is in this log (the log looks). Anything
else is thrown away, and the log is folded from an older snapshot or from its beginning.

The code's version is a hash of the sources that fold, not a number that somebody must remember to raise: a state folded
by an old rule must never go on under a new one. The price is one long replay after a change of the domain.

Taking one must not hold up orders: the engine forks, and the child, which has the state as it was at that moment, writes
the file with low priority. It has only the forking thread, touches nothing but that file, closes whatever else was open
(a lock or a connection must not outlive its owner) and leaves without any clean-up of the interpreter.
"""

import contextlib
import fcntl
import gc
import os
import warnings
from functools import cache
from hashlib import blake2b
from itertools import count
from pathlib import Path
from typing import Any, Final, Self

import msgspec
import structlog

import domain
import messages
from consumers.engine.log import Checkpoint
from consumers.process_tuning import run_anywhere
from domain.account import Account
from domain.book import Book, RestingOrder
from domain.due import Due
from domain.exchange import Exchange
from domain.market_state import Market
from domain.money import Credits, Time
from domain.story import Story
from messages.replies import Reply

_log: Final = structlog.get_logger()

KEPT: Final = 2
"""So many snapshots are kept: the last one may be damaged."""

NICE: Final = 10


class Snapshot(msgspec.Struct):
    """What an engine knows: the exchange, how far its sources are read, and what it may have to tell again."""

    exchange: Exchange
    place: Checkpoint
    sources: dict[str, int]
    """By name of a source: up to where it is read."""
    outcomes: list[Reply]
    """The last ones, whose replies may not have reached anybody."""
    marks: list[Checkpoint]


class _Form(msgspec.Struct):
    """The same as it stands in the file."""

    partition: int
    time: Time
    stories: dict[str, Story]
    markets: dict[str, Market]
    accounts: dict[str, Account]
    holders: dict[str, list[str]]
    balances: dict[str, Credits]
    versions: dict[str, int]
    unfinished: dict[str, str]
    due: list[Due]
    due_most: int
    place: Checkpoint
    sources: dict[str, int]
    outcomes: list[Reply]
    marks: list[Checkpoint]


class _Head(msgspec.Struct):
    """The first line of the file."""

    code: str
    position: int
    state_hash: str
    content_hash: str


class _BookForm(msgspec.Struct, array_like=True):
    outcomes: int
    ages: int
    orders: list[RestingOrder]
    """Oldest first."""


def _book_to_form(book: Any) -> _BookForm:
    if not isinstance(book, Book):
        raise NotImplementedError(f"{type(book).__name__} has no form")
    return _BookForm(2 if book.paired else len(book.lines), book.ages, list(book.orders.values()))


def _book_from_form(kind: type, value: Any) -> Any:
    assert kind is Book, "there is no other"
    form = msgspec.convert(value, _BookForm)
    book = Book(form.outcomes)
    for order in form.orders:
        book.add(order)
    book.ages = form.ages
    return book


_encoder: Final = msgspec.msgpack.Encoder(enc_hook=_book_to_form)
_decoder: Final = msgspec.msgpack.Decoder(_Form, dec_hook=_book_from_form)


@cache
def code_version() -> str:
    """Return a hash of the sources by which events become state and state becomes a file."""
    digest = blake2b(digest_size=16)
    folders = [Path(str(package.__file__)).parent for package in (domain, messages)]
    ours = [folders[1] / name for name in ("events.py", "replies.py", "stored.py")]
    for path in [*sorted(folders[0].glob("*.py")), *ours, Path(__file__)]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def dump(snapshot: Snapshot) -> bytes:
    """Return the content of a snapshot's file."""
    exchange = snapshot.exchange
    content = _encoder.encode(
        _Form(
            exchange.partition,
            exchange.time,
            exchange.stories,
            exchange.markets,
            exchange.accounts,
            {market_id: list(holders) for market_id, holders in exchange.holders.items()},
            dict(exchange.ledger.balances),
            exchange.versions,
            exchange.unfinished,
            exchange.due.heap,
            exchange.due.most,
            snapshot.place,
            snapshot.sources,
            snapshot.outcomes,
            snapshot.marks,
        )
    )
    head = _Head(code_version(), snapshot.place.position, exchange.state_hash(), _hash(content))
    return msgspec.json.encode(head) + b"\n" + content


def load(data: bytes) -> Snapshot:
    """Return the snapshot of a file's content. Raises ValueError when it does not fit or is damaged."""
    line, _, content = data.partition(b"\n")
    head = msgspec.json.decode(line, type=_Head)
    if head.code != code_version():
        raise ValueError("it was made by another version of the code")
    if head.content_hash != _hash(content):
        raise ValueError("it is damaged")
    form = _decoder.decode(content)
    exchange = Exchange(form.partition)
    exchange.time, exchange.stories, exchange.markets, exchange.accounts = (
        form.time,
        form.stories,
        form.markets,
        form.accounts,
    )
    exchange.holders = {market_id: dict.fromkeys(holders) for market_id, holders in form.holders.items()}
    exchange.ledger.balances.update(form.balances)
    exchange.versions, exchange.unfinished = form.versions, form.unfinished
    exchange.due.heap, exchange.due.most = form.due, form.due_most
    if (form.place.position, exchange.state_hash()) != (head.position, head.state_hash):
        raise ValueError("the state is not the one that was written")
    return Snapshot(exchange, form.place, form.sources, form.outcomes, form.marks)


def _hash(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()


class EngineFolder:
    """The files of one engine beside one log: its snapshots and its command index. Locked: two engines never share one.

    Of several engines on a machine each has a folder of its own, `BASE/LOG/0`, `1`, ...; snapshots are read from all.
    """

    def __init__(self, base: Path, identity: str) -> None:
        """Take the first free folder. `identity` is the log's: another log never meets these files."""
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
        self._child: int | None = None
        self._unreadable: set[Path] = set()

    def close(self) -> None:
        """Give the folder free; a snapshot that is being written still ends by itself."""
        self.writing()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def newest(self) -> Snapshot | None:
        """Return the newest snapshot that counts, or None."""
        for path in sorted(self._parent.glob("*/snapshot-*"), key=lambda path: path.name, reverse=True):
            if path.suffix or path in self._unreadable:
                continue
            try:
                return load(path.read_bytes())
            except FileNotFoundError:  # another engine has written a newer one
                continue
            except (ValueError, LookupError, TypeError, msgspec.MsgspecError) as error:
                _log.warning("snapshot thrown away", file=path.name, reason=str(error))
                self._unreadable.add(path)
                self._delete(path)
        return None

    def throw_away(self, position: int) -> None:
        """Forget the snapshots from this position on: they are not of this log as it is now."""
        for path in self._parent.glob("*/snapshot-*"):
            if int(path.stem.removeprefix("snapshot-")) >= position:
                self._unreadable.add(path)
                self._delete(path)

    def write(self, snapshot: Snapshot) -> None:
        """Write a snapshot, so that a crash at any moment leaves a whole file or none; delete the older ones."""
        path = self.path / f"snapshot-{snapshot.place.position:020}"
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            file.write(dump(snapshot))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        descriptor = os.open(self.path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        for old in sorted(self.path.glob("snapshot-*"))[:-KEPT]:
            old.unlink(missing_ok=True)

    def write_apart(self, snapshot: Snapshot) -> None:
        """Write a snapshot of this moment in a process of its own; returns at once. Not while one is written."""
        assert self._child is None, "one at a time"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads: see above
            pid = os.fork()
        if pid:
            self._child = pid
            return
        code = 1
        try:
            gc.disable()
            os.closerange(3, min(1 << 16, os.sysconf("SC_OPEN_MAX")))
            os.nice(NICE)
            run_anywhere()
            self.write(snapshot)
            code = 0
        finally:
            os._exit(code)

    def writing(self, *, wait: bool = False) -> bool:
        """Return whether a snapshot is being written still; wait for its end if asked to."""
        if self._child is None:
            return False
        with contextlib.suppress(ChildProcessError):
            pid, status = os.waitpid(self._child, 0 if wait else os.WNOHANG)
            if pid == 0:
                return True
            if status:
                _log.warning("snapshot not written", status=os.waitstatus_to_exitcode(status))
        self._child = None
        return False

    def _delete(self, path: Path) -> None:
        if path.parent == self.path:  # what is another engine's it deletes itself
            path.unlink(missing_ok=True)
