"""Ask the indexes of a shard that an engine holds open: the questions of the seal, or new ones.

An archive's graphs are searched even where the engine would prefer a scan: below
`full_scan_threshold` vectors Qdrant ignores the graph it built
(`hnsw_index/hnsw/vector_index_impl.rs`), and a broken one would show only after the collection has
grown. So the threshold is lowered in the scratch copy. This does not apply to vectors that are
searched within tenants: a tenant's graph is built only where it is used, so these questions are
asked as on a server.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from qdrant_dr.errors import ProofError, StorageFull
from qdrant_dr.proof.engine import Engine
from qdrant_dr.proof.search import Asked, carried, conditions, indexed_fields, recall_ppm
from qdrant_dr.proof.tenants import graph_configs, tenant_fields, tenant_vectors
from qdrant_dr.proof.unpack import LaidShard
from qdrant_dr.records import (
    FilterTruth,
    Fingerprint,
    GoldenQuery,
    Manifest,
    Seal,
    canonical_json,
)

SAMPLED = 64
"""How many points of a shard supply golden queries and values for conditions."""
QUERIES = 16
SHARDS_IN_FULL = 4
SCANNED = 1_000_000
"""How many payloads of a shard supply counts, beyond one condition for each field."""


@dataclass(frozen=True)
class Questions:
    """The questions for every shard of one backup. Without a `seal` they are new."""

    manifest: Manifest
    seal: Seal | None = None

    @cached_property
    def fields(self) -> Mapping[str, str]:
        """Return the payload indexes of the source."""
        return indexed_fields(self.manifest)

    @property
    def shards(self) -> int:
        """Return over how many shards the questions are spread."""
        return len(self.manifest.shards)

    def places(self, shard: int, points: int) -> tuple[int, ...]:
        """Choose, with a seed, which points in the order of their ids supply new questions."""
        if self.seal:
            return ()
        chance = random.Random(f"{self.manifest.backup_id}/{shard}")
        return tuple(sorted(chance.sample(range(points), min(SAMPLED, points))))

    def use_graphs(self, shard: LaidShard) -> None:
        """Make searches use the graphs of this scratch copy, before it is opened."""
        within_tenants = tenant_vectors(shard, self.manifest)
        for name, path, config in list(graph_configs(shard)):
            if name not in within_tenants:
                path.write_text(json.dumps({**config, "full_scan_threshold": 0}))

    def ask(
        self,
        shard: LaidShard,
        total: Fingerprint,
        picked: tuple[int | str, ...],
        engine: Engine,
        second: Engine | None,
    ) -> Asked:
        """Ask the shard that `engine` holds; `second`, if given, holds a copy of it.

        An engine that fails here is started again: what it read before stays valid. The payload
        indexes of the copy (or of the shard) are gone afterwards.
        """
        missing = missing_indexes(shard, self.fields)
        try:
            if self.seal:
                asked = self._sealed(shard.shard, self.seal, total, engine)
            else:
                asked = self._new(shard, total, picked, engine, second)
        except (ProofError, StorageFull) as e:
            for used in (engine, second):
                if used:
                    used.restart()
            return Asked(shard.shard, missing=missing, fault=e)
        return replace(asked, missing=missing)

    def _sealed(self, shard: int, seal: Seal, total: Fingerprint, engine: Engine) -> Asked:
        golden = tuple(q for q in seal.golden if q.shard == shard)
        filters = tuple(t for t in seal.filters if t.shard == shard)
        queries = [
            {
                "vector": q.vector,
                "point": q.point,
                "condition": q.condition and json.loads(q.condition),
                "top": q.top,
                "odd": total.odd(q.vector),
            }
            for q in golden
        ]
        engine.ask("answer", queries=queries)
        answered = [(q, a) for q, a in zip(golden, engine.wait(), strict=True) if a]
        golden, answers = tuple(q for q, _ in answered), [a for _, a in answered]
        engine.ask("count", conditions=[json.loads(t.condition) for t in filters])
        return Asked(
            shard,
            golden,
            filters,
            recalls_ppm=tuple(recall_ppm(a["hits"], a["scores"]) for a in answers),
            narrow_ppm=tuple(recall_ppm(a["narrow"], a["scores"]) for a in answers),
            latencies_us=tuple(a["latency_us"] for a in answers),
            counts=tuple(engine.wait()),
        )

    def _new(
        self,
        shard: LaidShard,
        total: Fingerprint,
        picked: tuple[int | str, ...],
        engine: Engine,
        second: Engine | None,
    ) -> Asked:
        engine.ask("points", ids=picked)
        payloads = [p["payload"] or {} for p in engine.wait()]
        most = SCANNED // max(total.points, 1) if self.shards <= SHARDS_IN_FULL else 0
        chosen = conditions(self.fields, payloads, most)
        specs = [spec for _, _, spec in chosen]
        if second:  # counts without an index while the other engine searches
            second.ask("scan", conditions=specs)
        names = {name: total.odd(name) for name in sorted(carried(total))}
        each = QUERIES if self.shards <= SHARDS_IN_FULL else max(4, 64 // self.shards)
        fields = tenant_fields(self.manifest)
        tenants = dict.fromkeys(tenant_vectors(shard, self.manifest), fields)
        engine.ask("choose", ids=picked, names=names, each=each, tenants=tenants)
        answers = engine.wait()
        engine.ask("count", conditions=specs)
        counts = engine.wait()
        if not second:
            engine.ask("scan", conditions=specs)
        truths = (second or engine).wait()
        recalls, narrow = (
            tuple(recall_ppm(a[hits], a["scores"]) for a in answers) for hits in ("hits", "narrow")
        )
        return Asked(
            shard.shard,
            golden=tuple(
                GoldenQuery(
                    shard=shard.shard, vector=a["vector"], point=a["point"], top=tuple(a["top"]),
                    recall_ppm=wide, narrow_ppm=close,
                    condition=a["condition"] and canonical_json(a["condition"]).decode(),
                )
                for a, wide, close in zip(answers, recalls, narrow, strict=True)
            ),
            filters=tuple(
                FilterTruth(
                    shard=shard.shard, field=field, index=kind, points=truth,
                    condition=canonical_json(spec).decode(),
                )
                for (field, kind, spec), truth in zip(chosen, truths, strict=True)
            ),
            recalls_ppm=recalls,
            narrow_ppm=narrow,
            latencies_us=tuple(a["latency_us"] for a in answers),
            counts=tuple(counts),
        )  # fmt: skip


def missing_indexes(shard: LaidShard, fields: Mapping[str, str]) -> tuple[str, ...]:
    """Say which payload indexes of the source a segment lacks after the log was replayed."""
    lost: dict[str, int] = {}
    for segment in shard.segments:
        config = _parsed(shard.folder / "segments" / segment / "payload_index" / "config.json")
        there = config.get("indexed_fields", {}) if isinstance(config, dict) else {}
        for field, kind in fields.items():
            about = there.get(field)
            if (about.get("type") if isinstance(about, dict) else about) != kind:
                lost[field] = lost.get(field, 0) + 1
    segments = len(shard.segments)
    return tuple(
        f"the {fields[field]} index of {field!r} is not in {count} of {segments} segments"
        for field, count in lost.items()
    )


def _parsed(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
