"""Prove all bytes of a copy that is stored in blocks without putting it together again.

When its bytes were compared with the manifest, the proof kept of which blocks each part is made.
As long as it is made of the same ones, it is enough that every pack holds what its table says, and
of that one reading per run tells all backups that share the pack. Where anything is not as it was,
the bytes are put together and compared again.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from qdrant_dr.errors import BoxDamaged, ObjectMissing
from qdrant_dr.jobs.run.load_backup import Found
from qdrant_dr.proof import Examination, engine_version
from qdrant_dr.records.proof import MadeOf, reaches
from qdrant_dr.repository.chunked import ChunkedRepository
from qdrant_dr.repository.pack_verdicts import PackVerdicts
from qdrant_dr.stores.base import Stat
from qdrant_dr.vault.box import Table
from qdrant_dr.vault.composition import composition

_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Made:
    """What the parts of a copy are made of now: the composition of each, and the packs with the
    digests of their tables."""

    of: tuple[MadeOf, ...]
    packs: dict[str, Stat]
    boxes: dict[str, bytes]


def made_of(found: Found) -> Made | None:
    """Look at recipes and tables; None for a copy that is not stored in blocks, or of which they
    cannot be read: then whoever reads the bytes finds out why."""
    vault, key = found.repository, found.backup.key
    if not isinstance(vault, ChunkedRepository):
        return None
    try:
        listed = vault.list_packs(key)
        packs: dict[str, Stat] = {}
        tables: dict[str, Table] = {}

        def table_of(name: str) -> Table:
            if name not in tables:
                packs[name] = _listed(listed, name)
                tables[name] = vault.table_of(packs[name])
            return tables[name]

        parts = tuple(
            MadeOf(part=p.file, sha256=composition(vault.read_recipe(key, p.file), table_of))
            for p in found.manifest.parts
        )
    except (BoxDamaged, ObjectMissing):
        return None
    return Made(parts, packs, {name: table.box_sha256 for name, table in tables.items()})


def _listed(packs: Mapping[str, Stat], name: str) -> Stat:
    if name not in packs:
        raise ObjectMissing(f"pack {name} is not there")
    return packs[name]


def prove_by_packs(
    found: Found, made: Made | None, known: PackVerdicts
) -> tuple[Examination, int] | None:
    """Examine the packs of a copy that was proven when it was made of what it is made of now, and
    count the bytes that were read. None if that cannot be told so, or something is wrong: what,
    only its bytes can say, since a pack may be bad where this copy uses nothing of it."""
    vault = found.repository
    proven = any(
        p.passed and p.full and reaches(p.depth, "bytes") and made and p.made_of == made.of
        for p in found.backup.copy(vault.name).proofs
    )
    if made is None or not proven or not isinstance(vault, ChunkedRepository):
        return None
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        verdicts = list(pool.map(lambda pack: known.of(vault, pack), made.packs.values()))
    for name, (verdict, _) in zip(made.packs, verdicts, strict=True):
        if verdict.error is not None or verdict.box != made.boxes[name]:
            return None
    size = found.manifest.size_bytes
    exam = Examination(
        depth="bytes",
        reached="bytes",
        findings=(),
        bytes_expected=size,
        bytes_checked=size,
        points_expected=None,
        points_checked=None,
        within_tolerance=0,
        sample=None,
        engine=engine_version(),
    )
    return exam, sum(read for _, read in verdicts)
