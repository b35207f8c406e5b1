"""A backup that is kept by shard, made of one that is kept whole: as a cluster's would be."""

from __future__ import annotations

import hashlib
from datetime import timedelta

from qdrant_dr import configfile
from qdrant_dr.cluster.split_archive import ShardSplitter
from qdrant_dr.jobs.run.catalogs import open_all
from qdrant_dr.jobs.run.units import VerifyUnit
from qdrant_dr.jobs.verify.job import verify_copy
from qdrant_dr.records import Manifest, Part
from tests.support.world import World


def by_shard(world: World, collection: str) -> Manifest:
    """The newest backup of a collection once more, one part per shard, a second later; proven.
    Made once per world."""
    config = configfile.load(world.reference)
    opened, _ = open_all(config)
    of = [m for m in world.manifests("one") if m.collection == collection]
    if done := [m for m in of if len(m.parts) > 1]:
        return done[0]
    whole = max(of, key=lambda m: m.captured_at)
    (part,) = whole.parts
    later = timedelta(seconds=1)
    backup_id = f"{whole.captured_at + later:%Y%m%dT%H%M%SZ}-{whole.sha256[:6]}"
    key = whole.key.model_copy(update={"backup_id": backup_id})
    parts: list[Part] = []
    first = next(iter(opened.values()))
    for shard, blocks in ShardSplitter(first.read_part(whole.key, part), part.shards).shards():
        data = b"".join(bytes(block) for block in blocks)
        made = part.model_copy(
            update={
                "name": f"shard-{shard}", "kind": "shard", "shards": (shard,), "reframed": True,
                "size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "blocks": (),
            }
        )  # fmt: skip
        for repository in opened.values():
            sink = repository.part_sink(key, made.file)
            sink.write(data)
            sink.commit()
        parts.append(made)
    manifest = whole.model_copy(
        update={
            "backup_id": backup_id, "parts": tuple(parts), "captured_at": whole.captured_at + later
        }
    )  # fmt: skip
    for repository in opened.values():
        repository.commit(manifest)
        unit = VerifyUnit(key=key, repository=repository.name, depth="content")
        outcome = verify_copy(config, unit, "20261122T000000Z-aaaaaa")
        assert outcome.verdict == "ok", outcome
    return manifest
