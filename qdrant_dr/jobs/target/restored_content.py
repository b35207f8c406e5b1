"""Does the target hold what was backed up? Every point of it, on every node, and its settings."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from qdrant_dr.cancel import stopping
from qdrant_dr.cluster import CollectionFacts, Node, RawPoint, collection_facts, scroll_points
from qdrant_dr.cluster.collection_config import differences
from qdrant_dr.cluster.facts import READABLE_STATES, ShardState
from qdrant_dr.cluster.grpc_points import GrpcPoints, GrpcUnfit, grpc_points
from qdrant_dr.config import Config
from qdrant_dr.errors import (
    ContentDiffers,
    Interrupted,
    NothingChecked,
    ProofError,
    ServerFailed,
)
from qdrant_dr.jobs.run.examine import proof_limits
from qdrant_dr.proof import (
    Comparison,
    Fingerprinter,
    ReadBack,
    Reader,
    add,
    compare_served,
    only_ids,
    prove,
)
from qdrant_dr.proof import differences as differences_of
from qdrant_dr.records import Manifest, Seal, SealedShard

REPLICAS_AT_ONCE = 4
REPLICATION = ("params.replication_factor ", "params.write_consistency_factor ")


@dataclass(slots=True)
class Reference:
    """What a backup holds: its seal, and where that is missing or not enough, what this machine's
    engine reads out of the verified bytes that `reader` gives. Read once, and only if needed.

    `late` are the points that the log brought, where they were read already.
    """

    config: Config
    manifest: Manifest
    seal: Seal | None
    reader: Reader
    folder: Path
    late: Sequence[Mapping[str, Any]] | None = None
    _read: ReadBack | None = None
    _reads: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def shards(self) -> Sequence[SealedShard]:
        """Return what each shard holds. Raise NothingChecked if an unsealed copy cannot be read."""
        return self.seal.shards if self.seal is not None else self.as_read()

    def as_read(self) -> Sequence[SealedShard]:
        """Return what each shard holds, as this machine reads bytes that equal the seal, if there
        is one, in today's version of the encoding. Raise NothingChecked if they cannot be read."""
        return [s.sealed() for s in self._reading().shards]

    def replayed(self, sealed: SealedShard) -> list[Mapping[str, Any]]:
        """Return the points of one shard that the log brought, as this machine reads them.

        Raise NothingChecked with what is wrong with the bytes.
        """
        late = self._reading().replayed_points if self.late is None else self.late
        ids = set(sealed.replayed_ids)
        return [p for p in late if p["id"] in ids]

    def _reading(self) -> ReadBack:
        with self._reads:  # replicas are compared side by side; the archive is read once for all
            return self._read_once()

    def _read_once(self) -> ReadBack:
        if self._read is None:
            exam = prove(
                self.manifest, self.reader, depth="content", folder=self.folder, seal=self.seal,
                keep_replayed=True, limits=proof_limits(self.config),
            )  # fmt: skip
            if exam.findings or exam.read_back is None:
                what = "; ".join(f.message for f in exam.findings) or "no point was read"
                raise NothingChecked(
                    f"there is nothing to compare the restored points with: {what}",
                    f"run `qdrant-dr verify {self.manifest.key}`, heal it, then run this again.",
                )
            self._read = exam.read_back
        return self._read


def compare_content(
    reference: Reference, nodes: Mapping[int | None, Node], name: str
) -> Comparison:
    """Compare every point of every replica on these nodes: what one node answers is not all of
    them.

    A replica that kept what it had may be Active and hold equally many points (`no_sync` into an
    existing collection: measured on Qdrant 1.18.3). So each is read by itself, shard by shard,
    which also shows points that lie in another shard than they did. A collection that lies on one
    node alone is read whole over gRPC, where that node speaks it.
    """
    sealed = {s.shard: s for s in reference.shards()}
    replicas: list[tuple[CollectionFacts, Node, SealedShard]] = []
    foreign: list[ContentDiffers] = []
    for node in nodes.values():
        facts = collection_facts(node, name)
        for replica in facts.shards:
            if replica.shard not in sealed:
                foreign += not_of_the_backup(replica, node)
            elif replica.state in READABLE_STATES:
                replicas.append((facts, node, sealed[replica.shard]))
    whole = _read_whole(reference, replicas) if len(nodes) == 1 and replicas else None
    if whole is not None and whole.equal:
        return whole.with_faults(foreign)
    with ThreadPoolExecutor(REPLICAS_AT_ONCE, "compare") as pool:
        read = list(pool.map(lambda r: _compare_replica(reference, *r), replicas))
    found: dict[int, list[Comparison]] = {shard: [] for shard in sealed}
    for (_, _, of_shard), comparison in zip(replicas, read, strict=True):
        found[of_shard.shard].append(comparison)
    faults: list[ProofError] = [
        fault for comparisons in found.values() for c in comparisons for fault in c.faults
    ]
    faults += [
        NothingChecked(f"no replica of shard {shard} could be read: nothing of it was compared")
        for shard, comparisons in found.items()
        if not comparisons
    ]
    if whole is not None and not faults:
        faults.append(_two_answers(whole))
    faults += foreign
    firsts = [comparisons[0] for comparisons in found.values() if comparisons]
    within = sum(c.within_tolerance for c in firsts)
    return Comparison(tuple(faults), sum(c.points for c in firsts), within)


