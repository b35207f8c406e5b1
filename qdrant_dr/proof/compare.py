"""Compare a reading with the seal, and what a server returns with what the engine read."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

from qdrant_dr.errors import ContentDiffers, CountDiffers, OperationBehind, ProofError
from qdrant_dr.proof.fingerprint import Fingerprinter, add, differences, in_pages
from qdrant_dr.proof.point_encoding import (
    ENCODING,
    encode_value,
    encode_vector,
    named_vectors,
    unpacked,
)
from qdrant_dr.proof.readback import ReadBack, ShardCount, ShardReading
from qdrant_dr.records import Component, Fingerprint, Manifest, Seal, SealedShard, ShardFacts

TOLERANCE = 1e-6


@dataclass(frozen=True)
class Comparison:
    """What differs, in the order of shards; how many points were compared, and how many of them are
    replayed ones whose vectors differ within the tolerance. `older_seal`: some vectors are not
    finite, and the seal has the older encoding, with which a server's JSON cannot be compared: that
    alone may be the difference."""

    faults: tuple[ProofError, ...]
    points: int
    within_tolerance: int = 0
    older_seal: bool = False

    @property
    def equal(self) -> bool:
        return not self.faults

    @property
    def verdict(self) -> bool | None:
        """Return whether all is equal; None if nothing differs but not everything was compared."""
        return False if any(f.blames_copy for f in self.faults) else self.equal or None

    def fault(self, where: str, hint: str | None = None) -> ProofError | None:
        """Return everything that differs as one error, else the first thing that was not
        compared."""
        if self.verdict is False:
            what = "; ".join(f.message for f in self.faults)
            return ContentDiffers(f"{where}: {what}", hint)
        return next((type(f)(f"{where}: {f.message}", f.hint) for f in self.faults), None)

    def with_faults(self, faults: Iterable[ProofError]) -> Comparison:
        """Return the comparison with more differences."""
        return replace(self, faults=(*self.faults, *faults))


def compare_counts(
    counts: Sequence[ShardCount], manifest: Manifest, seal: Seal | None
) -> list[ProofError]:
    """Compare operations and exact counts with the seal, or else with the facts of the capture."""
    sealed = {s.shard: s for s in seal.shards} if seal else {}
    facts = {s.shard: s for s in manifest.shards}
    faults: list[ProofError] = []
    for count in counts:
        if seal is None:
            faults += against_facts(count, facts.get(count.shard))
        elif (expected := sealed.get(count.shard)) is None:
            faults.append(CountDiffers(f"shard {count.shard} is not in the seal"))
        else:
            faults += _against_sealed(count, expected)
    if missing := (sealed or facts).keys() - {c.shard for c in counts}:
        faults.append(CountDiffers(f"shards {sorted(missing)} were not read"))
    return faults


def against_facts(count: ShardCount, facts: ShardFacts | None) -> list[ProofError]:
    """Check that the archive is not older than the facts before the capture; if no write was
    applied, that it holds exactly the points that were counted."""
    if facts is None:
        return [CountDiffers(f"shard {count.shard} is not in the manifest")]
    before = facts.operation_before
    if before is not None and count.operation < before:
        return [
            OperationBehind(
                f"shard {count.shard} ends at operation {count.operation}, the source had applied "
                f"{before} before the capture began"
            )
        ]
    if before is None or not before == facts.operation_after == count.operation:
        return []
    live = {n for n in (facts.count_before, facts.count_after) if n is not None}
    if live - {count.points}:
        return [
            CountDiffers(
                f"shard {count.shard} holds {count.points} points, the source counted "
                f"{' and '.join(map(str, sorted(live)))} although nothing was written: deleted "
                "points come back in archives without a write-ahead log",
                "back up with method `collection`; this archive cannot be used.",
            )
        ]
    return []


def _against_sealed(count: ShardCount, sealed: SealedShard) -> list[ProofError]:
    if count.points != sealed.points:
        return [
            CountDiffers(
                f"shard {count.shard} holds {count.points} points, the seal says {sealed.points}"
            )
        ]
    if sealed.operation is not None and count.operation != sealed.operation:
        return [
            ContentDiffers(
                f"shard {count.shard} ends at operation {count.operation}, the seal says "
                f"{sealed.operation}"
            )
        ]
    return []


def compare_with_seal(read: ReadBack, seal: Seal, manifest: Manifest) -> Comparison:
    """Compare bit by bit, shard by shard, except vectors that this machine just replayed from the
    log.

    Those were computed here from bytes whose SHA-256 was verified in the same pass; if they differ
    from what the sealing machine computed, they are counted, not refused.
    """
    faults = compare_counts([s.count for s in read.shards], manifest, seal)
    sealed = {s.shard: s for s in seal.shards}
    within = 0
    for shard in read.shards:
        if (expected := sealed.get(shard.shard)) is None:
            continue
        found, tolerated = _compare_shard(shard, expected)
        faults += found
        within += tolerated
    if not faults and not within and (words := differences(seal.total, read.total)):
        faults.append(ContentDiffers(f"all shards: {'; '.join(words)}"))
    return Comparison(tuple(faults), read.points, within)


def _compare_shard(read: ShardReading, sealed: SealedShard) -> tuple[list[ProofError], int]:
    words = differences(sealed.settled, read.settled)
    tolerated = 0
    if sealed.replayed_ids != read.replayed_ids:
        words.append(
            f"the log replays {len(read.replayed_ids)} points, not the {len(sealed.replayed_ids)} "
            "of the seal"
        )
    elif sealed.replayed and read.replayed and differences(sealed.replayed, read.replayed):
        words += differences(without_vectors(sealed.replayed), without_vectors(read.replayed))
        tolerated = len(read.replayed_ids)
    if words:
        return [ContentDiffers(f"shard {read.shard}: {'; '.join(words)}")], 0
    return [], tolerated


def without_vectors(fingerprint: Fingerprint) -> Fingerprint:
    """Return the fingerprint with vectors reduced to their counts."""
    zero = Component(count=0, sum="0" * 64, buckets="0" * 4096)
    components = {
        name: zero.model_copy(update={"count": c.count}) if name.startswith("vector:") else c
        for name, c in fingerprint.components.items()
    }
    update = {"encoding": 1, "components": components, "not_finite": {}}
    return fingerprint.model_copy(update=update)


def _but(
    points: Iterable[Mapping[str, Any]], ids: Container[int | str], late: list[Mapping[str, Any]]
) -> Iterator[Mapping[str, Any]]:
    """Yield the points without those of `ids`, which are kept as `late`."""
    for point in points:
        if point["id"] in ids:
            late.append(point)
        else:
            yield point


def compare_served(
    points: Iterable[Mapping[str, Any]],
    shards: Sequence[SealedShard],
    replayed_points: Iterable[Mapping[str, Any]] = (),
) -> Comparison:
    """Compare the points of a server's scroll with a seal's shards, or with those of a `ReadBack`.

    `replayed_points` are this machine's engine reading of the same verified bytes: replayed vectors
    may differ from it by `TOLERANCE`, everything else must be equal bit by bit.
    """
    replayed_ids = {i for s in shards for i in s.replayed_ids}
    settled, replayed = Fingerprinter(), Fingerprinter()
    served: dict[int | str, Mapping[str, Any]] = {}
    for page in in_pages(points):
        late: list[Mapping[str, Any]] = []
        settled.add_served(_but(page, replayed_ids, late))
        replayed.add_served(late)
        served |= {p["id"]: p for p in late}
    count = settled.sums["id"].count + len(served)
    sealed = [f for s in shards for f in (s.settled, s.replayed) if f]
    older = bool(settled.not_finite or replayed.not_finite) and all(
        f.encoding < ENCODING for f in sealed
    )
    faults: list[ProofError] = []
    if count != (expected := sum(s.points for s in shards)):
        faults.append(CountDiffers(f"the server holds {count} points, the seal says {expected}"))
    if words := differences(add(*(s.settled for s in shards)), settled.record()):
        faults.append(ContentDiffers(f"on the server: {'; '.join(words)}"))
    late_parts = [s.replayed for s in shards if s.replayed]
    if not late_parts or not differences(add(*late_parts), replayed.record()):
        return Comparison(tuple(faults), count, older_seal=older)
    wrong, within = compare_replayed(replayed_points, served)
    if wrong:
        faults.append(
            ContentDiffers(
                f"on the server: {len(wrong)} of {len(replayed_ids)} points of the log differ: "
                f"{', '.join(map(str, wrong[:8]))}"
            )
        )
    return Comparison(tuple(faults), count, within, older)


def compare_replayed(
    expected: Iterable[Mapping[str, Any]],
    served: Mapping[int | str, Mapping[str, Any]],
    tolerance: float = TOLERANCE,
) -> tuple[list[int | str], int]:
    """Return ids that differ by more than vectors may, and how many vectors differ within
    `tolerance`.

    An unexpected point in the server's answer also differs.
    """
    wrong: list[int | str] = []
    within = 0
    left = set(served)
    for point in expected:
        left.discard(point["id"])
        other = served.get(point["id"])
        if other is None or not _same_payload(point, other):
            wrong.append(point["id"])
            continue
        one, two = (
            {name: unpacked(v) for name, v in named_vectors(p.get("vector")).items()}
            for p in (point, other)
        )
        if _encoded(one) == _encoded(two):
            continue
        apart = _distance(one, two)
        if apart is not None and apart <= tolerance:
            within += 1
        else:
            wrong.append(point["id"])
    return [*wrong, *sorted(left, key=str)], within


def alike(one: Any, two: Any, tolerance: float = TOLERANCE) -> bool:
    """Say whether two vectors differ by no more than the machines that normalised them."""
    apart = _distance(unpacked(one), unpacked(two))
    return apart is not None and apart <= tolerance


def differing_points(
    one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]
) -> list[int | str]:
    """Return ids of points that differ between two lists, except vectors within the tolerance: each
    replica normalizes vectors itself, and CPUs differ in the last bits."""
    rows = [
        {p["id"]: row.tobytes() for p, row in zip(points, _rows(points), strict=True)}
        for points in (one, other)
    ]
    suspects = {i for i in rows[0].keys() | rows[1].keys() if rows[0].get(i) != rows[1].get(i)}
    served = {p["id"]: p for p in other if p["id"] in suspects}
    wrong, _ = compare_replayed((p for p in one if p["id"] in suspects), served)
    return wrong


def _rows(points: Sequence[Mapping[str, Any]]) -> Iterable[Any]:
    """Yield a digest for each point."""
    if not points:
        return ()
    return Fingerprinter().add((p["id"], p.get("payload"), p.get("vector")) for p in points)


def _same_payload(one: Mapping[str, Any], two: Mapping[str, Any]) -> bool:
    return encode_value(one.get("payload")) == encode_value(two.get("payload"))


def _encoded(vectors: dict[str, Any]) -> dict[str, bytes]:
    return {name: encode_vector(vector) for name, vector in vectors.items()}


def _distance(one: Any, two: Any) -> float | None:
    """Return the largest difference of numbers in the same place, None if the places differ."""
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        if one.keys() != two.keys():
            return None
        parts = [_distance(one[k], two[k]) for k in one]
    elif isinstance(one, list) and isinstance(two, list):
        if len(one) != len(two):
            return None
        parts = [_distance(a, b) for a, b in zip(one, two, strict=True)]
    elif _is_number(one) and _is_number(two):
        return abs(float(one) - float(two))
    elif not (_is_number(one) or _is_number(two)) and _is_component(one) and _is_component(two):
        return 0.0  # neither is finite
    else:
        return None
    if any(part is None for part in parts):
        return None
    return max((part for part in parts if part is not None), default=0.0)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and isfinite(value)


def _is_component(value: Any) -> bool:
    return value is None or isinstance(value, int | float)
