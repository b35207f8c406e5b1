"""Between chunked repositories a part is copied block by block, if its recipe is known to be true.

What a recipe makes was compared with the manifest when a copy was proven, in whichever repository:
that proof keeps of which blocks the part is made. A recipe of the same composition makes the same
bytes, so what the target has of them need not be read in the source. All else is read as a whole.
"""

from __future__ import annotations

import logging

from qdrant_dr.errors import BoxDamaged, BytesDiffer, ObjectMissing
from qdrant_dr.jobs.run.load_backup import Found
from qdrant_dr.jobs.run.progress import in_transit
from qdrant_dr.records import Part
from qdrant_dr.records.proof import reaches
from qdrant_dr.repository import Backup, Repository
from qdrant_dr.repository.chunked import ChunkedRepository
from qdrant_dr.repository.part_blocks import part_blocks
from qdrant_dr.vault.composition import composition
from qdrant_dr.vault.copy_blocks import PartBlocks
from qdrant_dr.verified_read import VerifiedRead

log = logging.getLogger(__name__)


class PartCopy:
    """One part on its way from a source to the target of a heal. `fault` is what reading the source
    raised."""

    def __init__(self, found: Found, source: Repository, part: Part) -> None:
        self._target, self._key, self._part = found.repository, found.backup.key, part
        self._read: PartBlocks | VerifiedRead = _blocks_of(
            found, source, part
        ) or source.read_verified(self._key, part, in_transit(part))

    @property
    def fault(self) -> Exception | None:
        return self._read.fault

    @property
    def bytes_read(self) -> int:
        """Return how many bytes of the part were read in the source."""
        read = self._read
        return read.bytes_read if isinstance(read, PartBlocks) else read.size_bytes

    def run(self) -> None:
        """Put it into the place of what the target has. Raise what either repository raises."""
        target, read = self._target, self._read
        if isinstance(read, VerifiedRead):
            target.replace_part(self._key, self._part, read)
            return
        assert isinstance(target, ChunkedRepository)  # else `_blocks_of` gives none
        blocks = target.replace_part_by_blocks(self._key, self._part, read)
        for _ in in_transit(self._part)(blocks):
            pass


def compositions(backup: Backup, part: Part) -> frozenset[str]:
    """Return of what a part is made according to proofs that compared all its bytes with the
    manifest, in whichever repository. Pure."""
    return frozenset(
        made.sha256
        for copy in backup.copies
        for proof in copy.proofs
        if proof.passed and proof.full and reaches(proof.depth, "bytes")
        for made in proof.made_of
        if made.part == part.file
    )


def _blocks_of(found: Found, source: Repository, part: Part) -> PartBlocks | None:
    """The blocks of a part; None where it must be read as a whole."""
    if not isinstance(source, ChunkedRepository):
        return None
    if not isinstance(found.repository, ChunkedRepository):
        return None
    if not (known := compositions(found.backup, part)):
        return None
    try:
        blocks = part_blocks(source, found.backup.key, part)
        made = composition(blocks.recipe, blocks.table_of)
    except (BoxDamaged, BytesDiffer, ObjectMissing) as e:
        log.info("%s", e.message)  # whoever reads its bytes finds out what is wrong
        return None
    return blocks if made in known else None
