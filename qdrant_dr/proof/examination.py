"""What an examination of a copy needs, and what it comes to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from qdrant_dr.proof.engine import EngineLimits
from qdrant_dr.proof.readback import ReadBack
from qdrant_dr.records import Depth, Finding, Part, Sample, Searched


class Reader(Protocol):
    """Where the bytes of one copy come from. Both raise RepositoryError if that cannot be said."""

    def sizes(self, part: Part) -> int | None:
        """Size of the stored object, asked of the store now; None if it is not there."""

    def blocks(self, part: Part, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` up to `end`."""


@dataclass(frozen=True)
class ProofLimits:
    """What a proof may use of this machine: bytes of spool, and what its engine may."""

    spool_bytes: int = 200 << 30
    engine: EngineLimits = field(default_factory=EngineLimits)


@dataclass(frozen=True)
class Examination:
    """What was checked and found; a job turns it into a record.

    `reached` is the deepest depth that held for every part. A content examination without a seal
    has a `read_back` to make one of, and proves nothing about content until there is one.
    `searched` is what the archive's indexes answered, at depth `search`; `remarks` are true of the
    source too. What could not be asked here is `unasked`, no finding, and not reached.
    """

    depth: Depth
    reached: Depth | None
    findings: tuple[Finding, ...]
    bytes_expected: int
    bytes_checked: int
    points_expected: int | None
    points_checked: int | None
    within_tolerance: int
    sample: Sample | None
    engine: str
    read_back: ReadBack | None = None
    archive_uuid: str | None = None
    searched: Searched | None = None
    remarks: tuple[str, ...] = ()
    unasked: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.findings and self.reached == self.depth
