"""Export what can still be read of a damaged archive, and say which points cannot."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from qdrant_dr.config import Config
from qdrant_dr.errors import NothingChecked
from qdrant_dr.jobs.export.destination import LOST_IDS, Destination
from qdrant_dr.jobs.export.shard_files import ShardWriter, WrittenShard
from qdrant_dr.jobs.run.examine import proof_limits
from qdrant_dr.jobs.run.load_backup import Found
from qdrant_dr.jobs.run.salvage_copies import laid_copies
from qdrant_dr.proof import add, differences
from qdrant_dr.proof.damaged_shard import OpenShard, open_pieces
from qdrant_dr.proof.fingerprint import bucket_of, buckets_apart
from qdrant_dr.proof.missing_points import find_lost
from qdrant_dr.records import Fingerprint, Part

PointId = int | str
Put = Callable[[WrittenShard], None]


@dataclass
class Salvaged:
    """What became of it. `lost` is None if it cannot be told how many points are missing; `equal`
    is None where nothing says what should be there."""

    notes: list[str] = field(default_factory=list)
    used: dict[str, None] = field(default_factory=dict)
    lost_ids: list[PointId] = field(default_factory=list)
    lost: int | None = None
    equal: bool | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(self.used)

    def put_ids(self, to: Destination, folder: Path) -> str | None:
        """Put the ids of lost points beside the files, one a line; return the file's name."""
        if not self.lost_ids:
            return None
        data = "".join(json.dumps({"id": i}) + "\n" for i in self.lost_ids).encode()
        file = folder / LOST_IDS
        file.write_bytes(data)
        to.put(file, LOST_IDS, hashlib.sha256(data).hexdigest())
        return LOST_IDS


def write_salvaged(config: Config, found: Found, writer: ShardWriter, put: Put) -> Salvaged:
    """Write whatever can be read of each part, from one good copy or all damaged ones, and give
    each file to `put`. Raise NothingChecked if nothing can be read, StorageFull, Interrupted."""
    work = _Salvage(config, found, writer, put)
    for part in found.manifest.parts:
        work.part(part)
    if work.read is None:
        raise NothingChecked(
            f"nothing of {found.backup.key} can be read: {'; '.join(work.told.notes)}",
            "decide: which older backup is exported instead; `qdrant-dr list` has them.",
        )
    work.conclude(work.read)
    return work.told


@dataclass
class _Salvage:
    config: Config
    found: Found
    writer: ShardWriter
    put: Put
    told: Salvaged = field(default_factory=Salvaged)
    read: Fingerprint | None = None
    there: dict[int, set[PointId]] = field(default_factory=dict)
    known: set[PointId] = field(default_factory=set)
    shards: set[int] = field(default_factory=set)

    def part(self, part: Part) -> None:
        """Write what each copy of a part gives beyond those before it."""
        place = self.writer.folder / part.name
        limits = proof_limits(self.config).engine
        for n, laid in enumerate(
            laid_copies(self.found, part, place, self.told.notes, self.told.used)
        ):
            for shard in laid.local_shards:
                with open_pieces(shard, self.writer.folder / "engine", limits) as opened:
                    if opened is None:
                        self.told.notes.append(f"shard {shard.shard} cannot be read at all")
                        continue
                    self._shard(opened, n)
        if missing := sorted(set(part.shards) - self.shards):
            self.told.notes.append(f"{part.file} gave nothing of the shards {missing}")

    def _shard(self, opened: OpenShard, copy: int) -> None:
        notes = self.told.notes
        notes += opened.notes
        for uuid, ids in opened.dropped.items():
            self.known |= set(ids or ())
            held = "it is unknown of which points" if ids is None else f"{len(ids)} points"
            notes.append(f"left out: segment {uuid} of shard {opened.shard} ({held})")
        if opened.logged is False:
            notes.append(
                f"shard {opened.shard} was read without its log: the last writes are missing, and "
                "points that had been deleted may be back"
            )
        held_ids = set(opened.ids())
        there = self.there.setdefault(opened.shard, set())  # another shard key has its own ids
        seen = there & held_ids
        name = f"shard-{opened.shard}{f'-{copy + 1}' if copy else ''}.{self.writer.form}"
        written = self.writer.write(
            opened.engine, opened.shard, name, opened.points, but=sorted(seen, key=str)
        )
        there |= held_ids
        self.shards.add(opened.shard)
        if written.file.points or not copy:
            self.put(written)
            read = written.file.fingerprint
            self.read = add(self.read, read) if self.read else read
        written.path.unlink()

    def conclude(self, read: Fingerprint) -> None:
        """Find out what is missing."""
        told, seal = self.told, self.found.backup.seal
        there: set[PointId] = set().union(*self.there.values())
        if seal is None:
            told.lost_ids = _ordered(self.known - there)
            told.notes.append("it has no seal: nothing says how many points it should have")
            return
        differs = differences(seal.total, read)
        told.equal = not differs
        told.notes += differs
        wrong = set(buckets_apart(seal.total, read))
        if doubtful := sum(bucket_of(i) in wrong for some in self.there.values() for i in some):
            told.notes.append(
                f"{doubtful} of {read.points} points that were read lie in buckets that differ: "
                "their payload or vectors may not be what was sealed"
            )
        lost = find_lost(seal.total, read, there, self.known)
        told.lost_ids = list(lost.ids)
        missing = max(seal.points - read.points, 0)
        if not lost.buckets:
            told.lost = len(lost.ids)
            return
        told.lost = missing if missing >= len(lost.ids) else None
        told.notes.append(
            f"in {len(lost.buckets)} of 256 buckets of ids it is unknown which are lost"
        )


def _ordered(ids: set[PointId]) -> list[PointId]:
    integers = sorted(i for i in ids if isinstance(i, int))
    return [*integers, *sorted(i for i in ids if isinstance(i, str))]
