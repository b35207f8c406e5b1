"""Read an archive that no server takes with the engine, and write its points into a collection.

For archives of another version, shard count or topology, with a missing shard or a broken segment.
What is readable is written, what is lost is named. It is no restore: segments, indexes and the log
are made anew, and cosine vectors, which are stored normalised, may be normalised again. Every point
is read back from the target and compared, vectors within 1e-6.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qdrant_dr.cancel import stopping
from qdrant_dr.cluster import Node, RawPoint, collection_facts, points_by_id, scroll_points
from qdrant_dr.cluster.collection_config import ShardKey
from qdrant_dr.cluster.node import path_of
from qdrant_dr.cluster.ready import wait_ready
from qdrant_dr.cluster.recover import collection_names
from qdrant_dr.cluster.scroll import count_by_scrolling
from qdrant_dr.cluster.target import create_payload_indexes, create_target, target_facts
from qdrant_dr.cluster.upsert import Upserts
from qdrant_dr.config import Config
from qdrant_dr.errors import Interrupted, NothingChecked, ServerFailed
from qdrant_dr.jobs.restore.salvage_facts import (
    body_for,
    comparable,
    counted,
    half_cosine,
    renumbered,
    with_vectors,
)
from qdrant_dr.jobs.run.examine import proof_limits
from qdrant_dr.jobs.run.load_backup import Found
from qdrant_dr.jobs.run.salvage_copies import laid_copies
from qdrant_dr.proof import (
    TOLERANCE,
    Fingerprinter,
    compare_replayed,
    differences,
    engine_covers,
)
from qdrant_dr.proof.damaged_shard import OpenShard, open_pieces
from qdrant_dr.proof.missing_points import find_lost
from qdrant_dr.proof.unpack import LaidOut
from qdrant_dr.records import Manifest, Part

PointId = int | str

HALF_TOLERANCE = 1e-3
"""Of float16 vectors under cosine: their norm is not exactly 1, so a server scales them once more
and rounds to eleven bits again."""
_SHOWN = 8


@dataclass(frozen=True)
class Salvaged:
    """What the target holds now. `expected` is what was sealed, or else counted at the capture.

    `lost_ids` are lost for certain; `lost_unknown` more are lost, of which
    no id is known: None if that cannot be told. `changed_ids` are on the target otherwise than they
    were read. `differs` says where what was read is not what was sealed; vectors of replayed points
    are compared by their number alone, for another machine computes other last bits. `sources` are
    the repositories that it was read from.
    """

    points: int
    expected: int | None
    lost_ids: tuple[PointId, ...]
    lost_unknown: int | None
    changed_ids: tuple[PointId, ...]
    differs: tuple[str, ...]
    notes: tuple[str, ...]
    sources: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Say whether nothing is lost, changed or different from the seal, and that could be
        checked."""
        wrong = self.lost_ids or self.lost_unknown != 0 or self.changed_ids or self.differs
        return not wrong and self.expected is not None


def salvage(
    config: Config,
    found: Found,
    node: Node,
    name: str,
    folder: Path,
    *,
    body: Mapping[str, Any] | None = None,
) -> Salvaged:
    """Read every part of a backup with the engine and upsert its points into `name` on `node`.

    The collection is created like the manifest's, or from `body`, unless it is there already.
    `folder` takes the archives, laid out. Running it again writes the same points again.
    Raise NothingChecked if no shard can be read, RecoverFailed if the server takes nothing, what
    creating raises, StorageFull, Interrupted.
    """
    work = _Work(config, found, node, name, folder)
    if not engine_covers(found.manifest.server_version):
        work.notes.append(
            f"the engine is older than Qdrant {found.manifest.server_version}, which wrote this: "
            "upgrade `qdrant-edge-py` and do it again"
        )
    work.create(body)
    for part in found.manifest.parts:
        work.pour_part(part)
    if not work.shards:
        raise NothingChecked(
            f"no shard of {found.backup.key} can be read: " + "; ".join(work.notes),
            "decide: which older backup is restored instead; `qdrant-dr list` has them.",
        )
    work.finish()
    return work.result()


