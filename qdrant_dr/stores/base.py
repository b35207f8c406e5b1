"""What a repository needs of a place to keep bytes; `tests/contract/test_store.py` is its law.

Implementations: `local` (a disk), `objects` (S3, GCS, Azure through fsspec) and `memory` (tests).
Paths are relative, with `/`. Everything raised is of the tree in `errors`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from qdrant_dr.errors import RecordDamaged
from qdrant_dr.quantities import format_size
from qdrant_dr.records.base import LARGEST
from qdrant_dr.stores.tiers import AT_HAND, Storage

BLOCK = 2**20
"""Bytes per block that a disk yields."""
PART_FLOOR = 8 * 2**20
MAX_PARTS = 9000
"""S3 allows 10,000 parts; the rest is for a size that was underestimated."""


@dataclass(frozen=True, slots=True)
class Stat:
    """One object as the store describes it now: size in bytes, time by the store's clock.

    `mark` changes with the content (an ETag); empty where a listing tells none. `storage` says
    whether it can be read: what lies in an archive is there, and is not readable.
    """

    path: str
    size_bytes: int
    modified_at: datetime
    mark: str = ""
    storage: Storage = AT_HAND


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """An upload that was begun and neither committed nor aborted. `token` is the store's own."""

    path: str
    token: str
    started_at: datetime


class Sink(Protocol):
    """An object in the making: nothing is visible under its name before `commit` returns."""

    def write(self, block: bytes) -> None:
        """Append."""

    def commit(self) -> None:
        """Make it durable and visible, in one step."""

    def abort(self) -> None:
        """Take everything back. May be called at any time, also twice; after commit it is void."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """What deleting an object comes to. `hidden`: the store keeps its bytes, and how they ever go;
    `locked_until`: they cannot go before."""

    hidden: str | None = None
    locked_until: datetime | None = None


class Store(Protocol):
    """A flat space of objects."""

    name: str

    def create(self, path: str, data: bytes) -> None:
        """Create the object in one atomic request. Raise Conflict if another content is there.

        Equal bytes that are there already are success: a retry of our own request must not fail.
        """

    def read(self, path: str) -> bytes:
        """All bytes of a record. Raise ObjectMissing; RecordDamaged, without reading it, if it is
        larger than any record may be, or on a disk no file."""

    def read_range(self, path: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Bytes from `start` up to `end`, as far as the object goes. Raise ObjectMissing."""

    def stat(self, path: str) -> Stat | None:
        """Ask the store itself, no cache; None if absent."""

    def find(self, folder: str) -> list[Stat]:
        """Every object below the folder, at any depth, sorted; no cache. Not what storages make by
        themselves (see `strangers`)."""

    def sink(self, path: str, *, size_hint: int | None = None, replace: bool = False) -> Sink:
        """Begin an object of any size. Raise Conflict if it exists and `replace` is not set."""

    def delete(self, path: str) -> None:
        """Remove an object; an absent one is fine."""

    def deletion(self, path: str) -> Deletion:
        """What deleting this object would come to, as far as the store tells."""

    def open_uploads(self, folder: str) -> list[OpenUpload]:
        """Uploads below the folder that are neither committed nor aborted, where it can tell."""

    def discard_upload(self, upload: OpenUpload) -> None:
        """Free what such an upload holds; one that is gone is fine: another sweep was faster."""

    def free_bytes(self) -> int | None:
        """Free space, None where a store does not say."""

    def signed_url(self, path: str, seconds: int) -> str:
        """A URL by which anyone may read the object for so long: a secret, never to be shown.

        Nothing is asked, so it is given of an absent object, too. Raise CannotSign.
        """


def no_record(name: str, path: str, what: str) -> RecordDamaged:
    """The error for what lies where a record should, and can be none."""
    return RecordDamaged(
        f"{name}/{path} {what}",
        "look who put it there; `qdrant-dr replicate` brings a good copy from another repository.",
    )


def within_bounds(data: bytes, name: str, path: str) -> bytes:
    """What was read of a record, up to one byte more than it may have. Raise RecordDamaged."""
    if len(data) > LARGEST:
        raise no_record(name, path, f"is larger than any record may be ({format_size(LARGEST)})")
    return data


def part_size(size_hint: int | None) -> int:
    """Bytes per uploaded part: 8 MiB, or more where the object would need too many of them."""
    needed = -(-(size_hint or 0) // MAX_PARTS)
    return max(PART_FLOOR, -(-needed // 2**20) * 2**20)


def in_utc(value: datetime | str) -> datetime:
    """A time as a client library gives it."""
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    return at.astimezone(UTC)
