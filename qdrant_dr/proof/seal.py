"""Make the seal of a backup, once, from the first reading of its content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from qdrant_dr.errors import ContentDiffers, NothingChecked, NotSealable
from qdrant_dr.proof.compare import against_facts
from qdrant_dr.proof.drift import baseline_of, carry, drift
from qdrant_dr.proof.readback import PointPlace, ReadBack
from qdrant_dr.proof.search import carried, judge, mean_recalls
from qdrant_dr.records import Baseline, Manifest, Seal

RECALL_DRIFT = 0.2
"""Share of its recall that an index may lose between two backups without a remark."""


@dataclass(frozen=True)
class LiveSample:
    """Points read from the source around the capture: `digest_point` of each, by its place."""

    points: Mapping[PointPlace, Mapping[str, int]]


def plan_seal(
    manifest: Manifest,
    read: ReadBack,
    live: LiveSample | None,
    previous: Seal | None,
    *,
    drift_limit: float,
    now: datetime,
    baseline: Baseline | None = None,
) -> Seal:
    """Make the seal of a backup whose bytes were fully verified while `read` was made from them.

    `previous` is the seal of the backup before, of the same incarnation; `baseline` is what its
    content is compared with, None: the one that `previous` passes on.

    Raise OperationBehind if a shard lacks writes that were acknowledged before the capture,
    CountDiffers or ContentDiffers if nothing was written but the archive differs from the source,
    NotSealable if nothing shows that it holds exactly the acknowledged writes, NothingChecked if a
    shard was not read.
    """
    facts = {s.shard: s for s in manifest.shards}
    if facts.keys() != {s.shard for s in read.shards}:
        raise NothingChecked(
            f"only shards {sorted(s.shard for s in read.shards)} of {sorted(facts)} were read"
        )
    for shard in read.shards:
        for fault in against_facts(shard.count, facts[shard.shard]):
            raise fault
    if unknown := [n for n, f in sorted(facts.items()) if f.operation_before is None]:
        raise NotSealable(
            f"the source reported no operation numbers of shards {unknown}: nothing shows that "
            "every "
            "write acknowledged before the capture is in the archive",
            "back up again; if it happens again, the server is too old to be proven.",
        )
    quiesced = all(
        facts[s.shard].operation_before == facts[s.shard].operation_after == s.count.operation
        for s in read.shards
    )
    if not quiesced and (bare := [p.name for p in manifest.parts if not p.wal]):
        raise NotSealable(
            f"{', '.join(bare)} has no write-ahead log, and the operation numbers do not show "
            "that nothing was written: deleted points may have come back in it"
        )
    judged = judge(read.asked, previous)  # a fault that the previous seal has too is a remark
    asked = {q.vector for a in read.asked for q in a.golden}
    doubt = _doubt(manifest, read, live, quiesced=quiesced)
    if quiesced and live is not None:
        _compare_live(live, read)
    if baseline is None and previous is not None:
        baseline = baseline_of([previous])
    drifted: tuple[str, ...] = ()
    if baseline is not None and previous is not None:
        # in the encoding of the previous seal: both are equal if everything is finite
        sketch = read.sketch_in(previous.total.encoding)
        drifted = drift(read.total, sketch, previous, baseline, drift_limit)
    return Seal(
        backup_id=manifest.backup_id,
        cluster=manifest.cluster,
        collection=manifest.collection,
        manifest_sha256=manifest.sha256,
        sealed_at=now,
        engine_version=read.engine_version,
        consistency="quiesced" if quiesced else "in-motion",
        reference="self" if doubt else "source",
        reference_reason=doubt or "operations, counts per shard and the live sample are equal",
        live_sample=len(live.points) if live is not None and quiesced else 0,
        points=read.points,
        shards=tuple(s.sealed() for s in read.shards),
        total=read.total,
        sketch=read.sketch,
        suspect=(*drifted, *(fault.message for fault in judged.faults)),
        remarks=(*judged.remarks, *fallen_indexes(read, previous)),
        unsearchable=() if judged.unasked else tuple(sorted(carried(read.total) - asked)),
        previous_backup_id=previous.backup_id if previous else None,
        golden=tuple(q for a in read.asked for q in a.golden),
        filters=tuple(t for a in read.asked for t in a.filters),
        baseline=carry(
            read.total,
            read.sketch_in(baseline.encoding) if baseline else read.sketch,
            baseline,
            drifted=bool(drifted),
        ),
    )


def fallen_indexes(read: ReadBack, previous: Seal | None) -> tuple[str, ...]:
    """Report vector indexes that answer worse than in the backup before. Every copy has them as
    they are on the source, and no older backup has newer points."""
    before = mean_recalls(previous.golden) if previous else {}
    found = mean_recalls(q for a in read.asked for q in a.golden)
    return tuple(
        f"the source's own index of vector {asked[0]!r} finds {recall:.0%} of the nearest points, "
        f"{before[asked]:.0%} in the backup before"
        for asked, recall in found.items()
        if before.get(asked, 0) - recall > RECALL_DRIFT
    )


def unasked(read: ReadBack) -> tuple[str, ...]:
    """Say what prevented this machine from asking the indexes: the seal then has no questions."""
    return judge(read.asked).unasked


def _doubt(
    manifest: Manifest, read: ReadBack, live: LiveSample | None, *, quiesced: bool
) -> str | None:
    """Say why this seal cannot claim that the archive equals the source."""
    if not quiesced:
        return "the source was written to during the capture"
    if any(s.count_before is None or s.count_after is None for s in manifest.shards):
        return "the source gave no exact counts"
    if read.points and (live is None or not live.points):
        return "no point was compared with the live source"
    return None


def _compare_live(live: LiveSample, read: ReadBack) -> None:
    found = read.sampled
    missing = [i for i in live.points if i not in found]
    if missing:
        raise ContentDiffers(
            f"{len(missing)} of {len(live.points)} points of the live source are not in the "
            f"archive, although nothing was written: {_some(missing)}"
        )
    # what this machine just replayed may differ from the source in the last bits of its vectors
    replayed = {(s.shard, i) for s in read.shards for i in s.replayed_ids}
    names_apart = {
        i: [
            n
            for n, d in _both(digests, found[i])
            if d[0] != d[1] and not (i in replayed and n.startswith("vector:") and None not in d)
        ]
        for i, digests in live.points.items()
    }
    apart = [i for i, names in names_apart.items() if names]
    if apart:
        names = sorted({n for i in apart for n in names_apart[i]})
        raise ContentDiffers(
            f"{len(apart)} of {len(live.points)} points differ from the live source in "
            f"{', '.join(names)}: {_some(apart)}"
        )


def _both(
    one: Mapping[str, int], two: Mapping[str, int]
) -> list[tuple[str, tuple[int | None, int | None]]]:
    return [(n, (one.get(n), two.get(n))) for n in one.keys() | two.keys()]


def _some(places: list[PointPlace]) -> str:
    return ", ".join(str(i) for _, i in places[:8]) + (", ..." if len(places) > 8 else "")
