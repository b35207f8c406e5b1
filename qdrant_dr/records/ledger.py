"""The ledger of a repository: each entry names what one run wrote there, and the entry before."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from qdrant_dr.records.base import Frozen, Record, Time, later
from qdrant_dr.records.manifest import Sha256
from qdrant_dr.records.proof import Location

RepositoryId = Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
Number = Annotated[int, Field(ge=1, lt=2_500_000_000)]
FIRST = "0" * 64
"""What stands for the entry before the first."""


class Written(Frozen):
    """One record in this repository: its path, and SHA-256 and size of the bytes as stored."""

    path: str
    sha256: Sha256
    size_bytes: int = Field(ge=0)


class Head(Frozen):
    """The newest entry of another repository, as it was just read: each is a witness of the
    others."""

    repository_id: RepositoryId
    number: Number
    sha256: Sha256


class Since(Frozen):
    """Entries begin here, in a repository that is older: what lay there already.

    `listing_sha256` is that of one line `<size>  <path>` and a line feed for each record, sorted by
    path; None if all of them are listed in `found` with their own digests."""

    at: Time
    records_count: int = Field(ge=0)
    listing_sha256: Sha256 | None


class Cut(Frozen):
    """Older entries were removed on purpose: the first that is kept, and its `previous`."""

    first_kept: Number
    previous: Sha256


class LedgerEntry(Record):
    """`evidence/<number // 256>/<number>.json`; numbers are dense, so that a gap is a deletion.

    `previous` is the SHA-256 of the file before, `previous_stored_at` the store's time of it, `at`
    our clock. `records` are those of this run, `removed` what it deleted; `found` are
    others that no entry named: of a run that crashed, or that could not write its own entry."""

    KIND: ClassVar[str] = "ledger-entry"

    repository_id: RepositoryId
    location: Location
    number: Number
    previous: Sha256
    previous_stored_at: Time | None
    at: Time
    cluster: str
    run_id: str | None
    job: str
    signer: str | None = Field(description="fingerprint of the key that signs it; None: no key")
    records: tuple[Written, ...] = ()
    removed: tuple[str, ...] = Field((), description="paths of records that this run deleted")
    removed_sizes: tuple[int, ...] = later(
        (), description="bytes of each of `removed`, in its order"
    )
    found: tuple[Written, ...] = ()
    crashed: tuple[str, ...] = Field(
        (), description="runs that this machine knew to have begun and not ended: `found` is theirs"
    )
    heads: tuple[Head, ...] = Field((), description="of every other configured repository")
    since: Since | None = None
    adopted_from: RepositoryId | None = None
    next_key: str | None = Field(None, description="public key that signs from the next entry on")
    cut: Cut | None = None

    @model_validator(mode="after")
    def _follows_one(self) -> Self:
        if (self.previous == FIRST) != (self.number == 1):
            raise ValueError("only the first entry follows none")
        if len(self.removed_sizes) not in (0, len(self.removed)):
            raise ValueError("`removed_sizes` has not as many as `removed`")
        return self


class Change(Frozen):
    """A record that a unit wrote or removed, in whatever process: what an entry is made of."""

    repository_id: RepositoryId
    path: str
    sha256: Sha256 | None = Field(description="of the bytes as stored; None: it was removed")
    size_bytes: int = Field(ge=0)
