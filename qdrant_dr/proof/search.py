"""Judge the answers of indexes: golden queries against exact answers, filters against unindexed

counts. Pure: `questions` asks the engine, and a job asks a server that restored the backup. Shards
are judged one by one, as an archive is opened, so that a bad shard cannot hide among good ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, quantiles
from typing import Any

from qdrant_dr.errors import DRError, SearchDiffers
from qdrant_dr.proof.engine_search import TOP
from qdrant_dr.proof.payloads import fits, values_at
from qdrant_dr.records import FilterTruth, Fingerprint, GoldenQuery, Manifest, Seal, Searched

LOSS_PPM = 50_000
"""How much mean recall a vector may lose since it was sealed; the same bytes lose none."""
SINGLE_LOSS_PPM = 500_000
"""How much recall one query may lose."""
NARROW_LOSS_PPM = 100_000
"""How much mean recall the narrowest beam may lose: it varies more when a server rebuilds
graphs."""
FLOOR_PPM = 250_000
"""Below this mean recall an index gets a remark, even if it was no better when sealed."""
TIE = 1e-6
_WHOLE = 1_000_000
ANY = 16
"""How many values one condition asks for."""
PARTS = (16, 2)
"""Ranges hold about one of this many points."""
SLACK = 2.0**-40
"""Share of a float by which a bound lies beside it. One in ten floats of a payload is read a last
bit off what was written, but lies in its index as written (serde_json 1.0.150 without
`float_roundtrip`: measured on Qdrant 1.18.3): a bound on such a value tells the two apart."""


@dataclass(frozen=True)
class Asked:
    """The answers of one shard: recalls (usual and narrowest beam) and a latency for each golden
    query, a count for each filter. `missing` lists missing payload indexes; `fault` says why
    nothing more could be asked, which says nothing about the copy."""

    shard: int
    golden: tuple[GoldenQuery, ...] = ()
    filters: tuple[FilterTruth, ...] = ()
    recalls_ppm: tuple[int, ...] = ()
    narrow_ppm: tuple[int, ...] = ()
    latencies_us: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()
    missing: tuple[str, ...] = ()
    fault: DRError | None = None


@dataclass(frozen=True)
class Judged:
    """The result of searches. `faults` are those of the copy, `remarks` also concern the source,
    and `unasked` says about which shards nothing is known."""

    faults: tuple[SearchDiffers, ...]
    remarks: tuple[str, ...]
    unasked: tuple[str, ...]
    searched: Searched


def recall_ppm(hits: Sequence[int | str], scores: Sequence[tuple[int | str, float]]) -> int:
    """Return the share of the `TOP` best of `scores` (exact, best first) that an index found, in

    millionths. A hit that scores as well as the last of the best counts: ties have no order.
    """
    wanted = min(TOP, len(scores))
    if not wanted:
        return 0
    last = scores[wanted - 1][1]
    near = TIE * max(1.0, abs(last))
    good = {i for n, (i, score) in enumerate(scores) if n < wanted or abs(score - last) <= near}
    return min(sum(h in good for h in hits), wanted) * _WHOLE // wanted


def judge(asked: Sequence[Asked], seal: Seal | None = None) -> Judged:
    """Judge the answers shard by shard, and summarise the searches.

    What the `seal` already says about the source in the same words is not the copy's fault.
    """
    faults: list[SearchDiffers] = []
    remarks: list[str] = []
    of_source = {*seal.suspect, *seal.remarks} if seal else set()
    for shard in asked:
        lost, poor = _judge_shard(shard)
        faults += (SearchDiffers(words) for words in lost if words not in of_source)
        remarks += poor + [words for words in lost if words in of_source]
    recalls = [r for a in asked for r in a.recalls_ppm]
    latencies = [us for a in asked for us in a.latencies_us]
    cuts = quantiles(latencies, n=20, method="inclusive") if len(latencies) > 1 else latencies * 19
    searched = Searched(
        queries=len(recalls),
        recall_ppm=round(fmean(recalls)) if recalls else None,
        lowest_recall_ppm=min(recalls, default=None),
        latency_p50_us=round(cuts[9]) if cuts else None,
        latency_p95_us=round(cuts[18]) if cuts else None,
        filters=sum(len(a.counts) for a in asked),
    )
    unasked = tuple(
        f"shard {a.shard} could not be searched here: {a.fault.message}" for a in asked if a.fault
    )
    return Judged(tuple(faults), tuple(remarks), unasked, searched)


def _judge_shard(asked: Asked) -> tuple[list[str], list[str]]:
    """Return what was lost, and which indexes answer as badly as before."""
    where = f"shard {asked.shard}"
    lost, poor = [f"{where}: {words}" for words in asked.missing], list[str]()
    by_vector: dict[str, list[tuple[GoldenQuery, int, int]]] = {}
    for answer in zip(asked.golden, asked.recalls_ppm, asked.narrow_ppm, strict=True):
        by_vector.setdefault(answer[0].vector, []).append(answer)
    for name, answers in by_vector.items():
        index = f"index of vector {name!r}" if name else "index of the vectors"
        found = fmean(recall for _, recall, _ in answers)
        words = f"finds {found / _WHOLE:.0%} of the nearest points of {len(answers)} queries"
        if loss := _loss(f"the {index}", words, found, answers):
            lost.append(f"{where}: {loss}")
        elif found < FLOOR_PPM:
            poor.append(f"{where}: the source's own {index} {words}")
    for truth, count in zip(asked.filters, asked.counts, strict=True):
        if count != truth.points:
            lost.append(
                f"{where}: the {truth.index} index of {truth.field!r} finds {count} points for a "
                f"condition of the seal, {truth.points} hold it"  # no value: proofs are in clear
            )
    return lost, poor


def _loss(
    index: str, words: str, found: float, answers: Sequence[tuple[GoldenQuery, int, int]]
) -> str | None:
    """Say what an index no longer finds of what it found when it was sealed."""
    sealed = fmean(q.recall_ppm for q, _, _ in answers)
    if sealed - found > LOSS_PPM:
        return f"{index} {words}, {sealed / _WHOLE:.0%} when it was sealed"
    narrowest = fmean(q.narrow_ppm for q, _, _ in answers), fmean(n for _, _, n in answers)
    if narrowest[0] - narrowest[1] > NARROW_LOSS_PPM:
        was, now = (f"{share / _WHOLE:.0%}" for share in narrowest)
        return f"{index} {words}, but with `hnsw_ef` {TOP} only {now}, {was} when it was sealed"
    lost = [q.point for q, recall, _ in answers if q.recall_ppm - recall > SINGLE_LOSS_PPM]
    if lost:
        return f"{index} lost most answers near point {', '.join(map(str, lost[:8]))}"
    return None


def mean_recalls(golden: Iterable[GoldenQuery]) -> dict[tuple[str, bool], float]:
    """Return the mean recall when sealed, 0 to 1, of each vector name, within tenants or not."""
    by_vector: dict[tuple[str, bool], list[int]] = {}
    for query in golden:
        asked = query.vector, query.condition is not None
        by_vector.setdefault(asked, []).append(query.recall_ppm)
    return {asked: fmean(found) / _WHOLE for asked, found in by_vector.items()}


def indexed_fields(manifest: Manifest) -> dict[str, str]:
    """Return the payload indexes of the source: field and type."""
    schema = manifest.payload_schema
    return {name: str(about.get("data_type")) for name, about in sorted(schema.items())}


def carried(total: Fingerprint) -> set[str]:
    """Return the names of the vectors that points have and that are finite on at least one."""
    return {
        name.removeprefix("vector:")
        for name, component in total.components.items()
        if name.startswith("vector:") and component.count > total.odd(name.removeprefix("vector:"))
    }


def unanswerable(seal: Seal, manifest: Manifest) -> str | None:
    """Say why a search would check nothing: what has points but no question in the seal.

    A collection without points, finite vectors or payload indexes has nothing that an index could
    lose; nor has one whose vectors find nothing.
    """
    if not seal.points:
        return None
    asked = {q.vector for q in seal.golden}
    if silent := sorted(carried(seal.total) - asked - {*seal.unsearchable}):
        return f"no golden query of vectors {', '.join(map(repr, silent))}"
    if silent := sorted(indexed_fields(manifest).keys() - {t.field for t in seal.filters}):
        return f"no count for the payload indexes of {', '.join(map(repr, silent))}"
    return None


def conditions(
    fields: Mapping[str, str], payloads: Sequence[Mapping[str, Any]], most: int
) -> list[tuple[str, str, dict[str, Any]]]:
    """Return conditions to count, with field and type of index: one per field, more up to `most`.

    Values come from `payloads`, a sample. If some values of a field do not fit the type of its
    index, only its existence is asked: such values match without the index, but not with it."""
    ranked: list[tuple[int, str, str, dict[str, Any]]] = []
    for field, kind in fields.items():
        values = [v for payload in payloads for v in values_at(payload, field)]
        specs = [{"is_empty": {"key": field}}]
        if values and all(fits(kind, value) for value in values):
            specs = [{"key": field, **spec} for spec in _specs(kind, values)] + specs
        ranked += [(n, field, kind, spec) for n, spec in enumerate(specs)]
    ranked.sort(key=lambda entry: entry[0])
    return [entry[1:] for entry in ranked[: max(most, len(fields))]]


def _specs(kind: str, values: list[Any]) -> list[dict[str, Any]]:
    """Return narrow conditions first: the index answers these, but would scan for broad ones."""
    specs: list[dict[str, Any]] = []
    if kind == "bool":  # the engine's binding turns true into 1, which matches no boolean
        specs.append({"values_count": {"gte": 1}})
    if kind in ("keyword", "uuid", "integer"):
        rarest = sorted(Counter(values).items(), key=lambda pair: (pair[1], pair[0]))
        specs.append({"match": {"any": sorted(value for value, _ in rarest[:ANY])}})
    if kind in ("integer", "float", "datetime"):
        specs += (
            {"range": dict(zip(("gte", "lte"), _middle(values, p), strict=True))} for p in PARTS
        )
    if kind == "geo":
        for part in PARTS:
            west, east = _middle([v["lon"] for v in values], part)
            south, north = _middle([v["lat"] for v in values], part)
            west, south = max(west, -180), max(south, -90)
            east, north = min(east, 180), min(north, 90)
            if west < east and south < north:
                corners = {"top_left": (west, north), "bottom_right": (east, south)}
                box = {name: {"lon": lon, "lat": lat} for name, (lon, lat) in corners.items()}
                specs.append({"geo_bounding_box": box})
    return specs


def _middle(values: list[Any], part: int) -> tuple[Any, Any]:
    """Return the bounds of the middle one of `part` ranges of values; no bound equals a float."""
    ordered = sorted(values)
    half = len(ordered) // part // 2
    middle = len(ordered) // 2
    low, high = ordered[middle - half], ordered[min(middle + half, len(ordered) - 1)]
    return _beside(low, -SLACK), _beside(high, SLACK)


def _beside(value: Any, share: float) -> Any:
    return value + share * abs(value) if isinstance(value, float) else value
