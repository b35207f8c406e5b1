"""A collection's configuration from a server's own description: how to create it again, in which
order to create its shard keys, and how two differ. Pure. Settings that we do not know are passed
on, never dropped."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from qdrant_dr.errors import PlanRefused
from qdrant_dr.raw_settings import without_nulls

ShardKey: TypeAlias = str | int
"""Qdrant distinguishes the key `"7"` from the key `7`."""
KeyOrder: TypeAlias = tuple[tuple[ShardKey, tuple[int, ...]], ...]
Path: TypeAlias = tuple[str, ...]
"""The keys that lead to a setting: any of them may hold a dot."""

_RENAMED = {"optimizer_config": "optimizers_config"}
_NOT_RESTORED = frozenset({"read_fan_out_factor", "read_fan_out_delay_ms"})
"""Dropped by every creation, also by Qdrant's own recovery (collection_meta_ops.rs of 1.18.3)."""
_NOT_COMPARED = _NOT_RESTORED | {"uuid"}
_SCHEMA = "payload_schema"
_OF_AN_INDEX = frozenset({"data_type", "params", "points"})
_SECTIONS = frozenset(
    {"hnsw_config", "optimizer_config", "wal_config", "strict_mode_config", "metadata"}
)


def creation_body(
    info: Mapping[str, Any], *, replication_factor: int | None, clustered: bool
) -> dict[str, Any]:
    """Build the body of `PUT /collections/{c}` that creates an empty collection like `info`.

    `info` is the answer of `GET /collections/{c}`. `replication_factor` None: as it was. A setting
    that the source left at its default (null here) follows the target's configuration: compare
    afterwards with `differences`.
    Raise PlanRefused for custom sharding on a target without cluster mode, which has no shard keys.
    """
    config = info["config"]
    params = config["params"]
    if params.get("sharding_method") == "custom" and not clustered:
        raise PlanRefused(
            "its shards are chosen by key (custom sharding), which a server without cluster mode "
            "does not support",
            "start the target with `cluster.enabled: true`; one node is enough.",
        )
    wanted = {**params, **{_RENAMED.get(k, k): v for k, v in config.items() if k != "params"}}
    if replication_factor is not None:
        wanted["replication_factor"] = replication_factor
    return {k: v for k, v in wanted.items() if v is not None and k not in _NOT_COMPARED}


def shard_key_order(
    collection_cluster: Mapping[str, Any], shard_keys: Mapping[str, Any] | None = None
) -> KeyOrder:
    """Return shard keys with their shard ids, in the creation order that gives the same ids again.

    `collection_cluster` is `GET /collections/{c}/cluster` of any node (each knows all shards),
    `shard_keys` that of `/shards`. Empty without custom sharding. New shards get the id after the
    highest one (collection/sharding_keys.rs of Qdrant 1.18.3), so the lowest id is created first.
    Raise PlanRefused if the ids of two keys interleave (no order gives them), or if a key has no
    shard in the description.
    """
    replicas = [
        *(collection_cluster.get("local_shards") or ()),
        *(collection_cluster.get("remote_shards") or ()),
    ]
    found: dict[ShardKey, set[int]] = {}
    for replica in replicas:
        if (key := replica.get("shard_key")) is not None:
            found.setdefault(key, set()).add(int(replica["shard_id"]))
    order = tuple(
        sorted(((key, tuple(sorted(ids))) for key, ids in found.items()), key=lambda k: k[1])
    )
    for key, ids in order:
        if ids != tuple(range(ids[0], ids[0] + len(ids))):
            raise PlanRefused(
                f"the shards of key {key!r} are {list(ids)}: no order of creation gives these ids",
                "restore it with `--salvage`: the points are read and written again.",
            )
    listed = [entry["key"] for entry in (shard_keys or {}).get("shard_keys") or ()]
    if missing := [key for key in listed if key not in found]:
        raise PlanRefused(
            f"no shard is known for the keys {missing}",
            "the backup's description of its cluster is incomplete; use another backup.",
        )
    return order


def index_body(field: str, index: Mapping[str, Any]) -> dict[str, Any]:
    """Build the body of `PUT /collections/{c}/index` from an entry of `payload_schema`.

    What stands beside type and parameters, and is no count, is passed on as well."""
    more = {k: v for k, v in index.items() if k not in _OF_AN_INDEX}
    return {**more, "field_name": field, "field_schema": index.get("params") or index["data_type"]}


