"""The interface between a repository and a store; `tests/contract/test_store.py` is its contract.

Implementations: `local` (a disk), `objects` (S3, GCS, Azure through fsspec) and `memory` (tests).
Paths are relative, with `/`. Everything raised is an error of the tree in `errors`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from qdrant_dr.digests import StreamDigest
from qdrant_dr.errors import RecordDamaged
from qdrant_dr.quantities import format_size
from qdrant_dr.records.base import LARGEST
from qdrant_dr.stores.tiers import AT_HAND, Storage

BLOCK = 2**20
"""Bytes per block read from a disk."""
PART_FLOOR = 8 * 2**20
MAX_PARTS = 9000
"""S3 allows 10,000 parts; the rest is a reserve for underestimated sizes."""


@dataclass(frozen=True, slots=True)
class Stat:
    """One object as the store describes it now: size in bytes, time by the store's clock.

    `mark` changes with the content (an ETag); empty if a listing has none. `storage` says whether
    it can be read: an archived object exists but is not readable. `md5` is what may be the MD5 of
    the content, hex; empty if the store gives none. An encrypting store gives something else that
    looks the same: who uses it compares it with bytes."""

    path: str
    size_bytes: int
    modified_at: datetime
    mark: str = ""
    storage: Storage = AT_HAND
    md5: str = ""


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """An upload that was begun but neither committed nor aborted. `token` is the store's own."""

    path: str
    token: str
    started_at: datetime


class Sink(Protocol):
    """An object being written: nothing is visible under its name before `commit` returns."""

    def write(self, block: bytes) -> None:
        """Append."""

    def commit(self) -> None:
        """Make it durable and visible, in one step."""

    def abort(self) -> None:
        """Discard everything. May be called at any time, also twice; no effect after commit."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """The effect of deleting an object. `hidden`: the store keeps its bytes, and what removes them;
    `locked_until`: it cannot be deleted before."""

    hidden: str | None = None
    locked_until: datetime | None = None


class Store(Protocol):
    """A flat space of objects."""

    name: str

    def create(self, path: str, data: bytes) -> None:
        """Create the object in one atomic request. Raise Conflict if it exists with other content.

        Existing equal bytes count as success, because a retry of our own request must not fail.
        """

    def read(self, path: str) -> bytes:
        """Return all bytes of a record. Raise ObjectMissing; raise RecordDamaged, without reading
        it, if it is larger than a record may be, or on a disk is no file."""

    def read_range(self, path: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from `start` up to `end`, or to the object's end. Raise ObjectMissing."""

    def stat(self, path: str) -> Stat | None:
        """Ask the store, without a cache; return None if the object does not exist."""

    def find(self, folder: str) -> list[Stat]:
        """List every object below the folder, at any depth, sorted, without a cache; except files
        that storages make by themselves (see `ignored_files`)."""

    def folders(self, folder: str) -> list[str]:
        """List the names of the folders right below one, sorted, in one request a page."""

    def sink(
        self,
        path: str,
        *,
        size_hint: int | None = None,
        replace: bool = False,
        digest: StreamDigest | None = None,
    ) -> Sink:
        """Begin an object of any size. Raise Conflict if it exists and `replace` is not set.

        `digest` takes the digests of the same bytes, each before it is written here: what a storage
        wants to be told of a part is not computed again then."""

    def delete(self, path: str) -> None:
        """Remove an object; no error if it does not exist."""

    def deletion(self, path: str) -> Deletion:
        """Return the effect of deleting this object, as far as the store tells."""

    def open_uploads(self, folder: str) -> list[OpenUpload]:
        """List uploads below the folder that are neither committed nor aborted, if it can tell."""

    def discard_upload(self, upload: OpenUpload) -> None:
        """Free what such an upload holds; no error if it is gone, as another sweep may be
        faster."""

    def free_bytes(self) -> int | None:
        """Return the free space in bytes, None if the store does not tell."""

    def signed_url(self, path: str, seconds: int) -> str:
        """Return a URL with which anyone can read the object for so many seconds: a secret.

        The store is not asked, so even a missing object gets one. Raise CannotSign.
        """


def inside(folder: str) -> str:
    """Return what all paths below a folder begin with; the folder "" is the whole repository."""
    return f"{folder}/" if folder else ""


def no_record(name: str, path: str, what: str) -> RecordDamaged:
    """Build the error for something in a record's place that cannot be a record."""
    return RecordDamaged(
        f"{name}/{path} {what}",
        "find out who put it there; `qdrant-dr replicate` brings a good copy from another "
        "repository.",
    )


def within_bounds(data: bytes, name: str, path: str) -> bytes:
    """Return what was read of a record, at most one byte too many. Raise RecordDamaged if so."""
    if len(data) > LARGEST:
        raise no_record(name, path, f"is larger than any record may be ({format_size(LARGEST)})")
    return data


def fill(sink: Sink, blocks: Iterable[bytes]) -> None:
    """Write all of it and commit, or take everything back."""
    try:
        for block in blocks:
            sink.write(block)
        sink.commit()
    finally:
        sink.abort()


def part_size(size_hint: int | None) -> int:
    """Return the bytes per uploaded part: 8 MiB, or more if the object would need too many
    parts."""
    needed = -(-(size_hint or 0) // MAX_PARTS)
    return max(PART_FLOOR, -(-needed // 2**20) * 2**20)


def in_utc(value: datetime | str) -> datetime:
    """Convert a time from a client library to UTC."""
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    return at.astimezone(UTC)
