"""What lies in a bundle of evidence, and what should and does not."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from qdrant_dr.records.base import Frozen, Record, Time, later
from qdrant_dr.records.ledger import Head, Written
from qdrant_dr.records.proof import Location


class Bundled(Frozen):
    """One repository: where it lies, and the last entry of its ledger, if it has one. `error`: it
    could not be read to its end, and what of it is in the bundle is not whole."""

    name: str
    location: Location
    head: Head | None
    files_count: int = Field(ge=0)
    error: str | None = None


class EvidenceBundle(Record):
    """`bundle.json` in the archive: the digest of every other file, written last. `left_out` are
    the folders of each repository whose records are in its ledger, and not in here."""

    KIND: ClassVar[str] = "evidence-bundle"

    cluster: str
    as_of: Time
    period_seconds: int = Field(gt=0)
    tool_version: str
    repositories: tuple[Bundled, ...]
    files: tuple[Written, ...]
    left_out: tuple[str, ...] = later(())