def _two_answers(whole: Comparison) -> NothingChecked:
    what = "; ".join(f.message for f in whole.faults)
    return NothingChecked(
        f"read over REST everything is equal, over gRPC it is not ({what}): nothing is proven",
        "set `cluster.grpc_port: 0`, run this again, and report this: one of the two is wrong.",
    )


def _read_whole(
    reference: Reference, replicas: Sequence[tuple[CollectionFacts, Node, SealedShard]]
) -> Comparison | None:
    """All shards at once over gRPC, which cannot read one alone; over REST only which ids each of
    them holds. None where that cannot be, or where it was not this node that answered: then what
    was read says nothing. Nor does it where an id lies in several shards, as it may with custom
    sharding: a scroll of all of them gives it once (point_ops.rs of Qdrant 1.18.3)."""
    facts, node, _ = replicas[0]
    sealed = [s for _, _, s in replicas]
    ours = {s.shard for s in sealed}
    if facts.shard_ids != ours or not all(r.local for r in facts.replicas):
        return None
    if ours != {s.shard for s in reference.shards()}:
        return None
    try:
        with grpc_points(node) as over_grpc:
            found = _compare(reference, sealed, partial(_points, facts, node, None, over_grpc))
            if len(sealed) > 1:
                if found.points != sum(s.points for s in sealed):
                    return None
                found = found.with_faults(_misplaced(facts, node, sealed))
            return found if over_grpc.belongs_to_node() else None
    except (GrpcUnfit, ServerFailed):
        return None


def _misplaced(
    facts: CollectionFacts, node: Node, sealed: Sequence[SealedShard]
) -> list[ContentDiffers]:
    """Shards that hold other ids than they did."""
    faults = []
    for shard in sealed:
        ids = Fingerprinter()
        limit = facts.max_query_limit
        points = scroll_points(
            node, facts.collection, shard=shard.shard, limit=limit, content=False
        )
        while page := list(islice(points, 10_000)):
            ids.add((p["id"], None, None) for p in page)
        expected = add(*(f for f in (shard.settled, shard.replayed) if f))
        if words := differences_of(only_ids(expected), ids.record()):
            faults.append(ContentDiffers(f"shard {shard.shard}: {'; '.join(words)}"))
    return faults


def _points(
    facts: CollectionFacts, node: Node, shard: int | None, over_grpc: GrpcPoints | None
) -> Iterator[RawPoint]:
    for point in scroll_points(
        node, facts.collection, shard=shard, limit=facts.max_query_limit, over_grpc=over_grpc
    ):
        if stopping.is_set():
            raise Interrupted(f"asked to stop while {facts.collection!r} was compared")
        yield point


def not_of_the_backup(replica: ShardState, node: Node) -> list[ContentDiffers]:
    """Report a shard that the backup does not have, unless it is empty."""
    if replica.count == 0:
        return []
    held = (
        "points that could not be counted" if replica.count is None else f"{replica.count} points"
    )
    return [
        ContentDiffers(f"shard {replica.shard} on {node.url} is not of the backup and holds {held}")
    ]


def _compare_replica(
    reference: Reference, facts: CollectionFacts, node: Node, sealed: SealedShard
) -> Comparison:
    """One node's replica of one shard."""
    found = _compare(reference, [sealed], partial(_points, facts, node, sealed.shard, None))
    where = f"shard {sealed.shard} on {node.url}"
    faults = [type(f)(f"{where}: {f.message}", f.hint) for f in found.faults]
    return replace(found, faults=tuple(faults))


def _compare(
    reference: Reference, sealed: Sequence[SealedShard], points: Callable[[], Iterator[RawPoint]]
) -> Comparison:
    """What a server serves of some shards with what they held.

    Vectors that a server replayed from the log may differ in the last bits from what sealed the
    backup: then they are held against this machine's own reading of the same bytes. So is all of
    it where an older seal has components that are not finite by their bits, which no server's JSON
    tells.
    """
    found = compare_served(points(), sealed)
    if found.faults and found.older_seal:
        ours = {s.shard for s in sealed}
        sealed = [s for s in reference.as_read() if s.shard in ours]
        found = compare_served(points(), sealed)
    if found.faults and any(s.replayed_ids for s in sealed):
        replayed = [p for s in sealed for p in reference.replayed(s)]
        found = compare_served(points(), sealed, replayed)
    return found


def lost_indexes(manifest: Manifest, node: Node, name: str) -> tuple[ContentDiffers, ...]:
    """Report payload indexes that are not as they were: a restore can lose them and still answer
    200 (measured on Qdrant 1.18.3 with an archive cut before its last member)."""
    indexes, _ = unlike(manifest, node, name, replication_factor=None)
    return tuple(ContentDiffers(words) for words in indexes)


def unlike(
    manifest: Manifest, node: Node, name: str, *, replication_factor: int | None
) -> tuple[list[str], list[str]]:
    """Name payload indexes, and settings, that are not as they were.

    A replication that was asked for is no difference.
    """
    info = collection_facts(node, name).info
    said = differences(manifest.info, info)
    indexes = [d for d in said if d.startswith("payload index ")]
    settings = [d for d in said if d not in indexes]
    if replication_factor is not None:
        settings = [d for d in settings if not d.startswith(REPLICATION)]
    return indexes, settings