@dataclass
class _Work:
    config: Config
    found: Found
    node: Node
    name: str
    folder: Path
    notes: list[str] = field(default_factory=list)
    sources: dict[str, None] = field(default_factory=dict)
    shards: set[int] = field(default_factory=set)
    read: Fingerprinter = field(default_factory=Fingerprinter)
    known: set[PointId] = field(default_factory=set)
    changed: set[PointId] = field(default_factory=set)
    halves: frozenset[str] = frozenset()
    limit: int | None = None
    keys: Mapping[int, ShardKey] = field(default_factory=dict)
    strict: Any = None

    def __post_init__(self) -> None:
        self.upserts = Upserts(self.node, self.name)
        self.info: dict[str, Any] = self.manifest.info
        self.halves = half_cosine(self.info["config"]["params"])

    @property
    def manifest(self) -> Manifest:
        return self.found.manifest

    def create(self, body: Mapping[str, Any] | None) -> None:
        """Make the collection, without limits that would slow the writing down, and read its
        facts."""
        clustered = target_facts(self.node).clustered
        by_shard = self.manifest.keys_of_shards
        if self.name in collection_names(self.node):
            self.notes.append(f"{self.name!r} was there already: points were added to it")
        else:
            wanted = dict(body) if body else body_for(self.info, clustered=clustered)
            self.strict = wanted.pop("strict_mode_config", None)
            custom = wanted.get("sharding_method") == "custom"
            keys = renumbered(by_shard) if custom else ()
            create_target(self.node, self.name, wanted, keys=keys)
        facts = collection_facts(self.node, self.name)
        self.limit = facts.max_query_limit
        if facts.sharding_method == "custom":
            self.keys = by_shard
        elif by_shard:
            self.notes.append(
                f"custom sharding is given up: the points of {len(set(by_shard.values()))} shard "
                "keys lie in one collection now, and requests that name a key will fail"
            )

    def pour_part(self, part: Part) -> None:
        """Write whatever can be read of one part."""
        laid = self.folder / part.name
        self._pour(part, laid_copies(self.found, part, laid, self.notes, self.sources))
        shutil.rmtree(laid, ignore_errors=True)

    def _pour(self, part: Part, copies: Sequence[LaidOut]) -> None:
        seen: dict[int, set[PointId]] = {}
        for laid in copies:
            for shard in laid.local_shards:
                with open_pieces(
                    shard, self.folder / "engine", proof_limits(self.config).engine
                ) as opened:
                    if opened is None:
                        self.notes.append(f"shard {shard.shard} cannot be read at all")
                        continue
                    self._pour_shard(part, opened, seen.setdefault(shard.shard, set()))
                    if len(copies) > 1:
                        seen[shard.shard] |= set(opened.ids())
        missing = sorted(set(part.shards) - self.shards)
        if missing:
            self.notes.append(f"{part.file} gave nothing of the shards {missing}")

    def _pour_shard(self, part: Part, opened: OpenShard, seen: set[PointId]) -> None:
        self.shards.add(opened.shard)
        self.notes += opened.notes
        for uuid, ids in opened.dropped.items():
            self.known |= set(ids or ())
            told = "it is unknown of which points" if ids is None else f"{len(ids)} points"
            self.notes.append(f"left out: segment {uuid} of shard {opened.shard} ({told})")
        if not opened.logged and part.wal:
            self.notes.append(
                f"shard {opened.shard} was read without its log: the last writes are missing, and "
                "points that had been deleted may be back"
            )
        key = self.keys.get(opened.shard)
        for page in opened.pages():
            _stop_if_asked()
            some = [p for p in page if p["id"] not in seen] if seen else page
            if some:
                self.upserts.send(some, shard_key=key)
                self.read.add((p["id"], p["payload"], p["vector"]) for p in some)
        wait_ready(self.node, self.name, stop=stopping)
        for page in opened.pages():
            _stop_if_asked()
            self._compare([p for p in page if p["id"] not in seen] if seen else page, key)

    def _compare(self, page: Sequence[RawPoint], key: ShardKey | None) -> None:
        """Read back; what differs is sent once more, its floats spelled for this server."""
        expected = [p for p in page if p["id"] not in self.upserts.refused]
        wrong = self._differing(expected, key)
        if wrong:
            again = [p for p in expected if p["id"] in wrong]
            self.upserts.send(again, shard_key=key, respell=True)
            self.changed |= self._differing(again, key)

    def _differing(self, points: Sequence[RawPoint], key: ShardKey | None) -> set[PointId]:
        if not points:
            return set()
        ids = [p["id"] for p in points]
        there = points_by_id(self.node, self.name, ids, limit=self.limit, shard_key=key)
        served = {p["id"]: p for p in there}
        wrong: set[PointId] = set()
        for only, tolerance in ((False, TOLERANCE), (True, HALF_TOLERANCE)):
            if only and not self.halves:
                continue
            some = [with_vectors(p, self.halves, only=only) for p in points]
            theirs = {i: with_vectors(p, self.halves, only=only) for i, p in served.items()}
            wrong |= set(compare_replayed(some, theirs, tolerance)[0])
        return wrong

    def finish(self) -> None:
        """Create the payload indexes, and set the limits that were held back."""
        create_payload_indexes(self.node, self.name, self.info.get("payload_schema") or {})
        if self.strict:
            self.node.ask(
                "PATCH", path_of(self.name), f"set the strict mode of {self.name!r}",
                json={"strict_mode_config": self.strict}, write=True, collection=self.name,
            )  # fmt: skip
        wait_ready(self.node, self.name, stop=stopping)

    def result(self) -> Salvaged:
        """Count what is there, and find out what is not."""
        seal = self.found.backup.seal
        expected = seal.points if seal else counted(self.manifest)
        points = self._count()
        read = self.read.record()
        refused = self.upserts.refused
        lost: set[PointId] = set(refused)
        unknown = None if expected is None else max(expected - read.points, 0)
        differs: tuple[str, ...] = ()
        if seal is not None:
            differs = tuple(differences(*(comparable(f, seal) for f in (seal.total, read))))
            if read.components["id"] != seal.total.components["id"]:
                told = find_lost(seal.total, read, self._ids_there(), self.known)
                lost |= set(told.ids)
                unknown = self._unknown(seal.points - read.points, told.ids, told.buckets)
        elif self.known:
            lost |= self.known - self._ids_there()
            unknown = None
        if points < read.points - len(refused):
            self.notes.append(
                f"{read.points - len(refused) - points} ids stood in more than one shard: the last "
                "one read was kept"
            )
            unknown = None
        if points > read.points - len(refused):
            others = points - (read.points - len(refused))
            differs = (*differs, f"the target holds {others} points that were not written to it")
        if expected is not None and read.points > expected:
            self.notes.append(
                f"{read.points - expected} points more than the backup had when it was "
                f"{'sealed' if seal else 'made'}: deleted ones are back"
            )
        for why in sorted(set(refused.values()))[:_SHOWN]:
            self.notes.append(f"not taken: {why}")
        self.notes.append(
            "salvaged points are equal to what was read, not bit by bit to the source"
        )
        return Salvaged(
            points=points,
            expected=expected,
            lost_ids=_ordered(lost),
            lost_unknown=unknown,
            changed_ids=_ordered(self.changed),
            differs=differs,
            notes=tuple(dict.fromkeys(self.notes)),
            sources=tuple(self.sources),
        )

    def _unknown(self, missing: int, ids: Sequence[PointId], buckets: Sequence[int]) -> int | None:
        """How many points are lost of which no id is known; None if it cannot be said."""
        if not buckets:
            return 0
        rest = missing - len(ids)
        self.notes.append(
            f"in {len(buckets)} of 256 buckets of ids it is unknown which are lost"
            + (f": {rest} in all" if rest > 0 else ", and some came too much")
        )
        return rest if rest > 0 else None

    def _ids_there(self) -> set[PointId]:
        there = scroll_points(self.node, self.name, limit=self.limit, content=False)
        return {p["id"] for p in there} | set(self.upserts.refused)

    def _count(self) -> int:
        try:
            result = self.node.read(
                path_of(self.name, "points", "count"), f"count {self.name!r}",
                collection=self.name, json={"exact": True},
            )  # fmt: skip
        except ServerFailed:  # strict mode may forbid to ask
            return count_by_scrolling(self.node, self.name, limit=self.limit)
        return int(result["count"])


def _ordered(ids: set[PointId]) -> tuple[PointId, ...]:
    integers = sorted(i for i in ids if isinstance(i, int))
    return (*integers, *sorted(i for i in ids if isinstance(i, str)))


def _stop_if_asked() -> None:
    if stopping.is_set():
        raise Interrupted("asked to stop in the middle of a salvage")
