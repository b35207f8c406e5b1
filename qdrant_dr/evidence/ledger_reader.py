"""Read a ledger from wherever its files lie: a store, a folder, an archive that was unpacked."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, TypeVar

from qdrant_dr import layout
from qdrant_dr.errors import (
    DRError,
    ObjectArchived,
    ObjectMissing,
    RecordError,
    RecordUnknown,
    SignatureInvalid,
)
from qdrant_dr.records.base import parse_canonical
from qdrant_dr.records.ledger import LedgerEntry
from qdrant_dr.signing import sshsig
from qdrant_dr.signing.allowed_signers import LEDGER
from qdrant_dr.signing.ssh_keys import PublicKey
from qdrant_dr.stores.base import Stat

READERS = 8
"""Reading from a bucket is waiting; from a disk, checking signatures keeps the other cores busy."""
BATCH = 16
"""So many items a thread takes at once: handing over each of them costs more than its work."""
AHEAD = 2 * READERS
"""So many batches are read ahead, and held at most."""

T = TypeVar("T")
R = TypeVar("R")


class Reader(Protocol):
    """What a check needs of a repository: every store has it, a folder on a disk, too."""

    @property
    def name(self) -> str:
        """What it is called in errors."""

    def read(self, path: str) -> bytes:
        """Return all bytes of a record. Raise ObjectMissing."""

    def find(self, folder: str) -> list[Stat]:
        """List every object below the folder, at any depth, sorted."""


@dataclass(frozen=True, slots=True)
class LedgerFiles:
    """The files of a ledger by number, and what lies among them that is none."""

    entries: dict[int, str]
    signatures: dict[int, str]
    tokens: dict[int, str]
    strangers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """One entry as it lies there. `entry` is None where it cannot be believed: `error` says why.

    `previous` is what it says of the file before it, even where a newer version wrote it."""

    number: int
    path: str
    data: bytes
    sha256: str
    entry: LedgerEntry | None
    error: DRError | None = None
    previous: str | None = None
    signed: PublicKey | SignatureInvalid | None = None
    """The key that made the signature beside it; an error if that is none of these bytes."""
    token: bytes | None = None

    @property
    def error_words(self) -> str:
        """Why it cannot be believed."""
        return self.error.message if self.error else "nothing is wrong with it"


def list_ledger(reader: Reader) -> LedgerFiles:
    """List the ledger's files."""
    files = LedgerFiles({}, {}, {})
    strangers = []
    kinds = {layout.SIGNATURE: files.signatures, layout.TIMESTAMP: files.tokens}
    for path in (stat.path for stat in reader.find(layout.EVIDENCE)):
        beside = path[-len(layout.SIGNATURE) :]
        number = layout.entry_number(path.removesuffix(beside) if beside in kinds else path)
        if number:
            kinds.get(beside, files.entries)[number] = path
        elif path != layout.ALLOWED_SIGNERS:
            strangers.append(path)
    return LedgerFiles(files.entries, files.signatures, files.tokens, tuple(strangers))


def read_lines(reader: Reader, files: LedgerFiles) -> Iterator[Line]:
    """Yield every entry in the order of its number, with its signature and its time stamp. Only a
    few hundred are held at once."""

    def read(number: int) -> Line:
        path = files.entries[number]
        data = reader.read(path)
        signature, token = (
            reader.read(kind[number]) if number in kind else None
            for kind in (files.signatures, files.tokens)
        )
        signed = None if signature is None else _signed(data, signature)
        try:
            entry = LedgerEntry.from_bytes(data, where=f"{reader.name}/{path}")
        except RecordError as e:
            sha256 = hashlib.sha256(data).hexdigest()
            previous = _previous(data) if isinstance(e, RecordUnknown) else None
            return Line(number, path, data, sha256, None, e, previous, signed, token)
        return Line(number, path, data, entry.sha256, entry, None, entry.previous, signed, token)

    yield from in_batches(read, sorted(files.entries))


def read_or_error(reader: Reader, path: str) -> bytes | DRError:
    """Return the bytes of a record; or why there are none, where that says something of it."""
    try:
        return reader.read(path)
    except (ObjectMissing, ObjectArchived, RecordError) as e:
        return e


def in_batches(work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """Do the work with several threads and yield what it gives in order, holding a few batches."""

    def each(some: Sequence[T]) -> list[R]:
        return [work(item) for item in some]

    batches = (items[at : at + BATCH] for at in range(0, len(items), BATCH))
    pool = ThreadPoolExecutor(READERS)
    try:
        ahead = deque(pool.submit(each, some) for some in islice(batches, AHEAD))
        while ahead:
            yield from ahead.popleft().result()
            ahead.extend(pool.submit(each, some) for some in islice(batches, 1))
    finally:  # also where whoever reads it stops
        pool.shutdown(cancel_futures=True)


def _signed(data: bytes, signature: bytes) -> PublicKey | SignatureInvalid:
    try:
        return sshsig.verify(data, signature, LEDGER)
    except SignatureInvalid as e:
        return e


def _previous(data: bytes) -> str | None:
    """Return what an entry of a newer version says of the one before it."""
    previous = parse_canonical(data, where="entry").get("previous")
    return previous if isinstance(previous, str) else None
