"""Find vectors that are searched within tenants only, and the fields of these tenants.

With `m: 0` and a `payload_m` Qdrant builds no common graph, but one for each value of an indexed
field with more points than it would scan (hnsw_index/hnsw/build.rs of 1.18.3). A search without a
filter then scans a small segment and finds almost nothing in a large one: this is intended and no
damage.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from qdrant_dr.proof.unpack import LaidShard
from qdrant_dr.raw_settings import dense_vectors, without_nulls
from qdrant_dr.records import Manifest

_INDEX = "vector_index"
_MATCHED = ("keyword", "uuid", "integer")
"""Types of payload index of which every value may be a tenant."""


def graph_configs(shard: LaidShard) -> Iterator[tuple[str, Path, Mapping[str, Any]]]:
    """Yield the graphs of an unpacked shard: vector name, file and content of its settings."""
    for path in shard.folder.glob(f"segments/*/{_INDEX}*/hnsw_config.json"):
        try:
            config = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(config, dict):
            yield path.parent.name.removeprefix(_INDEX).removeprefix("-"), path, config


def tenant_vectors(shard: LaidShard, manifest: Manifest) -> set[str]:
    """Return the names of vectors with graphs for tenants but none for all points: in a segment of
    the archive, or in all of them once an optimizer has applied the configuration."""
    config = manifest.info.get("config") or {}
    named = dense_vectors(config.get("params") or {})
    common = config.get("hnsw_config") or {}
    settings: list[tuple[str, Mapping[str, Any]]]
    settings = [
        (name, {**common, **without_nulls(about.get("hnsw_config") or {})})
        for name, about in named.items()
    ]
    settings += [(name, built) for name, _, built in graph_configs(shard)]
    return {name for name, hnsw in settings if not hnsw.get("m", 1) and hnsw.get("payload_m")}


def tenant_fields(manifest: Manifest) -> dict[str, str]:
    """Return fields whose values have their own graphs, with the type of their index: those marked

    `is_tenant`, or if there are none, all that can be matched by value.
    """
    schema = manifest.payload_schema
    linked, marked = {}, {}
    for field, about in sorted(schema.items()):
        kind, params = str(about.get("data_type")), about.get("params") or {}
        unmatched = params.get("enable_hnsw") is False or params.get("lookup") is False
        if kind in _MATCHED and not unmatched:
            linked[field] = kind
            if params.get("is_tenant"):
                marked[field] = kind
    return marked or linked
