"""The input and the result of an examination of a copy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from qdrant_dr.proof.engine import EngineLimits
from qdrant_dr.proof.readback import ReadBack
from qdrant_dr.records import Depth, Finding, Part, Sample, Searched


class Reader(Protocol):
    """The source of one copy's bytes. Both methods raise RepositoryError if they get no answer."""

    def sizes(self, part: Part) -> int | None:
        """Ask the store for the size of the stored object; None if it is missing."""

    def blocks(self, part: Part, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from `start` up to `end`."""


@dataclass(frozen=True)
class ProofLimits:
    """The limits of a proof on this machine: bytes of spool, and those of its engine."""

    spool_bytes: int = 200 << 30
    engine: EngineLimits = field(default_factory=EngineLimits)


@dataclass(frozen=True)
class Examination:
    """What was checked and found; a job turns it into a record.

    `reached` is the deepest depth that held for every part. A content examination without a seal
    has a `read_back` from which to make one, and proves nothing about content until there is one.
    `searched` are the answers of the archive's indexes at depth `search`; `remarks` also concern
    the source. What could not be searched here is `unasked`: not a finding, but the depth is not
    reached. `defects` are of this program, which read the copy in another way after them."""

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
    defects: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.findings and self.reached == self.depth