def differences(source_info: Mapping[str, Any], target_info: Mapping[str, Any]) -> tuple[str, ...]:
    """Say how a restored collection differs in configuration and payload indexes.

    It compares the answers of `GET /collections/{c}`: every setting, known to us or not, and type
    and parameters of each payload index. A null setting counts as absent. A restore can lose
    indexes and still answer 200 (measured on Qdrant 1.18.3)."""
    said = []
    was, now = (_indexes(info) for info in (source_info, target_info))
    before, after = (_settings(info) for info in (source_info, target_info))
    for path in sorted(before.keys() | after.keys()):
        once, here = (_shown(found.get(path)) for found in (before, after))
        alone = path[0] == _SCHEMA and not (path[1] in was and path[1] in now)
        if once != here and not alone:
            said.append(f"{'.'.join(path)} is {here}, was {once}")
    for field in sorted(was.keys() | now.keys()):
        if field not in now:
            said.append(f"payload index on {field!r} is missing")
        elif field not in was:
            said.append(f"payload index on {field!r} is new")
        elif was[field] != now[field]:
            said.append(f"payload index on {field!r} is {now[field]}, was {was[field]}")
    return tuple(said)


def _settings(info: Mapping[str, Any]) -> dict[Path, Any]:
    """Return one entry per setting, named by its path. Disabled strict mode counts as absent."""
    config = without_nulls({k: v for k, v in info["config"].items() if k != "uuid"})
    if config.get("strict_mode_config") == {"enabled": False}:
        del config["strict_mode_config"]
    more = {
        field: {k: v for k, v in entry.items() if k not in _OF_AN_INDEX}
        for field, entry in (info.get(_SCHEMA) or {}).items()
    }
    found = dict(_leaves(_told(config, ()), ()))
    beside = _leaves(without_nulls(more), ())
    found |= {(_SCHEMA, *path): value for path, value in beside if path[1:]}
    found.setdefault(("params", "sharding_method"), "auto")
    return found


def _told(value: Any, path: Path) -> Any:
    """Return a setting without what is not compared, and without sections that say nothing.

    Elsewhere an empty section is a choice: `{"binary": {}}` is a quantization with its defaults."""
    if not isinstance(value, dict):
        return value
    told = {key: _told(below, (*path, key)) for key, below in value.items()}
    return {
        key: below
        for key, below in told.items()
        if not (path == ("params",) and key in _NOT_COMPARED)
        and not (below == {} and _says_nothing_empty((*path, key)))
    }


def _says_nothing_empty(path: Path) -> bool:
    """Say whether an empty section at this path means the same as none."""
    match path:
        case ("params", "vectors", _, "hnsw_config") | ("params", "sparse_vectors", _, "index"):
            return True
        case ("params", "vectors", "hnsw_config") | ("params", "vectors" | "sparse_vectors"):
            return True
        case (section,):
            return section in _SECTIONS
    return False


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from _leaves(below, (*path, key))
    elif path:
        yield path, value


def _indexes(info: Mapping[str, Any]) -> dict[str, str]:
    """Return type and parameters per field, as text that is equal if and only if they are."""
    return {
        field: _shown(
            {**_told_alike(without_nulls(entry.get("params") or {})), "type": entry["data_type"]}
        )
        for field, entry in (info.get(_SCHEMA) or {}).items()
    }


def _told_alike(params: dict[str, Any]) -> dict[str, Any]:
    """Normalise stopwords: a node reports them as given for its own shard, and as a set for one of
    another node (`"english"`, `{"languages": ["english"]}`: measured on Qdrant 1.18.3)."""
    given = params.get("stopwords")
    if given is None:
        return params
    words = {"languages": [given]} if isinstance(given, str) else given
    if not isinstance(words, dict):
        return params
    return {**params, "stopwords": {k: _as_a_set(v) for k, v in words.items() if v != []}}


def _as_a_set(words: Any) -> Any:
    plain = isinstance(words, list) and all(isinstance(word, str) for word in words)
    return sorted(words) if plain else words


def _shown(value: Any) -> str:
    if value is None:
        return "not set"
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
